// Package clean is the log cleaner: it compacts the logs of topics whose cleanup.policy has compact, as Apache Kafka's
// does (LogCleaner, LogCleanerManager, Cleaner). For each key the newest record stays, at its offset; a tombstone stays
// for delete.retention.ms after it was first met (KIP-534).
//
// A round picks the dirtiest log (plan.go, pure), reads its dirty section into a map from key to newest offset whose
// size is bounded (keymap.go), and rewrites the segments below, several into one where they have become small, leaving
// out what the map knows a newer record for (filter.go). hot.Rewrite swaps them in so that a crash leaves the old or the
// new. How far a log is clean stands in cleaner-offset-checkpoint, in Kafka's format, in the log directory.
//
// Invariants:
//   - Offsets never change. A fetch at an offset that is gone gets the next batch (I-17).
//   - Nothing at or above the stable offset, in the active segment, or younger than min.compaction.lag.ms is touched.
//   - Each known producer's last batch stays, if need be without records, so that its last sequence outlives a
//     restart (I-05). So does the last batch of each rewritten segment, which Kafka keeps only for the last one: to
//     firn's recovery a gap between segments is a segment that was lost.
//   - A log that cannot be cleaned is set aside, reported, and harms no other.
//   - Memory is bounded by Options.DedupeBuffer, the I/O buffers, and one batch, decompressed.
//   - One goroutine per cleaner thread, none per log; logs that are clean cost a glance a round.
//
// What it deliberately does not do: it does not roll segments (appends do, by segment.ms), nor delete by age or size
// (hot.PlanRetention does, for compact,delete too), and it knows no archive: topics with remote storage are not cleaned.
package clean
