package faults

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/e2e/harness"
)

// I-01: a partition whose local log lost flushed bytes behind firn's back stays offline, also after another start, and
// says what to do; the partition beside it is well. With its folder deleted it comes back from the archive.
func TestShortenedLog(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	b.MustRun("", "topic", "create", "events", "-p", "2", "-c", "firn.remote.upload.max.lag.ms=100")
	for _, p := range []string{"0", "1"} {
		b.MustRun(lines("events", 0, 200), "produce", "events", "-p", p)
	}
	b.WaitArchived(t, "events", time.Minute)
	b.Stop()
	folder := filepath.Join(b.Options.Data, "log", "events-0")
	log := filepath.Join(folder, "00000000000000000000.log")
	info, err := os.Stat(log)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(log, info.Size()/2))

	for range 2 {
		b.Launch()
		b.WaitReady()
		raw := harness.NewRaw(t, b.Kafka)
		f, err := raw.Fetch(context.Background(), "events", 0, 0, 1<<20)
		require.NoError(t, err)
		require.Equal(t, kerr.KafkaStorageError.Code, f.ErrorCode)
		w, err := raw.Produce(context.Background(), "events", 0, f.RecordBatches)
		require.NoError(t, err)
		require.NotZero(t, w.ErrorCode)
		for _, said := range []string{b.MustRun("", "tier", "explain", "events", "0"), b.Log()} {
			require.Contains(t, said, log+" is whole up to byte")
			require.Contains(t, said, "delete the folder "+folder)
		}
		_, metrics, err := b.Get("/metrics")
		require.NoError(t, err)
		require.Contains(t, metrics, "\nfirn_partition_damaged 1\n")
		f, err = raw.Fetch(context.Background(), "events", 1, 0, 1<<20)
		require.NoError(t, err)
		require.Zero(t, f.ErrorCode)
		require.NotEmpty(t, f.RecordBatches)
		require.Equal(t, lines("events", 0, 200), b.MustRun("", "consume", "events", "-p", "1", "--from", "earliest", "--to", "latest"))
		b.Stop()
		now, err := os.Stat(log)
		require.NoError(t, err)
		require.Equal(t, info.Size()/2, now.Size(), "the segment was changed")
	}
	require.Equal(t, 2, strings.Count(b.Log(), "cannot open the log of a partition"), "it is reported once a start")

	require.NoError(t, os.RemoveAll(folder))
	b.Launch()
	b.WaitReady()
	read := func() string {
		return b.MustRun("", "consume", "events", "-p", "0", "--from", "earliest", "--to", "latest")
	}
	require.Equal(t, lines("events", 0, 200), read())
	b.MustRun(lines("events", 200, 10), "produce", "events", "-p", "0")
	require.Equal(t, lines("events", 0, 210), read())
}
