// Package compaction tends the archive. It begins with what any archive needs: retention, the collector of expired
// and orphaned objects and of deleted topics' objects, the folding of long ledgers, and the rules by which a broker
// knows that the bucket is its to delete from. Decisions are pure (plan.go, trust.go); Collector runs them.
//
// Nothing is deleted but in this order (I-10):
//
//	publish  the edit that un-names an object (Expire, Refold; an orphan never had a name)
//	grace    passes, by the store's clock for what listings show, so that readers with older snapshots finish
//	fence    for orphans: an edit raises the ledger's gc fence, so that an uploader that slept through the grace
//	         period cannot commit what is about to go
//	check    the ledger is read linearizably, and no ledger of any live or remembered topic names the key (I-07)
//	mark     a version marker tells the bucket how far the metadata had come (I-35)
//	delete
//
// A crash between any two steps leaves an object without a name, which a later listing finds.
//
// Invariants: only keys of this cluster's own generation are deleted, and only of partitions that the metadata knows
// as live or tombstoned: unknown never means dead. A bucket that does not fit the metadata (it belongs to another
// generation, is ahead of it, or was in use by others before) stops all deletion until an operator decides (I-35).
//
// It does not merge or compact segments yet. One Collector may run in a cluster at a time; folding in particular
// relies on it, because a fold that sleeps through the grace period would be committed without its object.
package compaction
