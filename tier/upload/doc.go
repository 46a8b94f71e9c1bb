// Package upload ships what is committed from the local logs to object storage: a pure planner (Plan) that says
// what is due, and a Manager that does it with a bounded number of jobs.
//
// A job, for one partition, goes through these steps; every step may fail, and the next job begins again at the
// first one, so that nothing but the ledger decides what is archived:
//
//	read     the ledger linearizably, the leader epoch, and the gc fence: before anything is uploaded (I-10)
//	confirm  what the ledger names and the local log still holds: each object is there, with its size and content
//	         tag (or its readable index, after a restart). Only then Source.Archived is called (I-12)
//	build    whole batches of [next, last stable offset) into an unlinked spool file; its index is read back and
//	         verified (I-16)
//	put      under a fresh key (I-07), with the checksum for the store to verify
//	commit   ledger.Append with the epoch, next and fence of the first step (I-08). Refused: the object is an
//	         orphan, which the collector deletes. Not known: the object is kept in mind, and the next job finds it
//	         in the ledger or commits it again (I-09)
//	confirm  again
//
// It deletes nothing and trims nothing. One goroutine schedules; a job is a goroutine; a partition without pending
// records has neither timer nor goroutine. A producer pays one atomic load (Handle.Notify).
package upload
