package clean

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/hot"
)

// segs makes segments of 100 offsets, the i-th with bytes[i] bytes and newest timestamp 1000·(i+1).
func segs(bytes ...int64) []hot.SegmentInfo {
	var out []hot.SegmentInfo
	for i, b := range bytes {
		base := int64(i) * 100
		out = append(out, hot.SegmentInfo{Base: base, Next: base + 100, Bytes: b, IndexBytes: 30, TimeIndex: 10,
			MaxTimestamp: 1000 * int64(i+1)})
	}
	return out
}

func TestExamine(t *testing.T) {
	base := func(change func(*Input)) *Input {
		in := &Input{Segments: segs(10, 20, 30, 40), Stable: 400, End: 400, Clean: -1, Now: 10_000,
			Policy: Policy{Compact: true, MinDirtyRatio: 0.5, MaxLagMs: hot.Forever}}
		if change != nil {
			change(in)
		}
		return in
	}
	for _, c := range []struct {
		name   string
		change func(*Input)
		want   Plan
	}{
		{"never cleaned", nil, Plan{Uncleanable: 300, Cleanable: 60, Due: true}},
		{"one segment", func(in *Input) { in.Segments = segs(10) }, Plan{}},
		{"all clean", func(in *Input) { in.Clean = 300 }, Plan{FirstDirty: 300, Uncleanable: 300, Clean: 60}},
		{"clean up to the end", func(in *Input) { in.Clean = 400 }, Plan{FirstDirty: 400, Uncleanable: 300, Clean: 100}},
		{"half dirty is not more than half", func(in *Input) { in.Clean = 200; in.Segments = segs(10, 20, 30, 40) },
			Plan{FirstDirty: 200, Uncleanable: 300, Clean: 30, Cleanable: 30}},
		{"a little more is", func(in *Input) { in.Clean = 200; in.Segments = segs(10, 20, 31, 40) },
			Plan{FirstDirty: 200, Uncleanable: 300, Clean: 30, Cleanable: 31, Due: true}},
		{"dirty within a segment: it counts on both sides", func(in *Input) { in.Clean = 150; in.Policy.MinDirtyRatio = 0.4 },
			Plan{FirstDirty: 150, Uncleanable: 300, Clean: 30, Cleanable: 50, Due: true}},
		{"not beyond the stable offset", func(in *Input) { in.Stable = 250 }, Plan{Uncleanable: 200, Cleanable: 30, Due: true}},
		{"nothing is stable", func(in *Input) { in.Stable = 50 }, Plan{}},
		{"min lag", func(in *Input) { in.Policy.MinLagMs = 8500 }, Plan{Uncleanable: 100, Cleanable: 10, Due: true}},
		{"min lag of exactly the age", func(in *Input) { in.Policy.MinLagMs = 8000 }, Plan{Uncleanable: 200, Cleanable: 30, Due: true}},
		{"min lag holds up all", func(in *Input) { in.Policy.MinLagMs = 9500 }, Plan{}},
		{"min lag looks at dirty segments only", func(in *Input) { in.Clean, in.Policy.MinLagMs, in.Policy.MinDirtyRatio = 200, 7500, 0.1 },
			Plan{FirstDirty: 200, Uncleanable: 200, Clean: 30}},
		{"max lag makes due what the ratio does not", func(in *Input) {
			in.Clean, in.Policy.MaxLagMs, in.FirstTimestamp = 200, 5000, []int64{1, 1, 3000}
		}, Plan{FirstDirty: 200, Uncleanable: 300, Clean: 30, Cleanable: 30, Overdue: 2000, Due: true}},
		{"max lag not reached", func(in *Input) {
			in.Clean, in.Policy.MaxLagMs, in.FirstTimestamp = 200, 7000, []int64{1, 1, 3000}
		}, Plan{FirstDirty: 200, Uncleanable: 300, Clean: 30, Cleanable: 30}},
		{"max lag without timestamps", func(in *Input) {
			in.Clean, in.Policy.MaxLagMs, in.FirstTimestamp = 200, 1, []int64{-1, -1, -1}
		}, Plan{FirstDirty: 200, Uncleanable: 300, Clean: 30, Cleanable: 30}},
		{"max lag cannot clean what is not stable", func(in *Input) {
			in.Stable, in.Policy.MaxLagMs, in.FirstTimestamp = 10, 1, []int64{1, 1, 1}
		}, Plan{Overdue: 9998}},
		{"checkpoint below the log start", func(in *Input) { in.Clean, in.LogStart = 50, 100; in.Segments = segs(10, 20, 30, 40)[1:] },
			Plan{FirstDirty: 100, Uncleanable: 300, Cleanable: 50, Reset: true, Due: true}},
		{"checkpoint beyond the end", func(in *Input) { in.Clean = 401 }, Plan{Uncleanable: 300, Cleanable: 60, Reset: true, Due: true}},
		{"log start within a segment", func(in *Input) { in.LogStart = 150 },
			Plan{FirstDirty: 150, Uncleanable: 300, Clean: 30, Cleanable: 50, Due: true}},
		{"empty segments", func(in *Input) { in.Segments = segs(0, 0, 0) }, Plan{Uncleanable: 200}},
	} {
		require.Equal(t, c.want, Examine(base(c.change)), c.name)
	}
}

func TestDirtiest(t *testing.T) {
	require.Equal(t, -1, Dirtiest(nil))
	require.Equal(t, -1, Dirtiest([]Plan{{Cleanable: 5}}), "not due")
	require.Equal(t, 2, Dirtiest([]Plan{{Clean: 5, Cleanable: 5, Due: true}, {Cleanable: 9}, {Clean: 1, Cleanable: 5, Due: true}}))
}

func TestGroup(t *testing.T) {
	bases := func(groups [][]hot.SegmentInfo) string {
		var out [][]int64
		for _, g := range groups {
			var b []int64
			for _, s := range g {
				b = append(b, s.Base/100)
			}
			out = append(out, b)
		}
		return fmt.Sprint(out)
	}
	require.Equal(t, "[[0 1] [2]]", bases(Group(segs(10, 20, 30), 300, 30, 1000)))
	require.Equal(t, "[[0] [1] [2]]", bases(Group(segs(31, 32, 33), 300, 30, 1000)), "each in a group, be it too large")
	require.Equal(t, "[[0 1 2 3]]", bases(Group(segs(1, 1, 1, 1), 400, 30, 80)))
	require.Equal(t, "[[0 1 2] [3]]", bases(Group(segs(1, 1, 1, 1), 400, 30, 79)), "the index would be too large")
	require.Equal(t, "[[0 1]]", bases(Group(segs(1, 1, 1, 1), 101, 30, 80)), "a segment that is partly below goes as a whole")
	far := segs(1, 1, 1)
	far[1].Next = math.MaxInt32 + 1
	far[2].Base, far[2].Next = far[1].Next, far[1].Next+100
	require.Equal(t, "[[0 1] [21474836]]", bases(Group(far, math.MaxInt64, 30, 1000)), "offsets 2^31 apart")
	require.Empty(t, Group(segs(1, 1), 0, 30, 30))
}

func TestKeyMap(t *testing.T) {
	m := newKeyMap(1000, 1<<20, 0.9)
	require.Less(t, len(m.slots), 1200, "no larger than needed")
	for i := range 1000 {
		require.True(t, m.put([]byte(fmt.Sprint("key", i%500)), int64(i)))
	}
	for i := range 500 {
		require.Equal(t, int64(500+i), m.get([]byte(fmt.Sprint("key", i))))
	}
	require.Equal(t, int64(-1), m.get([]byte("another")))
	require.Equal(t, int64(999), m.latest)
	require.Equal(t, 500, m.n)

	m = newKeyMap(math.MaxInt64/2, 240, 0.9)
	require.Len(t, m.slots, 10)
	for i := range 9 {
		require.True(t, m.put([]byte{byte(i)}, int64(i)))
	}
	require.False(t, m.put([]byte{1}, 9), "full, as in Kafka, for known keys too")
	require.Equal(t, int64(8), m.latest)
	require.Equal(t, int64(-1), m.get([]byte{77}), "a lookup ends")
}
