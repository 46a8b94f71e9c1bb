package flush

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/firnlog/firn/tier/disk"
)

// The names of a journal's files, and how they go. Nothing of a journal may count without all of it: without its older
// files writes are missing, without the newer ones what they made void comes back. So a removal begins with one step
// that a power cut leaves done or not: one of the files gets another name, by which none of them counts any more. Unlike
// a file that is made, that needs no room on a full disk.
//
//	files ─▶ renamed: firn-journal.gone, and perhaps files that do not count ─▶ firn-journal.gone alone ─▶ nothing
//
// Each arrow is durable before the next, and all before a file of another journal is made.

const (
	filePrefix = "firn-journal." // begins the names of the files, a number ends them
	goneFile   = "firn-journal.gone"
)

// journalFiles returns the files of the journal that counts, once those are deleted of one that does not.
func journalFiles(fsys disk.FS, dir string) ([]string, error) {
	names, gone, err := listJournal(fsys, dir)
	if err == nil && gone {
		return nil, removeFiles(fsys, dir, names, gone)
	}
	return names, err
}

// RemoveJournal deletes the journal of a log directory and reports whether there was one. It returns when that is
// durable; after a power cut meanwhile, or an error, ReadJournal finds all of it or nothing.
func RemoveJournal(fsys disk.FS, dir string) (found bool, err error) {
	names, gone, err := listJournal(fsys, dir)
	if err != nil || len(names) == 0 && !gone {
		return false, err
	}
	return true, removeFiles(fsys, dir, names, gone)
}

// listJournal lists the journal's files, and says whether the one is there because of which they do not count.
func listJournal(fsys disk.FS, dir string) (names []string, gone bool, err error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, false, err
	}
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), filePrefix)
		if !ok || e.IsDir() {
			continue
		}
		if _, err := strconv.ParseUint(rest, 10, 32); err == nil {
			names = append(names, filepath.Join(dir, e.Name()))
		}
		gone = gone || e.Name() == goneFile
	}
	return names, gone, nil
}

func removeFiles(fsys disk.FS, dir string, names []string, gone bool) error {
	last := filepath.Join(dir, goneFile)
	var steps []func() error
	if !gone {
		first := names[0]
		names = names[1:]
		steps = append(steps, func() error { return fsys.Rename(first, last) })
	}
	steps = append(steps, func() error { return unlink(fsys, names...) }, func() error { return unlink(fsys, last) })
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("removing the flush journal: %w", err)
		}
		if err := fsys.SyncDir(dir); err != nil {
			return fmt.Errorf("removing the flush journal: %w", syncError{err})
		}
	}
	return nil
}

func unlink(fsys disk.FS, names ...string) error {
	for _, name := range names {
		if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
