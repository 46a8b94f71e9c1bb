// Package history sends years of real events through firn into an archive on MinIO and reads them back with
// other people's clients.
package history

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/tier/object/objecttest"
)

func TestMain(m *testing.M) {
	defer harness.Cleanup()
	objecttest.Main(m)
}

const partitions = 6

// TestRealHistory (I-01, I-12, I-18): everything is archived, trimmed locally, and served from MinIO by a broker
// that starts with an empty cache, to every client byte for byte; and a partition that is mostly cold answers
// exactly like one that is all hot.
func TestRealHistory(t *testing.T) {
	events := loadEvents(t)
	b := harness.Start(t, harness.Options{Store: objecttest.Shared(t).StoreURL("minio", "history")})
	small := []string{"-p", fmt.Sprint(partitions), "-c", "segment.bytes=1048576"}
	b.MustRun("", append([]string{"topic", "create", "events", "-c", "firn.remote.segment.bytes=1048576",
		"-c", "firn.remote.upload.max.lag.ms=1000", "-c", "local.retention.ms=1000"}, small...)...)
	b.MustRun("", append([]string{"topic", "create", "events-local", "-c", "remote.storage.enable=false"}, small...)...)

	want := produceEvents(t, b.Kafka, "events", partitions, events)
	mirror(t, b.Kafka, "events", "events-local")

	b.WaitArchived(t, "events", 2*time.Minute)
	rows := b.WaitTiers(t, "events", 2*time.Minute, "the local log is not trimmed", func(p harness.Tiers) bool { return p.HotBytes < 1<<20 })
	ends := make([]int64, partitions)
	for _, r := range rows {
		require.Positive(t, r.ColdSegments)
		ends[r.Partition] = r.HotEnd
	}
	require.Equal(t, int64(eventCount), total(ends))

	b.Stop()
	require.NoError(t, os.RemoveAll(filepath.Join(b.Options.Data, "cache")))
	b.Launch()
	b.WaitReady()
	for _, r := range readers {
		t.Run(r.name, func(t *testing.T) {
			got := r.read(t, source{b.Kafka, "events", ends})
			for p := range want {
				require.Equal(t, len(want[p]), len(got[p]), "partition %d", p)
				require.True(t, string(want[p]) == string(got[p]), "partition %d differs", p)
			}
		})
	}
	t.Run("same answers as all-local", func(t *testing.T) { compareTopics(t, b, ends, events) })
}

// mirror copies the batches of one topic to another as they are, so that both hold the same bytes.
func mirror(t *testing.T, addr, from, to string) {
	t.Helper()
	raw := harness.NewRaw(t, addr)
	ctx := context.Background()
	for p := range int32(partitions) {
		end, err := raw.ListOffset(ctx, from, p, -1)
		require.NoError(t, err)
		for offset := int64(0); offset < end.Offset; {
			f, err := raw.Fetch(ctx, from, p, offset, 1) // one batch
			require.NoError(t, err)
			require.Zero(t, f.ErrorCode)
			res, err := raw.Produce(ctx, to, p, f.RecordBatches)
			require.NoError(t, err)
			require.Zero(t, res.ErrorCode)
			require.Equal(t, offset, res.BaseOffset)
			offset += batchCount(f.RecordBatches)
		}
	}
}

// batchCount is how many offsets the one batch in b covers (its last offset delta, plus one).
func batchCount(b []byte) int64 {
	return int64(uint32(b[23])<<24|uint32(b[24])<<16|uint32(b[25])<<8|uint32(b[26])) + 1
}

// compareTopics asks both topics the same and wants the same answers: at every offset (every 41st, and all
// around the seam, in a short run), and for 1,000 random times.
func compareTopics(t *testing.T, b *harness.Broker, ends []int64, events []historyEvent) {
	raw := harness.NewRaw(t, b.Kafka)
	ctx := context.Background()
	rows, err := b.Tiers("events")
	require.NoError(t, err)
	seam := make(map[int32]int64)
	for _, r := range rows {
		seam[r.Partition] = r.HotStart
	}
	step := int64(harness.Count(41, 1))
	for p := range int32(partitions) {
		compareAt := func(offset int64) {
			cold, err := raw.Fetch(ctx, "events", p, offset, 1)
			require.NoError(t, err)
			hot, err := raw.Fetch(ctx, "events-local", p, offset, 1)
			require.NoError(t, err)
			// What is left of both logs, and thus the log start, is the same; the bytes must be too.
			require.Equal(t, hot, cold, "partition %d, offset %d", p, offset)
		}
		for offset := int64(0); offset <= ends[p]; offset += step {
			compareAt(offset)
		}
		for offset := max(0, seam[p]-2); offset <= min(ends[p], seam[p]+2); offset++ {
			compareAt(offset)
		}
		compareAt(ends[p])
	}
	rng := rand.New(rand.NewPCG(7, 7))
	first, last := events[0].ms, events[0].ms
	for _, e := range events {
		first, last = min(first, e.ms), max(last, e.ms)
	}
	for range 1000 {
		p := rng.Int32N(partitions)
		ts := first - 1000 + rng.Int64N(last-first+2000)
		cold, err := raw.ListOffset(ctx, "events", p, ts)
		require.NoError(t, err)
		hot, err := raw.ListOffset(ctx, "events-local", p, ts)
		require.NoError(t, err)
		require.Equal(t, hot, cold, "partition %d, time %d", p, ts)
	}
	for p := range int32(partitions) {
		for _, special := range []int64{-1, -2, -3} {
			cold, err := raw.ListOffset(ctx, "events", p, special)
			require.NoError(t, err)
			hot, err := raw.ListOffset(ctx, "events-local", p, special)
			require.NoError(t, err)
			require.Equal(t, hot, cold, "partition %d, special time %d", p, special)
		}
	}
}
