package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"

	"github.com/firnlog/firn/tier/object"
)

// List walks the folders in the order of keys. ETags are left empty: they would cost reading every object.
func (s *Store) List(ctx context.Context, prefix, after string, fn func(object.Info) error) error {
	if _, err := os.Stat(s.anchor()); err != nil {
		return s.failed("list", prefix, err)
	}
	err := s.walk(ctx, "", prefix, after, fn)
	if errors.Is(err, object.ErrStop) {
		return nil
	}
	return err
}

// walk lists the folder whose keys begin with base ("" or ending in a slash).
func (s *Store) walk(ctx context.Context, base, prefix, after string, fn func(object.Info) error) error {
	entries, err := os.ReadDir(s.folder(base))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // emptied and removed since its parent was read
	}
	if err != nil {
		return s.failed("list", base, err)
	}
	for _, k := range keysOf(base, entries) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		if strings.HasSuffix(k, "/") {
			// Below k are only keys that begin with k: skip what cannot hold a wanted one.
			if !strings.HasPrefix(k, prefix) && !strings.HasPrefix(prefix, k) || after > k && !strings.HasPrefix(after, k) {
				continue
			}
			if err := s.walk(ctx, k, prefix, after, fn); err != nil {
				return err
			}
			continue
		}
		if !strings.HasPrefix(k, prefix) || k <= after {
			continue
		}
		fi, err := os.Stat(s.path(k))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return s.failed("list", k, err)
		}
		if err := fn(object.Info{Key: k, Size: fi.Size(), LastModified: fi.ModTime()}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) folder(base string) string {
	if base == "" {
		return s.root
	}
	return s.path(strings.TrimSuffix(base, "/"))
}

// keysOf gives the keys of a folder's files and, with a slash at the end, of its folders, sorted: the slash takes
// part in the order, so that "a-b" comes before "a/b" as it does in S3.
func keysOf(base string, entries []fs.DirEntry) []string {
	keys := make([]string, 0, len(entries))
	for _, e := range entries {
		name, ok := unescape(e.Name())
		switch {
		case !ok:
		case e.IsDir():
			keys = append(keys, base+name+"/")
		case e.Type().IsRegular():
			keys = append(keys, base+name)
		}
	}
	sort.Strings(keys)
	return keys
}

// Delete unlinks the files, then syncs each folder once, and removes folders that became empty.
func (s *Store) Delete(ctx context.Context, keys []string) error {
	if err := s.writable("delete"); err != nil {
		return err
	}
	failed := map[string]error{}
	touched := map[string]bool{}
	for _, key := range keys {
		if err := s.remove(ctx, key, touched); err != nil {
			failed[key] = err
		}
	}
	folders := make([]string, 0, len(touched))
	for f := range touched {
		folders = append(folders, f)
	}
	// Deepest first, so that a parent is looked at when its children may be gone.
	slices.SortFunc(folders, func(a, b string) int { return len(b) - len(a) })
	for _, f := range folders {
		if err := s.sync.folder(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete: %w", err)
		}
		if err := s.locked(func() error { return s.prune(f) }); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}
	if len(failed) > 0 {
		return &object.DeleteError{Failed: failed}
	}
	return nil
}

func (s *Store) remove(ctx context.Context, key string, touched map[string]bool) error {
	if err := object.CheckKey(key); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	path := s.path(key)
	err := s.locked(func() error {
		if fi, err := os.Lstat(path); err != nil || fi.IsDir() {
			return err // a folder is no object: a key that is not there counts as removed
		}
		return os.Remove(path)
	})
	switch {
	case err == nil:
		touched[filepath.Dir(path)] = true
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		if _, gone := os.Stat(s.anchor()); gone != nil {
			return s.failed("delete", key, err)
		}
		return nil
	}
	return s.failed("delete", key, err)
}

// prune removes folder and its parents while they are empty. The store is locked, so that no Put is about to
// put a file there. Removals need no sync: an empty folder that comes back holds no object.
func (s *Store) prune(folder string) error {
	for folder != s.root && strings.HasPrefix(folder, s.root) {
		delete(s.durable, folder)
		err := os.Remove(folder)
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, fs.ErrExist):
			return nil // it has other entries; forgetting that it is durable costs one more sync
		default:
			return err
		}
		folder = filepath.Dir(folder)
	}
	return nil
}
