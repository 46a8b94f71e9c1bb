package hot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/epoch"
	"github.com/firnlog/firn/tier/hot/producer"
	"github.com/firnlog/firn/tier/record"
)

// stories are what must survive a power cut, each told so that it ends badly if something was not synced that had to
// be. TestStories tells them as they are; TestEverySyncIsNeeded once for each line of code that syncs, without it.
var stories = []struct {
	name string
	tell func(w *world)
}{
	{"I-01 acknowledged is durable, in a new folder too", func(w *world) {
		l := w.open(0)
		want := w.put(l, 3)
		w.power(false)
		check(slices.Contains(w.d.Partitions(), w.part(0)), "the partition is gone")
		holds(w.open(0), want)
	}},
	{"I-01 acknowledged is durable after a roll", func(w *world) {
		l := w.open(0)
		want := w.putMany(l, 2)
		w.power(false)
		holds(w.open(0), want)
	}},
	{"I-01 a segment that was empty at a clean stop stays", func(w *world) {
		l := w.open(0)
		want := w.put(l, 1)
		must(l.Roll())
		w.stop()
		w.start()
		want = append(want, w.put(w.open(0), 2)...)
		w.power(false)
		holds(w.open(0), want)
	}},
	{"I-01 a log start above what was flushed", func(w *world) {
		l := w.open(0)
		cfg := *l.config()
		cfg.FlushMessages = Forever
		l.SetConfig(&cfg)
		for range 5 {
			w.write(l, 3)
		}
		must(l.AdvanceStart(14))
		w.power(false)
		l = w.open(0)
		check(l.LogStart() == 14 && l.End() == 15, "the log is [%d, %d)", l.LogStart(), l.End())
	}},
	{"I-01 a killed process's log is durable before it is shown", func(w *world) {
		l := w.open(0)
		want := w.put(l, 1)
		for range 80 {
			want = append(want, w.write(l, 1)...)
		}
		w.d.flusher.Close()
		w.kill()
		l = w.open(0)
		holds(l, want)
		check(l.Stable() == l.End(), "stable is %d, end %d", l.Stable(), l.End())
		w.power(false)
		holds(w.open(0), want)
	}},
	{"I-01 what recovery cut does not come back", func(w *world) {
		l := w.open(0)
		want := w.put(l, 1)
		base := l.End()
		// A segment whose folder entry survived, after one whose bytes did not.
		must(l.Roll())
		w.d.flusher.Close()
		must(w.mem.SyncDir(l.Folder()))
		lost := w.write(l, 5)
		must(l.Roll())
		stale := w.write(l, 2)
		syncFile(w.mem, filepath.Join(l.Folder(), fileName(base+5, logSuffix)))
		must(w.mem.SyncDir(l.Folder()))
		w.power(false)
		l = w.open(0)
		check(l.End() == base, "end is %d, want %d", l.End(), base)
		again := w.put(l, 5)
		check(!bytes.Equal(again, lost) && len(stale) > 0, "the test must tell them apart")
		w.power(false)
		l = w.open(0)
		check(l.End() == base+5, "end is %d, want %d", l.End(), base+5)
		holds(l, append(want, again...))
	}},
	{"index entries of what was lost do not come back", func(w *world) {
		l := w.open(0)
		w.put(l, 1)
		w.d.flusher.Close()
		for range 20 {
			w.write(l, 1)
		}
		s := l.active()
		must(s.flushIndexes())
		check(s.idx.len() > 2, "the test needs entries")
		syncFile(w.mem, s.idx.file.path()) // the indexes reached the disk, the batches did not
		syncFile(w.mem, s.tidx.file.path())
		must(w.mem.SyncDir(l.Folder()))
		w.power(false)
		l = w.open(0)
		check(l.End() == 1, "end is %d", l.End())
		for range 10 {
			w.put(l, 2)
		}
		for s.idx.len() > l.active().idx.len() || s.tidx.len() > l.active().tidx.len() {
			w.put(l, 3)
		}
		must(w.d.saveState())
		w.power(false)
		indexesHold(w.open(0))
	}},
	{"index entries of what is vouched for do not get lost", func(w *world) {
		l := w.open(0)
		w.putMany(l, 3)
		for l.active().now().size < 2500 { // its index files are made by the checkpoint
			w.put(l, 1)
		}
		must(l.snapshotProducers()) // which would make the names durable, too
		must(l.Sync())
		must(w.d.SaveState())
		read := w.reading()
		w.power(false)
		l = w.open(0)
		check(read(logSuffix) < 1000, "%d bytes were read again", read(logSuffix))
		for _, s := range l.segments() {
			must(s.verifyIndexes())
		}
		indexesHold(l)
	}},
	{"I-05 a recovery removes nothing for a snapshot that may get lost", func(w *world) {
		l := w.open(0)
		_, err := tryAppend(l, producerBatch(7, 0, 2, w.clock.ms), 0)
		must(err)
		must(l.AdvanceStart(2))
		must(l.Roll()) // the snapshot is not synced
		w.kill()
		var at []*disk.Crashable
		w.spy.FS = &hookFS{FS: w.spy.FS, before: func() {
			for range 5 {
				at = append(at, w.mem.CrashTorn())
			}
		}}
		check(len(w.open(0).Segments()) == 1, "nothing was removed")
		w.d.flusher.Close()
		for i, mem := range append(at, w.mem.Crash()) {
			w.mem = mem
			w.boot++
			w.start()
			a, err := tryAppend(w.open(0), producerBatch(7, 0, 2, w.clock.ms), 0)
			must(err)
			check(a.Duplicate, "moment %d: stored twice: %+v", i/5, a)
			w.d.flusher.Close()
		}
	}},
	{"I-01 a segment below the start is not missed, though the journal has it", func(w *world) {
		l := w.open(0)
		w.put(l, 2)
		check(l.Durable() < l.Flushed() || !w.journal, "the journal does not have it")
		must(l.AdvanceStart(l.End()))
		must(l.Roll())
		want := w.write(l, 1)
		start, end := l.LogStart(), l.End()
		must(l.keepProducers(start))
		w.kill()
		l = w.open(0)
		check(len(l.Segments()) == 1 && l.LogStart() == start && l.End() == end, "the log is [%d, %d)", l.LogStart(), l.End())
		holds(l, want)
	}},
	{"I-38 removed is removed", func(w *world) {
		w.put(w.open(0), 1)
		must(w.d.Remove(w.part(0)))
		w.power(false)
		check(len(w.d.Partitions()) == 0, "the removed partition is back")
	}},
	{"I-38 a new life inherits nothing", func(w *world) {
		l := w.open(0)
		w.putMany(l, 3)
		must(l.AdvanceStart(l.End()))
		must(w.d.Remove(w.part(0)))
		w.id[5]++
		l = w.open(0)
		want := w.put(l, 2)
		w.power(false)
		l = w.open(0)
		check(l.LogStart() == 0 && l.End() == 2, "the new life is [%d, %d)", l.LogStart(), l.End())
		holds(l, want)
	}},
	{"log start stays", func(w *world) {
		l := w.open(0)
		w.putMany(l, 3)
		must(l.AdvanceStart(45))
		w.power(false)
		l = w.open(0)
		check(l.LogStart() == 45 && l.LocalStart() == 45, "log start is %d", l.LogStart())
	}},
	{"I-05 producers outlive their batches", func(w *world) {
		for _, index := range []int32{0, 1} {
			l := w.open(index)
			b := producerBatch(7, 0, 3, w.clock.ms)
			_, err := tryAppend(l, bytes.Clone(b), 0)
			must(err)
			w.putMany(l, 2)
			_, err = l.Trim(l.Segments()[1].Base, "test")
			must(err)
		}
		w.power(false)
		for _, index := range []int32{0, 1} {
			l := w.open(index)
			check(l.LocalStart() > 3, "the batch is still there")
			b := producerBatch(7, 0, 3, w.clock.ms)
			a, err := tryAppend(l, b, 0)
			must(err)
			check(a.Duplicate && a.BaseOffset == 0, "stored twice: %+v", a)
		}
	}},
	{"I-05 producers outlive their batches though the snapshot was lost", func(w *world) {
		l := w.open(0)
		b := producerBatch(7, 0, 3, w.clock.ms)
		_, err := tryAppend(l, b, 0)
		must(err)
		w.putMany(l, 1)
		must(w.d.saveState())
		w.power(false) // the snapshot of the roll was not synced
		l = w.open(0)
		_, err = l.Trim(l.Segments()[1].Base, "test")
		must(err)
		w.power(false)
		l = w.open(0)
		check(l.LocalStart() > 3, "the batch is still there")
		a, err := tryAppend(l, producerBatch(7, 0, 3, w.clock.ms), 0)
		must(err)
		check(a.Duplicate && a.BaseOffset == 0, "stored twice: %+v", a)
	}},
	{"I-05 a trim up to an empty segment leaves a whole log", func(w *world) {
		l := w.open(0)
		_, err := tryAppend(l, producerBatch(7, 0, 3, w.clock.ms), 0)
		must(err)
		w.putMany(l, 1)
		must(l.Roll())
		end := l.End()
		_, err = l.Trim(end, "test")
		must(err)
		w.d.flusher.Close()
		for range 20 {
			w.begins(0, end, end, func(l *Log) { check(len(producersOf(l)) == 1, "the producer is forgotten") })
		}
	}},
	{"I-01 trimmed segments that come back take nothing along", func(w *world) {
		for index := range int32(2) { // neither has a producer
			l := w.open(index)
			w.putMany(l, 4)
			must(w.d.saveState())
			start, end := l.Segments()[3].Base, l.End()
			_, err := l.Trim(start, "test")
			must(err)
			want := content(l)
			w.d.flusher.Close()
			for range 10 { // some of the removed names are there again
				w.begins(index, start, end, func(l *Log) { holds(l, want) })
			}
			w.power(false)
		}
	}},
	{"I-01 a trim of what was not flushed leaves a whole log", func(w *world) {
		l := w.open(0)
		cfg := *l.config()
		cfg.FlushMessages = Forever
		l.SetConfig(&cfg)
		w.d.flusher.Close() // which a roll would wake
		for len(l.Segments()) < 5 {
			w.write(l, 1)
		}
		start := l.Segments()[3].Base
		_, err := l.Trim(start, "test")
		must(err)
		for range 10 {
			w.begins(0, start, start, func(l *Log) { content(l); indexesHold(l) })
		}
	}},
	{"I-03 epochs stay", func(w *world) {
		l := w.open(0)
		must(l.AssignEpoch(3, -1))
		w.put(l, 1)
		must(l.AssignEpoch(5, -1))
		want := l.Epochs()
		w.put(l, 1)
		w.power(false)
		check(slices.Equal(w.open(0).Epochs(), want), "epochs are %v, were %v", w.open(0).Epochs(), want)
	}},
	{"a clean stop is one, and stops being one", func(w *world) {
		l := w.open(0)
		want := w.put(l, 2)
		w.stop()
		mem := w.mem.Crash()
		w.mem = mem
		w.start()
		check(w.d.LastStop() == StopClean, "LastStop is %v", w.d.LastStop())
		l = w.open(0)
		holds(l, want)
		must(l.AssignEpoch(9, 1))
		w.power(false)
		l = w.open(0)
		check(l.latestEpoch() == 9, "epochs are %v", l.Epochs())
		holds(l, want)
	}},
	{"a start that is interrupted is not taken for the first one", func(w *world) {
		w.put(w.open(0), 2)
		w.stop()
		// The power is cut at each moment of the next start in turn.
		at := w.cutWhileStarting()
		check(len(at) > 0, "nothing happened")
		for i, mem := range at {
			w.mem = mem
			w.boot++
			w.start()
			check(w.d.LastStop() == StopClean || w.d.LastStop() == StopCrashed, "moment %d: LastStop is %v", i/5, w.d.LastStop())
			w.d.flusher.Close()
		}
	}},
	{"I-27 what was truncated does not come back", func(w *world) {
		l := w.open(0)
		want := w.put(l, 5)
		must(l.AssignEpoch(2, -1))
		for range 3 {
			w.put(l, 5)
			must(l.Roll())
		}
		w.put(l, 5)
		must(w.d.saveState())
		must(l.Truncate(5))
		check(l.End() == 5, "end is %d", l.End())
		// The same number of records: the old segments would fit.
		w.clock.ms += 1000
		must(l.AssignEpoch(2, -1))
		want = append(want, w.put(l, 5)...)
		w.power(false)
		l = w.open(0)
		check(l.End() == 10, "end is %d, want 10", l.End())
		holds(l, want)
	}},
	{"I-27 truncated segments do not come back behind others", func(w *world) {
		l := w.open(0)
		must(l.AssignEpoch(0, -1))
		want := w.put(l, 5)
		for range 3 {
			w.put(l, 5)
			must(l.Roll())
		}
		must(l.Truncate(5))
		w.clock.ms += 1000
		want = append(want, w.put(l, 5)...) // as many as before: the old segments would fit
		w.power(false)
		l = w.open(0)
		check(l.End() == 10, "end is %d, want 10", l.End())
		holds(l, want)
	}},
	{"I-27 a cut is durable before other batches are", func(w *world) {
		l := w.open(0)
		want := w.put(l, 1)
		for range 10 {
			w.put(l, 1)
		}
		must(l.Truncate(1))
		w.power(false)
		l = w.open(0)
		check(l.End() == 1, "end is %d, want 1", l.End())
		holds(l, want)
	}},
	{"I-27 the state file does not vouch for what was replaced", func(w *world) {
		l := w.open(0)
		want := w.put(l, 5)
		for range 20 {
			w.put(l, 1)
		}
		must(w.d.saveState())
		must(l.Truncate(5))
		w.d.flusher.Close()
		for range 30 {
			w.write(l, 1) // not flushed
		}
		w.power(true)
		l = w.open(0)
		check(bytes.HasPrefix(content(l), want), "the kept batches are not there")
		indexesHold(l)
	}},
	{"I-36 a log that begins anew", func(w *world) {
		l := w.open(1)
		w.putMany(l, 2)
		st := &producer.State{}
		h, err := record.Check(producerBatch(4, 0, 2, 1))
		must(err)
		st.Apply(h, 998, 5)
		must(l.Reset(1000, []epoch.Entry{{Epoch: 1, Start: 0}, {Epoch: 4, Start: 900}}, st.Entries()))
		want := w.put(l, 2)
		w.power(false)
		l = w.open(1)
		check(l.LocalStart() == 1000 && l.End() == 1002, "the log is [%d, %d)", l.LocalStart(), l.End())
		holds(l, want)
		check(len(l.Epochs()) == 2 && l.latestEpoch() == 4, "epochs are %v", l.Epochs())
		check(len(producersOf(l)) == 1 && producersOf(l)[0].ID == 4, "producers are %v", producersOf(l))
		check(len(w.d.Strays()) == 1, "strays are %v", w.d.Strays())
	}},
	{"I-36 a reset that is interrupted loses neither log", func(w *world) {
		l := w.open(1)
		want := w.put(l, 3)
		w.d.flusher.Close() // it would prepare the journal meanwhile
		// The power is cut at each moment of the reset in turn.
		var at []*disk.Crashable
		hook := &hookFS{FS: w.spy.FS, before: func() {
			at = append(at, w.mem.Crash())
			for range 5 {
				at = append(at, w.mem.CrashTorn())
			}
		}}
		w.spy.FS = hook
		must(l.Reset(1000, nil, nil))
		for i, mem := range at {
			w.mem = mem
			w.start()
			stray, whole := w.d.Strays(), w.d.Partitions()
			old := len(stray) == 1
			if !old {
				check(len(whole) == 1, "moment %d: neither the old log nor the set aside is there", i)
				l := w.open(1)
				check(l.LocalStart() == 0, "moment %d: the old log is gone", i)
				holds(l, want)
			} else if len(whole) == 1 {
				check(w.open(1).LocalStart() == 1000, "moment %d: the log is the old one, and set aside as well", i)
			}
		}
	}},
	{"I-01 I-17 a rewrite leaves the old segments or the new one", tellRewrite},
	{"I-01 what was replayed is durable before anybody opens the log", func(w *world) {
		l := w.open(0)
		want := w.put(l, 1)
		want = append(want, w.put(l, 3)...)
		check(w.d.journal == nil || w.d.journal.Stats().Rounds.Load() > 0, "the journal was not used")
		w.power(false)
		w.put(w.open(1), 1)
		w.power(false)
		holds(w.open(0), want)
	}},
	{"I-01 the journal goes at once or not at all", tellRemoval},
	{"I-27 what was truncated does not come back from the journal", func(w *world) {
		l := w.open(0)
		want := w.put(l, 5)
		must(l.AssignEpoch(2, -1))
		w.put(l, 5)
		w.put(l, 5)
		must(l.Truncate(5))
		w.power(false)
		l = w.open(0)
		check(l.End() == 5, "end is %d", l.End())
		holds(l, want)
		w.clock.ms += 1000
		want = append(want, w.put(l, 7)...)
		w.power(false)
		holds(w.open(0), want)
	}},
	{"I-38 I-01 what was removed does not come back from the journal", func(w *world) {
		w.put(w.open(0), 1)
		w.put(w.open(0), 1)
		must(w.d.Remove(w.part(0)))
		want := w.put(w.open(0), 2)
		want = append(want, w.put(w.open(0), 2)...)
		w.power(false)
		l := w.open(0)
		check(l.End() == 4, "end is %d", l.End())
		holds(l, want)
	}},
	{"I-01 journal files that are used again", func(w *world) {
		logs := []*Log{w.open(0), w.open(1), w.open(2)}
		want := make([][]byte, 3)
		for round := range 60 {
			i := round * round % 3
			want[i] = append(want[i], w.put(logs[i], 1+round%5)...)
			if round%20 == 19 {
				_, err := logs[i].Trim(logs[i].active().base, "test")
				must(err)
				want[i] = content(logs[i])
			}
		}
		check(w.d.journal == nil || w.d.journal.Stats().Recycled.Load() > 1, "nothing was recycled")
		w.power(true)
		for i := range logs {
			holds(w.open(int32(i)), want[i])
		}
	}},
	{"I-01 a preallocated segment ends where its batches do", func(w *world) {
		for _, still := range []bool{true, false} { // the config is as it was when the segment is full
			l := w.open(0)
			cfg := *l.config()
			cfg.Preallocate = true
			l.SetConfig(&cfg)
			must(l.Roll())
			want := w.put(l, 1)
			must(l.Sync())
			again := cfg
			again.Preallocate = still
			l.SetConfig(&again)
			must(l.Roll())
			want = append(want, w.put(l, 2)...)
			w.power(false)
			holds(w.open(0), want)
		}
	}},
	{"I-38 I-01 what the state file says of a folder that is gone is not believed of the next", tellOrphans},
	{"I-05 producers above the recovery point are not believed in", tellProducersAbove},
	{"I-36 what is set aside is whole, though the journal forgets it", func(w *world) {
		l := w.open(0)
		w.put(l, 1)
		w.put(l, 5)
		size := l.Bytes()
		w.id[5]++
		w.open(0)
		w.power(false)
		check(len(w.d.Strays()) == 1, "strays are %v", w.d.Strays())
		info, err := w.mem.Stat(filepath.Join("/data/log", w.d.Strays()[0], fileName(0, logSuffix)))
		must(err)
		check(info.Size() == size, "%d bytes were set aside, %d were acknowledged", info.Size(), size)
	}},
	{"I-01 what the journal holds of a damaged log is kept", func(w *world) {
		if !w.journal {
			return
		}
		l := w.open(0)
		want := w.unjournaled(l, 1)
		whole := l.Bytes()
		want = append(want, w.put(l, 4)...)
		name := l.segments()[0].file.path()
		damaged := func() {
			_, err := w.d.Open(w.part(0), nil)
			check(errors.Is(err, ErrDamaged), "opened with %v", err)
		}
		cut(w.mem, name, whole-10) // nothing that firn or a crash does
		w.power(false)
		damaged()
		w.power(false)
		damaged()
		f, err := w.mem.OpenFile(name, os.O_RDWR, 0)
		must(err)
		_, err = f.WriteAt(want[:whole], 0) // somebody puts it back
		must(err)
		w.kill()
		holds(w.open(0), want)
		must(w.d.Close())
		w.start()
		holds(w.open(0), want)
		entries, err := w.mem.ReadDir("/data/log")
		must(err)
		for _, e := range entries {
			check(!strings.HasPrefix(e.Name(), keptPrefix), "%s is still there", e.Name())
		}
	}},
	{"I-01 what the journal vouched for is not cut, start after start", func(w *world) {
		if !w.journal {
			return
		}
		l := w.open(0)
		w.unjournaled(l, 3) // the state file does not say so yet
		w.put(l, 2)
		w.damage(l)
		for range 3 {
			w.power(false)
			_, err := w.d.Open(w.part(0), nil)
			check(errors.Is(err, ErrDamaged), "opened with %v", err)
		}
		must(w.d.Remove(w.part(0))) // its owner gives it up
		w.power(false)
		check(w.open(0).End() == 0, "the log is not new")
	}},
	{"I-01 I-03 a stop vouches for no log that nobody opened since the crash", tellUnopened},
	{"I-01 what the journal vouched for is known until the log is opened", tellDamageOfUnopened},
	{"I-03 a lost page cache is told until it is settled", tellPowerLoss},
	{"I-01 a rewrite that was cut off in its recovery", tellRewriteRecovery},
	{"I-01 a rewrite before a clean stop", tellRewriteStop},
	{"I-05 producers outlive the rewrite of their batches", tellRewriteProducers},
}

// begins cuts the power, with a disk that had written this or that, and looks at a log that begins at start and ends at
// least at end. Then everything is as before.
func (w *world) begins(index int32, start, end int64, look func(l *Log)) {
	from := w.mem
	w.mem = from.CrashTorn()
	w.boot++
	w.start()
	l := w.open(index)
	check(l.LocalStart() == start && l.End() >= end, "the log is [%d, %d), not [%d, %d)", l.LocalStart(), l.End(), start, end)
	look(l)
	w.d.flusher.Close()
	w.mem = from
}

// reading counts the bytes that the next start reads, of the files whose names contain something.
func (w *world) reading() func(part string) int {
	var read func(string) int
	w.wrap = func(fsys disk.FS) disk.FS {
		f := disk.NewFaulty(fsys, nil)
		read = bytesOf(f, disk.OpRead)
		return f
	}
	return func(part string) int { return read(part) }
}

// unjournaled appends what the log's own file alone has.
func (w *world) unjournaled(l *Log, n int) []byte {
	w.d.flusher.Close()
	b := w.write(l, n)
	must(l.Sync())
	return b
}

// damage changes bytes of the log's first segment, durably.
func (w *world) damage(l *Log) {
	f, err := w.mem.OpenFile(l.segments()[0].file.path(), os.O_RDWR, 0)
	must(err)
	_, err = f.WriteAt([]byte("damage"), 100)
	must(err)
	must(f.Datasync())
}

// cut makes a file shorter, durably.
func cut(mem *disk.Crashable, name string, size int64) {
	f, err := mem.OpenFile(name, os.O_RDWR, 0)
	must(err)
	must(f.Truncate(size))
	must(f.Datasync())
	must(f.Close())
}

func syncFile(mem *disk.Crashable, name string) {
	f, err := mem.OpenFile(name, os.O_RDWR, 0)
	must(err)
	must(f.Datasync())
	must(f.Close())
}

// cutWhileStarting starts and gives what power cuts leave at each moment of the start.
func (w *world) cutWhileStarting() (at []*disk.Crashable) {
	w.wrap = func(fsys disk.FS) disk.FS {
		return &hookFS{FS: fsys, before: func() {
			for range 5 {
				at = append(at, w.mem.CrashTorn())
			}
		}}
	}
	w.start()
	w.d.flusher.Close()
	w.wrap = nil
	return at
}

// hookFS calls before in front of every change of names.
type hookFS struct {
	disk.FS
	before func()
}

func (h *hookFS) Rename(a, b string) error                { h.before(); return h.FS.Rename(a, b) }
func (h *hookFS) SyncDir(name string) error               { h.before(); return h.FS.SyncDir(name) }
func (h *hookFS) Remove(name string) error                { h.before(); return h.FS.Remove(name) }
func (h *hookFS) RemoveAll(name string) error             { h.before(); return h.FS.RemoveAll(name) }
func (h *hookFS) ReadDir(n string) ([]os.DirEntry, error) { return h.FS.ReadDir(n) }

func TestStories(t *testing.T) {
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			for seed := range uint64(5) {
				require.NoError(t, attempt(func() { s.tell(newWorld(seed, "")) }))
			}
		})
	}
}

// syncSites finds the lines in the sources of this package, and in those of disk.WriteFileSync, that sync.
func syncSites(t *testing.T) []string {
	call := regexp.MustCompile(`\.(Datasync|SyncDir|WritevSync)\(`)
	var sites []string
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	journal, err := filepath.Glob("flush/*.go")
	require.NoError(t, err)
	files = append(files, journal...)
	for _, file := range append(files, "../disk/files.go") {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		for i, line := range strings.Split(string(b), "\n") {
			if call.MatchString(line) {
				sites = append(sites, fmt.Sprintf("%s:%d", filepath.Base(file), i+1))
			}
		}
	}
	return sites
}

// TestEverySyncIsNeeded ignores, one after another, each line of code that makes something durable, and demands that
// a story notices (I-01, I-03, I-05, I-38): whoever removes one fails this test, and so does whoever adds one that
// protects nothing.
func TestEverySyncIsNeeded(t *testing.T) {
	sites := syncSites(t)
	require.NotEmpty(t, sites)
	for _, site := range sites {
		t.Run(site, func(t *testing.T) {
			var noticed []string
			reached := false
			// What a torn disk keeps is chance: some seed shows it.
			for seed := uint64(0); seed < 200 && len(noticed) == 0; seed++ {
				for _, s := range stories {
					var w *world
					err := attempt(func() {
						w = newWorld(seed, site)
						s.tell(w)
					})
					reached = reached || w == nil || w.spy.came(site)
					if err != nil {
						noticed = append(noticed, s.name+": "+err.Error())
					}
				}
			}
			require.True(t, reached, "no story comes by here")
			require.NotEmpty(t, noticed, "no story needs it")
			t.Log(strings.Join(noticed, "\n"))
		})
	}
}
