//go:build faults

package disk_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firnlog/firn/tier/disk"
)

// A test here starts the test binary again as a child, which runs the function that FIRN_DISK_CHILD names on
// the root FIRN_DISK_ROOT, and kills it with SIGKILL.
var children = map[string]func(d disk.FS, root string) error{
	"script": childScript,
	"show":   childShow,
	"load":   childLoad,
	"two":    childTwoFolders,
}

func TestMain(m *testing.M) {
	run := children[os.Getenv("FIRN_DISK_CHILD")]
	if run == nil {
		os.Exit(m.Run())
	}
	root := os.Getenv("FIRN_DISK_ROOT")
	d, err := disk.Root(root)
	if err == nil {
		err = run(d, root)
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child runs a child until it has printed lines for which stop says true, kills it, and returns all lines that
// it has printed before it died.
func child(t *testing.T, name, root string, stop func(line string) bool) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FIRN_DISK_CHILD="+name, "FIRN_DISK_ROOT="+root)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	var lines []string
	for in := bufio.NewScanner(out); in.Scan(); {
		lines = append(lines, in.Text())
		if stop(in.Text()) {
			ok(t, cmd.Process.Kill())
		}
	}
	_ = cmd.Wait() // killed, or done
	return lines
}

func never(string) bool           { return false }
func ready(line string) bool      { return line == "ready" }
func block()                      { select {} }
func say(format string, a ...any) { fmt.Printf(format+"\n", a...) }

// put writes text at off, synced or not.
func put(d disk.FS, name, text string, off int64, sync bool) error {
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(text), off); err != nil {
		return err
	}
	if sync {
		return f.Datasync()
	}
	return nil
}

// putSync writes text at off with WritevSync.
func putSync(d disk.FS, name, text string, off int64) error {
	f, err := d.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.WritevSync([][]byte{[]byte(text)}, off)
}

// childScript leaves synced and unsynced things of every kind, and waits for its end.
func childScript(d disk.FS, root string) error {
	p := func(name string) string { return filepath.Join(root, name) }
	cut := func(name string, size int64, sync bool) error {
		f, err := d.OpenFile(p(name), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		if err = f.Truncate(size); err == nil && sync {
			err = f.Datasync()
		}
		return err
	}
	steps := []error{
		put(d, p("synced"), "all of it", 0, true),
		put(d, p("overwritten"), "before", 0, true),
		put(d, p("cut"), "before", 0, true),
		put(d, p("cutsynced"), "before", 0, true),
		put(d, p("regrown"), "before", 0, true),
		put(d, p("content"), "never synced", 0, false),
		put(d, p("renamed"), "R", 0, true),
		put(d, p("replaced"), "old", 0, true),
		put(d, p("removed"), "back again", 0, true),
		put(d, p("removedsynced"), "gone", 0, true),
		put(d, p("part"), "........", 0, true),
		put(d, p("part"), "lost", 0, false),
		putSync(d, p("part"), "sync", 2),
		putSync(d, p("part"), "beyond", 6),
		d.MkdirAll(p("dir/below"), 0o755),
		put(d, p("dir/below/f"), "deep", 0, true),
		put(d, p("dir/below/g"), "name never synced", 0, true),
		d.Remove(p("dir/below/g")),
		d.SyncDir(p("dir/below")), d.SyncDir(p("dir")), d.SyncDir(root),
		put(d, p("dir/below/g"), "name never synced", 0, true),
		put(d, p("overwritten"), "after", 0, false),
		put(d, p("overwritten"), "tail", 100, false),
		cut("cut", 2, false),
		cut("cutsynced", 2, true),
		cut("regrown", 2, false), put(d, p("regrown"), "!", 5, true),
		put(d, p("name"), "name never synced", 0, true),
		d.MkdirAll(p("newdir"), 0o755),
		d.Remove(p("removedsynced")), d.SyncDir(root), // which makes "name" and "newdir" durable after all
		put(d, p("name2"), "name never synced", 0, true),
		put(d, p("newdir/f"), "lost with its name", 0, true),
		d.Remove(p("removed")),
		d.Rename(p("renamed"), p("renamed2")),
		disk.WriteFileSync(d, p("dir/checkpoint"), []byte("one")),
		put(d, p("dir/checkpoint.next"), "two", 0, true),
		d.Rename(p("dir/checkpoint.next"), p("dir/checkpoint")),
		d.Rename(p("dir/below"), p("dir/moved")),
		put(d, p("dir/moved/f"), "DEEP", 0, true), // the same file by its new name
	}
	if err := errors.Join(steps...); err != nil {
		return err
	}
	say("ready")
	block()
	return nil
}

// childShow prints all names and contents below the root.
func childShow(d disk.FS, root string) error {
	var walk func(dir, rel string) error
	walk = func(dir, rel string) error {
		list, err := d.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range list {
			name := filepath.Join(dir, e.Name())
			if e.IsDir() {
				say("%s/", rel+e.Name())
				if err := walk(name, rel+e.Name()+"/"); err != nil {
					return err
				}
				continue
			}
			b, err := disk.ReadFile(d, name)
			if err != nil {
				return err
			}
			say("%s %q", rel+e.Name(), b)
		}
		return nil
	}
	return walk(root, "")
}

func TestFaultsKill(t *testing.T) {
	root := filepath.Join(t.TempDir(), "logs")
	child(t, "script", root, ready)
	want := []string{
		`content ""`, `cut "before"`, `cutsynced "be"`,
		`dir/`, `dir/below/`, `dir/below/f "DEEP"`, `dir/checkpoint "one"`,
		`name "name never synced"`, `newdir/`, `overwritten "before"`, `part "..syncbe"`,
		`regrown "be\x00\x00\x00!"`, `removed "back again"`, `renamed "R"`, `replaced "old"`, `synced "all of it"`,
	}
	for range 2 { // and a second restore gives the same
		got := child(t, "show", root, never)
		if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
			t.Fatalf("after the kill:\n%s\nwant:\n%s", g, w)
		}
	}
	// No garbage piles up in the image: one inode for each file that has content.
	inodes, err := os.ReadDir(root + ".durable/inodes")
	ok(t, err)
	if len(inodes) != 12 {
		t.Errorf("%d inodes in the image, want 12", len(inodes))
	}
}

// childTwoFolders renames between folders and syncs only the new one.
func childTwoFolders(d disk.FS, root string) error {
	p := func(name string) string { return filepath.Join(root, name) }
	if err := errors.Join(
		d.MkdirAll(p("a/sub"), 0o755), d.MkdirAll(p("b"), 0o755),
		put(d, p("a/f"), "F", 0, true), put(d, p("a/sub/g"), "G", 0, true),
		d.SyncDir(p("a/sub")), d.SyncDir(p("a")), d.SyncDir(root),
		d.Rename(p("a/f"), p("b/f")), d.Rename(p("a/sub"), p("b/sub")), d.SyncDir(p("b")),
	); err != nil {
		return err
	}
	say("ready")
	block()
	return nil
}

func TestFaultsRenameBetweenFolders(t *testing.T) {
	root := filepath.Join(t.TempDir(), "logs")
	child(t, "two", root, ready)
	want := strings.Join([]string{`a/`, `a/f "F"`, `a/sub/`, `a/sub/g "G"`, `b/`, `b/f "F"`, `b/sub/`, `b/sub/g "G"`}, "\n")
	if got := strings.Join(child(t, "show", root, never), "\n"); got != want {
		t.Errorf("after the kill:\n%s\nwant:\n%s", got, want)
	}
	d, err := disk.Root(root) // the two are apart now
	ok(t, err)
	ok(t, put(d, root+"/a/f", "changed", 0, true))
	ok(t, put(d, root+"/b/sub/g", "changed", 0, true))
	holds(t, d, root+"/b/f", "F")
	holds(t, d, root+"/a/sub/g", "G")
	if _, err := os.Stat(root + ".durable/lock"); err != nil {
		t.Error(err)
	}
	if got := child(t, "show", root, never); len(got) != 1 || !strings.Contains(got[0], "in use by another process") {
		t.Errorf("a second process got %q", got)
	}
}

// childLoad goes on where the last one ended: numbered records into a log, every few synced and then told, and
// a file that is replaced as a whole. It says first what it found.
func childLoad(d disk.FS, root string) error {
	log, cur := filepath.Join(root, "log"), filepath.Join(root, "cur")
	f, err := d.OpenFile(log, os.O_RDWR|os.O_CREATE, 0o644)
	if err == nil {
		err = d.SyncDir(root)
	}
	if err != nil {
		return err
	}
	b, err := disk.ReadFile(d, log)
	if err != nil {
		return err
	}
	n := uint64(0)
	for ; len(b) >= 8 && binary.BigEndian.Uint64(b) == n+1; b = b[8:] {
		n++
	}
	text, err := disk.ReadFile(d, cur)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte("0"), nil
	}
	if err != nil {
		return err
	}
	c := uint64(0)
	if _, err := fmt.Sscan(string(text), &c); err != nil {
		return fmt.Errorf("cur holds %q: %w", text, err)
	}
	say("found %d %d", n, c)
	if err := f.Truncate(int64(n * 8)); err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(n, c))
	for {
		for range rng.IntN(5000) {
			n++
			if _, err := f.WriteAt(binary.BigEndian.AppendUint64(nil, n), int64(n-1)*8); err != nil {
				return err
			}
		}
		if err := f.Datasync(); err != nil {
			return err
		}
		say("log %d", n)
		c++
		if err := disk.WriteFileSync(d, cur, fmt.Append(nil, c)); err != nil {
			return err
		}
		say("cur %d", c)
	}
}

// TestFaultsKillUnderLoad kills at moments that nobody chose, also within a sync: what was told to be synced
// is there, and nothing is there that was not written.
func TestFaultsKillUnderLoad(t *testing.T) {
	root := filepath.Join(t.TempDir(), "logs")
	var log, cur uint64 // synced, as the last child told
	for round := range 20 {
		left := 10 + round*3
		lines := child(t, "load", root, func(string) bool { left--; return left == 0 })
		var foundLog, foundCur uint64
		if _, err := fmt.Sscanf(lines[0], "found %d %d", &foundLog, &foundCur); err != nil {
			t.Fatalf("round %d: %q", round, lines)
		}
		if foundLog < log || foundLog > log+5000 {
			t.Errorf("round %d: %d records found, %d were synced", round, foundLog, log)
		}
		if foundCur < cur || foundCur > cur+1 {
			t.Errorf("round %d: the file is at %d, %d was synced", round, foundCur, cur)
		}
		for _, line := range lines[1:] {
			_, _ = fmt.Sscanf(line, "log %d", &log)
			_, _ = fmt.Sscanf(line, "cur %d", &cur)
			if strings.HasPrefix(line, "error") {
				t.Error(line)
			}
		}
	}
	if log == 0 || cur == 0 {
		t.Errorf("nothing was synced: %d, %d", log, cur)
	}
}

// TestFaultsAdopt: a folder without an image is taken as it is.
func TestFaultsAdopt(t *testing.T) {
	root := filepath.Join(t.TempDir(), "logs")
	ok(t, os.MkdirAll(root+"/d", 0o755))
	ok(t, os.WriteFile(root+"/d/f", []byte("text"), 0o644))
	for range 2 {
		if got := strings.Join(child(t, "show", root, never), "\n"); got != "d/\nd/f \"text\"" {
			t.Errorf("found %q", got)
		}
	}
}

// TestFaultsNoGarbage: what was replaced or removed for good leaves the image at once.
func TestFaultsNoGarbage(t *testing.T) {
	root := filepath.Join(t.TempDir(), "logs")
	d, err := disk.Root(root)
	ok(t, err)
	for i := range 10 {
		ok(t, disk.WriteFileSync(d, root+"/f", fmt.Append(nil, i)))
		ok(t, d.MkdirAll(root+"/d/e", 0o755))
		ok(t, disk.WriteFileSync(d, root+"/d/e/g", nil))
		ok(t, errors.Join(d.SyncDir(root+"/d"), d.SyncDir(root), d.RemoveAll(root+"/d"), d.SyncDir(root)))
	}
	for folder, want := range map[string]int{"inodes": 1, "dirs": 1} {
		list, err := os.ReadDir(root + ".durable/" + folder)
		ok(t, err)
		if len(list) != want {
			t.Errorf("%d %s in the image, want %d", len(list), folder, want)
		}
	}
}

func TestFaultsBootID(t *testing.T) {
	a, err := disk.BootID()
	ok(t, err)
	if kernel, _ := os.ReadFile("/proc/sys/kernel/random/boot_id"); strings.TrimSpace(string(kernel)) == a {
		t.Error("a kill would not look like a power cut")
	}
}
