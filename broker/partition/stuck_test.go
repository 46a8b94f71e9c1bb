package partition

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/disk"
)

// What a full disk kept from being removed of a deleted topic goes with the housekeeping, once that is possible.
func TestHousekeepingRemovesWhatCouldNotBeRemoved(t *testing.T) {
	e := newEnv(t)
	e.close()
	f := disk.NewFaulty(disk.NewCrashable(2), nil)
	e.fs = f
	e.open()
	tp := e.create("t", 2)
	for i := range int32(2) {
		e.produce(e.partition("t", i), batch(1, 10, 1))
	}
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpRename && strings.HasPrefix(c.Name, "/data/t-") {
			return disk.Fault{Err: syscall.ENOSPC}
		}
		return disk.Fault{}
	})
	require.NoError(t, e.store.Commit(context.Background(), metadata.DeleteTopic{ID: tp.ID})[0])
	stuck := func() int {
		e.m.mu.RLock()
		defer e.m.mu.RUnlock()
		return len(e.m.stuck)
	}
	eventually(t, func() bool { return stuck() == 2 })
	e.m.Housekeep(context.Background())
	eventually(t, func() bool { return stuck() == 2 })
	f.SetHook(nil)
	eventually(t, func() bool {
		e.m.Housekeep(context.Background())
		_, err0 := f.Stat("/data/t-0")
		_, err1 := f.Stat("/data/t-1")
		return isGone(err0) && isGone(err1)
	})
	require.Zero(t, stuck())
}

func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) }
