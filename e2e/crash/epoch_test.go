package crash

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/harness"
)

// TestPowerCutBeginsAnEpoch (I-03): a topic that acknowledges from the page cache may hand out an offset again after a
// power cut, and does so under another leader epoch. One that flushes first never does, and goes on under the old one.
func TestPowerCutBeginsAnEpoch(t *testing.T) {
	b := harness.Start(t, harness.Options{Tags: "faults"})
	b.MustRun("", "topic", "create", "cached", "-p", "1", "-c", "flush.messages=9223372036854775807", "-c", "remote.storage.enable=false")
	b.MustRun("", "topic", "create", "flushed", "-p", "1", "-c", "remote.storage.enable=false")
	b.MustRun("lost\n", "produce", "cached")
	b.MustRun("kept\n", "produce", "flushed")
	b.Kill()
	b.Launch()
	b.WaitReady()
	raw := harness.NewRaw(t, b.Kafka)
	epoch := func(topic string) (end int64, epoch int32) {
		res, err := raw.ListOffset(context.Background(), topic, 0, -1)
		require.NoError(t, err)
		require.Zero(t, res.ErrorCode)
		return res.Offset, res.LeaderEpoch
	}
	end, e := epoch("cached")
	require.Zero(t, end, "the power cut took what was not synced")
	require.Equal(t, int32(1), e)
	end, e = epoch("flushed")
	require.Equal(t, int64(1), end)
	require.Equal(t, int32(0), e)
	b.MustRun("new\n", "produce", "cached")
	require.Equal(t, "new\n", b.MustRun("", "consume", "cached", "--from", "earliest", "--to", "latest"))

	b.Stop()
	b.Launch()
	b.WaitReady()
	raw = harness.NewRaw(t, b.Kafka)
	_, e = epoch("cached")
	require.Equal(t, int32(1), e, "a clean stop loses nothing")
}
