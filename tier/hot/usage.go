package hot

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/firnlog/firn/tier/topic"
)

// UnopenedBytes tells what the folders of the log directory hold whose logs are not open: partitions that nobody has
// opened yet or that cannot be opened, those set aside, those on their way out. It reads these folders.
func (d *Dir) UnopenedBytes() (int64, error) {
	entries, err := d.fs.ReadDir(d.root)
	if err != nil {
		return 0, fmt.Errorf("log directory: %w", err)
	}
	var n int64
	for _, e := range entries {
		d.mu.Lock()
		open := d.logs[e.Name()] != nil
		d.mu.Unlock()
		if open || !e.IsDir() {
			continue
		}
		b, err := d.folderBytes(filepath.Join(d.root, e.Name()), "")
		if err != nil {
			return 0, fmt.Errorf("log directory: %w", err)
		}
		n += b
	}
	return n, nil
}

// LogBytes tells the size of a partition's segment files as its folder shows it, whether the log is open or not; 0
// without a folder.
func (d *Dir) LogBytes(p topic.Partition) (int64, error) {
	n, err := d.folderBytes(filepath.Join(d.root, p.String()), logSuffix)
	if err != nil {
		return 0, fmt.Errorf("log directory: %w", err)
	}
	return n, nil
}

// folderBytes adds up the files of a folder whose names end in suffix.
func (d *Dir) folderBytes(path, suffix string) (int64, error) {
	files, err := d.fs.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // removed meanwhile
	}
	if err != nil {
		return 0, err
	}
	var n int64
	for _, f := range files {
		info, err := f.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return 0, err
		case !f.IsDir() && strings.HasSuffix(f.Name(), suffix):
			n += info.Size()
		}
	}
	return n, nil
}
