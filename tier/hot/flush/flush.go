// Package flush decides when and how the logs of one disk are made durable: one Flusher a log directory, not one a
// partition, because a disk has one queue and its file system one journal.
//
// A Flusher runs rounds. When idle it starts one as soon as a log is marked; logs that are marked while a round
// runs wait for the next, so that under load every round carries the appends of all logs since the one before. To wait
// longer for more (up to 500 µs) was measured: the same CPU an append, later answers.
// What a round does with its logs is the Backend's business: PerFile syncs each log's own files, a few at once; a
// Journal does so only with those that have much pending, and makes what is pending in all others durable with one write
// of its own. Much is 32 KiB: there the journal takes as long and writes twice the bytes, and from 64 KiB on it spares no
// CPU either.
//
// # The journal
//
// Its files, firn-journal.0 and on in the log directory, are at most four of 64 MiB. The first is made by the first
// flush that could use it, in steps of 4 MiB filled with zeros, so that a write changes no metadata and costs the disk
// one request (pwritev2 with RWF_DSYNC). The bytes come from the logs' page cache. Behind the rounds the upkeep fills the
// next part, asks the kernel to write back what logs have pending, and lets go of a full file when all logs that it
// names are durable in their own files; without room, logs are synced themselves. So what recovery has to replay is
// bounded by the files, whatever the logs hold.
//
// A frame (codec.go) is one write. Frames are numbered without gaps, and each says from which number on they count: that,
// and a number drawn for the life of the process, tells what counts from what an earlier use of a file left behind. Only
// the last frame can be torn. Records say that bytes are at a position of a segment; or that all earlier records of a log
// mean nothing any more (Forget), which is what makes truncation, deletion, trimming and cleaning safe: whoever is about to
// change what the journal may speak of syncs the log and has it forgotten first. A log goes on in the journal only in a
// segment whose name and predecessors are durable: the first flush after a roll is one of the files themselves.
//
// ReadJournal gives what is to be replayed after a crash, by log. It is damage, not a torn tail, when something is
// unreadable that a later frame follows: where only a record's bytes are, of its log; else of the journal. RemoveJournal
// deletes it once all of it is in the logs' own files; from its first step on none of it counts (removal.go).
//
// Invariants: a log that is marked after a round has begun is in a later round (never lost); Written is called only for
// what is durable (I-01); the first failed write or flush ends the Flusher for good (I-31): nothing is flushed after it,
// OnError is told once, and it is for its owner to fail everyone who waits (I-02). A full disk is no failure of a journal
// that wants to grow; one that has no room for a write into what is filled, or knows no such write, ends the journal and
// nothing else (off.go).
//
// It deliberately does not know what is in a log, who waits for it, or what "flushed" means for an offset.
package flush

import (
	"sync"
)

// Log is what can be flushed.
type Log interface {
	// Sync makes durable what the log holds at the time of the call, and notes how far that is. It is called by
	// one goroutine at a time for a log within a round. The Log sees to it that it is marked at most once until
	// Sync begins, and that what is written after that marks it again.
	Sync() error
}

// Backend flushes a set of logs and returns when all are durable, or the first error.
type Backend interface {
	Flush(dirty []Log) error
}

// Options configure a Flusher.
type Options struct {
	Backend Backend     // nil: PerFile(4)
	OnError func(error) // called once, by the Flusher's goroutine, when a flush failed; may be nil
}

// Flusher runs the rounds of one disk. Its methods may be called concurrently.
type Flusher struct {
	o    Options
	wake chan struct{} // buffered: a token means "something was marked"
	quit chan struct{}
	done chan struct{}

	mu     sync.Mutex
	dirty  []Log // marked for the next round
	closed bool  // by Close, or by a failure
}

// New starts a Flusher. Close it to end its goroutine.
func New(o Options) *Flusher {
	if o.Backend == nil {
		o.Backend = PerFile(4)
	}
	f := &Flusher{o: o, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	go f.run()
	return f
}

// Mark puts the log into the next round. It does not block and does not wait. After Close or a failed flush it
// does nothing.
func (f *Flusher) Mark(l Log) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.dirty = append(f.dirty, l)
	if len(f.dirty) == 1 {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// Close ends the rounds: one that runs is finished, what is marked for the next is dropped. The owner flushes
// that itself if it wants to.
func (f *Flusher) Close() {
	f.mu.Lock()
	first := !f.closed
	f.closed = true
	f.dirty = nil
	f.mu.Unlock()
	if first {
		close(f.quit)
	}
	<-f.done
}

func (f *Flusher) run() {
	defer close(f.done)
	var round []Log
	for {
		select {
		case <-f.quit:
			return
		case <-f.wake:
		}
		f.mu.Lock()
		round, f.dirty = f.dirty, round[:0]
		f.mu.Unlock()
		if len(round) == 0 {
			continue
		}
		err := f.o.Backend.Flush(round)
		clear(round) // the slice is used again; a removed log must not be kept alive by it
		if err != nil {
			f.fail(err)
			return
		}
	}
}

func (f *Flusher) fail(err error) {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		f.dirty = nil
		close(f.quit)
	}
	f.mu.Unlock()
	if f.o.OnError != nil {
		f.o.OnError(err)
	}
}
