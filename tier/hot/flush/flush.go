// Package flush decides when and how the logs of one disk are made durable: one Flusher a log directory, not one a
// partition, because a disk has one queue and its file system one journal.
//
// A Flusher runs rounds. When idle it starts one as soon as a log is marked; logs that are marked while a round
// runs wait for the next, so that under load every round carries the appends of all logs since the one before. To wait
// longer for more (up to 500 µs) was measured: the same CPU an append, later answers.
// A round makes what is pending in its logs durable with one write into the Journal, but for the logs that have much
// pending: those are handed to a pool, which syncs their own files, some at once, and no round waits for it. Much is
// 32 KiB: there the journal takes as long and writes twice the bytes, and from 64 KiB on it spares no CPU either.
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
// its OnError is told once, beside the Journal's where it was the journal that failed, and it is for their owner to fail
// everyone who waits (I-02). A full disk is no failure of a journal that wants to grow; one that has no room for a write into
// what is filled, or knows no such write, ends the journal and nothing else (off.go).
//
// It deliberately does not know what is in a log, who waits for it, or what "flushed" means for an offset.
package flush

import (
	"cmp"
	"sync"
)

// Log is what can be flushed.
type Log interface {
	// Sync makes durable what the log holds at the time of the call, and notes how far that is. A Flusher calls it once at
	// a time for a log. The Log sees to it that it is marked at most once until Sync begins, and that what is written
	// after that marks it again.
	Sync() error
}

// Options configure a Flusher.
type Options struct {
	Journal  *Journal    // nil: all logs are synced themselves
	Parallel int         // logs that are synced at once; 0: 16
	OnError  func(error) // called once, by a goroutine of the Flusher's, when a flush failed; may be nil
}

// Flusher runs the rounds of one disk. Its methods may be called concurrently.
type Flusher struct {
	o    Options
	pool *pool
	wake chan struct{} // buffered: a token means "something was marked"
	quit chan struct{}
	done chan struct{}
	once sync.Once // of OnError

	mu     sync.Mutex
	dirty  []Log // marked for the next round
	closed bool  // by Close, or by a failure
}

// New starts a Flusher. Close it to end its goroutines.
func New(o Options) *Flusher {
	f := &Flusher{o: o, wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	f.pool = newPool(cmp.Or(o.Parallel, 16), f.fail)
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

// Close ends the rounds: a write or sync that runs is finished, what waits for one is dropped. The owner flushes
// that itself if it wants to.
func (f *Flusher) Close() {
	f.stop()
	<-f.done
	f.pool.close()
}

func (f *Flusher) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		close(f.quit)
	}
	f.dirty = nil
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
		err := f.round(round)
		clear(round) // the slice is used again; a removed log must not be kept alive by it
		if err != nil {
			f.fail(err)
			return
		}
	}
}

// round returns when what the journal took of the logs is durable. It may change the order of dirty.
func (f *Flusher) round(dirty []Log) error {
	j := f.o.Journal
	if j == nil {
		f.pool.add(dirty)
		return nil
	}
	small, large := j.split(dirty)
	j.stats.Direct.Add(int64(len(large)))
	f.pool.add(large)
	rest, err := j.take(small)
	if err != nil {
		return err // and nothing is flushed after it (I-31)
	}
	j.stats.Direct.Add(int64(len(rest)))
	f.pool.add(rest)
	return nil
}

// fail ends the Flusher. It does not wait for what runs.
func (f *Flusher) fail(err error) {
	f.pool.drop()
	f.stop()
	f.once.Do(func() {
		if f.o.OnError != nil {
			f.o.OnError(err)
		}
	})
}
