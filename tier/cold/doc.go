// Package cold reads the archive: ledger snapshot, segment index, ranged GETs, chunk cache in local files, and
// from there file regions for sendfile. It takes no partition lock and knows no partition but by the ledger that
// the caller brings.
//
// What it owns: the cache folder, and budgets of its own for workers, bytes under way, cached bytes and indexes in
// memory, so that a replay of years never slows a producer.
//
// The unit of caching is the group: adjacent chunks of one segment, kept decoded in an unlinked file (nothing is left
// behind by a killed process). One ranged GET fetches a run of adjacent groups, which share a file. A group becomes
// readable chunk by chunk while it is filled. Its life:
//
//	           acquire (nobody has it)                 all chunks there
//	(absent) ─────────────────────────▶ filling ─────────────────────────▶ full ──evict──▶ (absent)
//	    ▲                                  │ error, or parses badly
//	    └──────────────────────────────────┘ every waiter gets the error, the next read starts afresh (I-22)
//
// Invariants: every byte was checked with its chunk's CRC-32C before it is served; a bad chunk is fetched again and
// then reported, never served (I-25). A fill belongs to nobody: a reader that gives up does not cancel it (I-22).
// What is being read or filled is not evicted, and a read may go over the cache's budget rather than wait for room
// (I-23). A missing object is an error that names it, never a silent hole.
//
// While producers write, reads take turns (pace.go): they fill the machine up to a load at which a producer's request still
// finds a free processor, whoever makes the load. No pause is long, so a reader is slow then and never stands still.
//
// It deliberately does not decide what is archived, does not retry for ever (the client fetches again), and keeps
// no cache index over a restart.
package cold
