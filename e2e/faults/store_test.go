package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/tier/object/objecttest"
)

// ownMinIO starts a server that the test may stop, kill and pause.
func ownMinIO(t *testing.T) (*objecttest.MinIO, string) {
	t.Helper()
	m, err := objecttest.StartMinIO(t.TempDir())
	if err != nil {
		if errors.Is(err, objecttest.ErrNoMinIO) {
			harness.Missing(t, err.Error())
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	bucket, err := m.NewBucket(context.Background(), "firn")
	require.NoError(t, err)
	return m, bucket
}

func lines(topic string, from, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s %d\n", topic, from+i)
	}
	return b.String()
}

// TestStoreGoesAway: a store that dies, comes back and stands still costs nothing but lag.
func TestStoreGoesAway(t *testing.T) {
	t.Parallel()
	m, bucket := ownMinIO(t)
	b := harness.Start(t, harness.Options{Store: m.URL("s3", bucket, "a/prefix")})
	b.MustRun("", "topic", "create", "events", "-p", "1", "-c", "segment.bytes=1048576", "-c", "firn.remote.segment.bytes=1048576",
		"-c", "firn.remote.upload.max.lag.ms=1000", "-c", "local.retention.ms=1000")
	b.MustRun(lines("first", 0, 1000), "produce", "events", "-p", "0")
	b.WaitArchived(t, "events", time.Minute)
	b.WaitTiers(t, "events", time.Minute, "the local copy is not gone", func(p harness.Tiers) bool { return p.HotStart == 1000 })

	require.NoError(t, m.Kill())
	b.MustRun(lines("second", 0, 1000), "produce", "events", "-p", "0")
	b.WaitTiers(t, "events", time.Minute, "the failing upload is not reported", func(p harness.Tiers) bool { return p.LagRecords == 1000 && p.LastError != "" })
	// What is not archived is not dropped, and is served.
	require.Equal(t, lines("second", 0, 1000), b.MustRun("", "consume", "events", "--from", "1000", "--to", "latest"))

	require.NoError(t, m.Start())
	b.WaitArchived(t, "events", 2*time.Minute)

	require.NoError(t, m.Pause())
	b.MustRun(lines("third", 0, 1000), "produce", "events", "-p", "0")
	require.NoError(t, m.Resume())
	b.WaitArchived(t, "events", 2*time.Minute)
	all := lines("first", 0, 1000) + lines("second", 0, 1000) + lines("third", 0, 1000)
	require.Equal(t, all, b.MustRun("", "consume", "events", "--from", "earliest", "--to", "latest"))

	// A broker that starts while its store is away serves what is hot.
	b.MustRun("", "topic", "create", "local", "-c", "remote.storage.enable=false")
	b.MustRun("hot\n", "produce", "local")
	b.Stop()
	require.NoError(t, m.Kill())
	b.Launch()
	b.WaitReady()
	require.Equal(t, "hot\n", b.MustRun("", "consume", "local", "--from", "earliest", "--to", "latest"))
	require.NoError(t, m.Start())
	require.Equal(t, all, b.MustRun("", "consume", "events", "--from", "earliest", "--to", "latest"))
}

// TestWrongBucketOrCredentials: each is a sentence at start.
func TestWrongBucketOrCredentials(t *testing.T) {
	m, bucket := ownMinIO(t)
	for _, scheme := range []string{"minio", "s3"} {
		missing := harness.New(t, harness.Options{Store: m.URL(scheme, "no-such-bucket", "")})
		missing.Launch()
		require.Contains(t, refused(t, missing), "no-such-bucket")

		wrong := filepath.Join(t.TempDir(), "credentials")
		require.NoError(t, os.WriteFile(wrong, []byte("[default]\naws_access_key_id = nobody\naws_secret_access_key = hunter2hunter2\n"), 0o600))
		url := strings.ReplaceAll(m.URL(scheme, bucket, ""), escaped(m.CredentialsFile), escaped(wrong))
		denied := harness.New(t, harness.Options{Store: url})
		denied.Launch()
		log := refused(t, denied)
		require.Contains(t, strings.ToLower(log), "credential")
		require.NotContains(t, log, "hunter2")
	}
}

func escaped(path string) string { return strings.ReplaceAll(path, "/", "%2F") }
