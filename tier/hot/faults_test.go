package hot

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/record"
)

// faultyWorld is a log on a disk whose operations fail as the test says.
func faultyWorld(t *testing.T) (*testDir, *disk.Faulty, *disk.Crashable) {
	mem := disk.NewCrashable(1)
	f := disk.NewFaulty(mem, nil)
	d := openDir(t, f, "/log")
	return d, f, mem
}

// A full disk fails the append and leaves no trace: offsets, producers, file (I-02).
func TestFullDisk(t *testing.T) {
	for _, short := range []int{0, 1, 60, 70} {
		t.Run(fmt.Sprint(short), func(t *testing.T) {
			d, f, _ := faultyWorld(t)
			l := d.open(0, nil)
			want := bytes.Clone(mustAppend(t, l, producerBatch(1, 0, 2, startMs)))
			require.NoError(t, l.Flush())
			size := l.Bytes()
			before := producersOf(l)
			f.SetHook(disk.FullAfter(short))
			_, err := tryAppend(l, producerBatch(1, 2, 3, startMs), 0)
			require.ErrorIs(t, err, ErrFull)
			require.ErrorIs(t, err, syscall.ENOSPC)
			_, err = tryAppend(l, producerBatch(2, 0, 3, startMs), 0)
			require.ErrorIs(t, err, ErrFull)
			require.Equal(t, int64(2), l.End())
			require.Equal(t, before, producersOf(l))
			require.Equal(t, want, all(t, l, l.End(), 1<<20))
			f.SetHook(nil)
			info, err := f.Stat(l.active().file.path())
			require.NoError(t, err)
			require.Equal(t, size, info.Size(), "the torn write is still there")
			require.NoError(t, d.Offline())

			// The retry is not a duplicate, and is taken.
			b := producerBatch(1, 2, 3, startMs)
			a, err := tryAppend(l, b, 0)
			require.NoError(t, err)
			require.Equal(t, Appended{BaseOffset: 2, NextOffset: 5, LogAppendTime: -1}, a)
			require.Equal(t, append(want, b...), all(t, l, l.End(), 1<<20))
			require.NoError(t, d.Close())
		})
	}
}

// What a full disk took of a batch at the end of a segment, and what it was cut to, may be there in any mixture after a power
// cut: no more than a torn tail, though others followed (I-01).
func TestFullDiskAndPowerCut(t *testing.T) {
	for seed := range uint64(60) {
		w := newWorld(seed, "")
		f := w.faulty()
		w.kill()
		l := w.open(0)
		want := w.put(l, 1)
		f.SetHook(disk.FullAfter(29))
		_, err := tryAppend(l, batch(1, 100, w.clock.ms), 0)
		require.ErrorIs(t, err, ErrFull)
		f.SetHook(nil)
		require.NoError(t, l.Roll())
		want = append(want, w.put(l, 2)...)
		require.NoError(t, w.d.SaveState())
		w.wrap = nil
		w.power(true)
		require.NoError(t, attempt(func() { holds(w.open(0), want) }), "seed %d", seed)
		w.d.flusher.Close()
	}
}

func mustAppend(t testing.TB, l *Log, b []byte) []byte {
	appendTo(t, l, b)
	return b
}

// A full disk while a segment is rolled: the next append that finds room goes on.
func TestFullDiskAtRoll(t *testing.T) {
	d, f, _ := faultyWorld(t)
	l := d.open(0, func(c *Config) { c.SegmentBytes = 1000 })
	require.NoError(t, l.AssignEpoch(0, -1))
	var want []byte
	full := 0
	for i := range 60 {
		b := producerBatch(1, int32(i), 1, startMs)
		f.SetHook(disk.FullAfter(i * 7 % 150))
		_, err := tryAppend(l, bytes.Clone(b), 0)
		if err != nil {
			require.ErrorIs(t, err, ErrFull)
			full++
			f.SetHook(nil)
			appendTo(t, l, b)
		} else {
			f.SetHook(nil)
			record.Stamp(b, int64(i), 0)
		}
		want = append(want, b...)
	}
	require.Positive(t, full)
	require.Greater(t, len(l.Segments()), 3)
	require.Equal(t, want, all(t, l, l.End(), 1<<20))
	require.NoError(t, d.Close())
}

// What a full disk left of refused batches, and firn cut off, does not come back behind what the journal takes afterwards (I-02).
func TestFullDiskAndTheJournal(t *testing.T) {
	t.Run("behind others", func(t *testing.T) { fullDiskAndTheJournal(t, false) })
	t.Run("in a new segment", func(t *testing.T) { fullDiskAndTheJournal(t, true) })
}

func fullDiskAndTheJournal(t *testing.T, rolled bool) {
	for seed := range uint64(100) {
		w := newWorld(2*seed+1, "") // with a journal
		f := w.faulty()
		w.kill()
		w.d.flusher.Close() // only this test flushes
		l := w.open(0)
		want := append(w.put(l, 1), w.put(l, 1)...)
		if rolled {
			require.NoError(t, l.Roll())
			require.NoError(t, l.Sync())
		}
		refuseThree(t, w, f, l)
		if rolled { // a flush of a file of no bytes
			require.NoError(t, l.Sync())
		}
		want = append(want, mustAppend(t, l, batch(1, 700, w.clock.ms+1))...)
		frames := w.d.journal.Stats().Frames.Load()
		require.NoError(t, l.Flush())
		require.Equal(t, rolled, w.d.journal.Stats().Frames.Load() > frames, "who takes it")
		w.wrap = nil
		w.power(true)
		require.NoError(t, attempt(func() {
			l := w.open(0)
			holds(l, want)
			check(l.End() == 3, "end is %d", l.End())
		}), "seed %d", seed)
		w.d.flusher.Close()
	}
}

// refuseThree has a full disk refuse three batches at once, of which it took two and a little of the third.
func refuseThree(t *testing.T, w *world, f *disk.Faulty, l *Log) {
	var three []byte
	var headers []record.Header
	for range 3 {
		b := batch(1, 700, w.clock.ms)
		h, err := record.Check(b)
		require.NoError(t, err)
		three, headers = append(three, b...), append(headers, h)
	}
	f.SetHook(disk.FullAfter(2*headers[0].Size() + 10))
	_, err := l.Append(three, headers, AppendOptions{Epoch: max(0, l.latestEpoch()), Now: w.clock.ms, Check: true})
	require.ErrorIs(t, err, ErrFull)
	f.SetHook(nil)
}

// … nor behind what it would take before the flush that makes the cut durable has ended.
func TestCutIsNotForTheJournalBeforeItIsDurable(t *testing.T) {
	w := newWorld(1, "") // with a journal
	f := w.faulty()
	w.kill()
	w.d.flusher.Close() // only this test flushes
	l := w.open(0)
	w.put(l, 1)
	w.put(l, 1)
	refuseThree(t, w, f, l)
	w.write(l, 1)
	var taken []bool
	pending := func() {
		_, ok := l.Pending()
		taken = append(taken, ok)
	}
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpDatasync && strings.HasSuffix(c.Name, logSuffix) {
			pending()
		}
		return disk.Fault{}
	})
	pending()
	require.NoError(t, l.Sync())
	pending()
	require.Equal(t, []bool{false, false, true}, taken, "before, while and after it is flushed")
	w.stop()
}

// nearlyFullSegment is a log that allocates its segments ahead, with so much in the first, want, that the next batch of 600 bytes
// needs another.
func nearlyFullSegment() (w *world, f *disk.Faulty, l *Log, want []byte) {
	w = newWorld(2, "")
	f = w.faulty()
	w.kill()
	l = w.open(0)
	want = w.put(l, 1)
	cfg := *l.config()
	cfg.Preallocate, cfg.SegmentBytes = true, 1000
	l.SetConfig(&cfg)
	for l.active().now().size < 700 {
		want = append(want, w.put(l, 1)...)
	}
	return w, f, l, want
}

// A segment that could not be made leaves nothing: the log goes on in the one before, beyond where the other would begin.
func TestNoRoomForASegment(t *testing.T) {
	w, f, l, want := nearlyFullSegment()
	base := l.End()
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpTruncate && strings.HasSuffix(c.Name, fileName(base, logSuffix)) {
			return disk.Fault{Err: syscall.EDQUOT}
		}
		return disk.Fault{}
	})
	_, err := tryAppend(l, batch(1, 600, w.clock.ms), max(0, l.latestEpoch()))
	require.ErrorIs(t, err, ErrFull)
	want = append(want, w.put(l, 1)...) // for which there is room
	require.Len(t, l.Segments(), 1)
	require.Greater(t, l.End(), base)
	f.SetHook(nil)
	want = append(want, w.putMany(l, 1)...)
	require.NoError(t, l.Sync())
	require.NoError(t, w.d.SaveState())
	w.kill()
	require.NoError(t, attempt(func() { holds(w.open(0), want) }))
	w.d.flusher.Close()
}

// A segment that could neither be made nor taken back is the end of the directory, as after any other failure: recovery would
// take what comes behind it for lost (I-01).
func TestNoRoomForASegmentThatStays(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.EDQUOT} {
		w, f, l, want := nearlyFullSegment()
		base := fileName(l.End(), logSuffix)
		f.SetHook(func(c disk.Call) disk.Fault {
			switch {
			case !strings.HasSuffix(c.Name, base):
			case c.Op == disk.OpTruncate:
				return disk.Fault{Err: syscall.EDQUOT}
			case c.Op == disk.OpRemove:
				return disk.Fault{Err: errno}
			}
			return disk.Fault{}
		})
		for _, size := range []int{600, 10} { // for the second there would be room
			_, err := tryAppend(l, batch(1, size, w.clock.ms), max(0, l.latestEpoch()))
			require.ErrorIs(t, err, ErrOffline)
			require.NotErrorIs(t, err, ErrFull)
		}
		require.Error(t, w.d.Offline())
		f.SetHook(nil)
		w.kill()
		require.NoError(t, attempt(func() { holds(w.open(0), want) }))
		w.d.flusher.Close()
	}
}

// Whoever rides on a failed write fails with it, and nobody gets its offsets twice (I-02).
func TestRidersFailTogether(t *testing.T) {
	d, f, _ := faultyWorld(t)
	l := d.open(0, nil)
	appendTo(t, l, batch(1, 10, startMs))

	// The first writer is held in its write until all others are queued behind it.
	release, entered := make(chan struct{}), make(chan struct{})
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpWrite {
			select {
			case <-entered:
			default:
				close(entered)
				<-release
				return disk.Fault{Err: syscall.ENOSPC, Short: 10}
			}
		}
		return disk.Fault{}
	})
	const riders = 20
	errs := make(chan error, riders)
	var wg sync.WaitGroup
	for i := range riders {
		if i == 1 {
			<-entered
		}
		b := producerBatch(int64(i), 0, 2, startMs)
		if i > 10 { // retries of the one that is being written: they must not be told that it is stored
			b = producerBatch(0, 0, 2, startMs)
		}
		wg.Go(func() {
			_, err := tryAppend(l, b, 0)
			errs <- err
		})
	}
	require.Eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.queue) == riders-1
	}, 10*time.Second, time.Millisecond)
	close(release)
	wg.Wait()
	close(errs)
	for err := range errs {
		require.ErrorIs(t, err, ErrFull)
	}
	require.Equal(t, int64(1), l.End())
	require.Empty(t, producersOf(l))
	f.SetHook(nil)
	a := appendTo(t, l, batch(1, 10, startMs))
	require.Equal(t, int64(1), a.BaseOffset)
	require.NoError(t, d.Close())
}

// A failed fdatasync takes the directory offline: nothing is acknowledged, nothing is tried again (I-31, I-02).
func TestFailedFlush(t *testing.T) {
	var offline []error
	mem := disk.NewCrashable(1)
	f := disk.NewFaulty(mem, nil)
	o, _ := testOptions(t, f, "/log")
	o.OnOffline = func(err error) { offline = append(offline, err) }
	d, err := OpenDir(o)
	require.NoError(t, err)
	cfg := DefaultConfig()
	l, err := d.Open(part(0), &cfg)
	require.NoError(t, err)
	require.NoError(t, l.AssignEpoch(0, -1))
	other, err := d.Open(part(1), &cfg)
	require.NoError(t, err)
	require.NoError(t, other.AssignEpoch(0, -1))
	require.NoError(t, l.Make())
	woken := make(chan struct{}, 100)
	l.OnAdvance(func() { woken <- struct{}{} })

	f.SetHook(disk.FailNth(disk.OpDatasync, f.Count(disk.OpDatasync)+1, syscall.EIO))
	a := appendTo(t, l, batch(1, 10, startMs))
	require.Eventually(t, func() bool { <-woken; return d.Offline() != nil }, 10*time.Second, time.Millisecond)
	require.ErrorIs(t, d.Offline(), ErrOffline)
	require.ErrorIs(t, d.Offline(), syscall.EIO)
	require.Less(t, l.Stable(), a.NextOffset)
	syncs := f.Count(disk.OpDatasync)

	_, err = tryAppend(l, batch(1, 10, startMs), 0)
	require.ErrorIs(t, err, ErrOffline)
	_, err = tryAppend(other, batch(1, 10, startMs), 0)
	require.ErrorIs(t, err, ErrOffline)
	require.ErrorIs(t, l.Flush(), ErrOffline)
	require.ErrorIs(t, l.Roll(), ErrOffline)
	require.ErrorIs(t, l.AdvanceStart(1), ErrOffline)
	require.ErrorIs(t, d.Close(), ErrOffline)
	require.Equal(t, syncs, f.Count(disk.OpDatasync), "the flush was tried again")
	require.Len(t, offline, 1)

	d2 := openDir(t, mem.Crash(), "/log")
	require.NotEqual(t, StopClean, d2.LastStop())
	require.NoError(t, d2.Close())
}

// I-31: nobody who waited while an fdatasync failed tries it again: the kernel would answer that all is well.
func TestFailedFlushIsNotRepeatedByAnother(t *testing.T) {
	for range 50 {
		d, f, _ := faultyWorld(t)
		l := d.open(0, nil)
		require.NoError(t, l.Make())
		d.flusher.Close() // only those below flush
		appendTo(t, l, batch(1, 10, startMs))
		var waiting sync.WaitGroup
		waiting.Add(8)
		fails := f.Count(disk.OpDatasync) + 1
		f.SetHook(func(c disk.Call) disk.Fault {
			if c.Op == disk.OpDatasync && c.N == fails {
				waiting.Wait()
				return disk.Fault{Err: syscall.EIO}
			}
			return disk.Fault{}
		})
		errs := make(chan error, 8)
		for range 8 {
			go func() {
				waiting.Done()
				errs <- l.Flush()
			}()
		}
		for range 8 {
			require.ErrorIs(t, <-errs, ErrOffline)
		}
		require.Equal(t, fails, f.Count(disk.OpDatasync), "the flush was tried again")
		require.Error(t, d.Close())
	}
}

// Any other failed write takes the directory offline, too.
func TestFailedWrite(t *testing.T) {
	d, f, _ := faultyWorld(t)
	l := d.open(0, nil)
	appendTo(t, l, batch(1, 10, startMs))
	f.SetHook(disk.FailNth(disk.OpWrite, f.Count(disk.OpWrite)+1, syscall.EIO))
	_, err := tryAppend(l, batch(1, 10, startMs), 0)
	require.ErrorIs(t, err, ErrOffline)
	require.Equal(t, int64(1), l.End())
	require.ErrorIs(t, d.Offline(), syscall.EIO)
	require.Equal(t, int64(1), all1(t, l), "what was there can still be read")
	require.Error(t, d.Close())
}

func all1(t *testing.T, l *Log) int64 {
	b := all(t, l, l.End(), 1<<20)
	it := record.Batches(b)
	require.True(t, it.Next())
	return it.Header().NextOffset()
}

// I-36: a Reset that the disk has no room for ends the log's use until the next start; nobody waits for it, and nothing of
// the old log is lost.
func TestResetOnAFullDisk(t *testing.T) {
	for _, c := range []struct {
		name   string
		fails  func(name string, l *Log) bool
		strays int
	}{
		{"setting the old log aside", func(name string, l *Log) bool { return name == l.Folder() }, 0},
		{"naming the new one", func(name string, _ *Log) bool { return strings.HasSuffix(name, newSuffix) }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, f, mem := faultyWorld(t)
			l, other := d.open(0, nil), d.open(1, nil)
			want := mustAppend(t, l, batch(3, 10, startMs))
			appendTo(t, other, batch(1, 10, startMs))
			require.NoError(t, l.Flush())
			d.sweep()
			f.SetHook(func(call disk.Call) disk.Fault {
				if call.Op == disk.OpRename && c.fails(call.Name, l) {
					return disk.Fault{Err: syscall.ENOSPC}
				}
				return disk.Fault{}
			})
			require.ErrorIs(t, l.Reset(1000, nil, nil), ErrFull)
			read := make(chan error, 1)
			go func() {
				_, err := l.ReadBytes(0, l.End(), 1000)
				read <- err
			}()
			require.Eventually(t, func() bool { return len(read) == 1 }, 10*time.Second, time.Millisecond)
			require.ErrorIs(t, <-read, ErrClosed)
			_, err := tryAppend(l, batch(1, 10, startMs), 0)
			require.ErrorIs(t, err, ErrClosed)
			require.NoError(t, d.Offline())
			appendTo(t, other, batch(1, 10, startMs))
			f.SetHook(nil)
			require.Error(t, d.Close())

			d = openDir(t, mem, "/log")
			require.Len(t, d.Strays(), c.strays)
			if c.strays == 0 {
				require.Equal(t, want, all(t, d.open(0, nil), 3, 1000))
			} else {
				require.NoError(t, d.open(0, nil).Reset(1000, nil, nil))
			}
			require.Equal(t, int64(2), d.open(1, nil).End())
			require.NoError(t, d.Close())
		})
	}
}

// An append that is being written while the topic begins to flush is flushed, though no other follows.
func TestFlushModeBeginsDuringAnAppend(t *testing.T) {
	d, f, _ := faultyWorld(t)
	l := d.open(0, func(c *Config) { c.FlushMessages, c.IndexIntervalBytes = Forever, 1 })
	cfg := *l.config()
	cfg.FlushMessages = 1
	changed := false
	f.SetHook(func(c disk.Call) disk.Fault {
		// An index is written after the batches, and before they are published.
		if !changed && c.Op == disk.OpOpen && strings.HasSuffix(c.Name, indexSuffix) {
			changed = true
			l.SetConfig(&cfg)
		}
		return disk.Fault{}
	})
	for i := int64(0); !changed; i++ {
		require.NoError(t, l.Flush()) // nothing else is to be flushed
		appendTo(t, l, batch(1, 10, startMs+i))
	}
	require.Eventually(t, func() bool { return l.Stable() == l.End() }, 10*time.Second, time.Millisecond)
	require.Equal(t, l.End(), l.Flushed())
	require.NoError(t, d.Close())
}

// Whatever operation fails while a directory is opened, worked with and closed: nothing that was acknowledged is lost
// and nothing panics (I-01, I-02).
func TestEveryOperationMayFail(t *testing.T) {
	t.Run("journal", func(t *testing.T) { everyOperationMayFail(t, 64<<10) })
	t.Run("without", func(t *testing.T) { everyOperationMayFail(t, -1) })
}

func everyOperationMayFail(t *testing.T, journal int64) {
	for n := 1; ; n++ {
		mem := disk.NewCrashable(uint64(n))
		f := disk.NewFaulty(mem, func(c disk.Call) disk.Fault {
			if c.Total == n {
				return disk.Fault{Err: syscall.EIO, Short: 3}
			}
			return disk.Fault{}
		})
		var acked []byte
		end := int64(0)
		work := func() error {
			o, _ := testOptions(t, f, "/log")
			o.JournalBytes, o.journalInline = journal, true
			d, err := OpenDir(o)
			if err != nil {
				return err
			}
			cfg := DefaultConfig()
			cfg.SegmentBytes, cfg.IndexIntervalBytes, cfg.TimestampAfterMaxMs = 600, 100, Forever
			l, err := d.Open(part(0), &cfg)
			if err != nil {
				return errors.Join(err, d.Close())
			}
			for i := range 8 {
				b := producerBatch(1, int32(i), 1, startMs)
				a, err := tryAppend(l, b, 0)
				if err == nil {
					err = l.Flush()
				}
				if err != nil {
					return errors.Join(err, d.Close())
				}
				acked, end = append(acked, b...), a.NextOffset
			}
			return d.Close()
		}
		err := work()
		d := openDir(t, mem.CrashTorn(), "/log")
		l := d.open(0, nil)
		require.GreaterOrEqual(t, l.End(), end, "operation %d", n)
		got := all(t, l, l.End(), 1<<20)
		require.True(t, bytes.HasPrefix(got, acked), "operation %d: %v", n, err)
		_ = d.Close()
		if err == nil && n > 200 {
			break
		}
	}
}
