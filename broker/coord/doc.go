// Package coord runs the coordinators' state machines: one goroutine owns each partition of __consumer_offsets that
// this broker leads. It loads the partition's records into a group.Shard, hands it requests and fired timers one after
// another, appends the records that it asks for, and parks replies until the high watermark has passed them. It decides
// nothing about groups (package group does) and knows no wire formats beyond handing kmsg messages on.
//
// Every request given to Submit is answered exactly once. A shard's queue is bounded: a request that finds it full is
// told to come again. Nothing waits for anything else here but for the log: a shard's goroutine blocks on its own
// appends only.
package coord
