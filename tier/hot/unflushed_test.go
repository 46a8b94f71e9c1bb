package hot

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// I-31: a file with bytes that are not flushed is not closed, also when a flush of those before them ended while they were
// being written: were they not written back well, nobody would hear of it.
func TestFlushEndsDuringAWrite(t *testing.T) {
	for _, fails := range []bool{false, true} {
		d, f, _ := faultyWorld(t)
		l := d.open(0, nil)
		require.NoError(t, l.Make())
		d.flusher.Close() // only this test flushes
		appendTo(t, l, batch(1, 10, startMs))
		s := l.active()
		isOpen := func() bool {
			_, open := s.file.lastUse()
			return open
		}
		d.o.MaxOpenFiles = 0 // whatever may be closed is
		wrote := false
		f.SetHook(func(c disk.Call) disk.Fault {
			if c.Op != disk.OpWrite || !strings.HasSuffix(c.Name, logSuffix) {
				return disk.Fault{}
			}
			wrote = true
			require.NoError(t, l.Sync())
			require.False(t, s.file.dirty.Load(), "what was there before is flushed")
			d.sweep()
			d.closeOne()
			require.True(t, isOpen(), "it is being written to")
			if fails {
				return disk.FullAfter(20)(c)
			}
			return disk.Fault{}
		})
		_, err := tryAppend(l, batch(1, 10, startMs), 0)
		f.SetHook(nil)
		require.True(t, wrote)
		if fails {
			require.ErrorIs(t, err, ErrFull)
		} else {
			require.NoError(t, err)
		}
		require.True(t, s.file.dirty.Load())
		for range 3 {
			d.sweep()
			d.closeOne()
			require.True(t, isOpen(), "it is not flushed")
		}
		require.NoError(t, l.Sync())
		d.sweep()
		require.False(t, isOpen(), "it is flushed")
		require.NoError(t, d.Close())
	}
}
