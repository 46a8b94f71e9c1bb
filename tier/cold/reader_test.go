package cold_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/archive"
	"github.com/firnlog/firn/tier/cold"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/segment"
)

// Every offset, every way of cutting: what comes back is what was appended (I-18, I-21).
func TestReadEveryOffset(t *testing.T) {
	for _, c := range []segment.Compression{segment.CompressionNone, segment.CompressionZstd} {
		h := newHistory(t, 1, 300, 20<<10, c)
		r := h.reader(cold.Options{GroupBytes: 10 << 10})
		rnd := rand.New(rand.NewPCG(2, 2))
		for o := int64(0); o < h.l.Next; o++ {
			h.check(r, o, 1+rnd.IntN(12<<10))
		}
	}
}

// Sequential reading fetches ahead, across segment ends, and each chunk once.
func TestReadAheadAndSingleFlight(t *testing.T) {
	h := newHistory(t, 10, 600, 32<<10, segment.CompressionNone)
	f := &flipping{Store: h.store}
	r := h.reader(cold.Options{Store: f, GroupBytes: 8 << 10})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for o := int64(0); o < h.l.Next; {
				d, err := r.Read(context.Background(), h.p, h.l, o, 4000)
				if err != nil {
					t.Error(err)
					return
				}
				o = d.Next
				d.Release()
			}
		})
	}
	wg.Wait()
	groups, bytes := 0, int64(0)
	for _, s := range h.l.Recent {
		ix, err := archive.Index(context.Background(), h.store, s)
		require.NoError(t, err)
		bytes += s.DataBytes + s.IndexLength
		raw := 0
		groups++
		for _, c := range ix.Chunks() {
			if raw > 0 && raw+c.Length > 8<<10 {
				groups++
				raw = 0
			}
			raw += c.Length
		}
	}
	require.Equal(t, bytes, f.bytes.Load(), "every byte is fetched once")
	require.Less(t, f.gets.Load(), int64(groups), "one GET fetches several groups")
}

// While producers write to a busy machine, what is read ahead waits for its turn, what a consumer waits for does not, and
// answers are told to; afterwards nothing waits.
func TestYieldsToProducers(t *testing.T) {
	for name, c := range map[string]segment.Compression{"raw": segment.CompressionNone, "compressed": segment.CompressionZstd} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t, 11, 600, 32<<10, c)
			reg := prometheus.NewRegistry()
			var producing atomic.Bool
			r := h.reader(cold.Options{GroupBytes: 8 << 10, Producing: producing.Load, Registerer: reg})
			yielded := func() float64 {
				all, err := reg.Gather()
				require.NoError(t, err)
				for _, m := range all {
					if m.GetName() == "firn_cold_yielded_seconds_total" {
						return m.GetMetric()[0].GetCounter().GetValue()
					}
				}
				return -1
			}
			require.Zero(t, r.Turn(1<<30))
			o := h.check(r, 0, 4000)
			require.Zero(t, yielded())
			producing.Store(true)
			r.Slow()
			for yielded() == 0 && o < h.l.Next {
				o = h.check(r, o, 4000)
			}
			require.Positive(t, yielded(), "nothing that was read ahead waited")
			r.Turn(1)
			require.Positive(t, r.Turn(1))
			producing.Store(false)
			require.Zero(t, r.Turn(1<<30))
			for o < h.l.Next {
				o = h.check(r, o, 4000)
			}
		})
	}
}

// A folded ledger answers like an unfolded one (I-19), at every offset and time.
func TestFolded(t *testing.T) {
	h := newHistory(t, 12, 200, 8<<10, segment.CompressionNone)
	flat := h.l
	key := h.fold()
	r := h.reader(cold.Options{})
	for o := int64(0); o < h.l.Next; o += 3 {
		h.check(r, o, 6000)
	}
	for ts := int64(999_900); ts < 1_002_100; ts += 7 {
		a, okA, err := r.OffsetForTime(context.Background(), h.p, flat, ts)
		require.NoError(t, err)
		b, okB, err := r.OffsetForTime(context.Background(), h.p, h.l, ts)
		require.NoError(t, err)
		require.Equal(t, okA, okB)
		require.Equal(t, a, b)
	}
	a, _, err := r.MaxTimestamp(context.Background(), h.p, flat)
	require.NoError(t, err)
	c, _, err := r.MaxTimestamp(context.Background(), h.p, h.l)
	require.NoError(t, err)
	require.Equal(t, a, c)
	pl, err := r.Locate(context.Background(), h.p, h.l, 0)
	require.NoError(t, err)
	require.Equal(t, key, pl.Fold)
	require.True(t, pl.Cached)
	end, err := r.End(context.Background(), h.p, h.l)
	require.NoError(t, err)
	require.Equal(t, h.l.Next, end.Next)
	require.Equal(t, []segment.EpochEntry{{Epoch: 1}}, end.Epochs)
}

func TestClosed(t *testing.T) {
	h := newHistory(t, 13, 10, 8<<10, segment.CompressionNone)
	r, err := cold.New(cold.Options{Store: h.store, CacheDir: t.TempDir()})
	require.NoError(t, err)
	d, err := r.Read(context.Background(), h.p, h.l, 0, 1000)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, h.bytes[:d.Bytes], content(t, d))
	d.Release()
	_, err = r.Read(context.Background(), h.p, h.l, h.l.Next-1, 1000)
	require.True(t, err == nil || errors.Is(err, cold.ErrClosed))
}

// A read of what is cached allocates its answer and nothing else, or nothing into one that is at hand, however many batches
// and groups it goes over, and whether the ledger names the segment itself or in a fold.
func TestWarmReadAllocations(t *testing.T) {
	h := newHistory(t, 13, 600, 64<<10, segment.CompressionNone)
	r := h.reader(cold.Options{GroupBytes: 16 << 10})
	check := func(t *testing.T) {
		for o := int64(0); o < h.l.Next; {
			o = h.check(r, o, 4000)
		}
		const offset = 5
		var d cold.Data
		for _, max := range []int{1, 40 << 10, 1 << 20} {
			grown := 0.0
			if max > 40<<10 {
				grown = 10 // more groups than an answer has room for at first
			}
			require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
				d, err := r.Read(context.Background(), h.p, h.l, offset, max)
				if err != nil {
					t.Fatal(err)
				}
				d.Release()
			}), 1.0+grown, "%d bytes", max)
			require.Zero(t, testing.AllocsPerRun(100, func() {
				if !r.ReadCached(&d, h.p, h.l, offset, max, false) || d.Bytes == 0 {
					t.Fatal("it is not in the cache")
				}
				d.Release()
			}), "%d bytes", max)
		}
		reads := 0
		pass := testing.AllocsPerRun(10, func() { // as a consumer that follows the archive, which is read ahead
			reads = 0
			for o := int64(0); o < h.l.Next; reads++ {
				if !r.ReadCached(&d, h.p, h.l, o, 4000, false) {
					t.Fatal("it is not in the cache")
				}
				o = d.Next
				d.Release()
			}
		})
		require.Greater(t, reads, 100)
		require.LessOrEqual(t, pass, 4.0, "a stream that is noticed, not each of its reads")
	}
	t.Run("recent", check)
	h.fold()
	t.Run("folded", check)
}

// What is not in the cache is not waited for, and nothing is left behind (I-22).
func TestReadCachedDoesNotWait(t *testing.T) {
	h := newHistory(t, 14, 100, 16<<10, segment.CompressionZstd)
	fs := disk.NewFaulty(disk.OS(), nil)
	r := h.reader(cold.Options{FS: fs})
	var d cold.Data
	require.False(t, r.ReadCached(&d, h.p, h.l, 0, 1<<20, false))
	require.Empty(t, d.Regions)
	for o := int64(0); o < h.l.Next; {
		o = h.check(r, o, 4000)
	}
	for o := range h.l.Next {
		require.True(t, r.ReadCached(&d, h.p, h.l, o, 4000, o%2 == 0))
		h.matches(&d, o, 4000)
		d.Release()
	}
	require.False(t, r.ReadCached(&d, h.p, h.l, h.l.Next, 4000, false))

	fs.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpReadNow {
			return disk.Fault{Err: disk.ErrWait}
		}
		return disk.Fault{}
	})
	require.False(t, r.ReadCached(&d, h.p, h.l, 0, 4000, false), "its headers are on the disk")
	require.Empty(t, d.Regions)
	require.True(t, r.ReadCached(&d, h.p, h.l, 0, 4000, true))
	h.matches(&d, 0, 4000)
	d.Release()
	fs.SetHook(nil)
	require.NoError(t, r.Close())
	require.False(t, r.ReadCached(&d, h.p, h.l, 0, 4000, false))
}

// Where a file system does not tell what would wait, nothing is read of the cache by who must not.
func TestReadCachedWhereNobodyCanTell(t *testing.T) {
	h := newHistory(t, 15, 30, 16<<10, segment.CompressionNone)
	r := h.reader(cold.Options{FS: waitingFS{disk.OS()}})
	require.EqualValues(t, h.l.Next, func() (o int64) {
		for o < h.l.Next {
			o = h.check(r, o, 1<<20)
		}
		return o
	}())
	var d cold.Data
	require.False(t, r.ReadCached(&d, h.p, h.l, 0, 4000, false))
	require.True(t, r.ReadCached(&d, h.p, h.l, 0, 4000, true))
	h.matches(&d, 0, 4000)
	d.Release()
}

// waitingFS has files of which ReadNow waits, as is known already.
type waitingFS struct{ disk.FS }

type waitingFile struct{ disk.File }

func (fs waitingFS) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	f, err := fs.FS.OpenFile(name, flag, perm)
	return waitingFile{f}, err
}

func (waitingFile) Waits() bool { return true }
