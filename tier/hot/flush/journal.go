package flush

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/topic"
)

// Journaled is a Log whose pending bytes the journal can take, so that Sync may come later.
type Journaled interface {
	Log
	// Pending returns how many bytes the journal would have to take for the log to be durable. It reports false when
	// only Sync can make it so.
	Pending() (bytes int64, ok bool)
	// Collect adds what is pending to the frame, as records of at most most bytes in all, and returns the offset after
	// it; added is false when nothing was, and ok when only Sync can make the log durable. What is written from then
	// on marks the log anew.
	Collect(f *Frame, most int64) (next int64, added, ok bool)
	// Written says that what Collect added when it returned next is durable. That may not be what it added last: a log
	// may be collected twice before the first is written, and the second may never be. It reports whether somebody is to
	// be notified.
	Written(next int64) (moved bool)
	// Notify tells who waits for the log. It is called without locks.
	Notify()
	// Durable returns the offset below which the log's own files are durable.
	Durable() int64
	// Writeback asks the disk to begin writing what Sync will have to wait for.
	Writeback()
}

// JournalOptions configure a Journal.
type JournalOptions struct {
	FS        disk.FS
	Dir       string // the log directory, in which the files lie
	Logger    *slog.Logger
	FileBytes int64 // of one file, a multiple of 4 KiB; 0: 64 MiB
	Files     int   // how many there may be, at least 2; 0: 4
	Direct    int64 // a log with so many bytes pending is synced itself; 0: 32 KiB
	Parallel  int   // logs that are synced at once; 0: 16
	// OnError is called by the upkeep, without locks, when a round, a Forget or itself has failed. The first two also return
	// the error, so that of a round the Flusher's OnError tells as well. May be nil.
	OnError func(error)
	// Inline does the upkeep within take instead of in a goroutine, for tests that must repeat.
	Inline bool
}

// Limits of a journal.
const (
	slice       = 4 << 20   // a file is filled with zeros in steps of this
	barrierRoom = 256 << 10 // kept free for Forget at the end of what is filled
	frameTarget = 1 << 20   // a frame is closed when it has grown to this
	retryFull   = 5 * time.Second
)

// Stats count what a Journal did. They are read with Load.
type Stats struct {
	Rounds   atomic.Int64 // in which the journal took something
	Frames   atomic.Int64 // writes
	Bytes    atomic.Int64 // written to journal files, padding included
	Direct   atomic.Int64 // logs that were synced themselves
	Recycled atomic.Int64 // files that were let go of
	Settled  atomic.Int64 // logs that were synced so that a file could be
	Files    atomic.Int64 // there are now
}

// Journal writes what is pending in many logs with one write, and brings the logs' own files up to date behind it. Its
// methods may be called concurrently.
//
//	             first use or        end of file          all its logs
//	(nothing) ─▶ filled with zeros ─▶ current ─────▶ full ─────────────▶ free ─▶ current …
type Journal struct {
	o     JournalOptions
	stats Stats
	kick  chan struct{} // buffered: a token means "there may be something to do"
	quit  chan struct{}
	done  chan struct{}

	keeping sync.Mutex // held by keep: inline, whoever flushes calls it

	mu    sync.Mutex // held over the write of a frame: there is one at a time, in order
	cond  sync.Cond  // of mu: there is room, or an error
	err   error      // the first failure, or errClosed: nothing is written after it
	life  uint64
	seq   uint64 // of the last frame
	frame Frame
	cur   *journalFile
	full  []*journalFile // oldest first
	free  []*journalFile
	// gone is what files named that were let go of: without a later frame, which says so, they still count.
	gone     []map[Journaled]int64
	made     int
	fullAt   time.Time // when the disk had no room for more; zero: it has
	draining bool
	waiting  int   // Forget calls that found no room
	off      bool  // it is given up
	removed  bool  // … and its files are gone
	paced    int64 // bytes written since logs were last asked to write back
	scratch  []collected
	vector   [1][]byte // of a frame that is written
}

// journalFile is one of the files. Guarded by Journal.mu.
type journalFile struct {
	f     disk.File
	ready int64               // zero-filled, durably, up to here
	at    int64               // where the next frame goes
	first uint64              // the first frame in it
	used  bool                // frames of an earlier use may be behind at
	logs  map[Journaled]int64 // what it names, with the offset after the last bytes
}

// collected is a log in the frame that is being written.
type collected struct {
	l     Journaled
	next  int64
	moved bool // there is somebody to be notified
}

// NewJournal returns a journal that has no file yet. There must be none in the folder: see ReadJournal. Close it.
func NewJournal(o JournalOptions) *Journal {
	o.FileBytes = cmp.Or(o.FileBytes, 64<<20)
	o.Files = max(2, cmp.Or(o.Files, 4))
	o.Direct = cmp.Or(o.Direct, 32<<10)
	o.Parallel = cmp.Or(o.Parallel, 16)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	j := &Journal{o: o, life: binary.LittleEndian.Uint64(b[:]),
		kick: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	j.cond.L = &j.mu
	if o.Inline {
		close(j.done)
	} else {
		go j.run()
	}
	return j
}

// Stats returns the counters.
func (j *Journal) Stats() *Stats { return &j.stats }

// split separates the logs that the journal is to take from those that have too much pending.
func (j *Journal) split(dirty []Log) (small, large []Log) {
	n := 0
	for i, l := range dirty {
		jl, ok := l.(Journaled)
		if !ok {
			continue
		}
		if bytes, ok := jl.Pending(); ok && bytes < j.o.Direct {
			dirty[n], dirty[i] = dirty[i], dirty[n]
			n++
		}
	}
	return dirty[:n], dirty[n:]
}

// take is write, after the upkeep where that is done in line.
func (j *Journal) take(logs []Log) (rest []Log, err error) {
	if j.o.Inline {
		if err := j.keep(); err != nil {
			return nil, err
		}
	}
	if len(logs) == 0 {
		return nil, nil
	}
	return j.write(logs)
}

// write writes what is pending in the logs into the journal and returns those for which it had no room.
func (j *Journal) write(logs []Log) (rest []Log, err error) {
	j.mu.Lock()
	taken, left, err := j.writeLocked(logs)
	if len(taken) == 0 {
		clear(taken[:cap(taken)]) // of what was collected in vain
		j.scratch = taken
		j.mu.Unlock()
		return left, err
	}
	for i := range taken {
		taken[i].moved = taken[i].l.Written(taken[i].next)
	}
	j.mu.Unlock()
	j.stats.Rounds.Add(1)
	for _, c := range taken {
		if c.moved {
			c.l.Notify()
		}
	}
	clear(taken[:cap(taken)]) // a frame behind those that were written may have been collected, too
	j.mu.Lock()
	j.scratch = taken[:0]
	j.mu.Unlock()
	return left, err
}

// writeLocked is write under mu. What it says was taken is durable; the list is the journal's scratch.
func (j *Journal) writeLocked(logs []Log) (taken []collected, rest []Log, err error) {
	taken, j.scratch = j.scratch[:0], nil
	if j.err != nil {
		return taken, nil, j.err
	}
	if j.off || j.draining || !j.fits(block, barrierRoom) {
		return taken, logs, j.err // nobody is asked for bytes for which there is no room
	}
	for at := 0; at < len(logs); {
		from, before := at, len(taken)
		j.frame.reset(j.life, j.seq+1)
		for ; at < len(logs) && len(j.frame.b) < frameTarget; at++ {
			l := logs[at].(Journaled) //nolint:forcetypeassert // split chose it
			next, added, ok := l.Collect(&j.frame, 4*j.o.Direct)
			if added {
				taken = append(taken, collected{l: l, next: next})
			} else if !ok {
				rest = append(rest, l)
			}
		}
		if j.frame.empty() {
			continue
		}
		if !j.fits(j.frame.size(), barrierRoom) {
			return taken[:before], append(rest, logs[from:]...), j.err
		}
		switch err := j.put(); {
		case errors.Is(err, errOff):
			return taken[:before], append(rest, logs[from:]...), nil
		case err != nil:
			return taken[:before], nil, err
		}
		for _, c := range taken[before:] {
			j.cur.logs[c.l] = c.next
		}
	}
	return taken, rest, nil
}

// put writes the frame behind the last one, durably. After errOff nothing else is to be written.
func (j *Journal) put() error {
	f := j.cur
	b := j.frame.seal(j.seq+1, j.floor())
	j.vector[0] = b
	if err := f.f.WritevSync(j.vector[:], f.at); disk.Full(err) {
		j.giveUp(err)
		return errOff
	} else if err != nil {
		j.err = fmt.Errorf("flush journal: %w", err) // I-31: what is on the disk is not known any more
		j.wake()                                     // the upkeep, which tells OnError and those who wait
		return j.err
	}
	j.seq++
	j.gone = nil
	f.at += int64(len(b))
	j.paced += int64(len(b))
	j.stats.Frames.Add(1)
	j.stats.Bytes.Add(int64(len(b)))
	if f.ready-f.at < slice && f.ready < j.o.FileBytes || j.paced >= slice {
		j.wake()
	}
	return nil
}

// floor is the first frame that counts.
func (j *Journal) floor() uint64 {
	switch {
	case len(j.full) > 0:
		return j.full[0].first
	case j.cur != nil:
		return j.cur.first
	}
	return j.seq + 1
}

// fits makes sure that the current file has room for n bytes and leaves so many free, taking another file if need be. That
// takes a write, after which err may be set.
func (j *Journal) fits(n, spare int64) bool {
	spare = min(spare, j.o.FileBytes/4)
	if f := j.cur; f != nil && f.at+n+spare <= f.ready {
		return true
	}
	if f := j.cur; f == nil || f.ready >= j.o.FileBytes && block+n+spare <= j.o.FileBytes {
		if j.advance(n + spare) {
			return true
		}
	}
	j.wake()
	return false
}

// advance makes a free file with room for n bytes the current one. Before what it held is overwritten, a frame in the
// old one says that this does not count any more: were the first write torn, frames would seem to be missing.
func (j *Journal) advance(n int64) bool {
	if j.err != nil || j.off || len(j.free) == 0 || j.free[0].ready < block+n {
		return false
	}
	next := j.free[0]
	if j.cur != nil {
		if next.used && !j.mark() {
			return false
		}
		j.full = append(j.full, j.cur)
		j.wake()
	}
	j.free = j.free[1:]
	next.at, next.first, next.logs = block, j.seq+1, map[Journaled]int64{}
	j.cur = next
	return true
}

// mark writes a frame without records, for what its header says. The last block of a file is kept for it. It must not
// disturb a frame that is being filled.
func (j *Journal) mark() bool {
	filled := j.frame
	j.frame = Frame{}
	j.frame.reset(j.life, j.seq+1)
	err := j.put()
	j.frame = filled
	return err == nil
}

// Forget makes it durable that earlier records of the log mean nothing as far as they end at or below the offset, because
// its own files hold all that (or are about to go). Who changes bytes that may be in the journal, or gives their place to
// others, calls it before. The caller holds no lock that Sync of any log needs.
func (j *Journal) Forget(l Journaled, part topic.Partition, below int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for {
		if err := j.failed(); err != nil { // the write that failed may be on the disk, and name it
			return err
		}
		if !j.names(l) {
			return nil
		}
		if j.err != nil {
			return j.err
		}
		if j.off || !j.fits(block, 2*block) {
			if err := j.wait(); err != nil {
				return err
			}
			continue
		}
		j.frame.reset(j.life, j.seq+1)
		j.frame.Add(&Record{Kind: Forget, Part: part, Next: below}, 0)
		switch err := j.put(); {
		case errors.Is(err, errOff):
			continue
		case err != nil:
			return err
		}
		for _, f := range j.counting() {
			if next, ok := f.logs[l]; ok && next <= below {
				delete(f.logs, l)
			}
		}
		return nil
	}
}

// names reports whether a frame that counts may name the log. It knows of frames whose writes succeeded.
func (j *Journal) names(l Journaled) bool {
	if j.off {
		return !j.removed // what could not be written may name it, too
	}
	for _, f := range j.counting() {
		if _, ok := f.logs[l]; ok {
			return true
		}
	}
	for _, logs := range j.gone {
		if _, ok := logs[l]; ok {
			return true
		}
	}
	return false
}

// wait gives up mu until the upkeep has changed something.
func (j *Journal) wait() error {
	if j.err != nil { // nothing would wake it
		return j.err
	}
	j.waiting++
	defer func() { j.waiting-- }()
	if j.o.Inline {
		j.mu.Unlock()
		defer j.mu.Lock()
		return j.keep()
	}
	j.wake()
	j.cond.Wait()
	return nil
}

func (j *Journal) wake() {
	select {
	case j.kick <- struct{}{}:
	default:
	}
}

// errClosed is the end of a journal in which nothing failed.
var errClosed = errors.New("flush journal: closed")

// Close ends the upkeep and closes the files, which stay.
func (j *Journal) Close() error {
	j.mu.Lock()
	select {
	case <-j.quit:
		j.mu.Unlock()
		return nil
	default:
	}
	close(j.quit)
	if j.err == nil {
		j.err = errClosed
	}
	j.cond.Broadcast()
	j.mu.Unlock()
	<-j.done
	var err error
	for _, f := range append(append(j.full, j.free...), j.cur) {
		if f != nil {
			err = errors.Join(err, f.f.Close())
		}
	}
	return err
}
