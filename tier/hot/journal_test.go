package hot

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/flush"
)

// journalDir is a directory whose flushes go through a journal, in line.
func journalDir(t testing.TB, fsys disk.FS, change func(*Options)) *testDir {
	o, c := testOptions(t, fsys, "/log")
	o.JournalBytes, o.journalInline = 1<<20, true
	if change != nil {
		change(&o)
	}
	d, err := OpenDir(o)
	require.NoError(t, err)
	return &testDir{d, t, c}
}

// The first append to a segment that follows another syncs the files; all others are the journal's (I-01).
func TestJournalTakesAllButTheFirstOfASegment(t *testing.T) {
	f := disk.NewFaulty(disk.NewCrashable(1), nil)
	d := journalDir(t, f, nil)
	d.flusher.Close()
	l := d.open(0, nil)
	for range 2 { // which make the journal's files, too
		appendTo(t, l, batch(1, 10, startMs))
		require.NoError(t, l.Flush())
	}
	syncs := f.Count(disk.OpDatasync) + f.Count(disk.OpSyncDir)
	for range 10 {
		appendTo(t, l, batch(1, 10, startMs))
		require.NoError(t, l.Flush())
	}
	require.Equal(t, syncs, f.Count(disk.OpDatasync)+f.Count(disk.OpSyncDir))
	require.Equal(t, l.End(), l.Flushed())
	require.Less(t, l.Durable(), l.Flushed())
	require.NoError(t, l.Roll())
	appendTo(t, l, batch(1, 10, startMs))
	require.NoError(t, l.Flush())
	require.Equal(t, syncs+3, f.Count(disk.OpDatasync)+f.Count(disk.OpSyncDir), "both segments, and their folder")
	require.Equal(t, l.End(), l.Durable())
	require.NoError(t, d.Close())
	found, err := flush.RemoveJournal(f, "/log")
	require.NoError(t, err)
	require.False(t, found, "a clean stop leaves no journal")
}

// A failed write into the journal takes the directory offline: nothing is acknowledged, nothing tried again (I-31, I-02).
func TestFailedJournalWrite(t *testing.T) {
	f := disk.NewFaulty(disk.NewCrashable(1), nil)
	d := journalDir(t, f, nil)
	d.flusher.Close()
	l := d.open(0, nil)
	for range 2 {
		appendTo(t, l, batch(1, 10, startMs))
		require.NoError(t, l.Flush())
	}
	f.SetHook(disk.FailNth(disk.OpWriteSync, f.Count(disk.OpWriteSync)+1, syscall.EIO))
	appendTo(t, l, batch(1, 10, startMs))
	writes, syncs := f.Count(disk.OpWriteSync), f.Count(disk.OpDatasync)
	for range 3 {
		require.ErrorIs(t, l.Flush(), ErrOffline)
	}
	require.ErrorIs(t, d.Offline(), syscall.EIO)
	require.Equal(t, writes+1, f.Count(disk.OpWriteSync))
	require.Equal(t, syncs, f.Count(disk.OpDatasync))
	require.Equal(t, int64(2), l.Stable())
	require.ErrorIs(t, d.Close(), ErrOffline)
}

// A write into the journal, or a flush of a log's own files, that fails in a round of the Flusher acknowledges nothing, then or
// later, in whatever log; it is not tried again, and the directory can be closed (I-02, I-31).
func TestFailedRound(t *testing.T) {
	for _, c := range []struct {
		op   disk.Op
		size int // of the batch that it fails for
	}{{disk.OpWriteSync, 10_000}, {disk.OpDatasync, 100_000}} {
		t.Run(string(c.op), func(t *testing.T) {
			f := disk.NewFaulty(disk.NewCrashable(1), nil)
			d := journalDir(t, f, func(o *Options) { o.journalInline = false })
			l, other := d.open(0, nil), d.open(1, nil)
			flushed := func(l *Log) bool { return l.Stable() == l.End() }
			for d.journal.Stats().Frames.Load() == 0 { // until it takes what is appended
				for _, l := range []*Log{l, other} {
					appendTo(t, l, batch(1, 10, startMs))
					require.Eventually(t, func() bool { return flushed(l) }, 10*time.Second, time.Millisecond)
				}
			}
			stable, others := l.Stable(), other.Stable()
			var tries atomic.Int32
			f.SetHook(func(call disk.Call) disk.Fault {
				// Not what the journal's upkeep does at the same time.
				if call.Op != c.op || call.Op == disk.OpWriteSync && call.Bytes < c.size || call.Op == disk.OpDatasync && !strings.HasSuffix(call.Name, logSuffix) {
					return disk.Fault{}
				}
				tries.Add(1)
				if c.op == disk.OpWriteSync { // which the next round waits for
					if _, err := tryAppend(other, batch(1, 10, startMs), 0); err != nil {
						t.Error(err)
					}
				}
				return disk.Fault{Err: syscall.EIO}
			})
			appendTo(t, l, batch(1, c.size, startMs))
			require.Eventually(t, func() bool { return d.Offline() != nil }, 10*time.Second, time.Millisecond)
			require.ErrorIs(t, d.Offline(), syscall.EIO)
			for _, l := range []*Log{l, other} {
				_, err := tryAppend(l, batch(1, 10, startMs), 0)
				require.ErrorIs(t, err, ErrOffline)
			}
			closed := make(chan error, 1)
			go func() { closed <- d.Close() }()
			select {
			case err := <-closed:
				require.ErrorIs(t, err, ErrOffline)
			case <-time.After(10 * time.Second):
				t.Fatal("it does not close")
			}
			require.EqualValues(t, 1, tries.Load())
			require.Equal(t, []int64{stable, others}, []int64{l.Stable(), other.Stable()})
		})
	}
}

// Where the disk takes no synced write, or has no room for one any more, there is no journal, and all else goes on (I-02).
func TestGoesOnWithoutJournal(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EOPNOTSUPP, syscall.ENOSPC} {
		mem := disk.NewCrashable(1)
		f := disk.NewFaulty(mem, nil)
		if errno == syscall.EOPNOTSUPP {
			f.SetHook(disk.FailFrom(disk.OpWriteSync, 1, errno))
		}
		d := journalDir(t, f, nil)
		l := d.open(0, nil)
		for i := range int64(10) {
			if i == 5 {
				f.SetHook(disk.FailFrom(disk.OpWriteSync, 1, errno))
			}
			appendTo(t, l, batch(1, 10, startMs))
			require.NoError(t, l.Flush())
			require.Equal(t, i+1, l.Stable())
		}
		require.Equal(t, int64(10), l.Durable())
		require.NoError(t, d.Offline())
		require.NoError(t, l.Truncate(7))
		require.NoError(t, d.Close())
		found, err := flush.RemoveJournal(mem, "/log")
		require.NoError(t, err)
		require.False(t, found)
	}
}

// What was collected twice, the second time with more, is acknowledged only when the second is written (I-02).
func TestWrittenIsNotWhatWasCollectedLater(t *testing.T) {
	d := journalDir(t, disk.NewCrashable(1), nil)
	d.flusher.Close()
	l := d.open(0, nil)
	appendTo(t, l, batch(1, 10, startMs))
	require.NoError(t, l.Sync())
	var collected [2]int64
	for i := range collected {
		appendTo(t, l, batch(1, 10, startMs))
		next, added, ok := l.Collect(&flush.Frame{}, 1<<20)
		require.True(t, added && ok)
		collected[i] = next
	}
	require.False(t, l.Written(collected[0]))
	require.Equal(t, int64(1), l.Stable())
	require.True(t, l.Written(collected[1]))
	require.Equal(t, int64(3), l.Stable())
	require.NoError(t, d.Close())
}

// Files that wait for the journal to be let go of do not pile up beyond what may be open.
func TestJournalAndOpenFiles(t *testing.T) {
	d := journalDir(t, disk.NewCrashable(1), func(o *Options) { o.MaxOpenFiles = 10 })
	for i := range int32(100) {
		l := d.open(i, nil)
		appendTo(t, l, batch(1, 10, startMs))
		require.NoError(t, l.Flush())
	}
	require.LessOrEqual(t, d.files.len(), 40, "what can be closed is found by chance")
	require.NoError(t, d.Close())
}

// What is kept of a partition has a name that file systems take, and one of its own.
func TestKeptName(t *testing.T) {
	d := journalDir(t, disk.NewCrashable(1), nil)
	long := strings.Repeat("x", 249)
	a, b := filepath.Base(d.keptName(long+"-1")), filepath.Base(d.keptName(long+"-2"))
	require.NotEqual(t, a, b)
	require.LessOrEqual(t, len(a+disk.TmpSuffix), 255)
	require.Equal(t, keptPrefix+"t-0"+keptSuffix, filepath.Base(d.keptName("t-0")))
	require.Equal(t, keptPrefix+"t-0", filepath.Base(d.formerKeptName("t-0")), "as earlier versions have it")
	require.NoError(t, d.Close())
}

// The recovery point is saved when it moved far, however soon after the last time: a recovery reads little more.
func TestRecoveryPointFollows(t *testing.T) {
	w := newWorld(2, "")
	l := w.open(0)
	w.put(l, 5)
	w.d.housekeep()
	_, err := w.mem.Stat(filepath.Join("/data/log", stateFile))
	require.Error(t, err, "not due yet")
	require.Equal(t, l.Bytes(), w.d.unsaved.Load())
	w.d.unsaved.Add(saveBytes)
	w.d.housekeep()
	st, err := w.d.loadState()
	require.NoError(t, err)
	require.Equal(t, int64(5), st["t-0"].end())
	require.Zero(t, w.d.unsaved.Load())
	w.stop()
}

// A file that only the journal has is closed as soon as others are, when nobody uses it (I-31: not before it is synced).
func TestIdleJournaledFilesAreClosed(t *testing.T) {
	d := journalDir(t, disk.NewCrashable(1), nil)
	for i := range int32(20) {
		l := d.open(i, nil)
		appendTo(t, l, batch(1, 10, startMs))
		require.NoError(t, l.Flush())
	}
	require.Equal(t, 20, d.files.len())
	d.sweep()
	require.Eventually(t, func() bool {
		for i := range int32(20) {
			if l := d.open(i, nil); l.Durable() < l.End() {
				return false
			}
		}
		return true
	}, 10*time.Second, time.Millisecond)
	d.sweep()
	require.Zero(t, d.files.len())
	require.NoError(t, d.Close())
}

// … and does not wait for the housekeeping's next look.
func TestRecoveryPointIsSavedWhenItMovedFar(t *testing.T) {
	d := journalDir(t, disk.NewCrashable(1), func(o *Options) { o.Housekeep = time.Hour })
	l := d.open(0, nil)
	appendTo(t, l, batch(1, 10, startMs))
	d.unsaved.Store(saveBytes - 1)
	require.NoError(t, l.Sync())
	require.Eventually(t, func() bool {
		st, err := d.loadState()
		return err == nil && st["t-0"].end() == 1
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, d.Close())
}

// With many logs a save takes long: then there is more between one and the next.
func TestRecoveryPointsAreNotSavedAllTheTime(t *testing.T) {
	d := journalDir(t, disk.NewCrashable(1), nil)
	l := d.open(0, nil)
	d.keeper.took = 50
	save := func(afterMs int64) bool {
		appendTo(t, l, batch(1, 10, startMs))
		require.NoError(t, l.Sync())
		d.unsaved.Store(saveBytes)
		d.keeper.saved = startMs
		d.saveDue(startMs + afterMs)
		return d.unsaved.Load() == 0
	}
	require.False(t, save(999))
	require.True(t, save(1000))
}

// The clock may be set back: what is due is done all the same.
func TestClockIsSetBack(t *testing.T) {
	d := openDir(t, disk.NewCrashable(1), "/log")
	l := d.open(0, func(c *Config) {
		c.FlushMessages, c.FlushMs, c.SegmentBytes, c.FileDeleteDelayMs = Forever, 5000, 300, 60_000
	})
	for range 4 {
		appendTo(t, l, batch(1, 100, startMs))
	}
	require.NoError(t, l.Flush())
	trimmed := l.Segments()[1].Base
	_, err := l.Trim(trimmed, "test")
	require.NoError(t, err)
	appendTo(t, l, batch(1, 10, startMs))
	d.housekeep()
	require.Less(t, l.Flushed(), l.End(), "not due yet")

	d.clock.ms -= 3_600_000
	d.unsaved.Add(saveBytes)
	sweeps := d.sweeps.Load()
	d.housekeep()
	require.Equal(t, sweeps+1, d.sweeps.Load())
	require.Zero(t, d.unsaved.Load(), "the recovery points were not saved")
	require.Eventually(t, func() bool { return l.Flushed() == l.End() }, 10*time.Second, time.Millisecond, "flush.ms")
	_, err = d.fs.Stat(filepath.Join(l.Folder(), fileName(0, logSuffix)+deletedSuffix))
	require.ErrorIs(t, err, os.ErrNotExist, "the trimmed segment is still there")

	// And from then on as ever.
	appendTo(t, l, batch(1, 10, startMs))
	d.clock.ms += 4999
	d.housekeep()
	require.Less(t, l.Flushed(), l.End())
	d.clock.ms++
	d.housekeep()
	require.Eventually(t, func() bool { return l.Flushed() == l.End() }, 10*time.Second, time.Millisecond)
	require.NoError(t, d.Close())
}

// noting is a disk that notes what is asked to be written back.
type noting struct {
	disk.FS
	ranges *[][2]int64
}

type notingFile struct {
	disk.File
	ranges *[][2]int64
}

func (n noting) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	f, err := n.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return notingFile{f, n.ranges}, nil
}

func (n notingFile) Writeback(off, length int64) error {
	*n.ranges = append(*n.ranges, [2]int64{off, length})
	return n.File.Writeback(off, length)
}

// A log asks for each range once, in pieces that are worth it, and leaves its last page alone.
func TestWriteback(t *testing.T) {
	var ranges [][2]int64
	d := journalDir(t, noting{disk.NewCrashable(1), &ranges}, nil)
	d.flusher.Close() // only what the test has synced is
	l := d.open(0, nil)
	fill := func(to int64) int64 {
		for l.Bytes() < to {
			appendTo(t, l, batch(1, 10_000, startMs))
		}
		return l.Bytes() &^ 4095
	}
	fill(40 << 10)
	l.Writeback()
	require.Empty(t, ranges, "too little")
	first := fill(100 << 10)
	l.Writeback()
	l.Writeback()
	require.Equal(t, [][2]int64{{0, first}}, ranges)
	second := fill(200 << 10)
	l.Writeback()
	require.Equal(t, [][2]int64{{0, first}, {first, second - first}}, ranges)
	require.NoError(t, l.Sync())
	from := l.Bytes()
	third := fill(300 << 10)
	l.Writeback()
	require.Equal(t, [2]int64{from, third - from}, ranges[2], "what is durable is not asked for")
	require.NoError(t, d.Close())
}
