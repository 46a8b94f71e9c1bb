package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// TmpSuffix ends the names of files that WriteFileSync had not finished when the process died. Whoever opens
// a folder may remove them.
const TmpSuffix = ".tmp"

// WriteFileSync replaces the file by data so that a crash at any moment leaves the old content or the new one,
// and returns when the new one is durable. On an error the old file is still there, unless the error came from
// the last step (making the folder's entry durable), after which either may be.
// Two writers of one name must not run at once.
func WriteFileSync(fsys FS, name string, data []byte) error {
	tmp := name + TmpSuffix
	if err := writeTmp(fsys, tmp, data); err != nil {
		_ = fsys.Remove(tmp) // best effort: a leftover is overwritten by the next attempt
		return err
	}
	if err := fsys.Rename(tmp, name); err != nil {
		_ = fsys.Remove(tmp)
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

func writeTmp(fsys FS, tmp string, data []byte) error {
	f, err := fsys.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(data, 0); err == nil {
		err = f.Datasync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// CreateUnlinked makes a file that has no name any more when it returns: nothing of it is left behind, whatever happens.
// The name must be nobody else's.
func CreateUnlinked(fsys FS, name string) (File, error) {
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := fsys.Remove(name); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// MkdirAllSync is MkdirAll of a folder that a power cut must not take away with all that is in it: each folder that it
// makes on the way is durable in its parent. What it finds is taken to be durable.
func MkdirAllSync(fsys FS, name string, perm fs.FileMode) error {
	var made []string
	for path := filepath.Clean(name); ; path = filepath.Dir(path) {
		if _, err := fsys.Stat(path); err == nil || path == filepath.Dir(path) {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		made = append(made, path)
	}
	if err := fsys.MkdirAll(name, perm); err != nil {
		return err
	}
	for _, path := range made {
		if err := fsys.SyncDir(filepath.Dir(path)); err != nil {
			return err
		}
	}
	return nil
}

// ReadFile returns the content of the file. The error is fs.ErrNotExist when there is none.
func ReadFile(fsys FS, name string) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil // it shrank meanwhile, or is empty
	}
	return b[:n], err
}

// IsTmp reports whether name is that of an unfinished file of WriteFileSync.
func IsTmp(name string) bool { return strings.HasSuffix(name, TmpSuffix) }

// EmptyDir makes the folder if need be and removes all that is in it. Nothing of this is durable: it is for folders
// whose content does not outlive the process.
func EmptyDir(fsys FS, dir string) error {
	if err := fsys.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := fsys.RemoveAll(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
