// Command limit is the limit beside the brokers: the least programs that could do their work, for the bench to tell not
// only who is ahead but how much is left. Each runs as a process of its own, so that what it costs is accounted as a
// broker's is; it prints a line when it listens and ends with SIGTERM.
//
//		limit sink   -addr A -dir D -partitions N [-flush] [-bytes B]
//		limit source -addr A -dir D
//		limit reader -addr A -endpoint E -bucket B -credentials F -cache D
//
//	  - The sink takes Produce requests, checks each batch's CRC-32C, writes it to a preallocated file, flushes as its mode
//	    says, and answers.
//	  - The source answers Fetch requests with sendfile from the segment files of a log folder.
//	  - The reader answers them from archived segments: parallel ranged GETs, CRC-32C, decompression, a write to a cache file,
//	    sendfile from there.
//
// They speak just enough of the protocol that a client which knows its topic needs no other server: Produce 9 to 13 and
// Fetch 12, without ApiVersions or Metadata. A request that is anything else closes its connection.
//
// What they leave out, which is to their advantage: names are not looked up (the sink's partitions are numbers, whatever
// the topic), nothing is kept for a restart, there is no index, no idempotence, no limit, no log, no metric, and no fetch
// waits for more to come. The sink writes each partition's preallocated files from start to end and takes new ones, so that it
// fills pages and blocks as who keeps what it is given has to, and makes those durable that were written to, a few at a time.
// The reader lists the bucket and reads all segments' indexes when it starts, where a broker has its ledger.
//
// e2e imports nothing of the inside, so the segment's format is read here a second time, as far as it is needed.
package main
