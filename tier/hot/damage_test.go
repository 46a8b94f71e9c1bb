package hot

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// damages are what no crash does to a log with several segments of flushed batches: something else did.
var damages = []struct {
	name string
	do   func(t *testing.T, segs []string, folder string)
}{
	{"the last segment is cut", func(t *testing.T, segs []string, _ string) { cutFile(t, segs[len(segs)-1], 100) }},
	{"a segment in between is cut", func(t *testing.T, segs []string, _ string) { cutFile(t, segs[1], 100) }},
	{"the last segment is gone", func(t *testing.T, segs []string, _ string) { require.NoError(t, os.Remove(segs[len(segs)-1])) }},
	{"a segment in between is gone", func(t *testing.T, segs []string, _ string) { require.NoError(t, os.Remove(segs[1])) }},
	{"all segments are gone", func(t *testing.T, segs []string, _ string) {
		for _, s := range segs {
			require.NoError(t, os.Remove(s))
		}
	}},
	{"bytes and the leader epochs are changed", func(t *testing.T, segs []string, folder string) {
		last := segs[len(segs)-1]
		f, err := os.OpenFile(last, os.O_RDWR, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte("damage"), 100)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.NoError(t, os.WriteFile(filepath.Join(folder, "leader-epoch-checkpoint"), []byte("no epochs"), 0o644))
	}},
}

func cutFile(t *testing.T, name string, bytes int64) {
	t.Helper()
	info, err := os.Stat(name)
	require.NoError(t, err)
	require.Greater(t, info.Size(), bytes)
	require.NoError(t, os.Truncate(name, info.Size()-bytes))
}

// I-01: a log that lost flushed bytes is neither opened, nor changed, nor forgotten, start after start; the others are
// well. Its folder put back as it was, it is opened with all that it held.
func TestDamageIsNotCut(t *testing.T) {
	for _, c := range damages {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			d := openDir(t, nil, root)
			small := func(cfg *Config) { cfg.SegmentBytes = 2000 }
			l, other := d.open(0, small), d.open(1, small)
			for range 30 {
				appendTo(t, l, batch(2, 100, startMs))
				appendTo(t, other, batch(2, 100, startMs))
			}
			require.NoError(t, l.Flush())
			require.NoError(t, other.Flush())
			want := all(t, l, l.End(), 1<<20)
			require.NoError(t, d.SaveState())
			kill(t, d)

			folder, kept := filepath.Join(root, l.name), filepath.Join(t.TempDir(), "kept")
			require.NoError(t, os.CopyFS(kept, os.DirFS(folder)))
			segs, err := filepath.Glob(filepath.Join(folder, "*"+logSuffix))
			require.NoError(t, err)
			require.Greater(t, len(segs), 3)
			c.do(t, segs, folder)
			sizes := sizesOf(t, folder)
			for start := range 3 {
				d = openDir(t, nil, root)
				_, err = d.Open(part(0), nil)
				require.ErrorIs(t, err, ErrDamaged, "start %d", start)
				require.Contains(t, err.Error(), folder)
				require.Equal(t, sizes, sizesOf(t, folder), "start %d changed the segments", start)
				for range 3 { // the housekeeping goes on
					d.sweep()
				}
				require.Zero(t, d.files.len(), "it has files open")
				require.Equal(t, want, all(t, d.open(1, small), other.End(), 1<<20))
				if start == 1 {
					kill(t, d)
				} else {
					require.NoError(t, d.Close())
				}
			}
			require.NoError(t, os.RemoveAll(folder))
			require.NoError(t, os.CopyFS(folder, os.DirFS(kept)))
			d = openDir(t, nil, root)
			require.Equal(t, want, all(t, d.open(0, small), l.End(), 1<<20))
			require.NoError(t, d.Close())

			require.NoError(t, os.RemoveAll(folder)) // whoever decides that it is lost
			d = openDir(t, nil, root)
			require.Zero(t, d.open(0, small).End())
			require.NoError(t, d.Close())
		})
	}
}

// kill ends the use of a directory as the end of its process does.
func kill(t *testing.T, d *testDir) {
	d.flusher.Close()
	require.NoError(t, d.lock.Close())
}

func sizesOf(t *testing.T, folder string) map[string]int64 {
	t.Helper()
	segs, err := filepath.Glob(filepath.Join(folder, "*"+logSuffix))
	require.NoError(t, err)
	sizes := map[string]int64{}
	for _, s := range segs {
		info, err := os.Stat(s)
		require.NoError(t, err)
		sizes[s] = info.Size()
	}
	return sizes
}
