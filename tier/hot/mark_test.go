package hot

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/checkpoint"
)

// lives are the ways in which a process ends that did not come to the logs.
var lives = []struct {
	name string
	end  func(d *Dir)
}{
	{"killed", func(d *Dir) { d.flusher.Close() }},
	{"stopped", func(d *Dir) { must(d.Close()) }},
}

// tellPowerLoss: that the page cache was lost is said until somebody has dealt with it, also by a clean stop.
func tellPowerLoss(w *world) {
	paged := func(index int32) *Log {
		l := w.open(index)
		cfg := *l.config()
		cfg.FlushMessages = Forever
		l.SetConfig(&cfg)
		return l
	}
	w.put(paged(0), 1)
	check(!w.d.PowerLost(), "the first start has nothing to lose")
	w.power(false)
	check(w.d.PowerLost(), "a power cut is not told")
	w.kill()
	check(w.d.PowerLost(), "a power cut is not told after a kill")
	w.stop()
	w.mem = w.mem.Crash() // the machine stops, too
	w.boot++
	w.start()
	check(w.d.LastStop() == StopClean && w.d.PowerLost(), "a power cut is not told after a clean stop")
	must(w.d.PowerLossSettled())
	w.kill()
	check(!w.d.PowerLost(), "told though it is settled")
	w.write(paged(0), 1)
	w.kill()
	check(!w.d.PowerLost(), "a killed process loses no page cache")
	w.stop() // without a look at the log, which is in the page cache alone
	w.mem = w.mem.Crash()
	w.boot++
	w.start()
	check(w.d.LastStop() == StopClean && w.d.PowerLost(), "that a log was left in the page cache is not told")
	must(w.d.PowerLossSettled())
	w.write(paged(0), 1)
	w.stop()
	w.mem = w.mem.Crash()
	w.boot++
	w.start()
	check(!w.d.PowerLost(), "a clean stop loses nothing")
}

// I-03: that the page cache was lost is said until somebody has dealt with it.
func TestPowerLossIsToldUntilItIsSettled(t *testing.T) {
	for _, life := range lives {
		t.Run(life.name, func(t *testing.T) {
			mem := disk.NewCrashable(1)
			o, _ := testOptions(t, mem, "/log")
			d, err := OpenDir(o)
			require.NoError(t, err)
			require.False(t, d.PowerLost())
			l, err := d.Open(part(0), nil)
			require.NoError(t, err)
			appendTo(t, l, batch(1, 10, startMs))
			require.NoError(t, l.Sync())
			d.flusher.Close()
			o.FS, o.BootID = mem.Crash(), "boot-2"
			for range 3 { // a start that fails, or is killed, before the epochs are begun
				d, err = OpenDir(o)
				require.NoError(t, err)
				require.True(t, d.PowerLost())
				life.end(d)
			}
			d, err = OpenDir(o)
			require.NoError(t, err)
			require.NoError(t, d.PowerLossSettled())
			require.False(t, d.PowerLost())
			life.end(d)
			d, err = OpenDir(o)
			require.NoError(t, err)
			require.False(t, d.PowerLost())
			require.NoError(t, d.Close())
		})
	}
}

// The first start on a folder of Kafka's, or of a firn that knew no such mark, says what it always did.
func TestPowerLossOfOthers(t *testing.T) {
	for _, c := range []struct {
		name string
		mark string // "": none
		lost bool
	}{
		{"no mark", "", false},
		{"same kernel", "boot-1\n", false},
		{"same kernel, in doubt", "boot-1 doubt\n", false},
		{"another kernel", "boot-0\n", true},
		{"another kernel, in doubt", "boot-0 doubt\n", true},
		{"half a mark", "boot", true},
		{"an empty one", "\n", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem := disk.NewCrashable(1)
			if c.mark != "" {
				require.NoError(t, mem.MkdirAll("/log", 0o755))
				require.NoError(t, disk.WriteFileSync(mem, "/log/"+dirtyFile, []byte(c.mark)))
			}
			d := openDir(t, mem, "/log")
			require.Equal(t, c.lost, d.PowerLost())
			require.Equal(t, c.mark == "boot" || c.mark == "\n" || c.mark == "boot-1 doubt\n", d.doubt)
			require.NoError(t, d.PowerLossSettled())
			d = d.next(mem, "boot-1")
			require.False(t, d.PowerLost())
			require.Equal(t, StopKilled, d.LastStop())
			require.NoError(t, d.Close())
		})
	}
}

func TestMark(t *testing.T) {
	length := len(mark{boot: "b"}.line())
	for i := range 8 {
		m := mark{boot: "b", doubt: i&1 > 0, lost: i&2 > 0, left: i&4 > 0}
		b := m.line()
		require.Len(t, b, length, "it must be possible to write it over any other")
		got, whole := parseMark(b)
		require.True(t, whole)
		require.Equal(t, m, got)
		got, whole = parseMark(append(b, "rest of a longer one\n"...))
		require.True(t, whole)
		require.Equal(t, m, got)
		for n := range len(b) - 1 {
			_, whole := parseMark(b[:n])
			require.False(t, whole)
		}
	}
	m, whole := parseMark([]byte("b future doubt\n"))
	require.True(t, whole)
	require.Equal(t, mark{boot: "b", doubt: true}, m)
}

// I-31: a full disk does not make of a process that was killed a machine that was restarted.
func TestFullDiskForgetsNoDoubt(t *testing.T) {
	for _, c := range []struct {
		name  string
		full  bool // the mark cannot even be written over
		flush int64
	}{{"flush", true, 1}, {"page cache", false, Forever}} {
		t.Run(c.name, func(t *testing.T) {
			mem := disk.NewCrashable(1)
			f := disk.NewFaulty(mem, nil)
			cfg := DefaultConfig()
			cfg.FlushMessages = c.flush
			o, _ := testOptions(t, f, "/log")
			d, err := OpenDir(o)
			require.NoError(t, err)
			l, err := d.Open(part(0), &cfg)
			require.NoError(t, err)
			d.flusher.Close()
			want := mustAppend(t, l, batch(1, 100_000, startMs))
			f.SetHook(func(call disk.Call) disk.Fault {
				switch {
				case call.Op == disk.OpDatasync && strings.HasSuffix(call.Name, logSuffix),
					call.Op == disk.OpWrite && filepath.Base(call.Name) == dirtyFile && c.full,
					call.Op == disk.OpWrite && filepath.Base(call.Name) == dirtyFile+disk.TmpSuffix: // has no block yet
					return disk.Fault{Err: syscall.ENOSPC}
				}
				return disk.Fault{}
			})
			require.ErrorIs(t, l.Sync(), ErrOffline)
			require.Error(t, d.Close())
			if c.full { // a start that cannot leave its mark changes nothing either
				_, err = OpenDir(o)
				require.ErrorIs(t, err, syscall.ENOSPC)
			}
			f.SetHook(nil)
			d, l = afterKill(t, o, &cfg)
			require.Equal(t, want, all(t, l, l.End(), 1<<30))
			require.NoError(t, d.SaveState())
			d.flusher.Close()
			d, l = afterPowerCut(t, mem, o, &cfg)
			require.Equal(t, want, all(t, l, l.End(), 1<<30))
			require.NoError(t, d.Close())
		})
	}
}

// I-31: half a mark, as a former firn may have left it, is taken for the worse in each respect.
func TestHalfAMarkIsADoubt(t *testing.T) {
	for _, left := range []string{"", "boot"} {
		mem := disk.NewCrashable(1)
		f := disk.NewFaulty(mem, nil)
		cfg := DefaultConfig()
		cfg.FlushMessages = Forever
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
		require.NoError(t, writeFile(mem, "/log/"+dirtyFile, []byte(left)))
		for range 2 { // the doubt lasts as long as the kernel may
			d, err = OpenDir(o)
			require.NoError(t, err)
			require.True(t, d.doubt)
			d.flusher.Close()
		}
		d, err = OpenDir(o)
		require.NoError(t, err)
		l, err = d.Open(part(0), &cfg)
		require.NoError(t, err)
		require.Equal(t, want, all(t, l, l.End(), 1<<30))
		d.flusher.Close()
		d, l = afterPowerCut(t, mem, o, &cfg)
		require.Equal(t, want, all(t, l, l.End(), 1<<30))
		require.NoError(t, d.Close())
	}
}

// I-03: a log that is not known of, because the start could not read whose it is, may be left in the page cache as well.
func TestPowerLossOfAnUnreadableFolder(t *testing.T) {
	w := newWorld(0, "")
	w.paged = true
	w.write(w.open(2), 1)
	w.d.flusher.Close()
	w.wrap = func(fsys disk.FS) disk.FS {
		return disk.NewFaulty(fsys, func(c disk.Call) disk.Fault {
			if c.Op == disk.OpOpen && filepath.Base(c.Name) == checkpoint.MetadataFile {
				return disk.Fault{Err: syscall.EMFILE}
			}
			return disk.Fault{}
		})
	}
	w.start()
	w.wrap = nil
	require.Empty(t, w.d.Partitions())
	w.open(4) // one that is there is not all
	w.stop()
	w.off(false)
	w.start()
	require.Equal(t, StopClean, w.d.LastStop())
	require.True(t, w.d.PowerLost())
	w.stop()
}
