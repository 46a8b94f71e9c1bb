package cold_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/cold"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/segment"
)

// Time lookups agree with a look at every record, for every timestamp and several log starts.
func TestTimes(t *testing.T) {
	h := newHistory(t, 11, 120, 8<<10, segment.CompressionZstd)
	r := h.reader(cold.Options{})
	type rec struct{ offset, ts int64 }
	var all []rec
	for i, b := range h.batches {
		require.NoError(t, record.Records(h.bytes[h.at[i]:h.at[i]+b.Size()], 1<<20, func(_ int, x *record.Record) error {
			all = append(all, rec{b.Offset(x), b.Timestamp(x)})
			return nil
		}))
	}
	for _, start := range []int64{0, 1, 57, h.l.Recent[2].Base, h.l.Recent[2].Base + 1, h.l.Next - 1} {
		l := *h.l
		l.Start = start
		for ts := int64(999_940); ts < 1_001_300; ts += 3 {
			want := rec{-1, -1}
			for _, x := range all {
				if x.offset >= start && x.ts >= ts {
					want = x
					break
				}
			}
			got, ok, err := r.OffsetForTime(context.Background(), h.p, &l, ts)
			require.NoError(t, err)
			require.Equal(t, want.offset >= 0, ok, "time %d start %d", ts, start)
			if ok {
				require.Equal(t, cold.TimeResult{Offset: want.offset, Timestamp: want.ts, Epoch: 1}, got, "time %d start %d", ts, start)
			}
		}
		want := rec{-1, -1}
		for _, x := range all {
			if x.offset >= start && x.ts > want.ts {
				want = x
			}
		}
		got, ok, err := r.MaxTimestamp(context.Background(), h.p, &l)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, cold.TimeResult{Offset: want.offset, Timestamp: want.ts, Epoch: 1}, got, "start %d", start)
	}
}
