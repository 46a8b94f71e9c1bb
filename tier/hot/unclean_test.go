package hot

import (
	"errors"
	"fmt"
	"os"
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
	damage := func(l *Log) {
		f, err := w.mem.OpenFile(l.segments()[0].file.path(), os.O_RDWR, 0)
		must(err)
		_, err = f.WriteAt([]byte("damage"), 100)
		must(err)
		must(f.Datasync())
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
		damage(l)
		damage(other)
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

			o.FS, o.BootID = mem.Crash(), "boot-2"
			d, err = OpenDir(o)
			require.NoError(t, err)
			l, err = d.Open(part(0), &cfg)
			require.NoError(t, err)
			require.Equal(t, want, all(t, l, l.End(), 1<<30))
			require.NoError(t, d.Close())
		})
	}
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
