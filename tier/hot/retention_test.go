package hot

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const hour = 3600 * 1000

// hourly gives segments of ten offsets and 100 bytes, the oldest n hours old, the last one active and fresh.
func hourly(n int, now int64) []SegmentInfo {
	var out []SegmentInfo
	for i := range n {
		out = append(out, SegmentInfo{Base: int64(i * 10), Next: int64(i*10 + 10), Bytes: 100, IndexBytes: 10,
			MaxTimestamp: now - int64(n-1-i)*hour, Modified: now})
	}
	return out
}

func TestPlanRetention(t *testing.T) {
	now := int64(1000 * hour)
	segs := hourly(5, now)
	for _, c := range []struct {
		name     string
		change   func(*RetentionInput)
		trimTo   int64
		logStart int64
		roll     bool
		reason   string
		stays    string // what ExplainRetention says of the first that stays
	}{
		{"nothing is due", func(in *RetentionInput) {}, 0, 0, false, "",
			"offsets 0 to 9 stay: by retention.ms they are due in 164h0m0s."},
		{"by age", func(in *RetentionInput) { in.Config.RetentionMs = 2 * hour }, 20, 20, false,
			"offsets 10 to 19 are 3h0m0s old, more than retention.ms allows (2h0m0s).",
			"offsets 20 to 29 stay: by retention.ms they are due in 0s."},
		{"by age, the active one too", func(in *RetentionInput) { in.Config.RetentionMs = 2 * hour; in.Now += 9 * hour },
			50, 50, true, "offsets 40 to 49 are 9h0m0s old, more than retention.ms allows (2h0m0s).",
			""},
		{"by size", func(in *RetentionInput) { in.Config.RetentionBytes = 250 }, 20, 20, false,
			"offsets 10 to 19 are the oldest of 400 bytes, and retention.bytes allows 250.",
			"offsets 20 to 29 stay: by retention.ms they are due in 166h0m0s, and without them 200 bytes would be less " +
				"than retention.bytes (250)."},
		{"by size, but never the active one", func(in *RetentionInput) { in.Config.RetentionBytes = 0 }, 40, 40, false,
			"offsets 30 to 39 are the oldest of 200 bytes, and retention.bytes allows 0.",
			"offsets from 40 on are in the active segment, which goes only by age: by retention.ms they are due in 168h0m0s."},
		{"not beyond what is committed", func(in *RetentionInput) { in.Config.RetentionBytes = 0; in.Stable = 25 }, 20, 20, false,
			"offsets 10 to 19 are the oldest of 400 bytes, and retention.bytes allows 0.",
			"offsets 20 to 29 are due but not yet committed up to 30 (committed: 25)."},
		{"below the log start", func(in *RetentionInput) { in.LogStart = 25 }, 20, 25, false,
			"offsets 10 to 19 lie below the log start 25.",
			"offsets 20 to 29 stay: by retention.ms they are due in 166h0m0s."},
		{"I-12 what is not archived stays", func(in *RetentionInput) {
			in.Config.RemoteStorage, in.Config.LocalRetentionMs, in.Archived = true, hour, 25
		}, 20, 0, false, "offsets 10 to 19 are 3h0m0s old, more than local.retention.ms allows (1h0m0s).",
			"offsets 20 to 29 are due but wait for their upload: the archive is confirmed up to 25."},
		{"local retention like the overall", func(in *RetentionInput) {
			in.Config.RemoteStorage, in.Config.RetentionMs, in.Archived = true, 3*hour, 50
		}, 10, 0, false, "offsets 0 to 9 are 4h0m0s old, more than retention.ms allows (3h0m0s).",
			"offsets 10 to 19 stay: by retention.ms they are due in 0s."},
		{"the overall one is tighter", func(in *RetentionInput) {
			in.Config.RemoteStorage, in.Config.RetentionMs, in.Config.LocalRetentionMs, in.Archived = true, 3*hour, 9*hour, 50
		}, 10, 0, false, "offsets 0 to 9 are 4h0m0s old, more than retention.ms allows (3h0m0s).",
			"offsets 10 to 19 stay: by retention.ms they are due in 0s."},
		{"no limit", func(in *RetentionInput) { in.Config.RetentionMs = Unlimited }, 0, 0, false, "",
			"offsets 0 to 9 stay: no limit of age is set."},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := DefaultConfig()
			in := RetentionInput{Segments: segs, Config: &cfg, Stable: 50, Now: now}
			c.change(&in)
			p := PlanRetention(in)
			require.Equal(t, RetentionPlan{TrimTo: c.trimTo, LogStart: c.logStart, Roll: c.roll, Reason: c.reason}, p)
			require.Equal(t, c.stays, ExplainRetention(in, p.TrimTo))
			for offset := range int64(50) {
				say := ExplainRetention(in, offset)
				require.Equal(t, offset < p.TrimTo, strings.HasSuffix(say, " They go with the next round."), "offset %d: %s", offset, say)
			}
			if p.TrimTo == 0 {
				require.Zero(t, testing.AllocsPerRun(100, func() { PlanRetention(in) }))
			}
		})
	}
	empty := []SegmentInfo{{Base: 5, Next: 5, MaxTimestamp: -1, Modified: 0}}
	cfg := DefaultConfig()
	p := PlanRetention(RetentionInput{Segments: empty, Config: &cfg, Now: now, Stable: 5})
	require.Zero(t, p.TrimTo)
	require.False(t, p.Roll, "an empty segment need not be rolled")
}

func TestPlanDiskShare(t *testing.T) {
	now := int64(1000 * hour)
	old, young, local := hourly(6, now-10*hour), hourly(4, now), hourly(5, now-100*hour)
	logs := []ShareLog{
		{Partition: part(0), Segments: young, Archived: 40, Stable: 40},
		{Partition: part(1), Segments: old, Archived: 45, Stable: 60},
		{Partition: part(2), Segments: local, Archived: 0, Stable: 50},
	}
	trims, over := PlanDiskShare(logs, 15*110)
	require.Empty(t, trims)
	require.Zero(t, over)
	trims, over = PlanDiskShare(logs, 13*110)
	require.Zero(t, over)
	require.Equal(t, []ShareTrim{{Partition: part(1), TrimTo: 20, Bytes: 220, Reason: "local logs take 1650 bytes and " +
		"their share of the disk is 1430: the oldest archived data goes first, here everything below offset 20."}}, trims)
	trims, over = PlanDiskShare(logs, 0)
	require.Equal(t, int64(1650-7*110), over, "I-12: what is not archived, and what is active, stays")
	require.Equal(t, int64(40), trims[0].TrimTo)
	require.Equal(t, part(0), trims[1].Partition)
	require.Equal(t, int64(30), trims[1].TrimTo)
}
