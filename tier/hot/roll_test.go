package hot

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/record"
)

// untimed builds a batch of one record without a timestamp.
func untimed() []byte { return batch(1, 10, record.NoTimestamp) }

// TestRollByTime: a segment is rolled by the append whose newest timestamp is more than segment.ms above that of the
// segment's first batch and, where one of both has none, more than segment.ms after the segment was begun (Kafka's
// LogSegment.timeWaitedForRoll).
func TestRollByTime(t *testing.T) {
	const ms = 1000
	type step struct {
		wait  int64 // on the clock, before the append
		at    int64 // timestamp, relative to startMs
		none  bool  // … it has none
		rolls bool
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"by timestamps, whatever the clock says", []step{
			{at: 0}, {wait: 50 * ms, at: ms}, {at: ms + 1, rolls: true}, {at: 2*ms + 1}, {at: 2*ms + 2, rolls: true}}},
		{"what is late rolls nothing", []step{
			{at: 0}, {wait: 50 * ms, at: -60 * ms}, {at: ms}}},
		{"the first batch counts, not the newest", []step{
			{at: 0}, {at: ms}, {at: ms}, {at: ms + 1, rolls: true}}},
		{"by the clock without timestamps", []step{
			{none: true}, {wait: ms, none: true}, {wait: 1, none: true, rolls: true}, {wait: ms, none: true}, {wait: 1, none: true, rolls: true}}},
		{"by the clock when the first has none", []step{
			{none: true}, {wait: ms, at: 90 * ms}, {wait: 1, at: 0, rolls: true}, {at: ms + 1, rolls: true}}},
		{"by the clock when the next has none", []step{
			{at: 0}, {wait: ms, none: true}, {wait: 1, none: true, rolls: true}}},
		{"an empty segment stays", []step{{wait: 90 * ms, at: 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := openDir(t, disk.NewCrashable(1), "/log")
			l := d.open(0, func(c *Config) { c.SegmentMs = ms })
			for i, s := range c.steps {
				d.clock.ms += s.wait
				before := len(l.Segments())
				b := untimed()
				if !s.none {
					b = batch(1, 10, startMs+s.at)
				}
				a := appendTo(t, l, b)
				segs := l.Segments()
				require.Equal(t, s.rolls, len(segs) > before, "step %d: %+v", i, segs)
				if s.rolls {
					require.Equal(t, a.BaseOffset, segs[len(segs)-1].Base, "step %d", i)
				}
			}
			require.NoError(t, d.Close())
		})
	}
}

// TestRollByTimeAfterStart: the time of a segment's first batch is known after a clean stop and after a crash, so a
// restart does not begin its life anew.
func TestRollByTimeAfterStart(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprint(clean), func(t *testing.T) {
			w := newWorld(1, "")
			l := w.open(0)
			_, err := tryAppend(l, batch(1, 10, startMs), 0)
			require.NoError(t, err)
			require.NoError(t, l.Flush())
			if clean {
				w.stop()
				w.start()
			} else {
				w.power(false)
			}
			l = w.open(0)
			cfg := *l.config()
			cfg.SegmentMs = 1000
			l.SetConfig(&cfg)
			_, err = tryAppend(l, batch(1, 10, startMs+1000), 0)
			require.NoError(t, err)
			require.Len(t, l.Segments(), 1)
			_, err = tryAppend(l, batch(1, 10, startMs+1001), 0)
			require.NoError(t, err)
			require.Len(t, l.Segments(), 2)
			require.NoError(t, w.d.Close())
		})
	}
}

// rollsAfter returns the greatest age at which an append to a fresh segment does not roll it, of ages 0 to limit.
func rollsAfter(t *testing.T, l *Log, limit int64) int64 {
	segs := len(l.Segments())
	first := appendTo(t, l, batch(1, 10, startMs))
	for age := range limit + 2 {
		appendTo(t, l, batch(1, 10, startMs+age))
		if len(l.Segments()) > segs {
			require.NotZero(t, age, "segment %d was rolled at once", first.BaseOffset)
			require.NoError(t, l.Roll())
			return age - 1
		}
	}
	require.Fail(t, "not rolled", "at age %d", limit+1)
	return 0
}

// TestRollJitter: at most segment.jitter.ms is taken off segment.ms, not the same for all segments and partitions.
func TestRollJitter(t *testing.T) {
	const ms, jitter = 100, 30
	d := openDir(t, disk.NewCrashable(1), "/log")
	var ages []int64
	for index := range int32(8) {
		l := d.open(index, func(c *Config) { c.SegmentMs, c.SegmentJitterMs = ms, jitter })
		for range 5 {
			ages = append(ages, rollsAfter(t, l, ms))
		}
	}
	require.GreaterOrEqual(t, slices.Min(ages), int64(ms-jitter))
	require.LessOrEqual(t, slices.Max(ages), int64(ms))
	slices.Sort(ages)
	require.Greater(t, len(slices.Compact(ages)), jitter/3, "they roll together: %v", ages)
	require.NoError(t, d.Close())

	// More jitter than time is no more than all of it.
	l := openDir(t, disk.NewCrashable(1), "/log").open(0, nil)
	for _, c := range []Config{{SegmentMs: 10, SegmentJitterMs: 1000}, {SegmentMs: 10, SegmentJitterMs: math.MaxInt64 - 1}, {SegmentMs: 10}} {
		for base := range int64(1000) {
			j := l.jitter(&c, base)
			require.True(t, j >= 0 && j <= min(c.SegmentMs, c.SegmentJitterMs), "%d of %+v", j, c)
		}
	}
}

// skipTo lets the log's next append begin at offset, as if batches up to there had been compacted away.
func skipTo(l *Log, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = offset
}

// TestRollByOffset: the offsets of a segment lie within 2^31 of its base, because an index keeps the difference in 32
// bits (I-15).
func TestRollByOffset(t *testing.T) {
	const base = 5_000_000_000
	for _, n := range []int{1, 7} {
		for room, rolls := range map[int64]bool{int64(n): false, int64(n) - 1: true} {
			t.Run(fmt.Sprint(n, " ", rolls), func(t *testing.T) {
				d := openDir(t, disk.NewCrashable(1), "/log")
				l := d.open(0, func(c *Config) { c.IndexIntervalBytes, c.SegmentMs = 1, Forever })
				require.NoError(t, l.Reset(base, nil, nil))
				appendTo(t, l, batch(1, 10, startMs))
				at := base + math.MaxInt32 + 1 - room
				skipTo(l, at)
				a := appendTo(t, l, batch(n, 10, startMs+1))
				require.Equal(t, at, a.BaseOffset)
				segs := l.Segments()
				if rolls {
					require.Len(t, segs, 2)
					require.Equal(t, at, segs[1].Base)
				} else {
					require.Len(t, segs, 1)
				}
				for _, s := range l.segments() {
					require.LessOrEqual(t, s.now().next-1-s.base, int64(math.MaxInt32))
				}
				// What is found by index and time is the batch, however far from the base.
				got, err := l.ReadBytes(a.NextOffset-1, l.End(), 1)
				require.NoError(t, err)
				it := record.Batches(got)
				require.True(t, it.Next())
				require.Equal(t, at, it.Header().BaseOffset)
				found, ok, err := l.OffsetForTime(startMs+1, l.End())
				require.NoError(t, err)
				require.True(t, ok)
				require.Equal(t, at, found.Offset)
				require.NoError(t, d.Close())
			})
		}
	}
}

// TestRollByIndex: a segment is rolled before one of its indexes grows past segment.index.bytes.
func TestRollByIndex(t *testing.T) {
	const indexBytes = 10 * timeIndexEntry
	d := openDir(t, disk.NewCrashable(1), "/log")
	l := d.open(0, func(c *Config) { c.IndexIntervalBytes, c.SegmentIndexBytes = 1, indexBytes })
	for i := range int64(100) {
		appendTo(t, l, batch(1, 10, startMs+i))
	}
	segs := l.segments()
	require.Greater(t, len(segs), 5)
	for _, s := range segs {
		require.LessOrEqual(t, s.idx.bytes(), int64(indexBytes))
		require.LessOrEqual(t, s.tidx.bytes(), int64(indexBytes))
	}
	for _, s := range segs[:len(segs)-1] {
		require.Greater(t, s.tidx.bytes(), int64(indexBytes/2), "rolled too early")
	}
	require.Equal(t, int64(100), l.End())
	require.NoError(t, d.Close())
}

// TestRollBySize: a segment is as large as segment.bytes allows, never larger.
func TestRollBySize(t *testing.T) {
	d := openDir(t, disk.NewCrashable(1), "/log")
	size := int32(len(batch(1, 10, startMs)))
	l := d.open(0, func(c *Config) { c.SegmentBytes = 3 * size })
	for range 10 {
		appendTo(t, l, batch(1, 10, startMs))
	}
	for i, s := range l.Segments() {
		require.Equal(t, int64(3*i), s.Base)
		require.LessOrEqual(t, s.Bytes, int64(3*size))
	}
	require.Len(t, l.Segments(), 4)
	require.NoError(t, d.Close())
}
