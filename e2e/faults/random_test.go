package faults

import (
	"context"
	"fmt"
	"net/url"
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
// damages bodies, nothing is lost; once it behaves the lag is gone, and after the grace period so is every orphan.
func TestStoreFailsAtRandom(t *testing.T) {
	for seed := range uint64(harness.Count(1, 10)) {
		for _, scheme := range []string{"minio", "s3"} {
			t.Run(fmt.Sprintf("%s seed %d", scheme, seed), func(t *testing.T) { failAtRandom(t, scheme, seed) })
		}
	}
}

func failAtRandom(t *testing.T, scheme string, seed uint64) {
	bucket := objecttest.Shared(t)
	proxy := harness.NewFaultyProxy(t, bucket.Endpoint, seed)
	store := strings.ReplaceAll(bucket.StoreURL(scheme, ""), bucket.Endpoint, proxy.Addr)
	store = strings.ReplaceAll(store, url.QueryEscape(bucket.Endpoint), url.QueryEscape(proxy.Addr))
	b := harness.Start(t, harness.Options{Store: store, Args: []string{"--archive-grace", "3s", "--archive-interval", "1s"}})
	b.MustRun("", "topic", "create", "events", "-p", "2", "-c", "segment.bytes=1048576", "-c", "firn.remote.segment.bytes=1048576",
		"-c", "firn.remote.upload.max.lag.ms=1000", "-c", "local.retention.ms=1000")

	proxy.Break(30)
	var want [2]strings.Builder
	for round := range harness.Count(6, 20) {
		for p := range want {
			text := lines(fmt.Sprintf("partition %d round %d %s", p, round, strings.Repeat("x", 500)), 0, 400)
			b.MustRun(text, "produce", "events", "-p", fmt.Sprint(p))
			want[p].WriteString(text)
		}
		if round == 2 {
			b.Kill() // an upload or a commit under way stays behind
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
	b.WaitTiers(t, "events", time.Minute, "the local copy is not gone", func(p harness.Tiers) bool { return p.HotStart == p.HotEnd })
	for p := range want {
		require.Equal(t, want[p].String(), b.MustRun("", "consume", "events", "-p", fmt.Sprint(p), "--from", "earliest", "--to", "latest"), "partition %d", p)
	}

	segments := 0
	rows, err := b.Tiers("events")
	require.NoError(t, err)
	for _, r := range rows {
		segments += r.ColdSegments
	}
	harness.Eventually(t, time.Minute, "orphans are left after the grace period", func() bool {
		return len(segmentKeys(t, bucket)) == segments
	})
}

// segmentKeys lists the archived segments in the bucket: keys of the form .../<topic id>/<partition>/<base>-<epoch>-<random>.
func segmentKeys(t *testing.T, b *objecttest.Bucket) []string {
	t.Helper()
	cl, err := miniogo.New(b.Endpoint, &miniogo.Options{Creds: credentials.NewStaticV4(b.AccessKey, b.SecretKey, "")})
	require.NoError(t, err)
	var keys []string
	for o := range cl.ListObjects(context.Background(), b.Bucket, miniogo.ListObjectsOptions{Recursive: true}) {
		require.NoError(t, o.Err)
		parts := strings.Split(o.Key, "/")
		if len(parts) == 6 && !strings.HasPrefix(parts[5], "fold-") {
			keys = append(keys, o.Key)
		}
	}
	return keys
}
