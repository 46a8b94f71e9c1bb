package hot

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/epoch"
	"github.com/firnlog/firn/tier/record"
)

// Producers, readers, lookups, trims, rolls and sweeps at once: offsets are handed out once and in order (I-03),
// producers' batches are in order and once (I-05), a reader sees whole batches without a gap, never beyond its limit
// (I-04), and files that are trimmed while they are read stay whole.
func TestConcurrent(t *testing.T) {
	o, c := testOptions(t, disk.OS(), t.TempDir())
	o.JournalBytes = 1 << 20
	opened, err := OpenDir(o)
	require.NoError(t, err)
	d := &testDir{opened, t, c}
	l := d.open(0, func(c *Config) { c.SegmentBytes = 50_000; c.IndexIntervalBytes = 1000; c.FileDeleteDelayMs = 0 })
	var stable atomic.Int64
	advanced := make(chan struct{}, 1)
	l.OnAdvance(func() {
		v := l.Stable()
		for old := stable.Load(); v > old && !stable.CompareAndSwap(old, v); old = stable.Load() {
		}
		select {
		case advanced <- struct{}{}:
		default:
		}
	})
	const producers, each = 6, 100
	var wg, others sync.WaitGroup
	var done atomic.Bool
	offsets := make([][]int64, producers)
	for p := range producers {
		wg.Go(func() {
			for i := range each {
				b := producerBatch(int64(p), int32(2*i), 2, startMs)
				a, err := tryAppend(l, b, 0)
				if err != nil {
					t.Error(err)
					return
				}
				offsets[p] = append(offsets[p], a.BaseOffset)
				for l.Stable() < a.NextOffset && !t.Failed() {
					<-time.After(time.Millisecond)
				}
			}
		})
	}
	for r := range 3 {
		others.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(r), 1))
			at := int64(0)
			for !done.Load() && !t.Failed() {
				limit := l.Stable()
				at = max(at, l.LocalStart())
				if at >= limit {
					at = l.LocalStart()
					continue
				}
				data, err := l.Read(at, limit, 1+rng.IntN(20_000), true)
				if err != nil {
					if l.LocalStart() > at {
						continue // trimmed meanwhile
					}
					t.Error(err)
					return
				}
				at = checkData(t, data, at, limit)
				data.Release()
			}
		})
	}
	others.Go(func() {
		for !done.Load() {
			if err := l.Roll(); err != nil {
				t.Error(err)
			}
			if _, err := l.Trim(l.Stable()-200, "test"); err != nil {
				t.Error(err)
			}
			_, _, err := l.OffsetForTime(startMs, l.Stable())
			if err != nil {
				t.Error(err)
			}
			if _, _, err := l.MaxTimestamp(l.Stable()); err != nil {
				t.Error(err)
			}
			if _, err := l.ProducersAt(l.End()); err != nil {
				t.Error(err)
			}
			l.Segments()
			d.sweep()
			d.savePoints()
		}
	})
	others.Go(func() { // the uploader, and who saves recovery points
		for at := int64(0); !done.Load(); {
			at = min(max(at+50, l.LocalStart()), l.Stable())
			entries, err := l.ProducersAt(at)
			if err != nil && !errors.Is(err, ErrOutOfRange) {
				t.Error(err)
			}
			for i := range entries {
				if b := entries[i].Batches(); b[len(b)-1].LastOffset >= at {
					t.Errorf("at offset %d, producer %d has written up to %d", at, entries[i].ID, b[len(b)-1].LastOffset)
				}
			}
			if err := l.snapshotProducers(); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	done.Store(true)
	others.Wait()
	seen := map[int64]bool{}
	for _, of := range offsets {
		last := int64(-1)
		for _, o := range of {
			require.False(t, seen[o] || o <= last, "offset %d", o)
			seen[o], last = true, o
		}
	}
	require.Equal(t, int64(producers*each*2), l.End())
	require.Equal(t, l.End(), l.Stable())
	require.Equal(t, l.End(), stable.Load(), "the last advance was not told")
	require.NoError(t, d.Close())
	require.Zero(t, d.files.len(), "files stay open")
}

// checkData reads the regions as a client gets them and returns the next offset.
func checkData(t *testing.T, data *Data, at, limit int64) int64 {
	for _, r := range data.Regions {
		b := make([]byte, r.Length)
		if _, err := r.File.ReadAt(b, r.Position); err != nil {
			t.Error(err)
			return limit
		}
		it := record.Batches(b)
		for it.Next() {
			h, err := record.Check(it.Bytes())
			if err != nil || h.BaseOffset > at || h.NextOffset() <= at || h.NextOffset() > limit {
				t.Errorf("batch [%d, %d) at %d of %d: %v", h.BaseOffset, h.NextOffset(), at, limit, err)
				return limit
			}
			at = h.NextOffset()
		}
		if it.Err() != nil {
			t.Error(it.Err())
		}
	}
	if at != data.Next {
		t.Errorf("Next is %d, the batches end at %d", data.Next, at)
	}
	return at
}

// A region that was read stays whole when its segment is trimmed, its partition removed, and its directory closed.
func TestPinnedRegions(t *testing.T) {
	d := openDir(t, disk.OS(), t.TempDir())
	l := d.open(0, nil)
	want := mustAppend(t, l, batch(3, 100, startMs))
	require.NoError(t, l.Roll())
	appendTo(t, l, batch(1, 1, startMs))
	require.NoError(t, l.Flush())
	data, err := l.Read(0, 3, 1<<20, true)
	require.NoError(t, err)
	freed, err := l.Trim(3, "test")
	require.NoError(t, err)
	require.Equal(t, int64(len(want)), freed)
	_, err = l.Read(0, 3, 1<<20, true)
	require.ErrorIs(t, err, ErrOutOfRange)
	require.NoError(t, d.Remove(part(0)))
	require.NoError(t, d.Close())
	got := make([]byte, data.Regions[0].Length)
	_, err = data.Regions[0].File.ReadAt(got, data.Regions[0].Position)
	require.NoError(t, err)
	require.Equal(t, want, got)
	data.Release()
	_, err = data.one[0].File.ReadAt(got, 0)
	require.Error(t, err, "the file is still open")
}

// Thousands of idle logs hold no files, and a clean start reads none of them.
func TestIdleLogs(t *testing.T) {
	n := int32(1000)
	if full() {
		n = 10_000
	}
	mem := disk.NewCrashable(1)
	d := openDir(t, mem, "/log")
	for i := range n {
		l := d.open(i, nil)
		if i%100 == 0 {
			appendTo(t, l, batch(1, 10, startMs))
		}
		require.NoError(t, l.Make())
	}
	for range 4 {
		d.sweep()
	}
	require.Eventually(t, func() bool { d.sweep(); return d.files.len() == 0 }, 10*time.Second, time.Millisecond)
	require.NoError(t, d.Close())

	f := disk.NewFaulty(mem, nil)
	d = openDir(t, f, "/log")
	require.Len(t, d.Partitions(), int(n))
	reads, opens := f.Count(disk.OpRead), f.Count(disk.OpOpen)
	for i := range n {
		require.Equal(t, i%100 == 0, d.open(i, nil).End() == 1)
	}
	require.Equal(t, reads, f.Count(disk.OpRead))
	require.Equal(t, opens, f.Count(disk.OpOpen))
	require.NoError(t, d.Close())
}

// A folder of another topic id is set aside, and the new life begins empty (I-38).
func TestStray(t *testing.T) {
	dir := t.TempDir()
	d := openDir(t, disk.OS(), dir)
	l := d.open(0, nil)
	appendTo(t, l, batch(3, 100, startMs))
	p := part(0)
	p.ID[7]++
	l2, err := d.Open(p, nil) // while the old one is open
	require.NoError(t, err)
	require.Zero(t, l2.End())
	require.Len(t, d.Strays(), 1)
	_, err = tryAppend(l, batch(1, 1, startMs), 0)
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, d.Remove(part(0)), "the old life is gone already")
	appendTo(t, l2, batch(2, 1, startMs))
	require.NoError(t, d.Close())

	d = openDir(t, disk.OS(), dir)
	l = d.open(0, nil) // after a restart
	require.Zero(t, l.End())
	require.Len(t, d.Strays(), 2)
	require.NoError(t, d.Close())
}

func TestSecondProcess(t *testing.T) {
	dir := t.TempDir()
	d := openDir(t, disk.OS(), dir)
	o, _ := testOptions(t, disk.OS(), dir)
	_, err := OpenDir(o)
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, d.Close())
	d = openDir(t, disk.OS(), dir)
	require.NoError(t, d.Close())
}

// In page-cache mode Stable follows End, and flush.messages and flush.ms say when a flush comes.
func TestPageCacheMode(t *testing.T) {
	d := openDir(t, disk.NewCrashable(1), "/log")
	l := d.open(0, func(c *Config) { c.FlushMessages, c.FlushMs = 10, 5000 })
	appendTo(t, l, batch(3, 10, startMs))
	require.Equal(t, int64(3), l.Stable())
	require.Zero(t, l.Flushed())
	d.clock.ms += 4999
	d.housekeep()
	require.Zero(t, l.Flushed())
	d.clock.ms++
	d.housekeep()
	require.Eventually(t, func() bool { return l.Flushed() == 3 }, 10*time.Second, time.Millisecond)
	appendTo(t, l, batch(9, 10, startMs))
	require.Equal(t, int64(3), l.Flushed())
	appendTo(t, l, batch(1, 10, startMs))
	require.Eventually(t, func() bool { return l.Flushed() == 13 }, 10*time.Second, time.Millisecond)

	appendTo(t, l, batch(2, 10, startMs))
	cfg := DefaultConfig()
	l.SetConfig(&cfg)
	require.Equal(t, int64(15), l.Stable(), "Stable went back")
	require.Eventually(t, func() bool { return l.Flushed() == 15 }, 10*time.Second, time.Millisecond)
	require.NoError(t, d.Close())
}

func TestFencedEpoch(t *testing.T) { // I-03
	d := openDir(t, disk.NewCrashable(1), "/log")
	l := d.open(0, nil)
	require.NoError(t, l.AssignEpoch(4, -1))
	_, err := tryAppend(l, batch(1, 10, startMs), 3)
	require.ErrorIs(t, err, ErrFenced)
	b := batch(1, 10, startMs)
	_, err = tryAppend(l, b, 4)
	require.NoError(t, err)
	h, err := record.ParseHeader(b)
	require.NoError(t, err)
	require.Equal(t, int32(4), h.LeaderEpoch)
	require.ErrorIs(t, l.AssignEpoch(3, -1), ErrFenced)
	_, err = tryAppend(l, batch(1, 10, startMs), 6)
	require.NoError(t, err)
	require.Equal(t, "[{4 0} {6 1}]", fmt.Sprint(l.Epochs()))
	require.NoError(t, d.Close())
}

// TestOpenFilesAreBounded: who uses many logs in turn has no more files open than allowed, but for those being flushed,
// without waiting for the housekeeping.
func TestOpenFilesAreBounded(t *testing.T) {
	o, _ := testOptions(t, disk.OS(), t.TempDir())
	o.MaxOpenFiles = 10
	d, err := OpenDir(o)
	require.NoError(t, err)
	cfg := DefaultConfig()
	var logs []*Log
	for i := range int32(100) {
		l, err := d.Open(part(i), &cfg)
		require.NoError(t, err)
		appendTo(t, l, batch(3, 10, startMs))
		require.NoError(t, l.Flush())
		require.LessOrEqual(t, d.files.len(), 12)
		logs = append(logs, l)
	}
	for _, l := range logs {
		b, err := l.ReadBytes(0, l.End(), 1000)
		require.NoError(t, err)
		require.NotEmpty(t, b)
		require.LessOrEqual(t, d.files.len(), 12)
	}
	require.NoError(t, d.Close())
}

// A leader epoch that begins while a batch of the one before is being written begins behind it.
func TestEpochBeginsBehindWhatIsBeingWritten(t *testing.T) {
	f := disk.NewFaulty(disk.NewCrashable(1), nil)
	d := openDir(t, f, "/log")
	l := d.open(0, nil)
	require.NoError(t, l.AssignEpoch(1, -1))
	_, err := tryAppend(l, batch(1, 10, startMs), 1)
	require.NoError(t, err)
	done := make(chan error, 1)
	var once sync.Once
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpWrite && strings.HasSuffix(c.Name, logSuffix) {
			once.Do(func() {
				go func() { done <- l.AssignEpoch(2, -1) }()
				require.Eventually(t, func() bool { // until it has come
					free := l.trimMu.TryLock()
					if free {
						l.trimMu.Unlock()
					}
					return !free
				}, time.Minute, time.Millisecond)
			})
		}
		return disk.Fault{}
	})
	_, err = tryAppend(l, batch(3, 10, startMs), 1)
	require.NoError(t, err)
	require.NoError(t, <-done)
	f.SetHook(nil)
	require.Equal(t, []epoch.Entry{{Epoch: 1, Start: 0}, {Epoch: 2, Start: 4}}, l.Epochs())
	require.NoError(t, d.Close())
}
