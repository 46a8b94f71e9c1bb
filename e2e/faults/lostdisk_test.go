package faults

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/harness"
)

// TestLostDataFolder (I-36): a broker whose data folder is gone, but not its metadata and archive, waits until what the
// lost folder had registered has run out, serves what is in the archive and goes on behind it.
func TestLostDataFolder(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{
		Store: "dir://" + t.TempDir(), Args: []string{"--metadata-dir", filepath.Join(t.TempDir(), "metadata")},
	})
	b.MustRun("", "topic", "create", "events", "-p", "1", "-c", "firn.remote.upload.max.lag.ms=100")
	b.MustRun(lines("events", 0, 100), "produce", "events")
	b.WaitArchived(t, "events", time.Minute)
	b.Kill()
	require.NoError(t, os.RemoveAll(b.Options.Data))

	b.Launch()
	b.WaitReady()
	b.MustRun(lines("events", 100, 100), "produce", "events")
	require.Equal(t, lines("events", 0, 200), b.MustRun("", "consume", "events", "--from", "earliest", "--to", "latest"))
}
