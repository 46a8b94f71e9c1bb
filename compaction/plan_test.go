package compaction

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/ledger"
)

// seg covers ten offsets from base and has 100 bytes; its newest record is of ts.
func seg(base, ts int64) ledger.Segment {
	return ledger.Segment{Base: base, Next: base + 10, DataBytes: 100, Length: 90, MinTimestamp: ts - 5, MaxTimestamp: ts, CommittedAt: 7, Key: "k"}
}

func TestPlanRetention(t *testing.T) {
	recent := []ledger.Segment{seg(30, 1300), seg(40, 1400), seg(50, 1500)}
	inFold := []ledger.Segment{seg(0, 1000), seg(10, 1100), seg(20, 1200)}
	fold := ledger.Summarize(inFold)
	fold.Key = "fold"
	flat := &ledger.Ledger{Start: 30, Next: 60, Recent: recent}
	folded := &ledger.Ledger{Next: 60, Folds: []ledger.FoldRef{fold}, Recent: recent}
	forTime := func(ms int64) Policy { return Policy{Remote: true, RetentionMs: ms, RetentionBytes: -1} }
	forSize := func(b int64) Policy { return Policy{Remote: true, RetentionMs: -1, RetentionBytes: b} }
	loaded := map[string][]ledger.Segment{"fold": inFold}
	old := seg(30, -1) // a producer without a clock: the age is that of the upload
	old.CommittedAt = 100
	for _, c := range []struct {
		name   string
		l      *ledger.Ledger
		folds  map[string][]ledger.Segment
		hot    int64
		p      Policy
		now    int64
		to     int64
		opens  bool
		reason string
	}{
		{name: "for ever", l: flat, p: Policy{Remote: true, RetentionMs: -1, RetentionBytes: -1}, now: 1 << 40},
		{name: "not remote", l: flat, p: Policy{RetentionMs: 1}, now: 1 << 40},
		{name: "exactly as old as allowed", l: flat, p: forTime(100), now: 1400},
		{name: "older", l: flat, p: forTime(100), now: 1401, to: 40,
			reason: "the newest record below offset 40 is 101ms old, the limit is 100ms (retention.ms)"},
		{name: "all", l: flat, p: forTime(0), now: 2000, to: 60},
		{name: "one that is young keeps what follows", l: &ledger.Ledger{Start: 30, Next: 60, Recent: []ledger.Segment{seg(30, 1000), seg(40, 9000), seg(50, 1000)}},
			p: forTime(100), now: 2000, to: 40},
		{name: "below the start does not count", l: &ledger.Ledger{Start: 40, Next: 60, Recent: recent}, p: forSize(200), now: 1},
		{name: "no timestamps", l: &ledger.Ledger{Start: 30, Next: 40, Recent: []ledger.Segment{old}}, p: forTime(100), now: 150},
		{name: "no timestamps, old", l: &ledger.Ledger{Start: 30, Next: 40, Recent: []ledger.Segment{old}}, p: forTime(100), now: 250, to: 40},
		{name: "exactly the limit stays", l: flat, p: forSize(300), now: 1},
		{name: "a segment too much", l: flat, p: forSize(200), now: 1, to: 40,
			reason: "200 bytes are kept without the segment at offset 30, the limit is 200 (retention.bytes)"},
		{name: "not quite a segment too much", l: flat, p: forSize(201), now: 1},
		{name: "only hot counts once (I-13)", l: flat, hot: 100, p: forSize(300), now: 1, to: 40},
		{name: "hot alone above the limit", l: flat, hot: 1000, p: forSize(300), now: 1, to: 60},
		{name: "whole fold", l: folded, p: forTime(100), now: 1401, to: 40},
		{name: "part of a fold", l: folded, p: forTime(100), now: 1201, opens: true},
		{name: "part of a fold, loaded", l: folded, folds: loaded, p: forTime(100), now: 1201, to: 20},
		{name: "fold is too young to be opened", l: folded, p: forTime(2000), now: 1201},
		{name: "whole fold by size", l: folded, p: forSize(300), now: 1, to: 30},
		{name: "part of a fold by size", l: folded, p: forSize(400), now: 1, opens: true},
		{name: "part of a fold by size, loaded", l: folded, folds: loaded, p: forSize(400), now: 1, to: 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := PlanRetention(c.l, c.folds, c.hot, c.p, c.now)
			require.Equal(t, c.opens, r.Open != nil)
			if !c.opens {
				require.Equal(t, c.to, r.To)
			}
			if c.reason != "" {
				require.Equal(t, c.reason, r.Reason)
			}
		})
	}
}

func TestPlanRefold(t *testing.T) {
	var segs []ledger.Segment
	for i := range int64(30) {
		segs = append(segs, seg(i*10, 1))
	}
	for start, kept := range map[int64]int{0: 0, 9: 0, 20: 0, 29: 0, 30: 27, 39: 27, 155: 15, 290: 1, 300: 0} {
		require.Len(t, PlanRefold(&ledger.Ledger{Start: start}, segs), kept, "start %d", start)
	}
}

func TestSmallObjects(t *testing.T) {
	b, err := EncodeSmall(Owner{Format: 1, ClusterID: "c", Generation: "g", Foreign: []string{"x"}})
	require.NoError(t, err)
	require.Equal(t, `{"format":1,"cluster":"c","generation":"g","claimedAt":0,"foreign":["x"]}`+"\ncrc32c ", string(b[:len(b)-9]))
	var o Owner
	require.NoError(t, DecodeSmall(b, &o))
	require.Equal(t, "g", o.Generation)
	for i := range b {
		bad := append([]byte(nil), b...)
		bad[i] ^= 1
		require.Error(t, DecodeSmall(bad, &o), "byte %d", i)
		require.Error(t, DecodeSmall(b[:i], &o), "cut at %d", i)
	}
}
