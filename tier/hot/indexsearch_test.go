package hot

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// TestIndexFloor: whatever the field grows like, and whatever is said of where it ends, the entry is found, and where it
// grows evenly with one read.
func TestIndexFloor(t *testing.T) {
	const n = 20_000
	rng := rand.New(rand.NewPCG(1, 1))
	for name, grows := range map[string]func(i int) int64{
		"evenly":   func(i int) int64 { return int64(i) * 50_000 },
		"jittered": func(i int) int64 { return int64(i)*50_000 + rng.Int64N(50_000) },
		"squares":  func(i int) int64 { return int64(i) * int64(i) },
		"at last":  func(i int) int64 { return int64(i) + int64(i/(n-3))*1_000_000_000 },
		"at first": func(i int) int64 { return int64(i) + min(int64(i), 1)*1_000_000_000 },
	} {
		t.Run(name, func(t *testing.T) {
			f := disk.NewFaulty(disk.NewCrashable(1), nil)
			l := openDir(t, f, "/log").open(0, nil)
			appendTo(t, l, batch(1, 10, startMs)) // makes its folder
			x := &l.active().idx
			values := make([]int64, n)
			for i := range values {
				values[i] = grows(i)
				var e [indexEntry]byte
				binary.BigEndian.PutUint32(e[:], uint32(i))
				binary.BigEndian.PutUint32(e[4:], uint32(values[i]))
				x.add(e[:])
			}
			require.NoError(t, x.flush())
			last := values[n-1]
			reads := 0
			f.SetHook(func(c disk.Call) disk.Fault {
				if c.Op == disk.OpRead {
					reads++
				}
				return disk.Fault{}
			})
			most := 0
			for _, top := range []int64{0, 1, last / 3, last + 50_000, math.MaxInt64} {
				for range 300 {
					i := rng.IntN(n)
					for _, v := range []int64{values[i], values[i] - 1, values[i] + 1, rng.Int64N(last + 10), -1, math.MaxInt32} {
						want := sort.Search(n, func(i int) bool { return values[i] > v }) - 1
						reads = 0
						e, ok, err := x.floor(byPosition, v, top, mayWait)
						require.NoError(t, err)
						require.Equal(t, want >= 0, ok, "%d", v)
						if ok {
							require.Equal(t, int64(want), byOffset.of(e[:]), "%d below %d", v, top)
						}
						if top == last+50_000 {
							most = max(most, reads)
						}
						require.LessOrEqual(t, reads, maxGuesses+1+int(math.Log2(n/indexBlock)+1))
					}
				}
			}
			if name == "evenly" {
				require.Equal(t, 1, most)
			}
		})
	}
}

// TestFansOut: consumers that read the same, one behind the other, look for what the first of them has found, no more, also
// when they are many. That takes no more memory than it is worth.
func TestFansOut(t *testing.T) {
	f := disk.NewFaulty(disk.NewCrashable(1), nil)
	d := openDir(t, f, "/log")
	l := d.open(0, func(c *Config) { c.IndexIntervalBytes = 0 })
	for range 400 {
		appendTo(t, l, batch(1, 3000, startMs))
	}
	require.NoError(t, l.Flush())
	d.flusher.Close()
	l.hints.clear() // of the places where flushes ended, which are as old as those
	require.NoError(t, l.active().flushIndexes())
	calls := 0
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpRead {
			calls++
		}
		return disk.Fault{}
	})
	at := make([]int64, 20)
	read := func(i int) {
		var d Data
		require.NoError(t, l.ReadTo(&d, at[i], l.End(), 10_000, true))
		at[i] = d.Next
		d.Release()
	}
	for lead := range at { // each begins when the one before has read a bit
		for i := range lead + 1 {
			read(i)
		}
	}
	require.Greater(t, len(l.hints.ring), fewHints)
	for round := range 50 {
		read(0)
		calls = 0
		for i := range at[1:] {
			read(1 + i)
		}
		if round > 5 { // by then there are places enough
			require.Zero(t, calls, fmt.Sprint(at))
		}
	}
	for range 1000 {
		at[0] = rand.Int64N(l.End())
		read(0)
	}
	require.LessOrEqual(t, len(l.hints.ring), mostHints)
	l.hints.clear()
	read(1)
	require.Positive(t, calls)
}
