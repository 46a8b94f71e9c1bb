package hot

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// Logs that are not open count with all their files, open ones do not.
func TestUnopenedBytes(t *testing.T) {
	fs := disk.NewCrashable(1)
	d := openDir(t, fs, "/data")
	for i := range int32(2) {
		appendTo(t, d.open(i, nil), batch(10, 1000, startMs))
	}
	n, err := d.UnopenedBytes()
	require.NoError(t, err)
	require.Zero(t, n)
	require.NoError(t, d.Close())
	d = openDir(t, fs, "/data")
	n, err = d.UnopenedBytes()
	require.NoError(t, err)
	require.Greater(t, n, int64(20_000))
	d.open(0, nil)
	rest, err := d.UnopenedBytes()
	require.NoError(t, err)
	require.Less(t, rest, n-10_000)
	require.Greater(t, rest, int64(10_000))
	require.NoError(t, d.Close())
}

// The size of a log is that of its segment files, whether it is open or not.
func TestLogBytes(t *testing.T) {
	fs := disk.NewCrashable(1)
	d := openDir(t, fs, "/data")
	l := d.open(0, nil)
	appendTo(t, l, batch(10, 1000, startMs))
	want, id := l.Bytes(), l.Partition()
	require.Greater(t, want, int64(10_000))
	for range 2 {
		n, err := d.LogBytes(id)
		require.NoError(t, err)
		require.Equal(t, want, n)
		require.NoError(t, d.Close())
		d = openDir(t, fs, "/data")
	}
	id.Index = 7
	n, err := d.LogBytes(id)
	require.NoError(t, err)
	require.Zero(t, n)
	require.NoError(t, d.Close())
}

func TestExplainRetention(t *testing.T) {
	now := int64(1000 * hour)
	for _, c := range []struct {
		name   string
		offset int64
		change func(*RetentionInput)
		want   string
	}{
		{"not due", 12, func(in *RetentionInput) {}, "offsets 10 to 19 stay: by retention.ms they are due in 165h0m0s."},
		{"which limit counts", 12, func(in *RetentionInput) {
			in.Config.RemoteStorage, in.Config.LocalRetentionMs, in.Archived = true, 10*hour, 50
		}, "offsets 10 to 19 stay: by local.retention.ms they are due in 7h0m0s."},
		{"by size, counted without those below", 12, func(in *RetentionInput) {
			in.Config.RemoteStorage, in.Config.LocalRetentionBytes, in.Config.RetentionMs, in.Archived = true, 301, Unlimited, 50
		}, "offsets 10 to 19 stay: no limit of age is set, and without them 300 bytes would be less than local.retention.bytes (301)."},
		{"due", 12, func(in *RetentionInput) { in.Config.RetentionMs = 2 * hour },
			"offsets 10 to 19 are 3h0m0s old, more than retention.ms allows (2h0m0s). They go with the next round."},
		{"held", 12, func(in *RetentionInput) {
			in.Config.RemoteStorage, in.Config.LocalRetentionMs, in.Archived = true, hour, 15
		}, "offsets 10 to 19 are due but wait for their upload: the archive is confirmed up to 15."},
		{"what is below stays", 12, func(in *RetentionInput) {
			in.Config.RetentionMs = 2 * hour
			in.Segments[0].MaxTimestamp = now
		}, "offsets 10 to 19 are 3h0m0s old, more than retention.ms allows (2h0m0s). Segments go in order, and below them " +
			"offsets 0 to 9 stay: by retention.ms they are due in 2h0m0s."},
		{"the active segment", 45, func(in *RetentionInput) { in.Config.RetentionBytes = 0 },
			"offsets from 40 on are in the active segment, which goes only by age: by retention.ms they are due in 168h0m0s."},
		{"nowhere", 50, func(in *RetentionInput) {}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := DefaultConfig()
			in := RetentionInput{Segments: hourly(5, now), Config: &cfg, Stable: 50, Now: now}
			c.change(&in)
			require.Equal(t, c.want, ExplainRetention(in, c.offset))
		})
	}
}
