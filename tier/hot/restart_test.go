package hot

import (
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// failLogs fails an operation of all segments' files.
func failLogs(op disk.Op, err error) disk.Hook {
	return func(c disk.Call) disk.Fault {
		if c.Op == op && strings.HasSuffix(c.Name, logSuffix) {
			return disk.Fault{Err: err}
		}
		return disk.Fault{}
	}
}

// faulty puts a Faulty under the next starts of a world.
func (w *world) faulty() *disk.Faulty {
	f := disk.NewFaulty(w.mem, nil)
	w.wrap = func(disk.FS) disk.FS { return f }
	return f
}

// I-01: what recovery cannot read is not a torn tail.
func TestUnreadableIsNotCut(t *testing.T) {
	w := newWorld(2, "")
	l := w.open(0)
	var want []byte
	for range 20 {
		want = append(want, w.put(l, 1)...)
	}
	name, size := l.active().file.path(), l.Bytes()
	f := w.faulty()
	w.kill()
	f.SetHook(failLogs(disk.OpRead, syscall.EIO))
	_, err := w.d.Open(w.part(0), nil)
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorIs(t, err, ErrUnreadable)
	require.NotErrorIs(t, err, ErrDamaged)
	info, err := w.mem.Stat(name)
	require.NoError(t, err)
	require.Equal(t, size, info.Size())
	f.SetHook(nil)
	require.NoError(t, attempt(func() { holds(w.open(0), want) }))
}
