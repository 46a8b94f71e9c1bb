package hot

import (
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
)

// I-32: anybody may call a topic like what the flush journal kept of another. That one is opened, kept, put back and removed
// all the same.
func TestTopicCalledLikeWhatIsKept(t *testing.T) {
	t.Run("real", func(t *testing.T) { topicCalledLikeWhatIsKept(t, disk.OS(), t.TempDir()) })
	t.Run("in memory", func(t *testing.T) { topicCalledLikeWhatIsKept(t, disk.NewCrashable(1), "/log") })
}

func topicCalledLikeWhatIsKept(t *testing.T, fsys disk.FS, root string) {
	start := func() *testDir {
		o, c := testOptions(t, fsys, root)
		o.JournalBytes, o.journalInline = 1<<20, true
		d, err := OpenDir(o)
		require.NoError(t, err)
		return &testDir{d, t, c}
	}
	strange := topic.Partition{ID: topic.ID{9}, Topic: keptPrefix + "t", Index: 0}
	var want, wantStrange []byte
	d := start()
	look := func() *Log {
		l := d.open(0, nil)
		require.Equal(t, want, all(t, l, l.End(), 1<<20))
		return l
	}
	lookStrange := func() {
		l, err := d.Open(strange, nil)
		require.NoError(t, err)
		if wantStrange == nil {
			wantStrange = mustAppend(t, l, batch(1, 10, startMs))
			require.NoError(t, l.Flush())
			require.Equal(t, d.formerKeptName("t-0"), l.Folder())
		}
		require.Equal(t, wantStrange, all(t, l, l.End(), 1<<20))
	}
	put := func() {
		l := look()
		for range 3 { // the last one is in the journal alone
			want = append(want, mustAppend(t, l, batch(1, 10, startMs))...)
			require.NoError(t, l.Flush())
		}
		require.Less(t, l.Durable(), l.Flushed())
	}
	put()
	lookStrange()

	require.NoError(t, d.Close())
	d = start()
	put()
	lookStrange()

	kill(t, d)
	d = start()
	put()
	lookStrange()

	kill(t, d) // and the log's file is gone
	name, elsewhere := filepath.Join(root, "t-0", fileName(0, logSuffix)), filepath.Join(root, "elsewhere")
	require.NoError(t, fsys.Rename(name, elsewhere))
	for range 2 {
		d = start()
		_, err := d.Open(part(0), nil)
		require.ErrorIs(t, err, ErrDamaged)
		lookStrange()
		_, err = fsys.Stat(d.keptName("t-0"))
		require.NoError(t, err)
		kill(t, d)
	}
	require.NoError(t, fsys.Rename(elsewhere, name))
	d = start()
	look()
	_, err := fsys.Stat(d.keptName("t-0"))
	require.ErrorIs(t, err, fs.ErrNotExist)

	require.NoError(t, d.Remove(part(0)))
	_, err = fsys.Stat(filepath.Join(root, "t-0"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	lookStrange()
	require.NoError(t, d.Close())
}

// I-01: what an earlier version kept counts, where that one left it, until there is something newer.
func TestKeptByAnEarlierVersion(t *testing.T) {
	w := newWorld(1, "")
	l := w.open(0)
	w.put(l, 1)
	b := batch(1, 300<<10, startMs)
	record.Stamp(b, 0, 0)
	r := journalOf(w, &lavish{l, b})
	kept, err := r.Keep(r.Logs[0])
	require.NoError(t, err)
	former, name := w.d.formerKeptName("t-0"), w.d.keptName("t-0")
	done := func() {
		for _, name := range []string{former, name} {
			_, err := w.mem.Stat(name)
			require.ErrorIs(t, err, fs.ErrNotExist)
		}
	}
	must(disk.WriteFileSync(w.mem, former, []byte("not what was kept")))
	for range 2 {
		w.kill()
		_, err = w.d.Open(w.part(0), nil)
		require.ErrorIs(t, err, ErrDamaged)
		require.ErrorContains(t, err, former+" alone")
	}
	must(disk.WriteFileSync(w.mem, former, kept))
	w.kill()
	require.NoError(t, attempt(func() { holds(w.open(0), b) }))
	done()

	must(disk.WriteFileSync(w.mem, former, []byte("older")))
	must(disk.WriteFileSync(w.mem, name, kept))
	w.kill()
	require.NoError(t, attempt(func() { holds(w.open(0), b) }))
	done()
	w.d.flusher.Close()
}
