package etcd

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// TestFolderIsDurable: a power cut leaves the folder in which etcd keeps what it has committed.
func TestFolderIsDurable(t *testing.T) {
	mem := disk.NewCrashable(1)
	require.NoError(t, makeFolder(mem, "/data/metadata"))
	_, err := mem.Crash().Stat("/data/metadata/etcd/member")
	require.NoError(t, err)
}
