package hot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/flush"
)

// tellUnopened: a stop vouches for no log that nobody opened since the crash.
func tellUnopened(w *world) {
	for i, crash := range []func(){w.kill, func() { w.power(false) }, func() { w.power(true) }} {
		for k, lives := range []int{1, 2} {
			index := int32(2 * (2*i + k))
			l := w.open(index)
			want := w.put(l, 3)
			must(l.Sync())
			must(w.d.SaveState()) // it ends exactly where the segment does
			must(l.Roll())
			must(l.AssignEpoch(5, -1))
			want = append(want, w.put(l, 2)...)
			crash()
			for range lives {
				w.stop() // a start that failed, or was stopped before it came to this log
				w.start()
				check(w.d.LastStop() == StopClean, "LastStop is %v", w.d.LastStop())
			}
			l = w.open(index)
			check(l.End() == 5 && l.latestEpoch() == 5, "it ends at %d in epoch %d", l.End(), l.latestEpoch())
			holds(l, want)
			indexesHold(l)
			w.stop()
			w.start()
			before := w.d.unopened[l.name]
			check(!before.Unchecked && before.Journal == nil, "it was opened, and the state file does not know: %+v", before)
		}
	}
}

// tellDamageOfUnopened: what the journal said of a log that was not opened is known to each start until it is, and damage is
// not cut as if it had been torn.
func tellDamageOfUnopened(w *world) {
	if !w.journal {
		return
	}
	for i, end := range []func(){
		func() { w.stop(); w.start() },
		w.kill,
		func() { w.power(false) },
		func() {
			w.stop()
			w.start()
			w.kill()
			w.power(false)
			w.stop()
			w.start()
		},
	} {
		l, other := w.open(int32(4*i)), w.open(int32(4*i+2))
		must(w.d.SaveState()) // of one log, a line is there
		for _, l := range []*Log{l, other} {
			w.unjournaled(l, 3)
			w.put(l, 2)
		}
		w.damage(l)
		w.damage(other)
		w.power(false)
		end()
		for _, l := range []*Log{l, other} {
			_, err := w.d.Open(l.part, nil)
			check(errors.Is(err, ErrDamaged), "%d: %s is opened with %v", i, l.part, err)
			must(w.d.Remove(l.part))
		}
	}
}

// I-31: what a failed fdatasync left is written again, also when a process in between stopped cleanly without a look at it.
func TestWrittenAgainAfterACleanStopThatOpenedNothing(t *testing.T) {
	for _, mode := range []int64{1, Forever} {
		t.Run(fmt.Sprint("flush.messages ", mode), func(t *testing.T) {
			mem := disk.NewCrashable(1)
			f := disk.NewFaulty(mem, nil)
			cfg := DefaultConfig()
			cfg.FlushMessages = mode
			o, _ := testOptions(t, f, "/log")
			d, err := OpenDir(o)
			require.NoError(t, err)
			l, err := d.Open(part(0), &cfg)
			require.NoError(t, err)
			d.flusher.Close()
			want := mustAppend(t, l, batch(1, 100_000, startMs))
			f.SetHook(failLogs(disk.OpDatasync, syscall.EIO))
			require.ErrorIs(t, l.Sync(), ErrOffline)
			f.SetHook(nil)
			require.Error(t, d.Close())

			d, err = OpenDir(o)
			require.NoError(t, err)
			require.NoError(t, d.Close())
			d, err = OpenDir(o)
			require.NoError(t, err)
			require.Equal(t, StopClean, d.LastStop())
			l, err = d.Open(part(0), &cfg)
			require.NoError(t, err)
			require.Equal(t, want, all(t, l, l.End(), 1<<30))
			require.NoError(t, d.SaveState())
			d.flusher.Close()

			d, l = afterPowerCut(t, mem, o, &cfg)
			require.Equal(t, want, all(t, l, l.End(), 1<<30))
			require.NoError(t, d.Close())
		})
	}
}

// I-31: … nor is an fdatasync forgotten that fails in the replay of the journal.
func TestFailedFlushInAReplay(t *testing.T) {
	mem := disk.NewCrashable(1)
	f := disk.NewFaulty(mem, nil)
	paged := func(c *Config) { c.FlushMessages = Forever }
	d := journalDir(t, f, nil)
	d.flusher.Close()
	l := d.open(0, paged)
	var want []byte
	for range 2 { // the second is the journal's alone
		want = append(want, mustAppend(t, l, batch(1, 10, startMs))...)
		require.NoError(t, l.Flush())
	}
	require.Less(t, l.Durable(), l.Flushed())
	want = append(want, mustAppend(t, l, batch(1, 100_000, startMs))...)
	f.SetHook(failLogs(disk.OpDatasync, syscall.EIO))
	o, _ := testOptions(t, f, "/log")
	o.JournalBytes, o.journalInline = 1<<20, true
	_, err := OpenDir(o)
	require.ErrorIs(t, err, syscall.EIO)
	f.SetHook(nil)
	d = journalDir(t, f, nil)
	require.Equal(t, StopKilled, d.LastStop())
	l = d.open(0, paged)
	require.Equal(t, want, all(t, l, l.End(), 1<<30))
	require.NoError(t, d.SaveState())
	d.flusher.Close()
	d = journalDir(t, mem.Crash(), func(o *Options) { o.BootID = "boot-2" })
	l = d.open(0, paged)
	require.Equal(t, want, all(t, l, l.End(), 1<<30))
	require.NoError(t, d.Close())
}

// What waited for its end at a clean stop does not wait for ever.
func TestTrimmedFilesAreGoneAfterACleanStop(t *testing.T) {
	w := newWorld(0, "")
	l := w.open(0)
	cfg := *l.config()
	cfg.FileDeleteDelayMs = 60_000
	l.SetConfig(&cfg)
	w.putMany(l, 3)
	first := l.Segments()[0]
	r, err := l.ReadBytes(first.Base, l.End(), 100)
	require.NoError(t, err)
	require.NotEmpty(t, r)
	_, err = l.Trim(l.Segments()[2].Base, "test")
	require.NoError(t, err)
	w.stop()
	w.start()
	require.NoError(t, attempt(func() { noLeftovers(w, w.open(0)) }))
	w.stop()
}

// … nor does one that could not be deleted at once.
func TestTrimmedFilesAreDeletedInTheEnd(t *testing.T) {
	w := newWorld(0, "")
	f := w.faulty()
	w.kill()
	l := w.open(0)
	cfg := *l.config()
	cfg.FileDeleteDelayMs = 60_000
	l.SetConfig(&cfg)
	w.putMany(l, 3)
	_, err := l.Trim(l.Segments()[2].Base, "test")
	require.NoError(t, err)
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpRemove && strings.HasSuffix(c.Name, deletedSuffix) {
			return disk.Fault{Err: syscall.EBUSY}
		}
		return disk.Fault{}
	})
	w.clock.ms += 60_000
	w.d.housekeep()
	require.Error(t, attempt(func() { noLeftovers(w, l) }))
	f.SetHook(nil)
	w.clock.ms += 60_000
	w.d.housekeep()
	require.NoError(t, attempt(func() { noLeftovers(w, l) }))
	w.stop()
}

// What a recovery removed that did not come to its end stays removed.
func TestWhatAnUnfinishedRecoveryRemovedStaysRemoved(t *testing.T) {
	for _, end := range []string{"tried again", "killed", "stopped", "killed and stopped"} {
		t.Run(end, func(t *testing.T) {
			w := newWorld(0, "")
			l := w.open(0)
			want := w.put(l, 1)
			require.NoError(t, l.Roll())
			require.NoError(t, l.Sync())
			require.NoError(t, w.d.SaveState())
			w.d.flusher.Close()
			w.write(l, 5)
			require.NoError(t, l.Roll())
			w.write(l, 2)
			syncFile(w.mem, filepath.Join(l.Folder(), fileName(6, logSuffix)))
			require.NoError(t, w.mem.SyncDir(l.Folder()))
			w.power(false)
			f := w.faulty()
			w.kill()
			removed := false
			f.SetHook(func(c disk.Call) disk.Fault {
				removed = removed || c.Op == disk.OpRemove && strings.HasSuffix(c.Name, fileName(6, logSuffix))
				if removed && c.Op == disk.OpReadDir && strings.HasSuffix(c.Name, "t-0") {
					return disk.Fault{Err: syscall.EMFILE}
				}
				return disk.Fault{}
			})
			_, err := w.d.Open(w.part(0), nil)
			require.ErrorIs(t, err, syscall.EMFILE)
			f.SetHook(nil)
			if strings.HasPrefix(end, "killed") {
				w.kill()
			}
			if strings.HasSuffix(end, "stopped") {
				w.stop()
				w.start()
			}
			l = w.open(0)
			require.Equal(t, int64(1), l.End())
			want = append(want, w.put(l, 5)...) // as many: the old segment would fit
			w.wrap = nil
			w.power(false)
			l = w.open(0)
			require.Equal(t, int64(6), l.End())
			require.NoError(t, attempt(func() { holds(l, want) }))
		})
	}
}

// … and so do index entries, and what it cut off at the end.
func TestWhatAnUnfinishedRecoveryCutStaysCut(t *testing.T) {
	w := newWorld(0, "")
	l := w.open(0)
	want := w.put(l, 1)
	must(w.d.SaveState())
	w.d.flusher.Close()
	for range 20 {
		w.write(l, 1)
	}
	s := l.active()
	must(s.flushIndexes())
	require.Greater(t, s.idx.len(), 2, "the test needs entries")
	syncFile(w.mem, s.idx.file.path()) // the indexes reached the disk, of the batches only garbage
	syncFile(w.mem, s.tidx.file.path())
	must(w.mem.SyncDir(l.Folder()))
	h, err := w.mem.OpenFile(s.file.path(), os.O_RDWR, 0)
	must(err)
	whole := int64(len(want))
	_, err = h.WriteAt([]byte("garbage"), whole)
	must(err)
	must(h.Datasync())
	w.power(false)
	// A recovery cuts all of them and is killed before it makes anything durable.
	must(h.Close())
	for _, name := range []string{s.file.path(), s.idx.file.path(), s.tidx.file.path()} {
		size := int64(0)
		if name == s.file.path() {
			size = whole
		}
		h, err := w.mem.OpenFile(name, os.O_RDWR, 0)
		must(err)
		must(h.Truncate(size))
		must(h.Close())
	}
	must(w.d.beginRecovery())
	w.kill()
	l = w.open(0)
	require.Equal(t, int64(1), l.End())
	from := w.mem.Crash()
	for name, size := range map[string]int64{s.file.path(): whole, s.idx.file.path(): 0, s.tidx.file.path(): 0} {
		info, err := from.Stat(name)
		require.NoError(t, err)
		require.Equal(t, size, info.Size(), name)
	}
	require.NoError(t, attempt(func() { holds(l, want) }))
	w.stop()
}

// Once all logs were opened, a recovery after a kill has nothing to make durable that it did not change itself.
func TestAFinishedRecoveryIsNotRepeated(t *testing.T) {
	w := newWorld(0, "")
	for i := range int32(3) {
		w.put(w.open(2*i), 1)
	}
	for range 2 {
		w.kill()
		require.False(t, w.d.unfinished.Load())
		for i := range int32(3) {
			require.Equal(t, i > 0, w.d.marks.now.left, "log %d", i)
			w.open(2 * i)
		}
		require.False(t, w.d.marks.now.left)
	}
	w.kill()
	w.open(0)
	w.kill()
	require.True(t, w.d.unfinished.Load(), "logs are left")
	w.stop()
}

// A log of which the state file knows nothing but what the journal said is recovered as one of which it knows nothing.
func TestLineOfTheJournalAlone(t *testing.T) {
	for _, rolls := range []int{0, 2} {
		w := newWorld(1, "")
		l := w.open(0)
		want := w.put(l, 1)
		want = append(want, w.put(l, 1)...)
		if rolls > 0 {
			want = append(want, w.putMany(l, rolls)...)
			want = append(want, w.put(l, 1)...)
		}
		require.Less(t, l.Durable(), l.Flushed())
		w.kill()
		st := w.d.unopened["t-0"]
		require.NotNil(t, st.Journal)
		require.Equal(t, l.active().base, st.Journal.Base)
		require.Equal(t, l.active().now().size, st.Journal.Size)
		require.Zero(t, st.last().Size)
		saved, err := w.d.loadState()
		require.NoError(t, err)
		require.Equal(t, st, saved["t-0"])
		found, err := flush.RemoveJournal(w.mem, "/data/log")
		require.NoError(t, err)
		require.False(t, found)
		w.stop()
		w.start()
		l = w.open(0)
		require.NoError(t, attempt(func() { holds(l, want); indexesHold(l) }))
		require.NoError(t, w.d.SaveState())
		saved, err = w.d.loadState()
		require.NoError(t, err)
		require.Nil(t, saved["t-0"].Journal)
		w.power(false)
		require.NoError(t, attempt(func() { holds(w.open(0), want) }))
		w.stop()
	}
}

// lostIndex is a log that was closed, and whose index entries the machine that stopped then did not write.
func lostIndex(w *world) []byte {
	w.rarely()
	l := w.open(0)
	want := w.putMany(l, 1)
	for l.active().idx.len() < 3 {
		want = append(want, w.put(l, 1)...)
	}
	w.stop()
	w.off(false)
	return want
}

// After a clean stop of process and machine, indexes are looked at before they are used, also by a process that is not the
// first on the new kernel.
func TestIndexesOfUnopenedAreNotTrusted(t *testing.T) {
	for seed := range uint64(10) {
		w := newWorld(seed, "")
		want := lostIndex(w)
		w.start()
		require.Equal(t, StopClean, w.d.LastStop())
		require.False(t, w.d.unopened["t-0"].Unchecked, "the first process takes it as it was closed")
		w.stop()
		w.start()
		l := w.open(0)
		require.NoError(t, attempt(func() { holds(l, want); indexesHold(l) }))
		w.stop()
	}
}

// … also where the first did not get as far as that the clean stop is history.
func TestIndexesAfterAFailedStartAreNotTrusted(t *testing.T) {
	for seed := range uint64(10) {
		w := newWorld(seed, "")
		want := lostIndex(w)
		w.wrap = func(fsys disk.FS) disk.FS {
			return disk.NewFaulty(fsys, func(c disk.Call) disk.Fault {
				if c.Op == disk.OpRemove && filepath.Base(c.Name) == cleanFile {
					return disk.Fault{Err: syscall.EMFILE}
				}
				return disk.Fault{}
			})
		}
		require.ErrorIs(t, w.tryStart(), syscall.EMFILE)
		w.wrap = nil
		w.start()
		require.Equal(t, StopClean, w.d.LastStop())
		l := w.open(0)
		require.NoError(t, attempt(func() { holds(l, want); indexesHold(l) }))
		w.stop()
	}
}

// I-01: a clean stop that a start ended does not come back, also if that start failed before this was durable.
func TestCleanMarkerDoesNotComeBack(t *testing.T) {
	w := newWorld(2, "")
	want := w.put(w.open(0), 1)
	w.stop()
	w.wrap = func(fsys disk.FS) disk.FS {
		return disk.NewFaulty(fsys, disk.FailNth(disk.OpSyncDir, 1, syscall.ENOSPC))
	}
	require.ErrorIs(t, w.tryStart(), syscall.ENOSPC)
	w.wrap = nil
	w.start()
	require.Equal(t, StopKilled, w.d.LastStop())
	l := w.open(0)
	require.NoError(t, l.Roll())
	want = append(want, w.put(l, 2)...)
	w.power(false)
	require.NoError(t, attempt(func() { holds(w.open(0), want) }))
	w.stop()
}

// What is read again for its index entries alone is not taken for something that has to be flushed.
func TestReadAgainIsNotDirty(t *testing.T) {
	w := newWorld(2, "")
	w.rarely()
	l := w.open(0)
	for l.active().idx.len() < 3 {
		w.put(l, 1)
	}
	require.NoError(t, l.Sync())
	require.NoError(t, w.d.SaveState())
	cut(w.mem, l.active().idx.file.path(), 0)
	w.kill()
	l = w.open(0)
	require.NoError(t, attempt(func() { indexesHold(l) }))
	require.False(t, l.active().file.dirty.Load())
	w.stop()
}
