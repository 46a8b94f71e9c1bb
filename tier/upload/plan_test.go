package upload

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlan(t *testing.T) {
	on := Config{Enabled: true, SegmentBytes: 1000, MaxLagMs: 600_000}
	base := State{Leader: true, Config: on, Next: 100, Stable: 200, PendingBytes: 500, SinceMs: 1000, SinceKnown: true}
	with := func(f func(*State)) State {
		s := base
		f(&s)
		return s
	}
	cases := []struct {
		name   string
		state  State
		now    int64
		want   Decision
		reason string
	}{
		{"off", with(func(s *State) { s.Config.Enabled = false }), 5000,
			Decision{}, "remote storage is off for this topic (remote.storage.enable=false)"},
		{"follower", with(func(s *State) { s.Leader = false }), 5000,
			Decision{}, "this broker does not lead the partition, only the leader uploads"},
		{"all archived", with(func(s *State) { s.Stable = 100 }), 5000,
			Decision{}, "everything below the last stable offset 100 is archived"},
		{"archive ahead", with(func(s *State) { s.Stable = 90 }), 5000,
			Decision{}, "the archive already ends at offset 100, above the last stable offset 90"},
		{"log began higher", with(func(s *State) { s.Start, s.LogStart, s.LocalStart = 100, 150, 150 }), 5000,
			Decision{Action: Begin, From: 150}, "the log begins at offset 150 and the archive ends at 100: the archive's start moves up first"},
		{"set back", with(func(s *State) { s.Start, s.LogStart, s.LocalStart = 50, 150, 150 }), 5000,
			Decision{Action: Stuck}, "the local log begins at offset 150 but the archive ends at 100: the metadata is older than the log, and what the archive holds is not given up for it"},
		{"hole", with(func(s *State) { s.LocalStart = 150 }), 5000,
			Decision{Action: Stuck}, "the archive ends at offset 100 but the local log begins at 150: the offsets between are in neither, and nothing is uploaded beyond the hole"},
		{"wait", base, 5000,
			Decision{DueMs: 601_000}, "500 of 1000 bytes are pending; they go up when the target is reached (firn.remote.segment.bytes) or in 9m56s at the latest (firn.remote.upload.max.lag.ms)"},
		{"full", with(func(s *State) { s.PendingBytes = 1000 }), 5000,
			Decision{Action: Upload, From: 100, Limit: 200, MaxBytes: 1000}, "1000 bytes are pending, the target is 1000 (firn.remote.segment.bytes)"},
		{"old", base, 601_000,
			Decision{Action: Upload, From: 100, Limit: 200, MaxBytes: 1000}, "the oldest pending record has waited 10m0s, the limit is 10m0s (firn.remote.upload.max.lag.ms)"},
		{"drain", with(func(s *State) { s.Drain = true }), 5000,
			Decision{Action: Upload, From: 100, Limit: 200, MaxBytes: 1000}, "the tail is uploaded on demand"},
		{"age unknown", with(func(s *State) { s.SinceKnown = false }), 5000,
			Decision{Action: Upload, From: 100, Limit: 200, MaxBytes: 1000}, "the age of the oldest pending record is not known"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := Plan(c.state, c.now)
			require.Equal(t, c.reason, d.Reason())
			d.why, d.state, d.nowMs = 0, State{}, 0
			require.Equal(t, c.want, d)
		})
	}
	d := Plan(State{Leader: true, Config: Config{Enabled: true}, Stable: 1, SinceMs: 1, SinceKnown: true}, 1)
	require.EqualValues(t, 1+DefaultMaxLagMs, d.DueMs)
}
