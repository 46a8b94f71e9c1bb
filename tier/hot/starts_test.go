package hot

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/checkpoint"
)

// Where partitions began that are no more is not kept for ever; one that is made again begins at 0 (I-38).
func TestStartsOfRemovedPartitions(t *testing.T) {
	for _, byHand := range []bool{false, true} {
		t.Run(fmt.Sprint("by hand ", byHand), func(t *testing.T) {
			w := newWorld(2, "")
			saved := func(name string) map[checkpoint.Key]int64 {
				m, err := checkpoint.ReadOffsets(w.mem, filepath.Join("/data/log", name))
				require.NoError(t, err)
				return m
			}
			for i := range int32(4) { // odd ones have an archive, and a local start
				l := w.open(i)
				w.putMany(l, 2)
				_, err := l.Trim(l.active().base, "test")
				require.NoError(t, err)
			}
			require.Contains(t, saved(logStartFile), key(w.part(0)))
			require.Contains(t, saved(localStartFile), key(w.part(1)))
			if byHand {
				w.d.flusher.Close()
				for i := range 2 {
					require.NoError(t, w.mem.RemoveAll(fmt.Sprintf("/data/log/t-%d", i)))
				}
				require.NoError(t, w.mem.SyncDir("/data/log"))
				w.start()
			} else {
				for i := range int32(2) {
					require.NoError(t, w.d.Remove(w.part(i)))
				}
			}
			for i := int32(2); i < 4; i++ {
				l := w.open(i)
				w.putMany(l, 2)
				_, err := l.Trim(l.active().base, "test")
				require.NoError(t, err)
			}
			for _, name := range []string{logStartFile, localStartFile} {
				for k := range saved(name) {
					require.Greater(t, k.Index, int32(1), name)
				}
				require.NotEmpty(t, saved(name), name)
			}
			require.Empty(t, w.d.starts.gone)
			starts := []int64{0, 0, w.open(2).LocalStart(), w.open(3).LocalStart()}
			for i := range int32(2) {
				w.put(w.open(i), 1)
			}
			w.power(false)
			for i, start := range starts {
				require.Equal(t, start, w.open(int32(i)).LocalStart())
			}
			w.d.flusher.Close()
		})
	}
}

// A place that was found before batches were cut off is not remembered after others took their offsets.
func TestHintsOfBeforeACut(t *testing.T) {
	d := openDir(t, disk.NewCrashable(1), "/log")
	l := d.open(0, nil)
	for range 10 {
		appendTo(t, l, batch(1, 100, startMs))
	}
	s := l.active()
	life := l.hints.life.Load()
	pos, offset, err := s.find(6)
	require.NoError(t, err)
	require.NoError(t, l.Truncate(3))
	for range 10 {
		appendTo(t, l, batch(1, 200, startMs))
	}
	l.hints.put(life, s, offset, pos, 0)
	at, _, err := s.find(6)
	require.NoError(t, err)
	require.NotEqual(t, pos, at)
	require.Equal(t, 13, len(allHeaders(t, l)))
	require.NoError(t, d.Close())
}

// allHeaders reads a log batch by batch.
func allHeaders(t *testing.T, l *Log) (bases []int64) {
	for at := l.LocalStart(); at < l.End(); {
		d, err := l.Read(at, l.End(), 1, true)
		require.NoError(t, err)
		bases = append(bases, d.First)
		at = d.Next
		d.Release()
	}
	return bases
}
