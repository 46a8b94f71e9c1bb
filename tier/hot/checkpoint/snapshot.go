package checkpoint

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/producer"
)

// SnapshotName is the file name of the producer snapshot taken when the log ended at offset.
func SnapshotName(offset int64) string { return fmt.Sprintf("%020d%s", offset, SnapshotSuffix) }

// ParseSnapshotName returns the offset in a name that SnapshotName made; false for any other name.
func ParseSnapshotName(name string) (offset int64, ok bool) {
	digits, ok := strings.CutSuffix(name, SnapshotSuffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	offset, err := strconv.ParseInt(digits, 10, 64)
	return offset, err == nil && offset >= 0 && SnapshotName(offset) == name
}

// ReadSnapshot reads the producers of the partition folder dir as they were when the log ended at offset. The
// error is fs.ErrNotExist when there is no such snapshot, ErrCorrupt (and producer.ErrCorruptSnapshot) when it
// is damaged.
func ReadSnapshot(fsys disk.FS, dir string, offset int64) ([]producer.Entry, error) {
	name := filepath.Join(dir, SnapshotName(offset))
	b, err := disk.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	entries, err := producer.DecodeSnapshot(b)
	if err != nil {
		return nil, corrupt(name, 0, err)
	}
	return entries, nil
}

// WriteSnapshot writes the producers of the partition folder dir as they are when the log ends at offset,
// durably.
func WriteSnapshot(fsys disk.FS, dir string, offset int64, entries []producer.Entry) error {
	return disk.WriteFileSync(fsys, filepath.Join(dir, SnapshotName(offset)), producer.AppendSnapshot(nil, entries))
}
