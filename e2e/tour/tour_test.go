// Package tour walks through firn as a newcomer would: the README's own steps, and every command.
package tour

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const visits = "alice\t1577836800000\tfirst visit\nbob\t1609459200000\tnew year 2021\nalice\t1704067200000\tnew year 2024\n"

// TestCommands uses every command as a person may, from the first record to the archive and back.
func TestCommands(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	require.Contains(t, b.MustRun("", "topic", "create", "visits", "-p", "1", "-c", "firn.remote.upload.max.lag.ms=1000", "-c", "local.retention.ms=1000"), "visits created")
	b.MustRun(visits, "produce", "visits", "--format", "key-time-value")
	require.Equal(t, visits, b.MustRun("", "consume", "visits", "--from", "earliest", "--to", "latest", "--format", "key-time-value"))

	b.WaitArchived(t, "visits", time.Minute)
	b.WaitTiers(t, "visits", time.Minute, "the local copy is not gone", func(p harness.Tiers) bool { return p.HotStart == 3 })
	status := b.MustRun("", "tier", "status", "visits")
	require.Contains(t, status, "0..3", status)
	explained := b.MustRun("", "tier", "explain", "visits", "0", "1")
	require.Contains(t, strings.ToLower(explained), "archive", explained)
	require.NotEmpty(t, b.MustRun("", "tier", "explain", "visits", "0"))

	// Reading does not notice.
	require.Equal(t, visits, b.MustRun("", "consume", "visits", "--from", "earliest", "--to", "latest", "--format", "key-time-value"))
	since2020 := b.MustRun("", "consume", "visits", "--from", "2020-06-01", "--to", "latest", "-o", "json")
	var first struct {
		Offset    int64  `json:"offset"`
		Key       string `json:"key"`
		Timestamp string `json:"timestamp"`
	}
	require.NoError(t, json.Unmarshal([]byte(strings.SplitN(since2020, "\n", 2)[0]), &first))
	require.Equal(t, int64(1), first.Offset)
	require.Equal(t, "bob", first.Key)
	require.Equal(t, "2021-01-01T00:00:00Z", first.Timestamp)
	require.Equal(t, "new year 2021\n", b.MustRun("", "consume", "visits", "--from", "1", "--to", "2024-01-01T00:00:00Z"))
	require.Equal(t, "first visit\n", b.MustRun("", "consume", "visits", "--from", "0", "-n", "1"))

	dumped := b.MustRun("", "segment", "dump", "--deep", anObject(t, filepath.Join(b.Options.Data, "store")))
	require.Contains(t, dumped, "visits")
	require.Equal(t, dumped, b.MustRun("", "segment", "dump", "--deep", "dir://"+anObject(t, filepath.Join(b.Options.Data, "store"))))

	require.Contains(t, b.MustRun("", "topic", "list"), "visits")
	require.Contains(t, b.MustRun("", "topic", "describe", "visits"), "local.retention.ms")
	require.Contains(t, b.MustRun("", "topic", "delete", "visits"), "visits deleted")
	require.NotContains(t, b.MustRun("", "topic", "list"), "visits")
	_, err := b.Run("", "consume", "visits", "--from", "earliest", "--to", "latest")
	require.ErrorContains(t, err, "visits")

	_, metrics, err := b.Get("/metrics")
	require.NoError(t, err)
	for _, name := range []string{
		"firn_server_request_seconds_bucket{api=\"Produce\"", "firn_hot_size_bytes", "firn_upload_", "firn_cold_cache_hits_total",
		"firn_object_operation_seconds_count{op=\"put\",store=\"dir\"", "go_goroutines", "process_cpu_seconds_total",
	} {
		require.True(t, strings.Contains(metrics, name), "no metric %s", name)
	}
	status200, _, err := b.Get("/healthz")
	require.NoError(t, err)
	require.Equal(t, 200, status200)
}

// anObject finds an archived segment in a dir store.
func anObject(t *testing.T, store string) string {
	t.Helper()
	var found string
	require.NoError(t, filepath.WalkDir(store, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), "first visit") {
			found = path
		}
		return nil
	}))
	require.NotEmpty(t, found, "no archived object holds the first record")
	return found
}

// TestVersion: version, commit and Go version.
func TestVersion(t *testing.T) {
	b := harness.New(t, harness.Options{})
	var v struct{ Version, Commit, Go string }
	require.NoError(t, json.Unmarshal([]byte(b.MustRun("", "version", "-o", "json")), &v))
	require.NotEmpty(t, v.Version)
	require.NotEmpty(t, v.Commit)
	require.Contains(t, v.Go, "go1.")
}

// TestNoBroker: a command that finds no broker says where it looked and what to do.
func TestNoBroker(t *testing.T) {
	b := harness.New(t, harness.Options{})
	_, err := b.Run("", "topic", "list")
	require.ErrorContains(t, err, b.Kafka)
	require.ErrorContains(t, err, "--bootstrap")
	_, err = b.Run("", "tier", "status")
	require.ErrorContains(t, err, "--admin")
}
