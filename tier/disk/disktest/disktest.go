// Package disktest is the acceptance suite of disk.FS: what every implementation must do alike, so that the
// log behaves on a test's disk as it does on the real one. What survives a crash is not in it: that differs by
// design and is tested beside each implementation.
package disktest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/firnlog/firn/tier/disk"
)

// Run runs the suite. open returns a file system and an empty folder of it; it is called once for each test.
func Run(t *testing.T, open func(t *testing.T) (fsys disk.FS, root string)) {
	tests := []struct {
		name string
		run  func(*suite)
	}{
		{"ReadWrite", (*suite).readWrite},
		{"Vectors", (*suite).vectors},
		{"Truncate", (*suite).truncate},
		{"OpenFlags", (*suite).openFlags},
		{"Rename", (*suite).rename},
		{"RenameFolder", (*suite).renameFolder},
		{"OpenAfterRemove", (*suite).openAfterRemove},
		{"Remove", (*suite).remove},
		{"ReadDir", (*suite).readDir},
		{"Missing", (*suite).missing},
		{"Closed", (*suite).closed},
		{"WriteFileSync", (*suite).writeFileSync},
		{"Concurrent", (*suite).concurrent},
		{"Descriptor", (*suite).descriptor},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fsys, root := open(t)
			test.run(&suite{t, fsys, root})
		})
	}
}

type suite struct {
	*testing.T
	fs   disk.FS
	root string
}

func (s *suite) path(parts ...string) string {
	return filepath.Join(append([]string{s.root}, parts...)...)
}

func (s *suite) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) is(err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("error %v, want %v", err, want)
	}
}

// create makes a file with the content and closes it at the end of the test.
func (s *suite) create(name, content string) disk.File {
	s.Helper()
	f, err := s.fs.OpenFile(s.path(name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	s.ok(err)
	s.Cleanup(func() { _ = f.Close() })
	if content != "" {
		n, err := f.WriteAt([]byte(content), 0)
		s.ok(err)
		if n != len(content) {
			s.Fatalf("wrote %d of %d bytes", n, len(content))
		}
	}
	return f
}

func (s *suite) content(name, want string) {
	s.Helper()
	b, err := disk.ReadFile(s.fs, s.path(name))
	s.ok(err)
	if string(b) != want {
		s.Errorf("%s holds %q, want %q", name, b, want)
	}
}

func (s *suite) size(f disk.File, want int64) {
	s.Helper()
	if n, err := f.Size(); err != nil || n != want {
		s.Errorf("size %d, %v; want %d", n, err, want)
	}
}

func (s *suite) names(dir string, want ...string) {
	s.Helper()
	list, err := s.fs.ReadDir(s.path(dir))
	s.ok(err)
	var got []string
	for _, e := range list {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		s.Errorf("%q holds %q, want %q", dir, got, want)
	}
}

func (s *suite) readWrite() {
	f := s.create("f", "hello")
	if f.Name() != s.path("f") {
		s.Errorf("name %q, want %q", f.Name(), s.path("f"))
	}
	if n, err := f.WriteAt([]byte("J"), 0); n != 1 || err != nil {
		s.Errorf("overwrite: %d, %v", n, err)
	}
	if n, err := f.WriteAt([]byte("end"), 8); n != 3 || err != nil { // leaves a hole
		s.Errorf("write beyond the end: %d, %v", n, err)
	}
	s.size(f, 11)
	b := make([]byte, 11)
	if n, err := f.ReadAt(b, 0); n != 11 || (err != nil && !errors.Is(err, io.EOF)) || string(b) != "Jello\x00\x00\x00end" {
		s.Errorf("read %d %q, %v", n, b, err)
	}
	if n, err := f.ReadNow(b, 0); !errors.Is(err, disk.ErrWait) && (n != 11 || string(b) != "Jello\x00\x00\x00end") {
		s.Errorf("read without waiting: %d %q, %v", n, b, err)
	}
	if _, err := f.ReadNow(b, 11); !errors.Is(err, io.EOF) {
		s.Errorf("read without waiting at the end: %v", err)
	}
	if n, err := f.ReadAt(b, 8); n != 3 || !errors.Is(err, io.EOF) || string(b[:n]) != "end" {
		s.Errorf("read across the end: %d %q, %v", n, b[:n], err)
	}
	if n, err := f.ReadAt(b, 11); n != 0 || !errors.Is(err, io.EOF) {
		s.Errorf("read at the end: %d, %v", n, err)
	}
	if n, err := f.ReadAt(b, 1000); n != 0 || !errors.Is(err, io.EOF) {
		s.Errorf("read beyond the end: %d, %v", n, err)
	}
	if n, err := f.ReadAt(nil, 0); n != 0 || err != nil {
		s.Errorf("read of nothing: %d, %v", n, err)
	}
	if _, err := f.ReadAt(b, -1); err == nil {
		s.Error("a read at -1 succeeds")
	}
	if _, err := f.WriteAt([]byte("x"), -1); err == nil {
		s.Error("a write at -1 succeeds")
	}
	s.ok(f.Datasync())
	s.content("f", "Jello\x00\x00\x00end")
	st, err := s.fs.Stat(s.path("f"))
	s.ok(err)
	if st.Size() != 11 || st.IsDir() || st.Name() != "f" || st.ModTime().IsZero() {
		s.Errorf("stat: %d bytes, folder %v, name %q, time %v", st.Size(), st.IsDir(), st.Name(), st.ModTime())
	}
}

// vectors writes more buffers than one system call takes, some empty.
func (s *suite) vectors() {
	f := s.create("f", "0123456789")
	var bufs [][]byte
	var want []byte
	for i := range 2500 {
		b := bytes.Repeat([]byte{byte(i)}, i%7)
		bufs = append(bufs, b)
		want = append(want, b...)
	}
	before := slices.Clone(bufs)
	n, err := f.WritevAt(bufs, 4)
	if n != int64(len(want)) || err != nil {
		s.Fatalf("wrote %d of %d bytes: %v", n, len(want), err)
	}
	if !slices.EqualFunc(before, bufs, bytes.Equal) {
		s.Error("the caller's buffers were changed")
	}
	s.content("f", "0123"+string(want))
	for _, empty := range [][][]byte{nil, {}, {{}, nil, {}}} {
		if n, err := f.WritevAt(empty, 5000); n != 0 || err != nil {
			s.Errorf("write of nothing: %d, %v", n, err)
		}
	}
	if n, err := f.WritevAt([][]byte{[]byte("a"), nil, []byte("b")}, 0); n != 2 || err != nil {
		s.Errorf("an empty buffer between: %d, %v", n, err)
	}
	s.content("f", "ab23"+string(want))
	if _, err := f.WritevAt([][]byte{[]byte("a")}, -1); err == nil {
		s.Error("a write at -1 succeeds")
	}
}

func (s *suite) truncate() {
	f := s.create("f", "0123456789")
	s.ok(f.Truncate(4))
	s.size(f, 4)
	s.ok(f.Truncate(6))
	s.content("f", "0123\x00\x00")
	s.ok(f.Datasync())
	s.ok(f.Truncate(0))
	s.content("f", "")
	if err := f.Truncate(-1); err == nil {
		s.Error("a length of -1 is taken")
	}
}

func (s *suite) openFlags() {
	_, err := s.fs.OpenFile(s.path("none"), os.O_RDWR, 0)
	s.is(err, fs.ErrNotExist)
	_, err = s.fs.OpenFile(s.path("no", "folder"), os.O_RDWR|os.O_CREATE, 0o644)
	s.is(err, fs.ErrNotExist)
	s.create("f", "text")
	_, err = s.fs.OpenFile(s.path("f"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	s.is(err, fs.ErrExist)
	_, err = s.fs.OpenFile(s.path("f", "below"), os.O_RDONLY, 0)
	s.is(err, syscall.ENOTDIR)

	r, err := s.fs.OpenFile(s.path("f"), os.O_RDONLY, 0)
	s.ok(err)
	_, err = r.WriteAt([]byte("x"), 0)
	if err == nil {
		s.Error("a file that is open for reading takes a write")
	}
	if err := r.Truncate(0); err == nil {
		s.Error("a file that is open for reading is truncated")
	}
	s.ok(r.Close())
	again, err := s.fs.OpenFile(s.path("f"), os.O_RDWR|os.O_CREATE, 0o644)
	s.ok(err)
	s.size(again, 4)
	s.ok(again.Close())
	again, err = s.fs.OpenFile(s.path("f"), os.O_RDWR|os.O_TRUNC, 0o644)
	s.ok(err)
	s.size(again, 0)
	s.ok(again.Close())
	s.ok(s.fs.MkdirAll(s.path("d"), 0o755))
	_, err = s.fs.OpenFile(s.path("d"), os.O_RDWR, 0)
	s.is(err, syscall.EISDIR)
}

func (s *suite) rename() {
	a := s.create("a", "A")
	b := s.create("b", "B")
	s.ok(s.fs.Rename(s.path("a"), s.path("b")))
	s.names(".", "b")
	s.content("b", "A")
	buf := make([]byte, 1)
	if _, err := b.ReadAt(buf, 0); err != nil || buf[0] != 'B' {
		s.Errorf("the replaced file's readers see %q, %v", buf, err)
	}
	_, err := a.WriteAt([]byte("more"), 1)
	s.ok(err)
	s.ok(a.Datasync())
	s.content("b", "Amore")
	s.ok(s.fs.Rename(s.path("b"), s.path("b")))
	s.content("b", "Amore")
	s.is(s.fs.Rename(s.path("none"), s.path("x")), fs.ErrNotExist)
	s.is(s.fs.Rename(s.path("b"), s.path("no", "x")), fs.ErrNotExist)
	s.ok(s.fs.SyncDir(s.root))
}

func (s *suite) renameFolder() {
	s.ok(s.fs.MkdirAll(s.path("d", "e"), 0o755))
	f := s.create(filepath.Join("d", "e", "f"), "text")
	s.ok(s.fs.Rename(s.path("d"), s.path("x")))
	s.names(".", "x")
	s.content(filepath.Join("x", "e", "f"), "text")
	_, err := f.WriteAt([]byte("T"), 0) // under its new name
	s.ok(err)
	s.ok(f.Datasync())
	s.content(filepath.Join("x", "e", "f"), "Text")
	s.ok(s.fs.SyncDir(s.path("x", "e")))
	s.create("file", "")
	if err := s.fs.Rename(s.path("x"), s.path("x", "e", "inside")); err == nil {
		s.Error("a folder was moved into itself")
	}
	if err := s.fs.Rename(s.path("x"), s.path("file")); err == nil {
		s.Error("a folder replaced a file")
	}
	if err := s.fs.Rename(s.path("file"), s.path("x")); err == nil {
		s.Error("a file replaced a folder")
	}
	s.ok(s.fs.MkdirAll(s.path("full", "of"), 0o755))
	if err := s.fs.Rename(s.path("x"), s.path("full")); err == nil {
		s.Error("a folder replaced one that is not empty")
	}
	s.names(".", "file", "full", "x")
}

// openAfterRemove: a reader pins what it reads.
func (s *suite) openAfterRemove() {
	f := s.create("f", "text")
	s.ok(s.fs.Remove(s.path("f")))
	s.names(".")
	buf := make([]byte, 4)
	if _, err := f.ReadAt(buf, 0); err != nil || string(buf) != "text" {
		s.Errorf("read %q, %v", buf, err)
	}
	_, err := f.WriteAt([]byte("T"), 0)
	s.ok(err)
	s.ok(f.Datasync())
	s.create("f", "new")
	if _, err := f.ReadAt(buf, 0); err != nil || string(buf) != "Text" {
		s.Errorf("read %q, %v", buf, err)
	}
	s.content("f", "new")
}

func (s *suite) remove() {
	s.ok(s.fs.MkdirAll(s.path("d", "e"), 0o755))
	s.ok(s.fs.MkdirAll(s.path("d", "e"), 0o755)) // again
	s.create(filepath.Join("d", "e", "f"), "text")
	if err := s.fs.Remove(s.path("d", "e")); err == nil {
		s.Error("a folder that is not empty was removed")
	}
	s.is(s.fs.Remove(s.path("none")), fs.ErrNotExist)
	s.ok(s.fs.RemoveAll(s.path("none")))
	s.ok(s.fs.RemoveAll(s.path("none", "below")))
	s.ok(s.fs.RemoveAll(s.path("d")))
	s.names(".")
	s.ok(s.fs.MkdirAll(s.path("d"), 0o755))
	s.names("d")
	s.ok(s.fs.Remove(s.path("d")))
	s.create("f", "text")
	s.ok(s.fs.RemoveAll(s.path("f")))
	s.names(".")
	s.ok(s.fs.SyncDir(s.root))
}

func (s *suite) readDir() {
	s.create("b", "12345")
	s.create("a", "")
	s.ok(s.fs.MkdirAll(s.path("c", "below"), 0o755))
	list, err := s.fs.ReadDir(s.root)
	s.ok(err)
	var got []string
	for _, e := range list {
		info, err := e.Info()
		s.ok(err)
		got = append(got, fmt.Sprint(e.Name(), e.IsDir(), info.IsDir()))
		if e.Name() == "b" && info.Size() != 5 {
			s.Errorf("b has %d bytes", info.Size())
		}
	}
	if want := []string{"afalse false", "bfalse false", "ctrue true"}; !slices.Equal(got, want) {
		s.Errorf("entries %q, want %q", got, want)
	}
	st, err := s.fs.Stat(s.path("c"))
	s.ok(err)
	if !st.IsDir() {
		s.Error("c is no folder")
	}
}

func (s *suite) missing() {
	_, err := s.fs.Stat(s.path("none"))
	s.is(err, fs.ErrNotExist)
	_, err = s.fs.ReadDir(s.path("none"))
	s.is(err, fs.ErrNotExist)
	s.is(s.fs.SyncDir(s.path("none")), fs.ErrNotExist)
	_, err = disk.ReadFile(s.fs, s.path("none"))
	s.is(err, fs.ErrNotExist)
	s.create("f", "")
	if err := s.fs.MkdirAll(s.path("f", "below"), 0o755); err == nil {
		s.Error("a folder was made below a file")
	}
	if _, err := s.fs.ReadDir(s.path("f")); err == nil {
		s.Error("a file was listed")
	}
}

func (s *suite) closed() {
	f := s.create("f", "text")
	s.ok(f.Close())
	_, err := f.ReadAt(make([]byte, 1), 0)
	s.is(err, fs.ErrClosed)
	_, err = f.WriteAt([]byte("x"), 0)
	s.is(err, fs.ErrClosed)
	_, err = f.WritevAt([][]byte{[]byte("x")}, 0)
	s.is(err, fs.ErrClosed)
	s.is(f.Datasync(), fs.ErrClosed)
	s.is(f.Truncate(0), fs.ErrClosed)
	s.is(f.Close(), fs.ErrClosed)
}

func (s *suite) writeFileSync() {
	for _, text := range []string{"first", "", "a second, longer one"} {
		s.ok(disk.WriteFileSync(s.fs, s.path("f"), []byte(text)))
		s.content("f", text)
	}
	s.names(".", "f")
	s.is(disk.WriteFileSync(s.fs, s.path("no", "f"), nil), fs.ErrNotExist)
	s.ok(s.fs.MkdirAll(s.path("d", "full"), 0o755))
	if err := disk.WriteFileSync(s.fs, s.path("d"), []byte("x")); err == nil {
		s.Error("a folder was replaced by a file")
	}
	s.names(".", "d", "f")
}

// concurrent uses one file and one folder from several sides, for the race detector.
func (s *suite) concurrent() {
	f := s.create("f", "")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			b := bytes.Repeat([]byte{byte('a' + i)}, 100)
			for j := range 20 {
				if _, err := f.WritevAt([][]byte{b[:50], b[50:]}, int64(i*2000+j*100)); err != nil {
					s.Error(err)
				}
				if err := f.Datasync(); err != nil {
					s.Error(err)
				}
				if _, err := f.ReadAt(make([]byte, 100), int64(i*2000+j*100)); err != nil && !errors.Is(err, io.EOF) {
					s.Error(err)
				}
			}
			name := s.path(fmt.Sprint("own", i))
			if err := disk.WriteFileSync(s.fs, name, b); err != nil {
				s.Error(err)
			}
			if err := s.fs.Rename(name, name+".moved"); err != nil {
				s.Error(err)
			}
			if _, err := s.fs.ReadDir(s.root); err != nil {
				s.Error(err)
			}
		})
	}
	wg.Wait()
	b, err := disk.ReadFile(s.fs, s.path("f"))
	s.ok(err)
	for i, c := range b {
		if c != byte('a'+i/2000) {
			s.Fatalf("byte %d is %q", i, c)
		}
	}
	s.names(".", "f", "own0.moved", "own1.moved", "own2.moved", "own3.moved")
}

// descriptor: where there is one, it shows the same bytes.
func (s *suite) descriptor() {
	f := s.create("f", "some text")
	o := f.OS()
	if o == nil {
		return
	}
	b := make([]byte, 4)
	if _, err := o.ReadAt(b, 5); err != nil || string(b) != "text" {
		s.Errorf("the descriptor shows %q, %v", b, err)
	}
}
