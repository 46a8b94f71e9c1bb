package hot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/checkpoint"
	"github.com/firnlog/firn/tier/hot/flush"
	"github.com/firnlog/firn/tier/record"
)

// failLogs fails an operation of all segments' files.
func failLogs(op disk.Op, err error) disk.Hook {
	return func(c disk.Call) disk.Fault {
		if c.Op == op && strings.HasSuffix(c.Name, logSuffix) {
			return disk.Fault{Err: err}
		}
		return disk.Fault{}
	}
}

// bytesOf counts the bytes of an operation from here on, in place of f's hook. What it returns gives their number for the
// files whose names contain something.
func bytesOf(f *disk.Faulty, op disk.Op) func(part string) int {
	var mu sync.Mutex
	n := map[string]int{}
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == op {
			mu.Lock()
			defer mu.Unlock()
			n[c.Name] += c.Bytes
		}
		return disk.Fault{}
	})
	return func(part string) (sum int) {
		mu.Lock()
		defer mu.Unlock()
		for name, bytes := range n {
			if strings.Contains(name, part) {
				sum += bytes
			}
		}
		return sum
	}
}

// faulty puts a Faulty under the next starts of a world.
func (w *world) faulty() *disk.Faulty {
	f := disk.NewFaulty(w.mem, nil)
	w.wrap = func(disk.FS) disk.FS { return f }
	return f
}

// I-01: what recovery cannot read is not a torn tail.
func TestUnreadableIsNotCut(t *testing.T) {
	w := newWorld(2, "")
	l := w.open(0)
	var want []byte
	for range 20 {
		want = append(want, w.put(l, 1)...)
	}
	name, size := l.active().file.path(), l.Bytes()
	f := w.faulty()
	w.kill()
	f.SetHook(failLogs(disk.OpRead, syscall.EIO))
	_, err := w.d.Open(w.part(0), nil)
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorIs(t, err, ErrUnreadable)
	require.NotErrorIs(t, err, ErrDamaged)
	info, err := w.mem.Stat(name)
	require.NoError(t, err)
	require.Equal(t, size, info.Size())
	f.SetHook(nil)
	require.NoError(t, attempt(func() { holds(w.open(0), want) }))
}

// I-01: a folder of which the disk did not give the topic id is neither set aside nor taken for a new partition.
func TestUnreadableTopicID(t *testing.T) {
	w := newWorld(2, "")
	want := w.put(w.open(0), 3)
	f := w.faulty()
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpRead && filepath.Base(c.Name) == checkpoint.MetadataFile {
			return disk.Fault{Err: syscall.EIO}
		}
		return disk.Fault{}
	})
	w.kill()
	_, err := w.d.Open(w.part(0), nil)
	require.ErrorIs(t, err, syscall.EIO)
	require.Empty(t, w.d.Strays())
	f.SetHook(nil)
	require.NoError(t, attempt(func() { holds(w.open(0), want) }))
}

// I-31, I-37: after an fdatasync that failed, the kernel shows bytes that are not on the disk, and takes them for clean.
// A process that is started on the same kernel answers for what it finds only once it has written it itself.
func TestWhatAFailedFlushLeftIsWrittenAgain(t *testing.T) {
	for _, c := range []struct {
		name string
		seed uint64
	}{{"from the journal", 1}, {"from the logs", 2}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(c.seed, "")
			f := w.faulty()
			w.kill()
			l := w.open(0)
			want := w.put(l, 2)
			want = append(want, w.put(l, 3)...)
			w.d.flusher.Close()
			f.SetHook(failLogs(disk.OpDatasync, syscall.EIO))
			want = append(want, w.write(l, 1)...)
			require.ErrorIs(t, l.Sync(), syscall.EIO)
			acked := l.Stable()
			f.SetHook(nil)
			w.kill()
			l = w.open(0)
			shown := l.Stable()
			require.GreaterOrEqual(t, shown, acked)
			require.NoError(t, attempt(func() { holds(l, want) }))
			w.wrap = nil
			w.power(false)
			l = w.open(0)
			require.GreaterOrEqual(t, l.End(), shown)
			require.NoError(t, attempt(func() { holds(l, want) }))
		})
	}
}

// I-01: a log that ends where the state file says, and of which the journal knew more, is not opened, and what was kept
// of it stays.
func TestWhatTheJournalVouchedForIsMissed(t *testing.T) {
	w := newWorld(1, "")
	l := w.open(0)
	w.put(l, 1) // the journal has its files from here on
	w.unjournaled(l, 1)
	must(w.d.saveState())
	frames := w.d.journal.Stats().Frames.Load()
	for range 3 {
		w.put(l, 1)
	}
	require.Equal(t, frames+3, w.d.journal.Stats().Frames.Load())
	require.Equal(t, int64(5), l.Flushed())
	require.Equal(t, int64(2), l.Durable())
	f, err := w.mem.OpenFile("/data/log/firn-journal.0", os.O_RDWR, 0)
	must(err)
	_, err = f.WriteAt([]byte("damage"), (1+frames)*4096+130) // behind the head, among the bytes of the first of the three
	must(err)
	must(f.Datasync())
	for start := range 3 {
		w.power(false)
		_, err := w.d.Open(w.part(0), nil)
		require.ErrorIs(t, err, ErrDamaged, "start %d", start)
		_, err = w.mem.Stat(w.d.keptName("t-0"))
		require.NoError(t, err, "start %d", start)
	}
}

// The housekeeping sweeps the open files while logs are recovered, however long that takes.
func TestSweepsDuringRecovery(t *testing.T) {
	w := newWorld(2, "")
	want := w.putMany(w.open(0), 3)
	f := w.faulty()
	w.kill()
	swept := 0
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpRead {
			for range 3 {
				w.d.sweep()
			}
			swept++
		}
		return disk.Fault{}
	})
	l := w.open(0)
	f.SetHook(nil)
	require.Positive(t, swept)
	require.NoError(t, attempt(func() { holds(l, want) }))
	must(w.d.Close())
}

// I-01: what was kept of a log and cannot be read any more stops that log, and no other. Its folder deleted, the partition
// begins anew.
func TestUnreadableKept(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(f disk.File) error
	}{
		{"its first write", func(f disk.File) error { _, err := f.WriteAt([]byte("damage"), 20); return err }},
		{"all of it", func(f disk.File) error { return f.Truncate(0) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(1, "")
			want := w.put(w.open(1), 2)
			w.stop()
			w.start()
			w.put(w.open(0), 2)
			w.unjournaled(w.open(0), 1)
			must(disk.WriteFileSync(w.mem, w.d.keptName("t-0"), flush.KeepBound(w.part(0), 0, 1)))
			f, err := w.mem.OpenFile(w.d.keptName("t-0"), os.O_RDWR, 0)
			must(err)
			must(c.damage(f))
			must(f.Datasync())
			for range 2 {
				w.power(false)
				_, err := w.d.Open(w.part(0), nil)
				require.ErrorIs(t, err, ErrDamaged)
				require.ErrorContains(t, err, keptPrefix)
				require.NoError(t, attempt(func() { holds(w.open(1), want) }))
			}
			must(w.d.Close())
			w.start()
			_, err = w.d.Open(w.part(0), nil)
			require.ErrorIs(t, err, ErrDamaged, "after a clean stop")
			require.NoError(t, attempt(func() { holds(w.open(1), want) }))
			must(w.d.Close())

			must(w.mem.RemoveAll("/data/log/t-0"))
			w.start()
			want = w.put(w.open(0), 3)
			w.power(false)
			require.NoError(t, attempt(func() { holds(w.open(0), want) }))
		})
	}
}

// lavish is a log that gives the journal more than it was asked for.
type lavish struct {
	*Log
	b []byte
}

func (l *lavish) Pending() (int64, bool) { return 1, true }

func (l *lavish) Collect(f *flush.Frame, _ int64) (next int64, added, ok bool) {
	copy(f.Add(&flush.Record{Kind: flush.Bytes, Part: l.part, Next: 1}, len(l.b)), l.b)
	return 1, true, true
}

// journalOf is what a journal of its own has of the log.
func journalOf(w *world, l flush.Log) *flush.Replay {
	j := flush.NewJournal(flush.JournalOptions{FS: w.mem, Dir: "/j", Logger: w.log, Inline: true})
	must(w.mem.MkdirAll("/j", 0o755))
	for range 2 { // the first makes the journal's files
		must(flushRound(j, l))
	}
	r, err := flush.ReadJournal(w.mem, "/j")
	must(err)
	return r
}

// A replay takes whatever the journal's parser does.
func TestReplayOfALargeRecord(t *testing.T) {
	w := newWorld(1, "")
	l := w.open(0)
	w.put(l, 1) // the journal has its files from here on
	b := batch(1, 300<<10, startMs)
	record.Stamp(b, 0, 0)
	r := journalOf(w, &lavish{l, b})
	require.Len(t, r.Logs, 1)
	must(w.d.applyReplay(r))
	got, err := disk.ReadFile(w.mem, l.active().file.path())
	must(err)
	require.Equal(t, b, got)
}

// I-01: … and so does what the disk does not give at one start. At the next it is there.
func TestUnreadableKeptForOnce(t *testing.T) {
	w := newWorld(1, "")
	want := w.put(w.open(1), 2)
	l := w.open(0)
	w.put(l, 1)
	b := batch(1, 300<<10, startMs)
	record.Stamp(b, 0, 0)
	r := journalOf(w, &lavish{l, b})
	kept, err := r.Keep(r.Logs[0])
	require.NoError(t, err)
	must(disk.WriteFileSync(w.mem, w.d.keptName("t-0"), kept))
	f := w.faulty()
	for n := 1; ; n++ {
		reads := 0
		f.SetHook(func(c disk.Call) disk.Fault {
			if c.Op == disk.OpRead && c.Bytes > 0 && strings.Contains(c.Name, keptPrefix) {
				if reads++; reads == n {
					return disk.Fault{Err: syscall.EIO}
				}
			}
			return disk.Fault{}
		})
		w.kill()
		require.NoError(t, attempt(func() { holds(w.open(1), want) }))
		if reads < n {
			require.Greater(t, n, 3)
			break
		}
		_, err := w.d.Open(w.part(0), nil)
		require.ErrorIs(t, err, ErrDamaged, "read %d", n)
		require.ErrorIs(t, err, syscall.EIO, "read %d", n)
	}
	require.NoError(t, attempt(func() { holds(w.open(0), b) }))
}

// I-31, I-37: … all of it above the recovery point, however it lies in the blocks that recovery reads, and before a torn tail.
func TestAllThatRecoveryReadsIsWrittenAgain(t *testing.T) {
	t.Run("from the recovery point", func(t *testing.T) { allIsWrittenAgain(t, false) })
	t.Run("from the beginning", func(t *testing.T) { allIsWrittenAgain(t, true) })
}

func allIsWrittenAgain(t *testing.T, indexLost bool) {
	mem := disk.NewCrashable(1)
	f := disk.NewFaulty(mem, nil)
	d := openDir(t, f, "/log")
	l := d.open(0, func(c *Config) { c.SegmentBytes, c.IndexIntervalBytes = 2_000_000, 100 })
	var want []byte
	for range 5 {
		want = append(want, mustAppend(t, l, batch(1, 1000, startMs))...)
	}
	require.NoError(t, l.Flush())
	require.NoError(t, d.SaveState())
	vouched := l.Bytes()
	d.flusher.Close()
	for _, size := range []int{100_000, 100_000, 100_000, 600_000, 10, 260_000, 100_000, 900_000, 10, 300_000} {
		want = append(want, mustAppend(t, l, batch(1, size, startMs))...)
	}
	end := l.End()
	require.Len(t, l.Segments(), 2)
	f.SetHook(failLogs(disk.OpDatasync, syscall.EIO))
	for _, s := range l.segments() { // the kernel gives up on both
		h, err := s.file.acquire(false)
		require.NoError(t, err)
		require.Error(t, h.Datasync())
		h.release()
	}
	if indexLost {
		h, err := mem.OpenFile(l.segments()[0].idx.file.path(), os.O_RDWR, 0)
		require.NoError(t, err)
		require.NoError(t, h.Truncate(0))
	}
	torn := batch(1, 1000, startMs)
	h, err := mem.OpenFile(l.active().file.path(), os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = h.WriteAt(torn[:500], l.active().now().size)
	require.NoError(t, err)

	// What the state file vouches for is on the disk, and is not written again.
	written := bytesOf(f, disk.OpWrite)
	o, _ := testOptions(t, f, "/log")
	cfg := DefaultConfig()
	d2, l := afterKill(t, o, &cfg)
	require.Equal(t, end, l.Stable())
	require.Equal(t, len(want)-int(vouched), written(logSuffix))
	d2.sweep()
	d2.sweep()
	d2.sweep()
	require.Zero(t, d2.files.len(), "what is synced is closed")

	d3, l := afterPowerCut(t, mem, o, &cfg)
	require.Equal(t, end, l.End())
	require.Equal(t, want, all(t, l, end, 1<<30))
	require.NoError(t, d3.Close())
}

// afterKill opens a directory whose process was killed, and its first partition.
func afterKill(t *testing.T, o Options, cfg *Config) (*Dir, *Log) {
	t.Helper()
	d, err := OpenDir(o)
	require.NoError(t, err)
	require.Equal(t, StopKilled, d.LastStop())
	l, err := d.Open(part(0), cfg)
	require.NoError(t, err)
	return d, l
}

// afterPowerCut opens part(0) on what a power cut leaves of mem.
func afterPowerCut(t *testing.T, mem *disk.Crashable, o Options, cfg *Config) (*Dir, *Log) {
	t.Helper()
	o.FS, o.BootID = mem.Crash(), "boot-2"
	d, err := OpenDir(o)
	require.NoError(t, err)
	l, err := d.Open(part(0), cfg)
	require.NoError(t, err)
	return d, l
}

// I-31: an fdatasync that fails while a log is opened is not tried again: a second one would answer that all is well. The
// next process writes what it finds in the page cache, before it vouches for it.
func TestFailedFlushInARecovery(t *testing.T) {
	for _, c := range []struct {
		name  string
		flush int64 // flush.messages
	}{{"page cache", Forever}, {"flush", 1}} {
		t.Run(c.name, func(t *testing.T) {
			mem := disk.NewCrashable(1)
			f := disk.NewFaulty(mem, nil)
			cfg := DefaultConfig()
			cfg.FlushMessages = c.flush
			o, _ := testOptions(t, f, "/log")
			var told error
			o.OnOffline = func(err error) { told = err }
			d, err := OpenDir(o)
			require.NoError(t, err)
			l, err := d.Open(part(0), &cfg)
			require.NoError(t, err)
			d.flusher.Close()
			want := mustAppend(t, l, batch(1, 100_000, startMs))

			d, err = OpenDir(o)
			require.NoError(t, err)
			f.SetHook(failLogs(disk.OpDatasync, syscall.EIO))
			_, err = d.Open(part(0), &cfg)
			require.ErrorIs(t, err, syscall.EIO)
			f.SetHook(nil) // only once
			require.ErrorIs(t, told, ErrOffline)
			for _, p := range []int32{0, 1} {
				_, err = d.Open(part(p), &cfg)
				require.ErrorIs(t, err, ErrOffline)
			}
			require.Error(t, d.Close())

			d, err = OpenDir(o) // one that opens nothing makes no difference
			require.NoError(t, err)
			d.flusher.Close()
			d, l = afterKill(t, o, &cfg)
			require.Equal(t, want, all(t, l, l.End(), 1<<30))
			d.flusher.Close()
			require.NoError(t, d.SaveState())

			d, l = afterPowerCut(t, mem, o, &cfg)
			require.False(t, d.doubt)
			require.Equal(t, want, all(t, l, l.End(), 1<<30))
			require.NoError(t, d.Close())
		})
	}
}

// … nor one of the folder, or of an index that is cut.
func TestFailedFlushesOfNamesInARecovery(t *testing.T) {
	for _, c := range []struct {
		name, file string
		op         disk.Op
	}{{"folder", "t-0", disk.OpSyncDir}, {"index", indexSuffix, disk.OpDatasync}} {
		t.Run(c.name, func(t *testing.T) {
			f := disk.NewFaulty(disk.NewCrashable(1), nil)
			d := openDir(t, f, "/log")
			l := d.open(0, func(c *Config) { c.IndexIntervalBytes = 1 })
			for range 10 {
				appendTo(t, l, batch(1, 100, startMs))
			}
			require.NoError(t, l.active().flushIndexes())
			d = d.next(f, "boot-1")
			f.SetHook(func(call disk.Call) disk.Fault {
				if call.Op == c.op && strings.HasSuffix(call.Name, c.file) {
					return disk.Fault{Err: syscall.EIO}
				}
				return disk.Fault{}
			})
			_, err := d.Open(part(0), nil)
			require.ErrorIs(t, err, syscall.EIO)
			f.SetHook(nil)
			_, err = d.Open(part(0), nil)
			require.ErrorIs(t, err, ErrOffline)
		})
	}
}

// Many logs in the journal are brought up to date some at once; in order where a test must be able to repeat it.
func TestReplayOfManyLogs(t *testing.T) {
	for _, inline := range []bool{false, true} {
		t.Run(fmt.Sprint("in line ", inline), func(t *testing.T) {
			f := disk.NewFaulty(disk.NewCrashable(1), nil)
			d := journalDir(t, f, nil)
			want := map[int32][]byte{}
			for range 3 {
				for i := range int32(40) {
					l := d.open(i, nil)
					want[i] = append(want[i], mustAppend(t, l, batch(1, 100, startMs))...)
					require.NoError(t, l.Flush())
				}
			}
			d.flusher.Close()
			atOnce := diskLanes
			if inline {
				atOnce = 1
			}
			flushes := newCrowd(t, atOnce)
			f.SetHook(func(c disk.Call) disk.Fault {
				if c.Op == disk.OpDatasync && strings.HasSuffix(c.Name, logSuffix) {
					flushes.pass()
				}
				return disk.Fault{}
			})
			d = journalDir(t, f, func(o *Options) { o.journalInline, o.BootID = inline, "boot-2" })
			f.SetHook(nil)
			require.Equal(t, atOnce, flushes.most)
			require.Positive(t, d.replayed)
			for i := range int32(40) {
				l := d.open(i, nil)
				require.Equal(t, want[i], all(t, l, l.End(), 1<<20))
			}
			require.NoError(t, d.Close())
		})
	}
}

// What was only ever in the page cache by the topic's config is not written again.
func TestPageCacheModeIsNotWrittenAgain(t *testing.T) {
	mem := disk.NewCrashable(1)
	d := openDir(t, mem, "/log")
	l := d.open(0, func(c *Config) { c.FlushMessages = Forever })
	want := mustAppend(t, l, batch(1, 100_000, startMs))
	f := disk.NewFaulty(mem, nil)
	written := bytesOf(f, disk.OpWrite)
	o, _ := testOptions(t, f, "/log")
	cfg := DefaultConfig()
	cfg.FlushMessages = Forever
	d2, l := afterKill(t, o, &cfg)
	require.Equal(t, want, all(t, l, l.End(), 1<<30))
	require.NoError(t, d2.Close())
	require.Zero(t, written(logSuffix))
}

// Files that recovery writes again stay open until they are synced, and that is not all of them at once.
func TestRecoveryAndOpenFiles(t *testing.T) {
	f := disk.NewFaulty(disk.NewCrashable(1), nil)
	d := openDir(t, f, "/log")
	l := d.open(0, func(c *Config) { c.SegmentBytes = 200 })
	for range 100 {
		appendTo(t, l, batch(1, 100, startMs))
	}
	end := l.End()
	require.Len(t, l.Segments(), 100)
	d.flusher.Close()
	o, _ := testOptions(t, f, "/log")
	o.MaxOpenFiles = 10
	d2, err := OpenDir(o)
	require.NoError(t, err)
	most := 0
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpRead {
			most = max(most, d2.files.len())
		}
		return disk.Fault{}
	})
	cfg := DefaultConfig()
	l, err = d2.Open(part(0), &cfg)
	require.NoError(t, err)
	require.Equal(t, end, l.End())
	require.LessOrEqual(t, most, 40, "what can be closed is found by chance")
	require.NoError(t, d2.Close())
}
