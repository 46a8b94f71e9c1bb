package hot

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/flush"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
)

// clock is a settable clock.
type clock struct{ ms int64 }

func (c *clock) now() time.Time { return time.UnixMilli(c.ms) }

const startMs = 1_700_000_000_000

type testDir struct {
	*Dir
	t     testing.TB
	clock *clock
}

func testOptions(t testing.TB, fsys disk.FS, path string) (Options, *clock) {
	c := &clock{ms: startMs}
	return Options{FS: fsys, Path: path, Now: c.now, BootID: "boot-1", Housekeep: -1, JournalBytes: -1,
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))}, c
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Helper()
	w.t.Log(string(p[:len(p)-1]))
	return len(p), nil
}

func openDir(t testing.TB, fsys disk.FS, path string) *testDir {
	t.Helper()
	o, c := testOptions(t, fsys, path)
	d, err := OpenDir(o)
	require.NoError(t, err)
	return &testDir{d, t, c}
}

var testID = topic.ID{1, 2, 3}

func part(index int32) topic.Partition { return topic.Partition{ID: testID, Topic: "t", Index: index} }

func (d *testDir) open(index int32, change func(*Config)) *Log {
	d.t.Helper()
	cfg := DefaultConfig()
	cfg.TimestampAfterMaxMs = Forever
	cfg.FileDeleteDelayMs = 0
	if change != nil {
		change(&cfg)
	}
	l, err := d.Open(part(index), &cfg)
	require.NoError(d.t, err)
	return l
}

// Flush has the log flushed, and returns when that has ended.
func (l *Log) Flush() error {
	if err := flushRound(l.dir.journal, l); err != nil {
		l.dir.fail(err)
		return l.dir.Offline()
	}
	return nil
}

// flushRound has a Flusher of its own do a round for the log, and returns when that has ended. So tests flush as a broker
// does, each when it says so, also where the directory's Flusher is closed lest it flush as well.
func flushRound(j *flush.Journal, l flush.Log) error {
	ended := make(chan error, 2)
	f := flush.New(flush.Options{Journal: j, Parallel: 1, OnError: func(err error) { ended <- err }})
	defer f.Close()
	f.Mark(l)
	// Both are synced after the log if that is, and the second one's round comes after the log's.
	f.Mark(&syncer{func() { f.Mark(&syncer{func() { ended <- nil }}) }})
	return <-ended
}

// syncer is a flush.Log that does something when it is its turn.
type syncer struct{ fn func() }

func (s *syncer) Sync() error {
	s.fn()
	return nil
}

// batch builds a batch of n records of about size bytes whose values say their index.
func batch(n, size int, ts int64) []byte {
	b := record.NewBuilder(record.None)
	for i := range n {
		v := make([]byte, size)
		copy(v, fmt.Sprintf("value-%d", i))
		b.Append(ts+int64(i), []byte("k"), v, nil)
	}
	return b.Build(0)
}

func appendTo(t testing.TB, l *Log, b []byte) Appended {
	t.Helper()
	a, err := tryAppend(l, b, 0)
	require.NoError(t, err)
	return a
}

func tryAppend(l *Log, b []byte, epoch int32) (Appended, error) {
	h, err := record.Check(b)
	if err != nil {
		return Appended{}, err
	}
	return l.Append(b, []record.Header{h}, AppendOptions{Epoch: epoch, Now: l.dir.nowMs(), Check: true})
}

// all reads everything in [LocalStart, limit) in steps of max bytes and checks that it is without gaps.
func all(t testing.TB, l *Log, limit int64, max int) []byte {
	t.Helper()
	var out []byte
	for at := l.LocalStart(); at < limit; {
		b, err := l.ReadBytes(at, limit, max)
		require.NoError(t, err)
		require.NotEmpty(t, b, "nothing at %d", at)
		it := record.Batches(b)
		for it.Next() {
			require.LessOrEqual(t, it.Header().BaseOffset, at)
			require.Greater(t, it.Header().NextOffset(), at)
			at = it.Header().NextOffset()
		}
		require.NoError(t, it.Err())
		out = append(out, b...)
	}
	return out
}

func TestAppendReadReopen(t *testing.T) {
	dir := t.TempDir()
	d := openDir(t, disk.OS(), dir)
	l := d.open(0, func(c *Config) { c.SegmentBytes = 20_000; c.IndexIntervalBytes = 1000 })
	var want []byte
	for i := range 200 {
		b := batch(1+i%5, 100, startMs+int64(i))
		a := appendTo(t, l, b)
		require.Equal(t, a.NextOffset, l.End())
		want = append(want, b...)
	}
	require.NoError(t, l.Flush())
	require.Equal(t, l.End(), l.Stable())
	require.Greater(t, len(l.Segments()), 3)
	require.Equal(t, want, all(t, l, l.End(), 1))
	require.Equal(t, want, all(t, l, l.End(), 3000))
	require.Equal(t, want, all(t, l, l.End(), 1<<30))
	end := l.End()
	require.NoError(t, d.Close())

	d = openDir(t, disk.OS(), dir)
	require.Equal(t, StopClean, d.LastStop())
	l = d.open(0, nil)
	require.Equal(t, end, l.End())
	require.Equal(t, want, all(t, l, l.End(), 3000))
	want = append(want, batchAt(t, l)...)

	// The process dies: same boot, no clean marker.
	require.NoError(t, d.lock.Close())
	d2 := openDir(t, disk.OS(), dir)
	require.Equal(t, StopKilled, d2.LastStop())
	l = d2.open(0, nil)
	require.Equal(t, end+3, l.End())
	require.Equal(t, want, all(t, l, l.End(), 3000))
	require.NoError(t, d2.Close())
}

func batchAt(t *testing.T, l *Log) []byte {
	b := batch(3, 50, startMs)
	appendTo(t, l, b)
	return b
}
