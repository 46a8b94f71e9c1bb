package hot

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/producer"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
)

// syncSpy is a file system that knows from which lines of code it is told to sync, and ignores one of them.
type syncSpy struct {
	disk.FS
	mu     sync.Mutex
	ignore string
	seen   map[string]int
}

// ask notes the line that called Datasync or SyncDir and says whether the call counts.
func (s *syncSpy) ask() bool {
	pc := make([]uintptr, 8)
	frames := runtime.CallersFrames(pc[:runtime.Callers(3, pc)])
	var site string
	for {
		f, more := frames.Next()
		if site = fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line); !strings.HasSuffix(f.File, "_test.go") || !more {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[site]++
	return site != s.ignore
}

// came reports whether a line was asked for; a story may have left somebody at work.
func (s *syncSpy) came(site string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[site] > 0
}

func (s *syncSpy) SyncDir(name string) error {
	if !s.ask() {
		return nil
	}
	return s.FS.SyncDir(name)
}

func (s *syncSpy) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	f, err := s.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &spyFile{f, s}, nil
}

type spyFile struct {
	disk.File
	s *syncSpy
}

func (f *spyFile) WritevSync(bufs [][]byte, off int64) error {
	if !f.s.ask() {
		_, err := f.WritevAt(bufs, off)
		return err
	}
	return f.File.WritevSync(bufs, off)
}

func (f *spyFile) Datasync() error {
	if !f.s.ask() {
		return nil
	}
	return f.File.Datasync()
}

// world is a machine with one log directory that loses power now and then. Its methods panic with what went wrong;
// attempt turns that into an error.
type world struct {
	mem   *disk.Crashable
	spy   *syncSpy
	d     *Dir
	boot  int
	clock *clock
	log   *slog.Logger
	id    topic.ID
	wrap  func(disk.FS) disk.FS // what lies between the log directory and the machine, if anything
	// journal: flushes go through a small one. Odd seeds have it.
	journal bool
	// every is checkpointBytes; 0: 1000.
	every int64
	// preallocate: segments' files are made as long as they may become.
	preallocate bool
	// paged: partitions from 2 on are not flushed before they acknowledge.
	paged bool
}

func newWorld(seed uint64, ignore string) *world {
	w := &world{mem: disk.NewCrashable(seed), clock: &clock{ms: startMs}, id: testID, log: slog.New(slog.DiscardHandler)}
	w.spy = &syncSpy{ignore: ignore, seen: map[string]int{}}
	w.journal = seed%2 == 1
	w.start()
	return w
}

// rarely has no checkpoints made, so that the state file alone tells what snapshots would.
func (w *world) rarely() {
	w.every = 1 << 40
	w.kill()
}

// attempt calls fn and returns what it panicked with.
func attempt(fn func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	fn()
	return nil
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf(format, args...))
	}
}

func (w *world) start() { must(w.tryStart()) }

func (w *world) tryStart() error {
	w.spy.FS = w.mem
	if w.wrap != nil {
		w.spy.FS = w.wrap(w.mem)
	}
	o := Options{FS: w.spy, Path: "/data/log", Logger: w.log, Now: w.clock.now,
		BootID: fmt.Sprint("boot-", w.boot), Housekeep: -1, JournalBytes: -1, journalInline: true,
		checkpointBytes: cmp.Or(w.every, 1000)}
	if w.journal {
		o.JournalBytes = 64 << 10
	}
	d, err := OpenDir(o)
	if err == nil {
		w.d = d
	}
	return err
}

// kill ends the process and starts another: what was written is still there.
func (w *world) kill() {
	w.d.flusher.Close()
	w.start()
}

// power cuts it and starts again: with torn, the disk had written some of what was not synced.
func (w *world) power(torn bool) {
	w.off(torn)
	w.start()
	nothing := w.d.LastStop() == StopNone && len(w.d.Partitions()) == 0 // not even the mark of the start was durable yet
	check(w.d.LastStop() == StopCrashed || nothing, "after a power cut, LastStop is %v", w.d.LastStop())
}

// off cuts the power.
func (w *world) off(torn bool) {
	next := w.mem.Crash
	if torn {
		next = w.mem.CrashTorn
	}
	mem := next()
	w.d.flusher.Close()
	w.mem = mem
	w.boot++
}

func (w *world) stop() {
	must(w.d.Close())
}

func (w *world) part(index int32) topic.Partition {
	return topic.Partition{ID: w.id, Topic: "t", Index: index}
}

func (w *world) open(index int32) *Log {
	cfg := w.config(index)
	l, err := w.d.Open(w.part(index), &cfg)
	must(err)
	return l
}

func (w *world) config(index int32) Config {
	cfg := DefaultConfig()
	cfg.SegmentBytes = 4000
	cfg.IndexIntervalBytes = 500
	cfg.TimestampAfterMaxMs = Forever
	cfg.FileDeleteDelayMs = 0
	cfg.RemoteStorage = index%2 == 1
	cfg.Preallocate = w.preallocate
	if w.paged && index >= 2 {
		cfg.FlushMessages = Forever
	}
	return cfg
}

// put appends and returns what was appended; flushed, unless told otherwise.
func (w *world) put(l *Log, n int) []byte {
	b := w.write(l, n)
	must(l.Flush())
	return b
}

func (w *world) write(l *Log, n int) []byte {
	w.clock.ms++
	b := batch(n, 60, w.clock.ms)
	_, err := tryAppend(l, b, max(0, l.latestEpoch()))
	must(err)
	return b
}

// putMany appends batches of one record until the log has rolled so many times.
func (w *world) putMany(l *Log, rolls int) []byte {
	var out []byte
	for segs := len(l.Segments()) + rolls; len(l.Segments()) < segs; {
		out = append(out, w.write(l, 1)...)
	}
	must(l.Flush())
	return out
}

func producerBatch(pid int64, seq int32, n int, ts int64) []byte {
	b := record.NewBuilder(record.None).Producer(pid, 0, seq)
	for i := range n {
		b.Append(ts+int64(i), nil, []byte(fmt.Sprintf("p%d-%d", pid, int(seq)+i)), nil)
	}
	return b.Build(0)
}

// content returns everything from LocalStart to End and panics at a gap.
func content(l *Log) []byte {
	var out []byte
	for at := l.LocalStart(); at < l.End(); {
		b, err := l.ReadBytes(at, l.End(), 3000)
		must(err)
		check(len(b) > 0, "nothing at offset %d of [%d, %d)", at, l.LocalStart(), l.End())
		for it := record.Batches(b); ; {
			if !it.Next() {
				must(it.Err())
				break
			}
			h, err := record.CheckStored(it.Bytes())
			must(err)
			check(h.BaseOffset <= at && h.NextOffset() > at, "batch [%d, %d) at offset %d", h.BaseOffset, h.NextOffset(), at)
			at = h.NextOffset()
		}
		out = append(out, b...)
	}
	return out
}

// holds says that the log holds exactly want at its end, and nothing after.
func holds(l *Log, want []byte) {
	got := content(l)
	check(bytes.HasSuffix(got, want), "the log ends at %d with %d bytes, want at least %d bytes of what was acknowledged",
		l.End(), len(got), len(want))
}

func producersOf(l *Log) []producer.Entry {
	e, err := l.Producers()
	must(err)
	return e
}

// indexesHold checks every segment's indexes against its batches.
func indexesHold(l *Log) {
	for _, s := range l.segments() {
		must(s.checkIndexes())
		want := newSegment(l, s.base)
		t := noTime(s.base)
		var bases []int64
		must(s.walk(0, s.now().size, func(h *record.Header, _ int64) {
			want.note(&t, h, 0) // an entry for each batch
			bases = append(bases, h.BaseOffset)
		}))
		got := s.now()
		check(got.next == t.next && got.size == t.size && got.maxTime == t.maxTime,
			"segment %d is noted as %+v and is %+v", s.base, got, t)
		for _, field := range []indexField{byOffset, byPosition} {
			for v := int64(0); v <= max(t.size, t.next-s.base); v += 97 {
				e, ok, err := s.idx.floor(field, v, v*2, mayWait)
				must(err)
				if !ok {
					continue
				}
				at, pos := s.base+byOffset.of(e[:]), byPosition.of(e[:])
				p, base, err := s.find(at)
				must(err)
				check(p == pos && slices.Contains(bases, base), "segment %d: index says %d at %d, found %d at %d",
					s.base, at, pos, base, p)
			}
		}
	}
}
