package hot

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// next ends the process without a word and starts another, on a kernel of that name.
func (d *testDir) next(fsys disk.FS, boot string) *testDir {
	d.t.Helper()
	d.flusher.Close()
	return journalDir(d.t, fsys, func(o *Options) { o.BootID = boot })
}

// What a start after a crash reads is bounded by the journal, of which it reads no record twice, and by what lies above the
// recovery points, once. What lies below does not count, nor what is left in the journal's files of their earlier use. A
// power cut takes index entries as well: then it is read from where those were durable, and that is checkpointBytes at most.
func TestWhatRecoveryReads(t *testing.T) {
	for _, c := range []struct {
		name, boot string
		cut        bool // the power, so that only what was synced is there
	}{{"killed", "boot-1", false}, {"rebooted", "boot-2", false}, {"power cut", "boot-2", true}} {
		t.Run(c.name, func(t *testing.T) {
			const most = 4 << 20 // checkpointBytes
			mem := disk.NewCrashable(1)
			d := journalDir(t, mem, func(o *Options) { o.BootID = "boot-1" })
			large, small := d.open(0, nil), d.open(1, nil)
			rng := rand.New(rand.NewPCG(1, 2))
			grow := func(larges, smalls int) { // by what is more than fits the buffer that is used for it, or less
				for range larges {
					appendTo(t, large, batch(1, 100_000+rng.IntN(300_000), startMs))
					require.NoError(t, large.Flush())
				}
				for range smalls {
					appendTo(t, small, batch(1, 1000+rng.IntN(3000), startMs))
					require.NoError(t, small.Flush())
				}
			}
			grow(30, 3000) // below the points where the indexes are durable
			require.Greater(t, d.journal.Stats().Recycled.Load(), int64(4))
			require.NoError(t, d.SaveState())
			grow(10, 1000) // below the recovery points
			require.NoError(t, d.SaveState())
			states, err := d.loadState() // the logs' own may be further by now, for writeback goes on meanwhile
			require.NoError(t, err)
			require.Len(t, states, 2)
			saved, below, savedEnds := 0, 0, int64(0)
			for _, st := range states {
				saved += int(sizeOf(st))
				savedEnds += st.end()
				lag := int(st.last().Size - st.indexed().tail.size)
				require.Positive(t, lag)
				require.Less(t, lag, most)
				below += lag
			}
			grow(30, 300)
			ends := large.End() + small.End()
			require.Greater(t, ends, savedEnds)
			bytes := int(large.Bytes() + small.Bytes())

			d.flusher.Close()
			if c.cut {
				mem = mem.Crash()
			}
			f := disk.NewFaulty(mem, nil)
			read := bytesOf(f, disk.OpRead)
			d = journalDir(t, f, func(o *Options) { o.BootID = c.boot })
			large, small = d.open(0, nil), d.open(1, nil)
			f.SetHook(nil)
			require.Equal(t, ends, large.End()+small.End())
			const files = 4 << 20 // of the journal
			journal, logs, allowed := read("firn-journal."), read(logSuffix), bytes-saved
			if c.cut {
				allowed += below
			}
			t.Logf("%d bytes read of the journal for %d, %d of the logs for %d of %d", journal, d.replayed, logs, allowed, bytes)
			require.Positive(t, d.replayed)
			require.LessOrEqual(t, journal, int(d.replayed)+files/10)
			require.Less(t, journal, files)
			require.LessOrEqual(t, logs, allowed+100)
			require.NoError(t, attempt(func() { indexesHold(large); indexesHold(small) }))
			require.NoError(t, d.Close())
		})
	}
}

// … nor does it read segments that were full: their indexes become durable with the next checkpoint. The same holds for a
// clean stop, after which what little is missing of the indexes is read.
func TestWhatAPowerCutCostsAfterRolls(t *testing.T) {
	for _, clean := range []bool{false, true} {
		t.Run(fmt.Sprint("clean ", clean), func(t *testing.T) {
			const most = 50_000
			options := func(o *Options) { o.checkpointBytes = most }
			config := func(c *Config) { c.SegmentBytes, c.IndexIntervalBytes = 120_000, 500 }
			mem := disk.NewCrashable(1)
			d := journalDir(t, mem, options)
			l := d.open(0, config)
			for range 1000 {
				appendTo(t, l, batch(1, 1000, startMs))
			}
			require.NoError(t, l.Sync())
			require.NoError(t, d.SaveState())
			for range 250 { // two rolls, and less than a checkpoint behind the last
				appendTo(t, l, batch(1, 1000, startMs))
			}
			require.NoError(t, l.Sync())
			require.NoError(t, d.SaveState())
			for range 20 {
				appendTo(t, l, batch(1, 1000, startMs))
			}
			require.NoError(t, l.Sync())
			end, bytes := l.End(), l.Bytes()
			require.Greater(t, len(l.Segments()), 10)
			if clean {
				require.NoError(t, d.Close())
			} else {
				require.NoError(t, d.SaveState())
				d.flusher.Close()
			}
			f := disk.NewFaulty(mem.Crash(), nil)
			read := bytesOf(f, disk.OpRead)
			d = journalDir(t, f, func(o *Options) { options(o); o.BootID = "boot-2" })
			l = d.open(0, config)
			require.Equal(t, end, l.End())
			t.Logf("%d of %d bytes read", read(logSuffix), bytes)
			require.LessOrEqual(t, read(logSuffix), most)
			segs := l.segments()
			for _, s := range segs[:len(segs)-1] { // of the active one, what was read again is in memory
				require.NoError(t, s.verifyIndexes(), "segment %d", s.base)
			}
			require.NoError(t, attempt(func() { indexesHold(l) }))
			require.NoError(t, d.Close())
		})
	}
}

// smallSegmentsConfig is the config of a log with a segment for some 20 batches of 1,000 bytes, and an index entry for each.
func smallSegmentsConfig(c *Config) { c.SegmentBytes, c.IndexIntervalBytes = 20_000, 500 }

// smallSegments makes a log of that many such batches, synced.
func smallSegments(t *testing.T, mem *disk.Crashable, batches int) (*testDir, *Log) {
	t.Helper()
	d := journalDir(t, mem, nil)
	l := d.open(0, smallSegmentsConfig)
	for range batches {
		appendTo(t, l, batch(1, 1000, startMs))
	}
	require.NoError(t, l.Sync())
	return d, l
}

// A segment that fills up while a recovery reads it has whole indexes at the next start, whichever way this one ends.
func TestIndexesOfSegmentsThatWereRecovered(t *testing.T) {
	mem := disk.NewCrashable(1)
	d, _ := smallSegments(t, mem, 100)
	d.flusher.Close()
	mem = mem.Crash() // nothing was saved
	reboot := func(o *Options) { o.BootID = "boot-2" }
	d = journalDir(t, mem, reboot)
	require.Greater(t, len(d.open(0, smallSegmentsConfig).Segments()), 3)
	require.NoError(t, d.Close())
	d = journalDir(t, mem, reboot)
	require.Equal(t, StopClean, d.LastStop())
	for _, s := range d.open(0, smallSegmentsConfig).segments() {
		require.NoError(t, s.verifyIndexes(), "segment %d", s.base)
	}
	require.NoError(t, d.Close())
}

// A power cut does not cost a walk through a segment that a Rewrite made, once the folder was synced.
func TestIndexesOfARewrite(t *testing.T) {
	mem := disk.NewCrashable(1)
	d, l := smallSegments(t, mem, 60)
	segs := l.segments()
	r, err := l.Rewrite(segs[0].base, segs[2].base)
	require.NoError(t, err)
	for _, s := range segs[:2] {
		b := make([]byte, s.now().size)
		h, err := s.file.acquire(false)
		require.NoError(t, err)
		require.NoError(t, readFull(h, b, 0))
		h.release()
		require.NoError(t, r.Append(b))
	}
	_, err = r.Commit()
	require.NoError(t, err)
	require.NoError(t, l.Roll())
	require.NoError(t, l.Sync()) // with the folder
	require.NoError(t, d.SaveState())
	d.flusher.Close()
	d = journalDir(t, mem.Crash(), func(o *Options) { o.BootID = "boot-2" })
	s := d.open(0, smallSegmentsConfig).segments()[0]
	require.Greater(t, s.now().size, int64(30_000))
	require.Positive(t, s.idx.len())
	require.NoError(t, s.verifyIndexes())
	require.NoError(t, d.Close())
}

// Those with most above their last checkpoint come first, and the others have their turn: flushes beside those of producers
// are few, however many logs are busy.
func TestCheckpointsTakeTurns(t *testing.T) {
	f := disk.NewFaulty(disk.NewCrashable(1), nil)
	d := journalDir(t, f, func(o *Options) { o.checkpointBytes = 1000 })
	var logs []*Log
	for i := range int32(12) {
		l := d.open(i, nil)
		for range 2 + i {
			appendTo(t, l, batch(1, 900, startMs))
		}
		require.NoError(t, l.Sync())
		logs = append(logs, l)
	}
	var had []int
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpDatasync && strings.HasSuffix(c.Name, timeIndexSuffix) {
			had = append(had, slices.IndexFunc(logs, func(l *Log) bool { return filepath.Dir(c.Name) == l.folder() }))
		}
		return disk.Fault{}
	})
	for _, want := range [][]int{{11, 10, 9, 8, 7}, {6, 5, 4, 3, 2}, {1, 0}, nil} {
		had = nil
		require.NoError(t, d.checkpoint(5))
		require.Equal(t, want, had)
	}
}

// A checkpoint during which the log is cut vouches for nothing that is not there any more.
func TestCheckpointDuringTruncate(t *testing.T) {
	mem := disk.NewCrashable(1)
	f := disk.NewFaulty(mem, nil)
	options := func(o *Options) { o.checkpointBytes = 1 }
	d := journalDir(t, f, options)
	config := func(c *Config) { c.IndexIntervalBytes = 500 }
	l := d.open(0, config)
	for range 50 {
		appendTo(t, l, batch(1, 1000, startMs))
	}
	require.NoError(t, l.Sync())
	cut := false
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpDatasync && strings.HasSuffix(c.Name, timeIndexSuffix) && !cut {
			cut = true
			require.NoError(t, l.Truncate(25))
			for range 50 {
				appendTo(t, l, batch(1, 900, startMs))
			}
			require.NoError(t, l.Sync())
		}
		return disk.Fault{}
	})
	require.NoError(t, d.checkpoint(allLogsDue))
	require.True(t, cut)
	l.mu.Lock()
	require.LessOrEqual(t, l.indexed.tail.next, int64(25))
	l.mu.Unlock()
	f.SetHook(nil)
	want, end := all(t, l, l.End(), 1<<20), l.End()
	for i := range 2 {
		require.NoError(t, d.saveState())
		d.flusher.Close()
		mem = mem.Crash()
		d = journalDir(t, mem, func(o *Options) { options(o); o.BootID = fmt.Sprint("boot-", 2+i) })
		l = d.open(0, config)
		require.Equal(t, end, l.End())
		require.Equal(t, want, all(t, l, l.End(), 1<<20))
		require.NoError(t, attempt(func() { indexesHold(l) }))
		require.NoError(t, d.checkpoint(allLogsDue))
	}
	require.NoError(t, d.Close())
}

// What is appended and flushed while the state is being saved is not vouched for: its index entries are in memory only.
func TestStateCountsNoEntryInMemory(t *testing.T) {
	f := disk.NewFaulty(disk.NewCrashable(1), nil)
	d := openDir(t, f, "/log")
	l := d.open(0, func(c *Config) { c.IndexIntervalBytes = 1 })
	for range 10 {
		appendTo(t, l, batch(1, 100, startMs))
	}
	require.NoError(t, l.Sync())
	var below, vouched int64
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpWrite && strings.HasSuffix(c.Name, timeIndexSuffix) && below == 0 {
			below = l.Bytes()
			appendTo(t, l, batch(1, 100, startMs+1000))
			require.NoError(t, l.Sync())
			vouched = l.Bytes()
		}
		return disk.Fault{}
	})
	require.NoError(t, d.SaveState())
	require.Positive(t, below)
	require.Greater(t, vouched, below)
	d = d.next(f, "boot-1")
	read := bytesOf(f, disk.OpRead)
	l = d.open(0, nil)
	require.Equal(t, vouched, l.Bytes())
	require.Equal(t, int(vouched-below), read(logSuffix))
	require.NoError(t, attempt(func() { indexesHold(l) }))
	require.NoError(t, d.Close())
}

// What a flush made durable counts wherever it lies, and the next flush counts what came since.
func TestRecoveryPointMovesAcrossSegments(t *testing.T) {
	d := openDir(t, disk.NewCrashable(1), "/log")
	l := d.open(0, func(c *Config) { c.SegmentBytes, c.FlushMessages = 20_000, Forever })
	d.flusher.Close() // which a roll would wake
	for range 3 {
		before, segs, counted := l.Bytes(), len(l.Segments()), d.unsaved.Load()
		for range 50 {
			appendTo(t, l, batch(1, 1000, startMs))
		}
		require.Greater(t, len(l.Segments()), segs+1)
		require.NoError(t, l.Sync())
		require.Equal(t, l.Bytes()-before, d.unsaved.Load()-counted)
	}
	require.NoError(t, d.Close())
}

// Recovery points move by saveMost, and what comes while they are saved, before they are saved: however long that takes, and
// whatever the clock says.
func TestRecoveryPointsAreSavedInTime(t *testing.T) {
	f := disk.NewFaulty(disk.NewCrashable(1), nil)
	d := journalDir(t, f, nil)
	l := d.open(0, nil)
	const step = 10 << 20
	var unsaved, most int64 // what a crash now would have to read above the recovery points
	saves := 0
	move := func() {
		unsaved += step
		most = max(most, unsaved)
		d.pointMoved(step)
	}
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpRename && strings.Contains(c.Name, stateFile) {
			d.clock.ms += 30_000 // a save takes that long, and ten steps are made meanwhile
			saves++
			unsaved = 0
			for range 10 {
				move()
			}
		}
		return disk.Fault{}
	})
	appendTo(t, l, batch(1, 10, startMs))
	require.NoError(t, l.Sync())
	for range 5000 {
		move()
		d.clock.ms++
		select {
		case <-d.keeper.full: // as the housekeeping does
			d.saveDue(d.nowMs())
		default:
		}
	}
	t.Logf("%d saves, at most %d MiB to read", saves, most>>20)
	require.Greater(t, saves, 10)
	require.LessOrEqual(t, most, int64(saveMost+11*step))
	f.SetHook(nil)
	require.NoError(t, d.Close())
}

// With many logs only those take part in a checkpoint that grew by much, and the others' files stay as they are.
func TestCheckpointLeavesTheOthersAlone(t *testing.T) {
	f := disk.NewFaulty(disk.NewCrashable(1), nil)
	d := journalDir(t, f, func(o *Options) { o.checkpointBytes = 100_000 })
	for i := range int32(20) {
		l := d.open(i, nil)
		for range 10 {
			appendTo(t, l, batch(1, 8000, startMs))
		}
		require.NoError(t, l.Sync())
	}
	l := d.open(7, nil)
	for range 10 {
		appendTo(t, l, batch(1, 8000, startMs))
	}
	require.NoError(t, l.Sync())
	synced := map[string]int{}
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpDatasync && strings.HasSuffix(c.Name, "index") {
			synced[c.Name]++
		}
		return disk.Fault{}
	})
	require.NoError(t, d.SaveState())
	s := l.active()
	require.Equal(t, map[string]int{s.idx.file.path(): 1, s.tidx.file.path(): 1}, synced)
	require.NoError(t, d.SaveState())
	require.Len(t, synced, 2)
	require.Equal(t, 1, synced[s.idx.file.path()])
	f.SetHook(nil)
	require.NoError(t, d.Close())
}

// sizeOf is how many bytes a log's state vouches for.
func sizeOf(st *logState) (n int64) {
	for _, g := range st.Segments {
		n += g.Size
	}
	return n
}

// What a recovery read counts as what moves recovery points: crashes that follow each other do not add up.
func TestRecoveryPointFollowsRecovery(t *testing.T) {
	f := disk.NewFaulty(disk.NewCrashable(1), nil)
	d := openDir(t, f, "/log")
	l := d.open(0, func(c *Config) { c.SegmentBytes = 100_000 })
	for range 100 {
		appendTo(t, l, batch(1, 5000, startMs))
	}
	require.NoError(t, l.Flush())
	require.Greater(t, len(l.Segments()), 3)
	d = d.next(f, "boot-2")
	l = d.open(0, nil)
	require.Equal(t, l.Bytes(), d.unsaved.Load())
	d.savePoints()
	d = d.next(f, "boot-3")
	read := bytesOf(f, disk.OpRead)
	d.open(0, nil)
	require.Zero(t, read(logSuffix))
	require.Zero(t, d.unsaved.Load())
	require.NoError(t, d.Close())
}

// I-01: what cannot be read of a journal is no torn tail: it ends the start, and the next one, which can, has all of it.
func TestUnreadableJournal(t *testing.T) {
	w := newWorld(1, "")
	l := w.open(0)
	var want []byte
	for range 20 {
		want = append(want, w.put(l, 1)...)
	}
	require.Less(t, l.Durable(), l.Flushed())
	w.d.flusher.Close()
	crashed := w.mem
	w.boot++
	// start fails the n-th read of the journal and says how many there were.
	start := func(n int) (reads int, err error) {
		w.mem = crashed.Crash()
		f := w.faulty()
		f.SetHook(func(c disk.Call) disk.Fault {
			if c.Op == disk.OpRead && strings.Contains(c.Name, "firn-journal.") {
				if reads++; reads == n {
					return disk.Fault{Err: syscall.EIO}
				}
			}
			return disk.Fault{}
		})
		err = attempt(w.start)
		f.SetHook(nil)
		return reads, err
	}
	reads, err := start(0)
	require.NoError(t, err)
	w.d.flusher.Close()
	require.Greater(t, reads, 20)
	for n := 1; n <= reads; n++ {
		_, err := start(n)
		require.ErrorContains(t, err, syscall.EIO.Error(), "read %d of %d", n, reads)
		require.ErrorContains(t, err, "Put the file back")
		w.start()
		require.NoError(t, attempt(func() { holds(w.open(0), want) }))
		w.d.flusher.Close()
	}
}
