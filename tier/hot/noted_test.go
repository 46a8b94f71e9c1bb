package hot

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/producer"
)

// busyLogs are logs to which as much is written, and what each was given.
type busyLogs struct {
	t      *testing.T
	mem    *disk.Crashable
	d      *testDir
	logs   []*Log
	models []*written
}

// newBusyLogs are logs that were just opened, the first time.
func newBusyLogs(t *testing.T, logs int) *busyLogs {
	b := &busyLogs{t: t, mem: disk.NewCrashable(1), logs: make([]*Log, logs)}
	for range logs {
		b.models = append(b.models, &written{t: t})
	}
	b.start(b.mem, "boot-1")
	return b
}

func (b *busyLogs) start(fsys disk.FS, boot string) {
	b.d = snapshotsDir(b.t, fsys, boot, 20_000)
	for i := range b.models {
		b.logs[i] = b.d.open(int32(i), func(c *Config) { c.FlushMessages = Forever })
	}
}

// write gives each log so many batches of about 1000 bytes; id is of a producer.
func (b *busyLogs) write(n int, id func(i int) int64) {
	for i, l := range b.logs {
		for j := range n {
			b.models[i].put(l, b.models[i].next(id(j), 1, 930))
		}
	}
}

func (b *busyLogs) sync() {
	for _, l := range b.logs {
		require.NoError(b.t, l.Sync())
	}
}

// next ends the process, with the power if the stop says so, and starts another one on a kernel of that name. It gives how much is
// read of the logs from then on.
func (b *busyLogs) next(stop Stop, boot string) (read func() int) {
	b.d.flusher.Close()
	if stop == StopCrashed {
		b.mem = b.mem.Crash()
	}
	f := disk.NewFaulty(b.mem, nil)
	of := bytesOf(f, disk.OpRead)
	b.start(f, boot)
	require.Equal(b.t, stop, b.d.LastStop())
	for i, l := range b.logs {
		m := b.models[i]
		for m.end() > l.End() {
			require.Equal(b.t, StopCrashed, stop)
			m.headers = m.headers[:len(m.headers)-1]
		}
	}
	return func() int { return of(logSuffix) }
}

// holds says that the logs know their producers, and what one of them wrote last.
func (b *busyLogs) holds() {
	for i, l := range b.logs {
		b.models[i].again(l, 1)
		b.models[i].holds(l, l.End())
	}
}

// However many logs are busy, a start after a crash reads what came since the last save of the recovery points; where producers
// are idempotent and the recovery points lag behind, since the one before. Then the logs know their producers (I-05), and the
// first appends read nothing.
func TestWhatTheFirstAppendsOfManyLogsRead(t *testing.T) {
	const logs, saves, batches, size = 96, 7, 40, 1000
	for _, c := range []struct {
		name string
		id   func(i int) int64
		lag  int // batches of those between two saves that are above the recovery points
		most int // batches of a log that a start after a kill may read
	}{
		{"nobody is idempotent", func(int) int64 { return 0 }, 0, 1},
		{"nobody is idempotent, lagging", func(int) int64 { return 0 }, batches / 2, batches/2 + 1},
		{"all are", func(i int) int64 { return int64(1 + i%3) }, 0, 1},
		{"all are, lagging", func(i int) int64 { return int64(1 + i%3) }, batches / 2, batches + 1},
	} {
		for _, stop := range []Stop{StopKilled, StopCrashed} {
			t.Run(fmt.Sprint(c.name, " ", stop), func(t *testing.T) {
				b := newBusyLogs(t, logs)
				for range saves {
					b.write(batches-c.lag, c.id)
					b.sync()
					b.write(c.lag, c.id)
					b.d.savePoints()
				}
				b.write(1, c.id)
				boot := "boot-1"
				if stop == StopCrashed {
					boot = "boot-2"
				}
				read := b.next(stop, boot)
				recovered := read()
				b.write(1, func(int) int64 { return 0 })
				t.Logf("%d bytes read of %d", recovered, logs*b.logs[0].Bytes())
				if limit := logs * (c.most*(size+100) + 2*smallBuf); stop == StopKilled {
					require.LessOrEqual(t, recovered, limit)
					require.Equal(t, recovered, read(), "the first appends read nothing")
				} else { // index entries were lost, too; and of logs that nothing is left of to recover, the first appends read
					require.LessOrEqual(t, read()-recovered, limit)
				}
				b.holds()
				require.NoError(t, b.d.Close())
			})
		}
	}
}

// Recovery points that a start moved are saved before anybody has appended, if they moved far. What the next start reads is what
// lies above them all the same, and crashes that follow each other do not add up. The logs know their producers (I-05).
func TestWhatStartsReadThatSaveBeforeTheFirstAppend(t *testing.T) {
	const logs, batches, lives = 8, 100, 4
	for _, c := range []struct {
		name string
		id   func(i int) int64
		late bool // nothing is saved before the first crash
	}{
		{"nobody is idempotent", func(int) int64 { return 0 }, false},
		{"nobody is idempotent, and nothing was saved", func(int) int64 { return 0 }, true},
		{"all are", func(i int) int64 { return int64(1 + i%3) }, false},
		{"all are, and nothing was saved", func(i int) int64 { return int64(1 + i%3) }, true},
	} {
		for _, stop := range []Stop{StopKilled, StopCrashed} {
			t.Run(fmt.Sprint(c.name, " ", stop), func(t *testing.T) {
				b := newBusyLogs(t, logs)
				b.write(batches, c.id)
				b.sync()
				if !c.late {
					b.d.savePoints()
				}
				for life := range lives {
					b.write(batches, c.id)
					b.sync()
					b.write(batches/2, c.id)
					boot := "boot-1"
					if stop == StopCrashed {
						boot = fmt.Sprint("boot-", life+2)
					}
					read := b.next(stop, boot)
					above := int(b.d.unsaved.Load())
					b.d.savePoints()
					b.write(1, c.id)
					t.Logf("%d bytes were above the recovery points, %d were read", above, read())
					most := above + logs*2*smallBuf
					if stop == StopCrashed { // index entries were lost, too
						most += logs * int(b.d.o.checkpointBytes)
					}
					require.LessOrEqual(t, read(), most)
					b.holds()
				}
				require.NoError(t, b.d.Close())
			})
		}
	}
}

// manyProducers are too many for a log to have them noted.
const manyProducers = notedProducers + 4

// A recovery takes the producers along where they are noted near enough to where it begins to read, or a snapshot is; else it reads
// no more than it must, and the first append does. In any case the log knows them (I-05).
func TestWhereRecoveryFollowsProducers(t *testing.T) {
	const every, above = 5_000, 7
	for _, c := range []struct {
		name      string
		producers int
		gap       int // batches between what is noted and the recovery point
		snapshot  int // so many of them lie above a snapshot; 0: there is none
		saved     bool
		follows   bool
		walk      int // batches that are read beside those above the recovery point
	}{
		{"from where it begins", 3, 0, 0, true, true, 0},
		{"from below", 3, 30, 0, true, true, 30},
		{"from a snapshot", 3, 30, 5, true, true, 5},
		{"from a snapshot far above what is noted", 3, 100, 5, true, true, 5},
		{"from where the log begins", 3, 30, 0, false, true, 100},
		{"from too far below", 3, 100, 0, true, false, 100},
		{"many producers", manyProducers, 30, 0, true, false, 0},
		{"many producers and a snapshot", manyProducers, 30, 5, true, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem := disk.NewCrashable(1)
			d := snapshotsDir(t, mem, "boot-1", every)
			l := d.open(0, func(c *Config) { c.FlushMessages = Forever })
			m := &written{t: t}
			write := func(n int) {
				for range n {
					m.put(l, m.next(int64(1+len(m.headers)%c.producers), 1, 930))
				}
			}
			save := func() {
				if c.saved {
					require.NoError(t, d.saveState())
				}
			}
			write(manyProducers)
			require.NoError(t, l.Sync())
			save()
			write(c.gap - c.snapshot)
			if c.snapshot > 0 {
				require.NoError(t, l.snapshotProducers())
				write(c.snapshot)
			}
			require.NoError(t, l.Sync())
			if c.gap > 0 {
				write(1)
			}
			save()
			if c.saved && c.producers <= notedProducers {
				require.Equal(t, int64(manyProducers), l.state().Producers.Offset)
			}
			write(above)
			d.flusher.Close()
			f := disk.NewFaulty(mem, nil)
			d = snapshotsDir(t, f, "boot-1", every)
			read := bytesOf(f, disk.OpRead)
			l = d.open(0, nil)
			require.Equal(t, m.end(), l.End())
			recovered := read(logSuffix)
			t.Logf("%d bytes read of %d", recovered, l.Bytes())
			require.LessOrEqual(t, recovered, (above+1+c.walk)*1100+3*smallBuf)
			l.mu.Lock()
			require.Equal(t, c.follows, l.loaded)
			l.mu.Unlock()
			m.again(l, 1)
			require.Equal(t, c.follows, read(logSuffix) == recovered)
			f.SetHook(nil)
			m.holds(l, l.End())
			require.NoError(t, d.Close())
		})
	}
}

// After a clean stop nothing is read of the logs, however little was written to them and whoever wrote (I-05).
func TestFirstAppendsAfterACleanStop(t *testing.T) {
	for _, id := range []int64{0, 1} {
		mem := disk.NewCrashable(1)
		d := snapshotsDir(t, mem, "boot-1", 1<<30)
		l := d.open(0, nil)
		m := &written{t: t}
		for range 10 {
			m.put(l, m.next(id, 1, 10))
		}
		require.NoError(t, d.Close())
		f := disk.NewFaulty(mem, nil)
		d = snapshotsDir(t, f, "boot-1", 1<<30)
		l = d.open(0, nil)
		read := bytesOf(f, disk.OpRead)
		m.again(l, id)
		m.put(l, m.next(id, 1, 10))
		require.Zero(t, read(logSuffix))
		require.NoError(t, d.Close())
	}
}

// What is above the recovery point is no part of a state file: it may be lost, and others take its offsets (I-05).
func TestNotedWaitsForTheRecoveryPoint(t *testing.T) {
	d := openDir(t, disk.NewCrashable(1), "/log")
	l := d.open(0, func(c *Config) { c.FlushMessages = Forever })
	m := &written{t: t}
	step := func(sync bool, want int64, producers int) {
		t.Helper()
		m.put(l, m.next(1, 1, 10))
		if sync {
			require.NoError(t, l.Sync())
			m.put(l, m.next(2, 1, 10))
		}
		require.NoError(t, d.saveState())
		st := l.state()
		require.NoError(t, st.check())
		require.Equal(t, want, st.Producers.Offset)
		known, err := st.Producers.state()
		require.NoError(t, err)
		require.Equal(t, producers, known.Len())
		require.Equal(t, m.at(want).Entries(), known.Entries())
	}
	m.put(l, m.next(1, 1, 10))
	require.NoError(t, l.Sync())
	require.NoError(t, d.saveState())
	step(false, 1, 1) // the end, 2, waits
	step(false, 1, 1)
	step(true, 2, 1) // the recovery point is 4; the end, 5, waits
	step(false, 2, 1)
	step(true, 5, 2)
	require.NoError(t, l.Sync())
	require.NoError(t, d.saveState())
	require.Equal(t, l.End(), l.state().Producers.Offset)
	require.NoError(t, d.Close())
}

// What was noted of batches that were cut off, or set aside, is not believed of those that took their offsets; nor what is noted
// while they are (I-05).
func TestNotedOfWhatIsReplaced(t *testing.T) {
	for _, replace := range []struct {
		name string
		do   func(l *Log, m *written) error
	}{
		{"truncate", func(l *Log, m *written) error {
			m.headers = m.headers[:7]
			return l.Truncate(7)
		}},
		{"reset", func(l *Log, m *written) error {
			m.headers = nil
			return l.Reset(7, nil, nil)
		}},
	} {
		for _, when := range []string{"before", "meanwhile"} {
			t.Run(replace.name+" "+when, func(t *testing.T) {
				mem := disk.NewCrashable(1)
				f := disk.NewFaulty(mem, nil)
				d := openDir(t, f, "/log")
				l := d.open(0, func(c *Config) { c.FlushMessages = Forever })
				d.flusher.Close()
				m := &written{t: t}
				write := func(id int64, n int) {
					for range n {
						m.put(l, m.next(id, 1, 10))
					}
				}
				write(1, 5)
				require.NoError(t, l.Roll())
				require.NoError(t, l.Sync())
				write(1, 5)
				looked := false
				look := func() {
					noteProducers([]*Log{l}, notedBytes)
					looked = true
				}
				if when == "before" {
					look()
					require.EqualValues(t, 10, l.noted.waits.Offset)
				} else {
					state := false // it does not vouch for what is replaced any more
					f.SetHook(func(c disk.Call) disk.Fault {
						state = state || c.Op == disk.OpRename && strings.Contains(c.Name, stateFile)
						if state && c.Op == disk.OpSyncDir && !looked {
							look()
						}
						return disk.Fault{}
					})
				}
				require.NoError(t, replace.do(l, m))
				require.True(t, looked)
				f.SetHook(nil)
				write(2, 5)
				require.NoError(t, l.Sync())
				write(2, 1)
				require.NoError(t, d.saveState())
				require.NoError(t, l.state().check())
				d = openDir(t, mem, "/log")
				require.Equal(t, StopKilled, d.LastStop())
				l = d.open(0, nil)
				m.holds(l, m.end())
				m.again(l, 1)
				m.again(l, 2)
				require.NoError(t, d.Close())
			})
		}
	}
}

// A damaged log, and one of which some is read again, is not told of its producers by the state file.
func TestNotedOfALogThatIsReadAgain(t *testing.T) {
	mem := disk.NewCrashable(1)
	d := openDir(t, mem, "/log")
	l := d.open(0, nil)
	m := &written{t: t}
	for range 5 {
		m.put(l, m.next(1, 1, 10))
	}
	require.NoError(t, l.Sync())
	require.NoError(t, d.saveState())
	st := l.state()
	d.flusher.Close()
	for _, damaged := range []bool{false, true} {
		d = openDir(t, mem, "/log")
		d.unopened["t-0"].Damaged = damaged
		l = d.open(0, nil)
		if damaged {
			require.Equal(t, noted{}, l.noted)
			require.False(t, l.loaded)
		} else {
			require.Equal(t, st.Producers, l.noted.settled)
		}
		m.holds(l, l.End())
		d.flusher.Close()
	}
}

// A recovery takes the producers along through all segments that the state file does not vouch for, and knows nothing of what it
// cuts off (I-05).
func TestRecoveryFollowsProducersToTheCut(t *testing.T) {
	for _, torn := range []int{0, 4, 2, 1} { // the segment in which a batch is torn, counted from the end; 0: none
		t.Run(fmt.Sprint(torn), func(t *testing.T) {
			mem := disk.NewCrashable(1)
			d := openDir(t, mem, "/log")
			l := d.open(0, func(c *Config) { c.SegmentBytes = 5_000 })
			m := &written{t: t}
			write := func(n int) {
				for i := range n {
					m.put(l, m.next(int64(1+i%3), 1, 930))
				}
			}
			write(7)
			require.NoError(t, l.Sync())
			require.NoError(t, d.saveState())
			write(31)
			d.flusher.Close()
			if segs := l.segments(); torn > 0 {
				require.Greater(t, len(segs), 6)
				s := segs[len(segs)-torn]
				cut(mem, s.file.path(), s.now().size-s.now().size/3)
			}
			d = openDir(t, mem, "/log")
			l = d.open(0, nil)
			if torn > 0 {
				require.Less(t, l.End(), m.end())
				m.headers = m.headers[:l.End()]
			}
			require.Equal(t, m.end(), l.End())
			l.mu.Lock()
			require.True(t, l.loaded)
			l.mu.Unlock()
			m.holds(l, l.End())
			for id := range int64(3) {
				m.again(l, 1+id)
				m.put(l, m.next(1+id, 1, 10)) // in the place of one that was cut off
			}
			m.holds(l, l.End())
			require.NoError(t, d.Close())
		})
	}
}

// Neither many producers of a log nor many logs make the state file large; a log keeps what it has noted, and its place.
func TestNotedIsLittle(t *testing.T) {
	d := openDir(t, disk.NewCrashable(1), "/log")
	logs := make([]*Log, 10)
	for i := range logs {
		logs[i] = d.open(int32(i), nil)
	}
	m := &written{t: t}
	grow := func(l *Log, ids int) {
		for id := range ids {
			m.headers = nil
			m.put(l, m.next(100*l.End()+int64(id)+1, 1, 10))
		}
		require.NoError(t, l.Sync())
	}
	noting := func(bytes int) (sum, in int) {
		noteProducers(logs, bytes)
		for _, l := range logs {
			sum += l.noted.bytes()
			if l.noted.bytes() > 0 {
				in++
			}
		}
		return sum, in
	}
	for _, l := range logs {
		grow(l, 2)
	}
	one := len(producer.AppendSnapshot(nil, logs[0].producers.Entries()))
	for range 3 {
		sum, in := noting(4*one + 10)
		require.Equal(t, 4*one, sum)
		require.Equal(t, 4, in)
		require.Equal(t, logs[0].End(), logs[0].noted.settled.Offset)
		for _, l := range logs {
			appendTo(t, l, batch(1, 10, startMs))
			require.NoError(t, l.Sync())
		}
	}
	sum, in := noting(notedBytes)
	require.Equal(t, len(logs)*one, sum)
	require.Len(t, logs, in)

	l := logs[0]
	at := l.End()
	grow(l, notedProducers)
	noting(notedBytes)
	require.Equal(t, at, l.state().Producers.Offset)
	require.NoError(t, d.Close())
}

// tellOrphans: a folder goes, and one of the same partition is made before a state file is saved.
func tellOrphans(w *world) {
	removed := func() { must(w.d.Remove(w.part(0))) }
	deleted := func() { // by hand
		w.d.flusher.Close()
		must(w.mem.RemoveAll("/data/log/t-0"))
		must(w.mem.SyncDir("/data/log"))
		w.start()
	}
	for _, gone := range []func(){removed, deleted} {
		for _, crash := range []func(){w.kill, func() { w.power(false) }} {
			w.putMany(w.open(0), 2)
			must(w.open(0).Sync())
			must(w.d.saveState())
			gone()
			want := w.put(w.open(0), 2) // shorter than what was there
			crash()
			holds(w.open(0), want)
			check(w.open(0).End() == 2, "the log ends at %d", w.open(0).End())
			removed()
		}
	}
}

// tellProducersAbove: batches above the recovery point are lost, others take their offsets, and the state file is still the one
// from before.
func tellProducersAbove(w *world) {
	w.rarely()
	l := w.open(0)
	w.d.flusher.Close()
	add := func(pid int64, seq int32, base int64) {
		a, err := tryAppend(l, producerBatch(pid, seq, 1, w.clock.ms), 0)
		must(err)
		check(!a.Duplicate && a.BaseOffset == base, "a new batch is at %d, not %d: %+v", a.BaseOffset, base, a)
	}
	add(1, 0, 0)
	must(l.Sync())
	add(1, 1, 1) // lost
	add(1, 2, 2)
	must(w.d.saveState())
	must(w.d.saveState())
	w.power(false)
	l = w.open(0)
	w.d.flusher.Close()
	check(l.End() == 1, "the log ends at %d", l.End())
	add(2, 0, 1)
	add(2, 1, 2)
	w.kill()
	l = w.open(0)
	add(1, 1, 3)
	add(2, 2, 4)
}
