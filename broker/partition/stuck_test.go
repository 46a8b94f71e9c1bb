package partition

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/disk"
)

// What a full disk kept from being removed of a deleted topic goes with the housekeeping, once that is possible. Until then it is
// told once what it is, and with each round how much, for the log may be on that disk.
func TestHousekeepingRemovesWhatCouldNotBeRemoved(t *testing.T) {
	e := newEnv(t)
	e.close()
	f := disk.NewFaulty(disk.NewCrashable(2), nil)
	e.fs = f
	var lines logged
	e.open(func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&lines, nil)) })
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
	require.Equal(t, 2, lines.with("cannot remove the log"))
	for round := range 3 {
		e.m.Housekeep(context.Background())
		eventually(t, func() bool { return lines.with("still cannot be removed") == round+1 })
		require.Equal(t, 2, stuck())
	}
	require.Equal(t, 3, lines.with("partitions=2"))
	require.Equal(t, 2, lines.with("cannot remove the log"))
	f.SetHook(nil)
	eventually(t, func() bool {
		e.m.Housekeep(context.Background())
		_, err0 := f.Stat("/data/t-0")
		_, err1 := f.Stat("/data/t-1")
		return isGone(err0) && isGone(err1)
	})
	require.Zero(t, stuck())
}

// logged are lines of a log.
type logged struct {
	mu  sync.Mutex
	all []string
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(b))
	return len(b), nil
}

// with is how many lines have a text.
func (l *logged) with(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) }
