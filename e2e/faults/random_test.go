package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	miniogo "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/tier/object/objecttest"
)

// TestStoreFailsAtRandom (I-07, I-09, I-12, I-22, I-25): under a store that refuses, throttles, stalls, loses answers and
// damages bodies, nothing is lost; once it behaves the lag is gone, and after the grace period so is every orphan: the
// ones that lost answers may have left, and one that is left for certain, by a kill between a PUT and its commit.
func TestStoreFailsAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(harness.Count(1, 10)) {
		for _, scheme := range []string{"minio", "s3"} {
			t.Run(fmt.Sprintf("%s seed %d", scheme, seed), func(t *testing.T) {
				t.Parallel()
				failAtRandom(t, scheme, seed)
			})
		}
	}
}

func failAtRandom(t *testing.T, scheme string, seed uint64) {
	bucket := objecttest.Shared(t)
	proxy := harness.NewFaultyProxy(t, bucket.Endpoint, seed)
	store := proxy.Before(bucket.StoreURL(scheme, ""), bucket.Endpoint)
	b := harness.Start(t, harness.Options{Store: store, Args: []string{"--archive-grace", "3s", "--archive-interval", "1s"}})
	b.MustRun("", "topic", "create", "events", "-p", "2", "-c", "segment.bytes=1048576", "-c", "firn.remote.segment.bytes=1048576",
		"-c", "firn.remote.upload.max.lag.ms=1000", "-c", "local.retention.ms=1000")

	proxy.Break(30)
	var want [2]strings.Builder
	orphan := ""
	for round := range harness.Count(6, 20) {
		for p := range want {
			text := lines(fmt.Sprintf("partition %d round %d %s", p, round, strings.Repeat("x", 500)), 0, 400)
			b.MustRun(text, "produce", "events", "-p", fmt.Sprint(p))
			want[p].WriteString(text)
		}
		if round == 2 {
			orphan = orphanByKill(t, b, proxy)
			require.Contains(t, segmentKeys(t, bucket), orphan)
			b.Launch()
			b.WaitReady()
		}
	}
	for p := range want {
		require.Equal(t, want[p].String(), b.MustRun("", "consume", "events", "-p", fmt.Sprint(p), "--from", "earliest", "--to", "latest"), "partition %d under faults", p)
	}
	proxy.Break(0)
	require.Positive(t, proxy.Broken())
	b.WaitArchived(t, "events", time.Minute)
	b.WaitArchived(t, "more", time.Minute)
	b.WaitTiers(t, "events", time.Minute, "the local copy is not gone", func(p harness.Tiers) bool { return p.HotStart == p.HotEnd })
	for p := range want {
		require.Equal(t, want[p].String(), b.MustRun("", "consume", "events", "-p", fmt.Sprint(p), "--from", "earliest", "--to", "latest"), "partition %d", p)
	}

	segments := 0
	for _, topic := range []string{"events", "more"} {
		rows, err := b.Tiers(topic)
		require.NoError(t, err)
		for _, r := range rows {
			segments += r.ColdSegments
		}
	}
	harness.Eventually(t, time.Minute, "orphans are left after the grace period", func() bool {
		keys := segmentKeys(t, bucket)
		return len(keys) == segments && !slices.Contains(keys, orphan)
	})
}

// orphanByKill kills the broker after a segment was stored and before it can know, and gives the segment's key: no
// ledger can ever name it.
func orphanByKill(t *testing.T, b *harness.Broker, proxy *harness.FaultyProxy) string {
	t.Helper()
	held := proxy.HoldSegment()
	b.MustRun("", "topic", "create", "more", "-p", "1", "-c", "firn.remote.upload.max.lag.ms=100")
	b.MustRun("so that there is something to upload\n", "produce", "more")
	select {
	case <-held.Stored:
	case <-time.After(time.Minute):
		t.Fatal("no segment was uploaded")
	}
	b.Kill()
	return held.Key()
}

// segmentKeys lists the archived segments in the bucket, without folds: no ledger here is long enough to have one.
func segmentKeys(t *testing.T, b *objecttest.Bucket) []string {
	t.Helper()
	cl, err := miniogo.New(b.Endpoint, &miniogo.Options{Creds: credentials.NewStaticV4(b.AccessKey, b.SecretKey, "")})
	require.NoError(t, err)
	var keys []string
	for o := range cl.ListObjects(context.Background(), b.Bucket, miniogo.ListObjectsOptions{Recursive: true}) {
		require.NoError(t, o.Err)
		if harness.IsSegment(o.Key) {
			keys = append(keys, o.Key)
		}
	}
	return keys
}
