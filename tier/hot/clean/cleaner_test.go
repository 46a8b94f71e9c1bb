package clean

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
)

// rig is a log directory with a cleaner.
type rig struct {
	t     testing.TB
	clock clock
	mem   disk.FS
	d     *hot.Dir
	log   bytes.Buffer
	reg   *prometheus.Registry
}

func newRig(t testing.TB, mem disk.FS) *rig {
	r := &rig{t: t, clock: clock{startMs}, mem: mem}
	r.start()
	return r
}

func (r *rig) start() {
	r.reg = prometheus.NewRegistry()
	r.d = openDir(r.t, r.mem, "/log", "boot", &r.clock, slog.New(slog.NewTextHandler(&r.log, nil)))
}

// metric returns the value of a counter or gauge.
func (r *rig) metric(name string) float64 {
	all, err := r.reg.Gather()
	require.NoError(r.t, err)
	for _, f := range all {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	r.t.Fatalf("no metric %s", name)
	return 0
}

func (r *rig) cleaner(change func(*Options)) *Cleaner {
	o := Options{Dir: r.d, Policy: always(Policy{Compact: true, MinDirtyRatio: 0.5, MaxLagMs: hot.Forever}), Now: r.clock.now,
		Logger: slog.New(slog.NewTextHandler(&r.log, nil)), Registerer: r.reg}
	if change != nil {
		change(&o)
	}
	return New(o)
}

// fill appends batches of one record, keys going round, until there are so many segments.
func fill(t testing.TB, l *hot.Log, segments, keys int) {
	for i := 0; len(l.Segments()) < segments; i++ {
		put(t, l, record.NewBuilder(record.None).Append(startMs, []byte(fmt.Sprint("k", i%keys)),
			[]byte(fmt.Sprint("value ", l.End())), nil).Build(0), startMs, true)
	}
	require.NoError(t, l.Sync())
}

func TestRoundsAndCheckpoint(t *testing.T) {
	mem := disk.NewCrashable(1)
	r := newRig(t, mem)
	small, large := openLog(t, r.d, 0, nil), openLog(t, r.d, 1, nil)
	fill(t, small, 3, 5)
	fill(t, large, 6, 5)
	fill(t, openLog(t, r.d, 2, nil), 1, 5) // nothing but an active segment
	c := r.cleaner(nil)
	ctx := context.Background()
	for range 2 {
		more, err := c.Round(ctx)
		require.NoError(t, err)
		require.True(t, more)
	}
	more, err := c.Round(ctx)
	require.NoError(t, err)
	require.False(t, more, "all is clean")
	for _, l := range []*hot.Log{small, large} {
		segs := l.Segments()
		active := segs[len(segs)-1].Base
		require.Equal(t, active, c.Clean(l.Partition()))
		n := 0
		for _, b := range read(t, l) {
			for _, e := range b.records {
				if e.offset < active {
					n++
				}
			}
		}
		require.Equal(t, 5, n, "one record of each key")
	}
	b, err := disk.ReadFile(mem, "/log/"+CheckpointFile)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("0\n2\nt 0 %d\nt 1 %d\n", c.Clean(part(0)), c.Clean(part(1))), string(b))
	require.Empty(t, r.log.String(), "all is well: nothing is logged")
	require.Equal(t, 2.0, r.metric("firn_clean_logs_total"))
	require.Positive(t, r.metric("firn_clean_freed_bytes_total"))

	// After a restart it goes on from there.
	want := c.Clean(part(1))
	require.NoError(t, r.d.Close())
	r.start()
	large = openLog(t, r.d, 1, nil)
	c = r.cleaner(nil)
	require.Equal(t, want, c.Clean(part(1)))
	more, err = c.Round(ctx)
	require.NoError(t, err)
	require.False(t, more)
	fill(t, large, 2*len(large.Segments()), 5)
	more, err = c.Round(ctx)
	require.NoError(t, err)
	require.True(t, more)

	// A topic of that name that is made anew does not inherit the mark (I-38).
	require.NoError(t, r.d.Remove(part(1)))
	again := part(1)
	again.ID = topic.ID{9}
	l, err := r.d.Open(again, large.Config())
	require.NoError(t, err)
	fill(t, l, 3, 5)
	require.Equal(t, int64(-1), c.Clean(again))
	more, err = c.Round(ctx)
	require.NoError(t, err)
	require.True(t, more)
	require.Equal(t, int64(-1), c.Clean(part(1)), "forgotten")
	require.NoError(t, r.d.Close())
}

func TestPolicyIsAsked(t *testing.T) {
	r := newRig(t, disk.NewCrashable(1))
	fill(t, openLog(t, r.d, 0, nil), 4, 5)
	for _, p := range []func(topic.Partition) (Policy, bool){
		always(Policy{}),
		func(topic.Partition) (Policy, bool) { return Policy{Compact: true}, false },
		always(Policy{Compact: true, MinLagMs: 1 << 40, MaxLagMs: hot.Forever}),
		always(Policy{Compact: true, MinDirtyRatio: 1, MaxLagMs: hot.Forever}),
		always(Policy{Compact: true, MinDirtyRatio: 1, MaxLagMs: 1000}),
	} {
		more, err := r.cleaner(func(o *Options) { o.Policy, o.Registerer = p, nil }).Round(context.Background())
		require.NoError(t, err)
		require.False(t, more)
	}
	c := r.cleaner(func(o *Options) { o.Stable = func(*hot.Log) int64 { return 3 } })
	more, err := c.Round(context.Background())
	require.NoError(t, err)
	require.False(t, more, "nothing is below the high watermark")
	r.clock.ms += 1001
	more, err = r.cleaner(func(o *Options) {
		o.Policy, o.Registerer = always(Policy{Compact: true, MinDirtyRatio: 1, MaxLagMs: 1000}), nil
	}).Round(context.Background())
	require.NoError(t, err)
	require.True(t, more, "max.compaction.lag.ms is over")
	require.NoError(t, r.d.Close())
}

// A topic's configs that change during a cleaning count before a segment is replaced: a topic that is no longer compacted
// loses nothing, and tombstones that are to be kept for longer are.
func TestPolicyThatChangesMeanwhile(t *testing.T) {
	began := Policy{Compact: true, MaxLagMs: hot.Forever, DeleteRetentionMs: 5}
	for name, later := range map[string]func() (Policy, bool){
		"not compacted":    func() (Policy, bool) { return Policy{MaxLagMs: hot.Forever, DeleteRetentionMs: 5}, true },
		"deleted":          func() (Policy, bool) { return began, false },
		"longer retention": func() (Policy, bool) { return Policy{Compact: true, MaxLagMs: hot.Forever, DeleteRetentionMs: 6}, true },
		"longer lag": func() (Policy, bool) {
			return Policy{Compact: true, MaxLagMs: hot.Forever, DeleteRetentionMs: 5, MinLagMs: 9}, true
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, disk.NewCrashable(1))
			l := openLog(t, r.d, 0, nil)
			fill(t, l, 4, 5)
			before, asked := read(t, l), 0
			c := r.cleaner(func(o *Options) {
				o.Policy = func(topic.Partition) (Policy, bool) {
					if asked++; asked == 1 {
						return began, true
					}
					return later()
				}
			})
			_, err := c.Round(context.Background())
			require.ErrorIs(t, err, errPolicy)
			require.Equal(t, before, read(t, l))
			require.Equal(t, int64(-1), c.Clean(part(0)))
			require.Empty(t, c.Uncleanable())
			require.Empty(t, r.log.String())
			require.NoError(t, r.d.Close())
		})
	}
}

// TestSetAside breaks one log: it is reported and left alone, the other is cleaned.
func TestSetAside(t *testing.T) {
	mem := disk.NewCrashable(1)
	r := newRig(t, mem)
	bad, good := openLog(t, r.d, 0, nil), openLog(t, r.d, 1, nil)
	fill(t, bad, 6, 5)
	fill(t, good, 3, 5)
	f, err := mem.OpenFile(filepath.Join(bad.Folder(), "00000000000000000000.log"), 2, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("x"), 200)
	require.NoError(t, err)
	c := r.cleaner(nil)
	_, first := c.Round(context.Background())
	_, second := c.Round(context.Background())
	require.ErrorIs(t, errors.Join(first, second), record.ErrCorrupt, "both are wholly dirty: either may be first")
	require.True(t, first == nil || second == nil)
	require.Contains(t, r.log.String(), "set aside")
	require.ErrorIs(t, c.Uncleanable()[part(0)], record.ErrCorrupt)
	require.Positive(t, c.Clean(part(1)))
	more, err := c.Round(context.Background())
	require.NoError(t, err)
	require.False(t, more)
	require.Equal(t, 1.0, r.metric("firn_clean_uncleanable_partitions"))
	var bytes int64
	for _, s := range bad.Segments() {
		bytes += s.Bytes
	}
	require.Equal(t, float64(bytes), r.metric("firn_clean_uncleanable_bytes"))

	// Other configs change neither what is set aside nor what was counted.
	runs := r.metric("firn_clean_logs_total")
	c.Tune(Tuning{Threads: 2, IOBuffer: 5000})
	more, err = c.Round(context.Background())
	require.NoError(t, err)
	require.False(t, more)
	require.Contains(t, c.Uncleanable(), part(0))
	require.Equal(t, runs, r.metric("firn_clean_logs_total"))
	require.Equal(t, 1.0, r.metric("firn_clean_uncleanable_partitions"))
	require.Equal(t, 1, strings.Count(r.log.String(), "set aside"))
	require.NoError(t, r.d.Remove(part(0)))
	_, err = c.Round(context.Background())
	require.NoError(t, err)
	require.Empty(t, c.Uncleanable(), "a deleted partition is forgotten")
	require.NoError(t, r.d.Close())
}

// TestEveryOperationMayFail fails one operation after another during a cleaning: nothing is lost, the log can be read,
// and with a disk that was full the next round succeeds (I-01, I-02).
func TestEveryOperationMayFail(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		for n, done := 1, false; !done; n++ {
			mem := disk.NewCrashable(uint64(n))
			f := disk.NewFaulty(mem, nil)
			r := newRig(t, f)
			l := openLog(t, r.d, 0, nil)
			fill(t, l, 5, 5)
			c := r.cleaner(nil)
			at := f.Count("")
			f.SetHook(func(c disk.Call) disk.Fault {
				if c.Total == at+n && (errors.Is(cause, syscall.EIO) || c.Op == disk.OpWrite || c.Op == disk.OpOpen) {
					return disk.Fault{Err: cause, Short: 3}
				}
				return disk.Fault{}
			})
			_, err := c.Round(context.Background())
			done = f.Count("") < at+n
			f.SetHook(nil)
			newest := func(l *hot.Log) map[string]int64 {
				m := map[string]int64{}
				for _, b := range read(t, l) {
					for _, e := range b.records {
						m[string(e.key)] = e.offset
					}
				}
				return m
			}
			want := newest(l)
			require.Len(t, want, 5)
			if errors.Is(cause, syscall.ENOSPC) && r.d.Offline() == nil && len(c.Uncleanable()) == 0 {
				_, err = c.Round(context.Background())
				require.NoError(t, err, "operation %d", n)
				require.Equal(t, want, newest(l))
			}
			r2 := &rig{t: t, clock: clock{startMs}, mem: mem.CrashTorn()}
			r2.start()
			l2 := openLog(t, r2.d, 0, nil)
			require.Equal(t, l.End(), l2.End(), "%v at operation %d (%v)", cause, n, err)
			require.Equal(t, want, newest(l2), "%v at operation %d (%v)", cause, n, err)
			require.NoError(t, r2.d.Close())
			_ = r.d.Close()
		}
	}
}

// TestThrottle pays for every byte that is read and written.
func TestThrottle(t *testing.T) {
	r := newRig(t, disk.NewCrashable(1))
	fill(t, openLog(t, r.d, 0, nil), 5, 5)
	var slept time.Duration
	c := r.cleaner(func(o *Options) {
		o.IOBytesPerSecond = 1000
		o.Sleep = func(_ context.Context, d time.Duration) error {
			slept += d
			r.clock.ms += d.Milliseconds()
			return nil
		}
	})
	size := float64(openLog(t, r.d, 0, nil).Segments()[0].Bytes)
	_, err := c.Round(context.Background())
	require.NoError(t, err)
	require.Greater(t, slept.Seconds(), 4*size/1000, "four segments were read at least once")
	require.Less(t, slept.Seconds(), 9*size/1000, "and at most twice")
	require.NoError(t, r.d.Close())
}

// TestGivesUp ends a cleaning when its context does, and leaves nothing behind.
func TestGivesUp(t *testing.T) {
	mem := disk.NewCrashable(1)
	r := newRig(t, mem)
	l := openLog(t, r.d, 0, nil)
	fill(t, l, 5, 5)
	size := l.Bytes()
	ctx, cancel := context.WithCancel(context.Background())
	bytes := 0
	c := r.cleaner(func(o *Options) {
		o.IOBytesPerSecond, o.IOBuffer = 1, 1000
		o.Sleep = func(ctx context.Context, _ time.Duration) error {
			if bytes++; bytes == 25 { // in the rewriting
				cancel()
			}
			return ctx.Err()
		}
	})
	_, err := c.Round(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, size, l.Bytes())
	require.Empty(t, c.Uncleanable())
	entries, err := mem.ReadDir(l.Folder())
	require.NoError(t, err)
	for _, e := range entries {
		require.NotContains(t, e.Name(), ".cleaned")
	}
	require.NoError(t, r.d.Close())
}

// TestKeyless drops records without a key from a compacted log, and says so.
func TestKeyless(t *testing.T) {
	r := newRig(t, disk.NewCrashable(1))
	l := openLog(t, r.d, 0, nil)
	put(t, l, record.NewBuilder(record.None).Append(1, nil, []byte("v"), nil).Append(1, []byte("k"), []byte("v"), nil).Build(0), startMs, true)
	fill(t, l, 3, 5)
	_, err := r.cleaner(nil).Round(context.Background())
	require.NoError(t, err)
	require.Equal(t, "k", string(read(t, l)[0].records[0].key))
	require.Contains(t, r.log.String(), "without a key")
	require.NoError(t, r.d.Close())
}

// TestRun cleans with two threads while logs are appended to, read, trimmed and rolled, and ends with its context.
func TestRun(t *testing.T) {
	mem := disk.NewCrashable(1)
	r := newRig(t, mem)
	r.log.Grow(1 << 20)
	c := r.cleaner(func(o *Options) {
		o.Threads, o.Backoff, o.Logger = 2, time.Millisecond, slog.New(slog.DiscardHandler)
		o.Policy = always(Policy{Compact: true, MinDirtyRatio: 0.1, MaxLagMs: hot.Forever})
		o.Now = func() time.Time { return time.UnixMilli(startMs) }
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { c.Run(ctx) })
	var work sync.WaitGroup
	for i := range int32(3) {
		work.Go(func() {
			l := openLog(t, r.d, i, nil)
			for n := range 1500 {
				put(t, l, record.NewBuilder(record.None).Append(startMs, []byte(fmt.Sprint("k", n%7)),
					[]byte(fmt.Sprint("value ", n)), nil).Build(0), startMs, true)
				if n%300 == 299 {
					read(t, l)
				}
				if i == 2 && n%400 == 399 {
					_, err := l.Trim(l.End()/2, "retention, for compact,delete")
					require.NoError(t, err)
				}
			}
		})
	}
	work.Wait()
	require.Eventually(t, func() bool {
		for i := range int32(3) {
			segs := openLog(t, r.d, i, nil).Segments()
			if c.Clean(part(i)) < segs[len(segs)-1].Base {
				// What is dirty is less than a tenth.
				var total, dirty int64
				for _, s := range segs[:len(segs)-1] {
					total += s.Bytes
					if s.Next > c.Clean(part(i)) {
						dirty += s.Bytes
					}
				}
				if float64(dirty) > 0.1*float64(total) {
					return false
				}
			}
		}
		return true
	}, time.Minute, time.Millisecond)
	cancel()
	wg.Wait()
	require.Empty(t, c.Uncleanable())
	for i := range int32(3) {
		l := openLog(t, r.d, i, nil)
		last := map[string]int64{}
		for _, b := range read(t, l) {
			for _, e := range b.records {
				last[string(e.key)] = e.offset
			}
		}
		for k := range 7 {
			require.GreaterOrEqual(t, last[fmt.Sprint("k", k)], int64(1493), "the newest record of each key stays")
		}
	}
	require.NoError(t, r.d.Close())
}
