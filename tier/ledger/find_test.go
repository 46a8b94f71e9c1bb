package ledger

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFindTime(t *testing.T) {
	l := of(t, 6) // segment i has times 100i to 100i+99
	all := l.Recent
	f := fold(t, l, 3)
	l = must(t, l, f)
	for _, c := range []struct {
		ts, from int64
		base     int64 // of the segment, -1 for none
		fold     bool
	}{
		{-5, 0, 0, true}, {0, 0, 0, true}, {250, 0, 20, true}, {299, 0, 20, true}, {300, 0, 30, false}, {301, 0, 30, false},
		{599, 0, 50, false}, {600, 0, -1, false}, {0, 30, 30, false}, {0, 29, 20, true}, {0, 60, -1, false},
	} {
		got, ok := l.FindTime(c.ts, c.from)
		require.Equal(t, c.base >= 0, ok, c)
		if !ok {
			continue
		}
		require.Equal(t, c.fold, got.Fold != nil, c)
		s := got.Segment
		if got.Fold != nil {
			s, ok = FindTimeIn(all[:3], c.ts, c.from)
			require.True(t, ok)
		}
		require.Equal(t, c.base, s.Base, c)
	}
	l = must(t, l, TrimStart{To: 45})
	got, ok := l.FindTime(0, 0)
	require.True(t, ok)
	require.Equal(t, int64(40), got.Segment.Base, "not below the start")
}

func TestMaxTimestamp(t *testing.T) {
	l := of(t, 3)
	_, ok := (&Ledger{}).MaxTimestamp()
	require.False(t, ok)
	a := app(l, 10, 0)
	a.Segment.MaxTimestamp = 5 // late data
	l = must(t, l, a)
	got, ok := l.MaxTimestamp()
	require.True(t, ok)
	require.Equal(t, int64(20), got.Segment.Base)
	l = must(t, l, TrimStart{To: 35})
	got, ok = l.MaxTimestamp()
	require.True(t, ok)
	require.Equal(t, int64(30), got.Segment.Base)
}

func TestPlanFold(t *testing.T) {
	l := of(t, 10)
	require.Nil(t, l.PlanFold(8, 3))
	require.Equal(t, l.Recent[:3], l.PlanFold(7, 3))
	require.Equal(t, l.Recent[:9], l.PlanFold(0, 1))
	require.Nil(t, (&Ledger{}).PlanFold(0, 0))
}
