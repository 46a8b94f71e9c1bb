package faults

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/harness"
)

// I-35: a bucket that held something else already is not trusted. Nothing that is archived in it may become
// unreadable, however short its retention is, by the collector's rounds or by the broker's own housekeeping.
func TestDistrustedBucketLosesNoHistory(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	foreign := filepath.Join(store, "formercluster", "gen", "0000", "x", "0")
	require.NoError(t, os.MkdirAll(foreign, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(foreign, "data"), []byte("x"), 0o644))
	b := harness.Start(t, harness.Options{Store: "dir://" + store, Args: eager})
	b.MustRun("", "topic", "create", "kept", "-p", "1", "-c", "retention.ms=500", "-c", "firn.remote.upload.max.lag.ms=100")
	b.MustRun("", "topic", "create", "local", "-p", "1", "-c", "retention.ms=500", "-c", "remote.storage.enable=false")
	b.MustRun("a\nb\nc\n", "produce", "kept")
	b.WaitArchived(t, "kept", time.Minute)

	// Two rounds of housekeeping, as a topic shows whose retention it does itself, and some of the collector's.
	end := int64(0)
	for range 2 {
		b.MustRun("x\n", "produce", "local")
		end++
		b.WaitTiers(t, "local", time.Minute, "housekeeping should delete", func(r harness.Tiers) bool { return r.LogStart == end })
	}
	waitRounds(t, b)
	requireDistrust(t, b, store, "formercluster")

	rows, err := b.Tiers("kept")
	require.NoError(t, err)
	require.Zero(t, rows[0].LogStart)
	require.Equal(t, "a\nb\nc\n", b.MustRun("", "consume", "kept", "--from", "earliest", "--to", "latest"))
	say := b.MustRun("", "tier", "explain", "kept", "0", "1")
	require.Contains(t, say, "by retention.ms=500", "what is due is said")
	require.Contains(t, say, "The log start is not moved by retention", "and why it stays")
	require.Contains(t, say, "formercluster")
}
