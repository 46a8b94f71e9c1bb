// Package checkpoint reads and writes the small files that a log directory keeps beside its segments, in the
// formats of Apache Kafka, so that Kafka's tools read them: leader-epoch-checkpoint,
// recovery-point-offset-checkpoint, log-start-offset-checkpoint and partition.metadata.
//
// Invariant: a write replaces the file as a whole and is durable when it returns (a crash leaves the old or
// the new file, never a mix). Reading is strict: a file that is not exactly what a writer makes is ErrCorrupt,
// with the line that is wrong. It decides neither when a file is written nor what to do about a corrupt one.
package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/epoch"
	"github.com/firnlog/firn/tier/topic"
)

// File names, as Kafka's.
const (
	EpochFile         = "leader-epoch-checkpoint"          // in a partition's folder
	MetadataFile      = "partition.metadata"               // in a partition's folder
	RecoveryPointFile = "recovery-point-offset-checkpoint" // in the log directory
	LogStartFile      = "log-start-offset-checkpoint"      // in the log directory
	SnapshotSuffix    = ".snapshot"                        // of producer snapshots, in a partition's folder
)

// ErrCorrupt says that a file exists but does not hold what its format demands.
var ErrCorrupt = errors.New("corrupt checkpoint")

// Key names a partition in the offset checkpoints, which know no topic ids.
type Key struct {
	Topic string
	Index int32
}

// ReadEpochs reads the leader epochs of the partition folder dir. The error is fs.ErrNotExist when there is no
// such file, ErrCorrupt when it is damaged.
func ReadEpochs(fsys disk.FS, dir string) (epoch.Cache, error) {
	name := filepath.Join(dir, EpochFile)
	var entries []epoch.Entry
	err := readTable(fsys, name, 2, func(f []string) error {
		e, err := parseInt(f[0], 32)
		if err != nil {
			return err
		}
		start, err := parseInt(f[1], 64)
		entries = append(entries, epoch.Entry{Epoch: int32(e), Start: start})
		return err
	})
	if err != nil {
		return epoch.Cache{}, err
	}
	c, err := epoch.New(entries)
	if err != nil {
		return epoch.Cache{}, fmt.Errorf("%s: %w: %w", name, err, ErrCorrupt)
	}
	return c, nil
}

// WriteEpochs replaces the leader epochs of the partition folder dir, durably.
func WriteEpochs(fsys disk.FS, dir string, c epoch.Cache) error {
	var lines []string
	for _, e := range c.Entries() {
		lines = append(lines, strconv.FormatInt(int64(e.Epoch), 10)+" "+strconv.FormatInt(e.Start, 10))
	}
	return writeTable(fsys, filepath.Join(dir, EpochFile), lines)
}

// ReadOffsets reads an offset checkpoint; name is its path (RecoveryPointFile or LogStartFile in a log
// directory). Offsets are at least 0. The error is fs.ErrNotExist when there is no such file, ErrCorrupt when
// it is damaged.
func ReadOffsets(fsys disk.FS, name string) (map[Key]int64, error) {
	m := map[Key]int64{}
	err := readTable(fsys, name, 3, func(f []string) error {
		if f[0] == "" {
			return errors.New("no topic")
		}
		index, err := parseInt(f[1], 32)
		if err != nil {
			return err
		}
		offset, err := parseInt(f[2], 64)
		if err != nil {
			return err
		}
		k := Key{f[0], int32(index)}
		if _, twice := m[k]; twice {
			return errors.New("the partition stands there twice")
		}
		m[k] = offset
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// WriteOffsets replaces an offset checkpoint, durably; name is its path. Lines are sorted by topic and
// partition, so that equal contents are equal files.
func WriteOffsets(fsys disk.FS, name string, offsets map[Key]int64) error {
	keys := make([]Key, 0, len(offsets))
	for k := range offsets {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b Key) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Index) - int(b.Index)
	})
	lines := make([]string, len(keys))
	for i, k := range keys {
		lines[i] = k.Topic + " " + strconv.Itoa(int(k.Index)) + " " + strconv.FormatInt(offsets[k], 10)
	}
	return writeTable(fsys, name, lines)
}

// ReadMetadata reads the topic id of the partition folder dir. The error is fs.ErrNotExist when there is no
// such file, ErrCorrupt when it is damaged.
func ReadMetadata(fsys disk.FS, dir string) (topic.ID, error) {
	name := filepath.Join(dir, MetadataFile)
	lines, err := readLines(fsys, name)
	if err != nil {
		return topic.ID{}, err
	}
	if len(lines) != 2 {
		return topic.ID{}, corrupt(name, 0, fmt.Errorf("%d lines, want 2", len(lines)))
	}
	if v, ok := strings.CutPrefix(lines[0], "version: "); !ok || v != "0" {
		return topic.ID{}, corrupt(name, 1, fmt.Errorf("%q, want %q", lines[0], "version: 0"))
	}
	text, ok := strings.CutPrefix(lines[1], "topic_id: ")
	if !ok {
		return topic.ID{}, corrupt(name, 2, fmt.Errorf("%q, want %q", lines[1], "topic_id: <id>"))
	}
	id, err := topic.ParseID(text)
	if err != nil {
		return topic.ID{}, corrupt(name, 2, err)
	}
	if id.IsZero() {
		return topic.ID{}, corrupt(name, 2, errors.New("the topic id is zero"))
	}
	return id, nil
}

// WriteMetadata replaces the topic id of the partition folder dir, durably.
func WriteMetadata(fsys disk.FS, dir string, id topic.ID) error {
	return disk.WriteFileSync(fsys, filepath.Join(dir, MetadataFile),
		[]byte("version: 0\ntopic_id: "+id.String()+"\n"))
}

// readTable reads Kafka's checkpoint form: a line with the version (0), a line with the number of entries, and
// one entry a line, whose fields are separated by single spaces.
func readTable(fsys disk.FS, name string, fields int, entry func([]string) error) error {
	lines, err := readLines(fsys, name)
	if err != nil {
		return err
	}
	if len(lines) < 2 {
		return corrupt(name, 0, fmt.Errorf("%d lines, want a version, a count and the entries", len(lines)))
	}
	if lines[0] != "0" {
		return corrupt(name, 1, fmt.Errorf("version %q, want 0", lines[0]))
	}
	count, err := parseInt(lines[1], 32)
	if err != nil {
		return corrupt(name, 2, err)
	}
	if int(count) != len(lines)-2 {
		return corrupt(name, 2, fmt.Errorf("%d entries announced, %d there", count, len(lines)-2))
	}
	for i, line := range lines[2:] {
		f := strings.Split(line, " ")
		if len(f) != fields {
			return corrupt(name, i+3, fmt.Errorf("%q: %d fields, want %d", line, len(f), fields))
		}
		if err := entry(f); err != nil {
			return corrupt(name, i+3, fmt.Errorf("%q: %w", line, err))
		}
	}
	return nil
}

func writeTable(fsys disk.FS, name string, entries []string) error {
	var b strings.Builder
	b.WriteString("0\n")
	b.WriteString(strconv.Itoa(len(entries)))
	b.WriteByte('\n')
	for _, e := range entries {
		b.WriteString(e)
		b.WriteByte('\n')
	}
	return disk.WriteFileSync(fsys, name, []byte(b.String()))
}

// readLines returns the lines of a text file, each of which must end with a line feed.
func readLines(fsys disk.FS, name string) ([]string, error) {
	b, err := disk.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	text, ok := strings.CutSuffix(string(b), "\n")
	if !ok {
		return nil, corrupt(name, 0, errors.New("the last line has no end"))
	}
	return strings.Split(text, "\n"), nil
}

// parseInt reads a decimal number of at least 0 in its only canonical form.
func parseInt(s string, bits int) (int64, error) {
	n, err := strconv.ParseInt(s, 10, bits)
	if err != nil {
		return 0, err
	}
	if n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, fmt.Errorf("%q is not a plain number of at least 0", s)
	}
	return n, nil
}

func corrupt(name string, line int, err error) error {
	if line == 0 {
		return fmt.Errorf("%s: %w: %w", name, err, ErrCorrupt)
	}
	return fmt.Errorf("%s: line %d: %w: %w", name, line, err, ErrCorrupt)
}

// IsMissing reports whether an error of the Read functions says that the file is not there.
func IsMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
