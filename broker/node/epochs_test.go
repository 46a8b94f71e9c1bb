package node

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/hot"
)

// I-03: new leader epochs are begun by the first start after a power cut that comes to it, whatever became of those before.
func TestEpochsAfterStartsThatFailed(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	started := func(do func(l *live)) (cached, flushed int32) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n, err := Start(ctx, Config{BrokerID: 1, DataDir: dir, KafkaAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		do(&live{T: t, n: n, cl: client(t, n)})
		img := n.meta.Image()
		cached, flushed = img.TopicByName("cached").Partitions[0].LeaderEpoch, img.TopicByName("flushed").Partitions[0].LeaderEpoch
		require.NoError(t, n.Stop(ctx))
		return cached, flushed
	}
	nothing := func(*live) {}
	started(func(l *live) {
		l.topic("cached", conf{"flush.messages": "1000"})
		l.topic("flushed", nil)
		require.NoError(t, l.produce("cached", 10))
	})
	cached, flushed := started(nothing)
	require.Zero(t, cached)
	require.Zero(t, flushed)

	// The power is cut, and a start fails behind the opening of the log folder.
	require.NoError(t, os.Remove(filepath.Join(log, ".kafka_cleanshutdown")))
	require.NoError(t, os.WriteFile(filepath.Join(log, ".firn-dirty"), []byte("another-boot\n"), 0o600))
	for range 2 {
		d, err := hot.OpenDir(hot.Options{Path: log})
		require.NoError(t, err)
		require.NoError(t, d.Close())
	}
	for range 2 { // no more than once
		cached, flushed = started(nothing)
		require.Equal(t, int32(1), cached)
		require.Zero(t, flushed)
	}
}
