package dir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// path is the file of a key that CheckKey let through.
func (s *Store) path(key string) string {
	parts := strings.Split(key, "/")
	for i, p := range parts {
		parts[i] = escape(p)
	}
	return filepath.Join(s.root, filepath.Join(parts...))
}

// escape makes a file name of a key's component: itself, but for a leading dot (the store's own names) and the
// percent sign, which are written as %XX. A component so full of percent signs that its name passes the file
// system's 255 bytes is refused there, with ENAMETOOLONG.
func escape(c string) string {
	c = strings.ReplaceAll(c, "%", "%25")
	if strings.HasPrefix(c, ".") {
		c = "%2E" + c[1:]
	}
	return c
}

// unescape is the inverse of escape; ok is false for names that it never gives.
func unescape(name string) (c string, ok bool) {
	if strings.HasPrefix(name, ".") {
		return "", false
	}
	dot := strings.HasPrefix(name, "%2E")
	if dot {
		name = name[len("%2E"):]
	}
	var b strings.Builder
	if dot {
		b.WriteByte('.')
	}
	for {
		before, after, found := strings.Cut(name, "%")
		b.WriteString(before)
		if !found {
			return b.String(), true
		}
		if !strings.HasPrefix(after, "25") {
			return "", false
		}
		b.WriteByte('%')
		name = after[2:]
	}
}

// makeFolders is os.MkdirAll that makes each folder on the way durable in its parent, also one that it finds: who
// made it may have been killed before its sync. What this store has once synced is remembered. The store is locked.
func (s *Store) makeFolders(path string) error {
	fi, err := os.Stat(path)
	switch {
	case err == nil && !fi.IsDir():
		return &os.PathError{Op: "mkdir", Path: path, Err: errNotFolder}
	case err == nil && (s.durable[path] || !strings.HasPrefix(path, s.root)):
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := s.makeFolders(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := s.sync.folder(parent); err != nil {
		return err
	}
	s.durable[path] = true
	return nil
}

// syncFolder makes a folder's entries durable.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}
