package dir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/objecttest"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestAcceptance(t *testing.T) {
	objecttest.Run(t, func(t *testing.T) object.Store { return open(t) })
}

// TestDurableBeforePutReturns: a Put syncs the file before it has its name, and every folder whose entries it needs
// before it returns; a Delete syncs the folder that it takes entries from.
func TestDurableBeforePutReturns(t *testing.T) {
	root := t.TempDir()
	var log []string
	rel := func(path string) string {
		r, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	recorded := func(s *Store) *Store {
		s.sync = syncer{
			file: func(f *os.File) error {
				entries := 0
				filepath.WalkDir(root, func(p string, d fs.DirEntry, _ error) error {
					if d.IsDir() && d.Name() == privateName {
						return fs.SkipDir
					}
					if !d.IsDir() {
						entries++
					}
					return nil
				})
				log = append(log, fmt.Sprintf("file before %d objects", entries))
				return f.Sync()
			},
			folder: func(p string) error { log = append(log, rel(p)); return syncFolder(p) },
		}
		return s
	}
	first, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	s := recorded(first)
	steps := func(what string, want ...string) {
		t.Helper()
		if !slices.Equal(log, want) {
			t.Errorf("%s synced %q, want %q", what, log, want)
		}
		log = nil
	}
	put := func(s *Store, key string) {
		t.Helper()
		if _, err := s.Put(t.Context(), key, strings.NewReader("x"), 1, object.PutOptions{IfNoneMatch: true}); err != nil {
			t.Fatal(err)
		}
	}
	put(s, "a/b/1")
	steps("the first Put", "file before 0 objects", ".", "a", "a/b")
	put(s, "a/b/2")
	steps("the second Put", "file before 1 objects", "a/b")
	// Another store on the folder did not make a/b itself, so it cannot know that it is durable.
	second, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	log = nil
	put(recorded(second), "a/b/3")
	steps("a Put of another store", "file before 2 objects", ".", "a", "a/b")
	if err := s.Delete(t.Context(), []string{"a/b/1"}); err != nil {
		t.Fatal(err)
	}
	steps("Delete", "a/b")
	if err := s.Delete(t.Context(), []string{"a/b/2", "a/b/3"}); err != nil {
		t.Fatal(err)
	}
	steps("Delete of the rest", "a/b")
	if _, err := os.Stat(filepath.Join(root, "a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the empty folders stayed: %v", err)
	}
	put(s, "a/b/4")
	steps("a Put into folders that come back", "file before 0 objects", ".", "a", "a/b")
}

// TestFailedSync: what could not be made durable is not reported as stored.
func TestFailedSync(t *testing.T) {
	broken := errors.New("no more disk")
	s := open(t)
	good := s.sync
	s.sync.file = func(*os.File) error { return broken }
	if _, err := s.Put(t.Context(), "k", strings.NewReader("x"), 1, object.PutOptions{}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if _, err := s.Head(t.Context(), "k"); !errors.Is(err, object.ErrNotExist) {
		t.Fatalf("the object has its name: %v", err)
	}
	s.sync = good
	s.sync.folder = func(string) error { return broken }
	if _, err := s.Put(t.Context(), "k", strings.NewReader("x"), 1, object.PutOptions{}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), []string{"k"}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
}

// TestLeftovers: Open removes what a killed process left half written, and not what a living one is writing.
func TestLeftovers(t *testing.T) {
	root := t.TempDir()
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tmp := filepath.Join(root, privateName, tempName)
	if err := os.WriteFile(filepath.Join(tmp, "put-dead"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = s.Put(t.Context(), "k", readerAt(func(p []byte, off int64) (int, error) {
		// In the middle of a Put, another process starts.
		other, err := Open(root)
		if err != nil {
			return 0, err
		}
		defer other.Close()
		return copy(p, "x"), nil
	}), 1, object.PutOptions{})
	if err != nil {
		t.Fatalf("the Put lost its file to a start: %v", err)
	}
	entries, err := os.ReadDir(tmp)
	if err != nil || len(entries) != 0 {
		t.Fatalf("left over: %v, %v", entries, err)
	}
}

type readerAt func(p []byte, off int64) (int, error)

func (r readerAt) ReadAt(p []byte, off int64) (int, error) { return r(p, off) }

// TestFailedPutLeavesNothing: neither an object nor a temporary file.
func TestFailedPutLeavesNothing(t *testing.T) {
	s := open(t)
	broken := errors.New("broken body")
	_, err := s.Put(t.Context(), "k", readerAt(func(p []byte, off int64) (int, error) {
		if off > 0 {
			return 0, broken
		}
		return len(p), nil
	}), 10<<20, object.PutOptions{})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(s.root, privateName, tempName))
	if err != nil || len(entries) != 0 {
		t.Fatalf("left over: %v, %v", entries, err)
	}
}

// TestFolderGone: a folder that vanished (an unmounted disk) is a missing bucket, not an empty one, and is not made anew.
func TestFolderGone(t *testing.T) {
	s := open(t)
	if _, err := s.Put(t.Context(), "k", strings.NewReader("x"), 1, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.root, s.root+"-elsewhere"); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(s.root + "-elsewhere")
	_, err := s.Put(t.Context(), "k2", strings.NewReader("x"), 1, object.PutOptions{})
	_, err2 := s.Get(t.Context(), "k", 0, -1)
	_, err3 := s.Head(t.Context(), "k")
	err4 := s.List(t.Context(), "", "", func(object.Info) error { return nil })
	err5 := s.Delete(t.Context(), []string{"k"})
	_, err6 := s.Now(t.Context())
	for i, err := range []error{err, err2, err3, err4, err5, err6} {
		if !errors.Is(err, object.ErrNoBucket) {
			t.Errorf("call %d: %v", i+1, err)
		}
	}
	if _, err := os.Stat(s.root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder was made anew: %v", err)
	}
}

// TestKeyAndFolder: one of "a" and "a/b" can be there; the other is refused with a sentence and nothing is lost.
func TestKeyAndFolder(t *testing.T) {
	s := open(t)
	if _, err := s.Put(t.Context(), "a/b", strings.NewReader("x"), 1, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "a", strings.NewReader("x"), 1, object.PutOptions{}); err == nil {
		t.Fatal("Put over a folder succeeded")
	}
	if _, err := s.Put(t.Context(), "a/b/c", strings.NewReader("x"), 1, object.PutOptions{}); err == nil {
		t.Fatal("Put below an object succeeded")
	}
	if err := s.Delete(t.Context(), []string{"a"}); err != nil {
		t.Fatal(err)
	}
	if b, err := object.ReadAll(t.Context(), s, "a/b", 0, -1, 10); err != nil || string(b) != "x" {
		t.Fatalf("%q, %v", b, err)
	}
}

// TestReplacedWhileRead: an open body is of the object as it was.
func TestReplacedWhileRead(t *testing.T) {
	s := open(t)
	old := objecttest.Body(1, 1<<20)
	if _, err := s.Put(t.Context(), "k", bytes.NewReader(old), int64(len(old)), object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	r, err := s.Get(t.Context(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := s.Delete(t.Context(), []string{"k"}); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, old) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

func TestEscape(t *testing.T) {
	for _, c := range []string{"a", ".", "..x", ".firn", "%", "%2E", "%25", "a%b", "%2Ea", "..", "%%"} {
		name := escape(c)
		if strings.HasPrefix(name, ".") {
			t.Errorf("escape(%q) = %q begins with a dot", c, name)
		}
		if got, ok := unescape(name); !ok || got != c {
			t.Errorf("%q became %q, %v", c, got, ok)
		}
	}
	for _, name := range []string{".firn", "%", "a%2", "%41", "a%2E"} {
		if c, ok := unescape(name); ok && escape(c) != name {
			t.Errorf("unescape(%q) = %q, which is another file", name, c)
		}
	}
}

// TestReadOnlyChangesNothing: a store opened for reading only makes, locks and touches nothing, not even beside a
// store that is in use, and serves any part of it.
func TestReadOnlyChangesNothing(t *testing.T) {
	nosuch := filepath.Join(t.TempDir(), "nosuch")
	if _, err := OpenReadOnly(nosuch); !errors.Is(err, object.ErrNoBucket) {
		t.Fatalf("a folder that is not there: %v", err)
	}
	if _, err := os.Stat(nosuch); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the folder was made: %v", err)
	}
	live, ctx := open(t), t.Context()
	if _, err := live.Put(ctx, "c/t/0/object", strings.NewReader("body"), 4, object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	names := func() (all []string) {
		if err := filepath.WalkDir(live.root, func(p string, _ fs.DirEntry, err error) error { all = append(all, p); return err }); err != nil {
			t.Fatal(err)
		}
		return all
	}
	before := names()
	s, err := OpenReadOnly(filepath.Join(live.root, "c/t/0"))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := s.Head(ctx, "object"); err != nil || info.Size != 4 {
		t.Fatalf("head: %+v, %v", info, err)
	}
	if _, err := s.Head(ctx, "other"); !errors.Is(err, object.ErrNotExist) {
		t.Fatalf("head of an object that is not there: %v", err)
	}
	r, err := s.Get(ctx, "object", 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "od" {
		t.Fatalf("get: %q, %v", b, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	listed := 0
	if err := s.List(ctx, "", "", func(object.Info) error { listed++; return nil }); err != nil || listed != 1 {
		t.Fatalf("list: %d, %v", listed, err)
	}
	_, put := s.Put(ctx, "new", strings.NewReader("x"), 1, object.PutOptions{})
	_, now := s.Now(ctx)
	for what, err := range map[string]error{"put": put, "delete": s.Delete(ctx, []string{"object"}), "now": now} {
		if !errors.Is(err, object.ErrDenied) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if after := names(); !slices.Equal(before, after) {
		t.Errorf("before %v, after %v", before, after)
	}
}
