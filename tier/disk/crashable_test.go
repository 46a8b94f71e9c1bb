package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/disk/disktest"
)

func TestCrashable(t *testing.T) {
	disktest.Run(t, func(t *testing.T) (disk.FS, string) {
		d := disk.NewCrashable(1)
		if err := d.MkdirAll("/data", 0o755); err != nil {
			t.Fatal(err)
		}
		return d, "/data"
	})
}

func TestFaultyPassesThrough(t *testing.T) {
	disktest.Run(t, func(t *testing.T) (disk.FS, string) { return disk.NewFaulty(disk.OS(), nil), t.TempDir() })
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, d disk.FS, name string) disk.File {
	t.Helper()
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	ok(t, err)
	return f
}

func write(t *testing.T, f disk.File, text string, off int64) {
	t.Helper()
	_, err := f.WriteAt([]byte(text), off)
	ok(t, err)
}

// holds checks the content of a file; "-" stands for no such file.
func holds(t *testing.T, d disk.FS, name, want string) {
	t.Helper()
	b, err := disk.ReadFile(d, name)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = []byte("-"), nil
	}
	ok(t, err)
	if string(b) != want {
		t.Errorf("%s holds %q, want %q", name, b, want)
	}
}

// TestCrash: exactly what was synced is there after a crash (the ground under I-01 and I-37).
func TestCrash(t *testing.T) {
	d := disk.NewCrashable(1)
	f := open(t, d, "/f")
	write(t, f, "synced", 0)
	ok(t, f.Datasync())
	holds(t, d.Crash(), "/f", "-") // its name is not
	ok(t, d.SyncDir("/"))
	holds(t, d.Crash(), "/f", "synced")

	write(t, f, "SYN", 0)
	write(t, f, "tail", 6)
	holds(t, d, "/f", "SYNcedtail")
	holds(t, d.Crash(), "/f", "synced")
	ok(t, f.Truncate(2))
	holds(t, d.Crash(), "/f", "synced")
	ok(t, f.Datasync())
	holds(t, d.Crash(), "/f", "SY")

	open(t, d, "/empty")
	ok(t, d.SyncDir("/"))
	holds(t, d.Crash(), "/empty", "") // a name without content

	ok(t, d.Rename("/f", "/g"))
	after := d.Crash()
	holds(t, after, "/f", "SY")
	holds(t, after, "/g", "-")
	ok(t, d.SyncDir("/"))
	after = d.Crash()
	holds(t, after, "/f", "-")
	holds(t, after, "/g", "SY")

	ok(t, d.Remove("/g"))
	holds(t, d.Crash(), "/g", "SY")
	ok(t, d.SyncDir("/"))
	holds(t, d.Crash(), "/g", "-")
}

func TestCrashFolders(t *testing.T) {
	d := disk.NewCrashable(1)
	ok(t, d.MkdirAll("/a/b", 0o755))
	ok(t, disk.WriteFileSync(d, "/a/b/f", []byte("text"))) // syncs /a/b only
	if _, err := d.Crash().Stat("/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder without a synced name: %v", err)
	}
	ok(t, d.SyncDir("/"))
	holds(t, d.Crash(), "/a/b/f", "-")
	ok(t, d.SyncDir("/a"))
	holds(t, d.Crash(), "/a/b/f", "text")

	// Between folders a rename is two changes, each durable with its own folder.
	ok(t, d.MkdirAll("/c", 0o755))
	ok(t, d.SyncDir("/"))
	ok(t, d.Rename("/a/b/f", "/c/f"))
	ok(t, d.SyncDir("/c"))
	holds(t, d.Crash(), "/a/b/f", "text")
	holds(t, d.Crash(), "/c/f", "text")
	ok(t, d.SyncDir("/a/b"))
	holds(t, d.Crash(), "/a/b/f", "-")
	holds(t, d.Crash(), "/c/f", "text")

	ok(t, d.RemoveAll("/c"))
	holds(t, d.Crash(), "/c/f", "text")
	ok(t, d.SyncDir("/"))
	holds(t, d.Crash(), "/c/f", "-")
}

// TestCrashIsApart: the survivor and the crashed disk share nothing.
func TestCrashIsApart(t *testing.T) {
	d := disk.NewCrashable(1)
	ok(t, disk.WriteFileSync(d, "/f", []byte("old")))
	after := d.Crash()
	f, g := open(t, d, "/f"), open(t, after, "/f")
	write(t, f, "AAA", 0)
	ok(t, f.Datasync())
	holds(t, after, "/f", "old")
	write(t, g, "BBB", 0)
	ok(t, g.Datasync())
	holds(t, d, "/f", "AAA")
	holds(t, d.Crash(), "/f", "AAA")
	holds(t, after.Crash(), "/f", "BBB")
}

// TestCrashTorn: every byte is an old or a new one in units of sectors, what was synced stays, and over many
// seeds all kinds of outcome are seen; the same seed gives the same outcome.
func TestCrashTorn(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(300) {
		outcome := func() string {
			d := disk.NewCrashable(seed)
			f := open(t, d, "/f")
			write(t, f, string(bytes.Repeat([]byte("s"), 1000)), 0)
			ok(t, f.Datasync())
			ok(t, d.SyncDir("/"))
			write(t, f, string(bytes.Repeat([]byte("w"), 1500)), 800)
			ok(t, d.Rename("/f", "/g"))
			open(t, d, "/h")
			after := d.CrashTorn()
			var names string
			list, err := after.ReadDir("/")
			ok(t, err)
			for _, e := range list {
				names += e.Name()
			}
			b, err := disk.ReadFile(after, "/"+names[:1])
			ok(t, err)
			return names + string(b)
		}()
		var names string
		for outcome[0] >= 'f' && outcome[0] <= 'h' && len(names) < 2 {
			names, outcome = names+outcome[:1], outcome[1:]
		}
		if len(outcome) < 1000 || outcome[:800] != string(bytes.Repeat([]byte("s"), 800)) {
			t.Fatalf("seed %d: synced bytes are gone: %q", seed, outcome)
		}
		kinds := ""
		for at := 800; at < len(outcome); {
			end := min(at/512*512+512, len(outcome))
			kinds += outcome[at : at+1]
			first := outcome[at]
			for i := at; i < end; i++ {
				old := byte(0)
				if i < 1000 {
					old = 's'
				}
				if c := outcome[i]; c != 'w' && c != old || (c == 'w') != (first == 'w') {
					t.Fatalf("seed %d: byte %d is %q", seed, i, c)
				}
			}
			at = end
		}
		seen[names] = true
		seen[kinds] = true
	}
	for _, want := range []string{"f", "g", "fh", "gh", "s", "w", "www", "wwww", "sw", "s\x00w", "w\x00w"} {
		if !seen[want] {
			t.Errorf("outcome %q was never seen", want)
		}
	}
	if seen["h"] || seen[""] {
		t.Error("one rename was torn into a removal alone")
	}
}

// TestCrashTornKeepsSynced: a torn crash brings nothing back that was synced away.
func TestCrashTornKeepsSynced(t *testing.T) {
	for seed := range uint64(50) {
		d := disk.NewCrashable(seed)
		f := open(t, d, "/f")
		write(t, f, "old", 0)
		ok(t, d.Remove("/f"))
		ok(t, disk.WriteFileSync(d, "/g", []byte("text")))
		open(t, d, "/h") // not synced: the crash has something to tear
		after := d.CrashTorn()
		holds(t, after, "/f", "-")
		holds(t, after, "/g", "text")
	}
}

// TestWritevSync: a synced write makes its own bytes durable, where the length was; a failed one some of them, perhaps.
func TestWritevSync(t *testing.T) {
	mem := disk.NewCrashable(1)
	d := disk.NewFaulty(mem, nil)
	f := open(t, d, "/f")
	write(t, f, "........", 0)
	ok(t, f.Datasync())
	ok(t, d.SyncDir("/"))
	write(t, f, "x", 0)
	ok(t, f.WritevSync([][]byte{[]byte("a"), []byte("b")}, 2))
	ok(t, f.Writeback(0, 8))
	holds(t, mem.Crash(), "/f", "..ab....")
	ok(t, f.WritevSync([][]byte{[]byte("cdef")}, 6))
	holds(t, mem.Crash(), "/f", "..ab..cd")
	holds(t, d, "/f", "x.ab..cdef")
	for range 100 {
		b, err := disk.ReadFile(mem.CrashTorn(), "/f")
		ok(t, err)
		if string(b[2:4]) != "ab" || string(b[6:8]) != "cd" {
			t.Fatalf("a torn crash left %q", b)
		}
	}
	ok(t, f.Datasync())
	d.SetHook(func(disk.Call) disk.Fault { return disk.Fault{Err: syscall.EIO, Short: 3} })
	if err := f.WritevSync([][]byte{[]byte("gh"), []byte("ij")}, 4); !errors.Is(err, syscall.EIO) {
		t.Errorf("error %v, want EIO", err)
	}
	holds(t, mem.Crash(), "/f", "x.ab..cdef")
	holds(t, mem, "/f", "x.abghidef")
}

func TestCrashTornRepeats(t *testing.T) {
	result := func() string {
		d := disk.NewCrashable(42)
		for i := range 20 {
			f := open(t, d, fmt.Sprint("/", i))
			write(t, f, "some text", int64(i*100))
		}
		after := d.CrashTorn().CrashTorn()
		list, err := after.ReadDir("/")
		ok(t, err)
		s := ""
		for _, e := range list {
			b, err := disk.ReadFile(after, "/"+e.Name())
			ok(t, err)
			s += fmt.Sprintf("%s %x\n", e.Name(), b)
		}
		return s
	}
	if a, b := result(), result(); a != b || a == "" {
		t.Errorf("one seed, two outcomes:\n%s\n%s", a, b)
	}
}

func TestCrashableClock(t *testing.T) {
	d := disk.NewCrashable(1)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d.Now = func() time.Time { return at }
	open(t, d, "/f")
	ok(t, d.SyncDir("/"))
	for _, fsys := range []disk.FS{d, d.Crash()} {
		if st, err := fsys.Stat("/f"); err != nil || !st.ModTime().Equal(at) {
			t.Errorf("modified %v, %v", st.ModTime(), err)
		}
	}
}

// TestFailedDatasync: what a failed fsync has not written, a later one that succeeds does not write either
// (why I-31 forbids to try again).
func TestFailedDatasync(t *testing.T) {
	mem := disk.NewCrashable(1)
	d := disk.NewFaulty(mem, disk.FailNth(disk.OpDatasync, 2, syscall.EIO))
	f := open(t, d, "/f")
	ok(t, d.SyncDir("/"))
	write(t, f, "one", 0)
	ok(t, f.Datasync())
	write(t, f, "two", 3)
	if err := f.Datasync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("error %v", err)
	}
	ok(t, f.Datasync())
	holds(t, d, "/f", "onetwo")
	holds(t, mem.Crash(), "/f", "one")
	if n := d.Count(disk.OpDatasync); n != 3 {
		t.Errorf("%d calls counted", n)
	}
}

func TestFullDisk(t *testing.T) {
	d := disk.NewFaulty(disk.NewCrashable(1), disk.FullAfter(10))
	f := open(t, d, "/f")
	write(t, f, "12345678", 0)
	n, err := f.WritevAt([][]byte{[]byte("a"), []byte("bcd"), []byte("e")}, 8)
	if n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("wrote %d, %v; want 2 bytes and ENOSPC", n, err)
	}
	holds(t, d, "/f", "12345678ab")
	if n, err := f.WriteAt([]byte("x"), 10); n != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("wrote %d, %v on a full disk", n, err)
	}
	d.SetHook(nil)
	write(t, f, "x", 10)
	holds(t, d, "/f", "12345678abx")
}

func TestFaultyEveryCall(t *testing.T) {
	d := disk.NewFaulty(disk.NewCrashable(1), nil)
	f := open(t, d, "/f")
	calls := map[disk.Op]func() error{
		disk.OpOpen:      func() error { _, err := d.OpenFile("/f", os.O_RDWR, 0); return err },
		disk.OpRename:    func() error { return d.Rename("/f", "/f") },
		disk.OpRemove:    func() error { return d.RemoveAll("/none") },
		disk.OpMkdir:     func() error { return d.MkdirAll("/d", 0o755) },
		disk.OpReadDir:   func() error { _, err := d.ReadDir("/"); return err },
		disk.OpStat:      func() error { _, err := d.Stat("/f"); return err },
		disk.OpSyncDir:   func() error { return d.SyncDir("/") },
		disk.OpRead:      func() error { _, err := f.ReadAt(nil, 0); return err },
		disk.OpReadNow:   func() error { _, err := f.ReadNow(nil, 0); return err },
		disk.OpWrite:     func() error { _, err := f.WriteAt([]byte("x"), 0); return err },
		disk.OpTruncate:  func() error { return f.Truncate(0) },
		disk.OpDatasync:  f.Datasync,
		disk.OpWriteSync: func() error { return f.WritevSync([][]byte{[]byte("x")}, 0) },
		disk.OpCloseFile: nil, // last
	}
	for op, call := range calls {
		if call == nil {
			continue
		}
		d.SetHook(nil)
		if err := call(); err != nil {
			t.Errorf("%s: %v", op, err)
		}
		d.SetHook(disk.FailFrom(op, 1, syscall.EIO))
		if err := call(); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: error %v, want EIO", op, err)
		}
	}
	d.SetHook(disk.FailFrom(disk.OpRemove, 1, syscall.EIO))
	if err := d.Remove("/f"); !errors.Is(err, syscall.EIO) {
		t.Errorf("remove: %v", err)
	}
	d.SetHook(disk.FailFrom(disk.OpCloseFile, 1, syscall.EIO))
	if err := f.Close(); !errors.Is(err, syscall.EIO) {
		t.Errorf("close: %v", err)
	}
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("the file is still open after a failed close: %v", err)
	}
	if total := d.Count(""); total < 2*len(calls) {
		t.Errorf("%d calls counted in all", total)
	}
}
