package clean

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/record"
)

// tripFS runs trip ahead of the n-th change of the file system from now, and makes no more when it is dead: the flusher of a
// process that was killed does nothing any more.
type tripFS struct {
	disk.FS
	mu   sync.Mutex // the flusher runs beside
	left int
	trip func()

	life sync.RWMutex // held while something is changed
	dead bool
}

var errDead = errors.New("the process is dead")

func (f *tripFS) set(left int, trip func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.trip = left, trip
}

func (f *tripFS) kill() {
	f.life.Lock()
	defer f.life.Unlock()
	f.dead = true
}

// change makes one, if the process lives.
func (f *tripFS) change(fn func() error) error {
	f.life.RLock()
	defer f.life.RUnlock()
	if f.dead {
		return errDead
	}
	f.count()
	return fn()
}

func (f *tripFS) count() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left--; f.left == 0 {
		f.trip()
	}
}

func (f *tripFS) Rename(a, b string) error {
	return f.change(func() error { return f.FS.Rename(a, b) })
}

func (f *tripFS) Remove(name string) error {
	return f.change(func() error { return f.FS.Remove(name) })
}

func (f *tripFS) SyncDir(name string) error {
	return f.change(func() error { return f.FS.SyncDir(name) })
}

func (f *tripFS) OpenFile(name string, flag int, perm fs.FileMode) (of disk.File, err error) {
	open := func() (err error) { of, err = f.FS.OpenFile(name, flag, perm); return err }
	if flag&os.O_CREATE != 0 {
		err = f.change(open)
	} else {
		err = open()
	}
	if err != nil {
		return nil, err
	}
	return &tripFile{of, f}, nil
}

type tripFile struct {
	disk.File
	f *tripFS
}

func (t *tripFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = t.f.change(func() error { n, err = t.File.WriteAt(p, off); return err })
	return n, err
}

func (t *tripFile) WritevAt(bufs [][]byte, off int64) (n int64, err error) {
	err = t.f.change(func() error { n, err = t.File.WritevAt(bufs, off); return err })
	return n, err
}

func (t *tripFile) WritevSync(bufs [][]byte, off int64) error {
	return t.f.change(func() error { return t.File.WritevSync(bufs, off) })
}

func (t *tripFile) Truncate(size int64) error {
	return t.f.change(func() error { return t.File.Truncate(size) })
}

func (t *tripFile) Datasync() error { return t.f.change(t.File.Datasync) }

// model is what a log must mean.
type model struct {
	written []entry // all that was appended and not lost, by offset
	end     int64
	start   int64
	seqs    map[int64][]sent // of each producer, oldest first
	marked  map[int64]int64  // tombstones by offset: when a cleaning first met them
}

type sent struct {
	batch []byte
	base  int64
	next  int64
	seq   int32 // the one that follows
}

type sim struct {
	t     *testing.T
	rng   *rand.Rand
	mem   *disk.Crashable
	fs    *tripFS
	clock clock
	boot  int
	d     *hot.Dir
	l     *hot.Log
	c     *Cleaner
	m     model
	trace []string
}

const simRetention = 5000

func (s *sim) note(format string, args ...any) {
	s.trace = append(s.trace, fmt.Sprintf(format, args...))
}

func (s *sim) start() {
	s.fs = &tripFS{FS: s.mem}
	s.d = openDir(s.t, s.fs, "/log", fmt.Sprint(s.boot), &s.clock, slog.New(slog.DiscardHandler))
	s.l = openLog(s.t, s.d, 0, func(c *hot.Config) { c.SegmentBytes = 2000 })
	s.c = New(Options{Dir: s.d, Policy: always(Policy{Compact: true, MinDirtyRatio: 0.2, MaxLagMs: hot.Forever,
		DeleteRetentionMs: simRetention}), Tuning: Tuning{DedupeBuffer: slotBytes * int64(8+s.rng.IntN(60)), IOBuffer: 700}, Now: s.clock.now,
		Logger: slog.New(slog.DiscardHandler)})
}

func (s *sim) append() {
	s.clock.ms += int64(s.rng.IntN(400))
	n := 1 + s.rng.IntN(4)
	b := record.NewBuilder(record.Codec(s.rng.IntN(5)))
	pid := int64(s.rng.IntN(4))
	seq := int32(0)
	if pid > 0 {
		if old := s.m.seqs[pid]; len(old) > 0 {
			seq = old[len(old)-1].seq
		}
		b.Producer(pid, 0, seq)
	}
	var added []entry
	for i := range n {
		e := entry{key: []byte(fmt.Sprint(s.rng.IntN(12))), ts: s.clock.ms}
		if s.rng.IntN(5) > 0 {
			e.value = bytes.Repeat([]byte{byte('a' + s.rng.IntN(26))}, s.rng.IntN(120))
		}
		e.offset = s.m.end + int64(i)
		b.Append(e.ts, e.key, e.value, nil)
		added = append(added, e)
	}
	batch := b.Build(0)
	a := put(s.t, s.l, bytes.Clone(batch), s.clock.ms, true)
	require.Equal(s.t, s.m.end, a.BaseOffset)
	require.False(s.t, a.Duplicate)
	s.m.written = append(s.m.written, added...)
	s.m.end = a.NextOffset
	if pid > 0 {
		s.m.seqs[pid] = append(s.m.seqs[pid], sent{batch, a.BaseOffset, a.NextOffset, seq + int32(n)})
	}
}

// lost forgets what the machine lost, none of which was acknowledged.
func (s *sim) lost(acked int64) {
	end := s.l.End()
	require.GreaterOrEqual(s.t, end, acked, "acknowledged records are lost")
	require.LessOrEqual(s.t, end, s.m.end)
	for len(s.m.written) > 0 && s.m.written[len(s.m.written)-1].offset >= end {
		s.m.written = s.m.written[:len(s.m.written)-1]
	}
	s.m.end = end
	for pid, all := range s.m.seqs {
		for len(all) > 0 && all[len(all)-1].base >= end {
			all = all[:len(all)-1]
		}
		s.m.seqs[pid] = all
	}
}

func (s *sim) restart(mem *disk.Crashable, acked int64) {
	s.fs.kill()
	_ = s.d.Close() // which changes nothing any more, but ends what would keep the memory of the disk
	s.mem = mem
	s.boot++
	s.start()
	s.lost(acked)
}

func (s *sim) step() {
	switch n := s.rng.IntN(100); {
	case n < 60:
		s.append()
	case n < 66:
		require.NoError(s.t, s.l.Sync())
	case n < 70:
		require.NoError(s.t, s.l.Roll())
	case n < 85:
		s.clean(false)
	case n < 90: // the power fails in the middle of a cleaning
		s.clean(true)
	case n < 92:
		to := s.l.LogStart() + s.rng.Int64N(s.l.End()-s.l.LogStart()+1)/4
		require.NoError(s.t, s.l.AdvanceStart(to))
		s.m.start = max(s.m.start, to)
		s.note("log start %d", to)
	case n < 94:
		s.clock.ms += simRetention
	case n < 96:
		require.NoError(s.t, s.d.Close())
		s.note("clean restart")
		s.restart(s.mem, s.m.end)
	case n < 98: // the process dies, what it wrote is there
		s.note("killed")
		s.fs.kill()
		s.boot--
		s.restart(s.mem, s.m.end)
	default:
		acked := s.l.Stable()
		s.note("power cut, acknowledged %d", acked)
		s.restart(s.mem.CrashTorn(), acked)
	}
}

func (s *sim) clean(crash bool) {
	var left *disk.Crashable
	acked := int64(0)
	if crash {
		s.fs.set(1+s.rng.IntN(60), func() {
			acked = s.l.Stable() // first: the flusher goes on meanwhile
			left = s.mem.CrashTorn()
		})
	}
	for _, e := range s.m.written {
		if _, ok := s.m.marked[e.offset]; e.value == nil && !ok {
			s.m.marked[e.offset] = s.clock.ms
		}
	}
	cleaned, err := s.c.Round(context.Background())
	require.NoError(s.t, err)
	s.note("cleaned %t up to %d of %d", cleaned, s.c.Clean(part(0)), s.l.End())
	s.fs.set(0, nil)
	if left != nil {
		s.check() // what readers saw until then
		s.note("but the power had failed")
		s.restart(left, acked)
	}
}

// check holds the log against the model: what is there is what was written, where it was written; the newest record of
// each key is there, unless it is a tombstone that was due; below what is clean each key stands once; every producer's
// last batch is known (I-05, I-17).
func (s *sim) check() {
	t := s.t
	byOffset := map[int64]*entry{}
	newest := map[string]*entry{}
	for i := range s.m.written {
		e := &s.m.written[i]
		byOffset[e.offset] = e
		newest[string(e.key)] = e
	}
	start := s.l.LogStart()
	require.GreaterOrEqual(t, start, s.m.start)
	got := map[string]entry{}
	count := map[string]int{}
	clean := s.c.Clean(part(0))
	for _, b := range read(t, s.l) {
		for _, e := range b.records {
			was := byOffset[e.offset]
			require.NotNil(t, was, "offset %d was never written", e.offset)
			require.Equal(t, was.key, e.key, "offset %d", e.offset)
			require.Equal(t, was.value == nil, e.value == nil, "offset %d", e.offset)
			require.True(t, bytes.Equal(was.value, e.value), "offset %d", e.offset)
			require.Equal(t, was.ts, e.ts, "offset %d", e.offset)
			got[string(e.key)] = e
			if e.offset < clean && b.BaseOffset >= start {
				count[string(e.key)]++
			}
		}
	}
	for k, want := range newest {
		e, ok := got[k]
		if want.offset < start {
			continue
		}
		if want.value == nil && !ok {
			marked, met := s.m.marked[want.offset]
			require.True(t, met && s.clock.ms >= marked+simRetention, "the tombstone of key %s went too early", k)
			continue
		}
		require.True(t, ok, "key %s is gone, its newest record was at %d", k, want.offset)
		require.Equal(t, want.offset, e.offset, "key %s", k)
	}
	for k, n := range count {
		require.Equal(t, 1, n, "key %s stands %d times below %d", k, n, clean)
	}
	for pid, all := range s.m.seqs {
		if len(all) == 0 {
			continue
		}
		for i, b := range all[max(0, len(all)-5):] {
			a := put(t, s.l, bytes.Clone(b.batch), s.clock.ms, true)
			require.True(t, a.Duplicate, "producer %d: batch %d of the last five was stored twice", pid, i)
			require.Equal(t, b.base, a.BaseOffset)
		}
	}
}

// TestModel appends keyed records, rolls, cleans, restarts, kills and cuts the power at random from a seed; after each
// step the log means what it should (I-01, I-05, I-17).
func TestModel(t *testing.T) {
	seeds := uint64(15)
	switch {
	case os.Getenv("FIRN_E2E_FULL") == "1":
		seeds = 200
	case testing.Short():
		seeds = 5
	}
	cleanings := 0
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := &sim{t: t, rng: rand.New(rand.NewPCG(seed, 3)), mem: disk.NewCrashable(seed), clock: clock{startMs},
				m: model{seqs: map[int64][]sent{}, marked: map[int64]int64{}}}
			defer func() {
				if t.Failed() {
					for _, line := range s.trace {
						t.Log(line)
					}
				}
			}()
			s.start()
			for range 300 {
				s.step()
				s.check()
			}
			if s.c.Clean(part(0)) > 0 {
				cleanings++
			}
			require.Empty(t, s.c.Uncleanable())
			require.NoError(t, s.d.Close())
		})
	}
	require.Greater(t, cleanings, int(seeds)/2)
}
