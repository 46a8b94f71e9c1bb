package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/e2e/harness"
)

// TestDamagedObjects (I-25): of five archived segments of a partition whose local copy is gone, one has a byte changed in
// its records, one has lost its end, and one is missing. A broker that reads them for the first time gives an error
// instead of their records, names the object in its log and in `firn tier explain`, and serves all the others.
func TestDamagedObjects(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	b := harness.Start(t, harness.Options{Store: "dir://" + store})
	b.MustRun("", "topic", "create", "events", "-p", "1", "-c", "segment.bytes=1048576", "-c", "firn.remote.upload.max.lag.ms=100",
		"-c", "firn.remote.compression=none", "-c", "local.retention.ms=1000")
	const segments, each = 5, 100
	for i := range segments {
		b.MustRun(lines("events", i*each, each), "produce", "events")
		b.WaitArchived(t, "events", time.Minute)
	}
	b.WaitTiers(t, "events", time.Minute, "the local copy is not gone", func(p harness.Tiers) bool { return p.HotStart == segments*each })
	paths := segmentsByBase(t, store)
	require.Equal(t, []int64{0, 100, 200, 300, 400}, bases(t, paths), "each round is one segment")

	flip(t, paths[1], "events 150")
	cut, err := os.Stat(paths[2])
	require.NoError(t, err)
	require.NoError(t, os.Truncate(paths[2], cut.Size()/2))
	require.NoError(t, os.Remove(paths[4]))
	b.Stop()
	require.NoError(t, os.RemoveAll(filepath.Join(b.Options.Data, "cache")))
	b.Launch()
	b.WaitReady()

	raw := harness.NewRaw(t, b.Kafka)
	for i, want := range map[int]string{1: "damaged", 2: "damaged", 4: "missing"} {
		for _, offset := range []int64{int64(i * each), int64(i*each + each/2), int64(i*each + each - 1)} {
			f, err := raw.Fetch(context.Background(), "events", 0, offset, 1<<20)
			require.NoError(t, err)
			require.Equal(t, kerr.KafkaStorageError.Code, f.ErrorCode, "offset %d", offset)
			require.Empty(t, f.RecordBatches, "offset %d", offset)
		}
		name := filepath.Base(paths[i])
		said := b.MustRun("", "tier", "explain", "events", "0", fmt.Sprint(i*each))
		require.Contains(t, said, name)
		require.Contains(t, said, want)
		logged := false
		for line := range strings.Lines(b.Log()) {
			logged = logged || strings.Contains(line, name) && strings.Contains(line, want)
		}
		require.True(t, logged, "the log does not say that %s is %s", name, want)
	}
	// What is whole is served, before, between and after.
	for _, i := range []int{0, 3} {
		require.Equal(t, lines("events", i*each, each), b.MustRun("", "consume", "events", "-p", "0", "--from", fmt.Sprint(i*each), "--to", fmt.Sprint(i*each+each)))
		require.NotContains(t, b.MustRun("", "tier", "explain", "events", "0", fmt.Sprint(i*each)), "Reading it fails")
	}
	b.MustRun(lines("events", segments*each, each), "produce", "events")
	require.Equal(t, lines("events", segments*each, each), b.MustRun("", "consume", "events", "-p", "0", "--from", fmt.Sprint(segments*each), "--to", "latest"))
}

// segmentsByBase gives the files of all segments in a dir store, in the order of their offsets, which their names have.
func segmentsByBase(t *testing.T, store string) (paths []string) {
	t.Helper()
	for path := range files(t, store) {
		if harness.IsSegment(path) {
			paths = append(paths, path)
		}
	}
	sort.Strings(paths)
	return paths
}

func bases(t *testing.T, paths []string) (bases []int64) {
	t.Helper()
	for _, p := range paths {
		first, _, _ := strings.Cut(filepath.Base(p), "-")
		base, err := strconv.ParseInt(first, 10, 64)
		require.NoError(t, err)
		bases = append(bases, base)
	}
	return bases
}

// flip changes one byte of a file, in the middle of a text that it holds.
func flip(t *testing.T, path, text string) {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	at := strings.Index(string(content), text)
	require.Positive(t, at, "%s is not in %s", text, path)
	content[at] ^= 0x20
	require.NoError(t, os.WriteFile(path, content, 0o600))
}
