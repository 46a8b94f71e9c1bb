package node

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// The data folder keeps its name through a power cut: with another one, its broker's id would be refused to it.
func TestDirectoryIDIsDurable(t *testing.T) {
	mem := disk.NewCrashable(1)
	require.NoError(t, disk.MkdirAllSync(mem, "/data", 0o755))
	first, err := directoryID(mem, "/data")
	require.NoError(t, err)
	again, err := directoryID(mem.Crash(), "/data")
	require.NoError(t, err)
	require.Equal(t, first, again)
	require.Len(t, first, 32)
	other, err := directoryID(disk.NewCrashable(1), "/")
	require.NoError(t, err)
	require.NotEqual(t, first, other)
}

// The data folder is made durable before anything is put into it: a power cut takes a folder with all that it holds.
func TestDataDirIsDurable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	fsys := disk.NewFaulty(disk.OS(), disk.FailNth(disk.OpSyncDir, 1, syscall.EIO))
	_, err := lockDataDir(fsys, dir)
	require.ErrorIs(t, err, syscall.EIO)
}
