// Package hot is the local log: one folder a partition, in exactly Apache Kafka's format, so that a fetch can be
// sendfile, replication can copy bytes and Kafka's own tools can check it.
//
// It owns, below the log directory: the segments (%020d.log with .index, .timeindex and .snapshot), their
// recovery after a crash, group commit of appends, the reading of regions, trimming, and the checkpoints. A Dir is
// one log directory, which is one disk: it has one flusher, one housekeeping goroutine and one budget of open
// files for all its logs. A Log is one partition.
//
// Invariants:
//   - An append that was answered is in the segment's page cache; once Flushed is past it, it survives a power cut
//     (I-01). A failed write fails everything that was queued with or behind it, and leaves offsets, producer
//     state and file as they were (I-02). A failed fdatasync, also one of a recovery, takes the Dir offline for good, and
//     each start on the same kernel writes again what it finds and does not know to be on the disk (I-31).
//   - A clean stop vouches for the logs that were open. What a start had to know of the others the next one has to know as
//     well: that they are to be recovered, up to where the journal had them, and whether a page cache was lost (mark.go,
//     unopened.go).
//   - Offsets are handed out once, in order, under the log's mutex (I-03). Sequences are decided in the same place
//     (I-05).
//   - End, Flushed, Stable, LocalStart and LogStart never go back while a Log is open, but for Truncate and Reset.
//   - A folder that belongs to another topic id is never loaded (I-38).
//   - What a start after a crash reads, the first appends included, does not grow with what the logs hold: the journal, what
//     lies above the recovery points (saveMost), and as much below them where producers are idempotent and batches are small
//     (noted). After a power cut it does grow with how many logs were busy: of each up to checkpointBytes more, or up to a
//     sixteenth of saveMost where there were many (checkpointsASave).
//   - Idle logs hold no goroutine, no timer and no open file; one that was never written to is not on disk.
//   - No more than MaxOpenFiles are open, but for those that are in use or not flushed yet.
//
// What it deliberately does not do: it does not know who leads, what the high watermark is, or what the archive
// holds. When to trim is decided by pure planners (PlanRetention, PlanDiskShare) whose caller supplies that.
package hot
