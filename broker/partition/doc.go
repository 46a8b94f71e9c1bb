// Package partition is a replica's life: its role, its appends, the replies that wait for its high watermark,
// and where each offset is read from. A Manager holds all partitions of one broker, follows the cluster image
// (topics come, change and go) and runs the housekeeping of their logs; a Partition is one of them.
//
// Invariants:
//   - A reply that waits for a record is released by a high watermark that covers the record, or fails; when the log
//     directory goes offline, a topic is deleted or the role is lost, everything that waits fails (I-02).
//   - The high watermark never goes back, and nothing beyond it (read_committed: beyond the last stable offset)
//     is shown (I-04). Appends carry the leader epoch, and the log refuses an older one (I-03).
//   - The answer for one partition comes from one side of the seam, the local log or the archive (I-18).
//   - A fetch answers at most its byte limit plus one batch, whatever the sides (I-21).
//   - A log that ends below what its archive holds, or differs from it, is reset to the archive's end before
//     the first append (I-36).
//   - Idle partitions cost no goroutine, no timer and, until their first use, no log.
//
// The decisions stand in core.go, plan.go and seam.go, which are pure. The package knows the local log, the archive and the
// metadata through the small interfaces of seams.go, and Kafka's error codes, but no wire format: package api
// translates.
package partition
