package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/epoch"
	"github.com/firnlog/firn/tier/topic"
)

const dir = "/logs/t-0"

func newDisk(t *testing.T) *disk.Crashable {
	t.Helper()
	d := disk.NewCrashable(1)
	if err := d.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/", "/logs", dir} {
		if err := d.SyncDir(name); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func lineage(t *testing.T, e ...epoch.Entry) epoch.Cache {
	t.Helper()
	c, err := epoch.New(e)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestFormats compares what is written with files as Kafka 4 writes them, and reads it back.
func TestFormats(t *testing.T) {
	d := newDisk(t)
	text := func(name string) string {
		b, err := disk.ReadFile(d, name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	epochs := lineage(t, epoch.Entry{Epoch: 0, Start: 0}, epoch.Entry{Epoch: 5, Start: math.MaxInt64})
	if err := WriteEpochs(d, dir, epochs); err != nil {
		t.Fatal(err)
	}
	if got, want := text(dir+"/leader-epoch-checkpoint"), "0\n2\n0 0\n5 9223372036854775807\n"; got != want {
		t.Errorf("epochs %q, want %q", got, want)
	}
	if c, err := ReadEpochs(d, dir); err != nil || !slices.Equal(c.Entries(), epochs.Entries()) {
		t.Errorf("epochs %v, %v", c, err)
	}

	offsets := map[Key]int64{{"b", 0}: 3, {"a", 10}: 1, {"a", 9}: math.MaxInt64}
	name := "/logs/" + RecoveryPointFile
	if err := WriteOffsets(d, name, offsets); err != nil {
		t.Fatal(err)
	}
	if got, want := text(name), "0\n3\na 9 9223372036854775807\na 10 1\nb 0 3\n"; got != want {
		t.Errorf("offsets %q, want %q", got, want)
	}
	if m, err := ReadOffsets(d, name); err != nil || !maps.Equal(m, offsets) {
		t.Errorf("offsets %v, %v", m, err)
	}
	if err := WriteOffsets(d, name, nil); err != nil || text(name) != "0\n0\n" {
		t.Errorf("no offsets: %q, %v", text(name), err)
	}
	if m, err := ReadOffsets(d, name); err != nil || len(m) != 0 {
		t.Errorf("no offsets: %v, %v", m, err)
	}

	id, _ := topic.ParseID("T2x1c3RlciB0b3BpYyBpZA")
	if err := WriteMetadata(d, dir, id); err != nil {
		t.Fatal(err)
	}
	if got, want := text(dir+"/partition.metadata"), "version: 0\ntopic_id: T2x1c3RlciB0b3BpYyBpZA\n"; got != want {
		t.Errorf("metadata %q, want %q", got, want)
	}
	if got, err := ReadMetadata(d, dir); err != nil || got != id {
		t.Errorf("metadata %v, %v", got, err)
	}
	var names []string
	list, _ := d.ReadDir(dir)
	for _, e := range list {
		names = append(names, e.Name())
	}
	if want := []string{"leader-epoch-checkpoint", "partition.metadata"}; !slices.Equal(names, want) {
		t.Errorf("files %v, want %v", names, want)
	}
}

// readers read the same file as different formats.
var readers = map[string]struct {
	file string
	read func(d disk.FS) error
}{
	"epochs":   {EpochFile, func(d disk.FS) error { _, err := ReadEpochs(d, dir); return err }},
	"offsets":  {"offsets", func(d disk.FS) error { _, err := ReadOffsets(d, dir+"/offsets"); return err }},
	"metadata": {MetadataFile, func(d disk.FS) error { _, err := ReadMetadata(d, dir); return err }},
}

func TestCorrupt(t *testing.T) {
	cases := map[string][]string{
		"epochs": {"", "0", "0\n", "0\n0", "1\n0\n", "0\n1\n", "0\n-1\n", "0\n0\n1 1\n", "0\n1\n1\n", "0\n1\n1 1 1\n",
			"0\n1\n1  1\n", "0\n1\n1 x\n", "0\n1\nx 1\n", "0\n1\n-1 1\n", "0\n1\n1 -1\n", "0\n1\n+1 1\n", "0\n1\n01 1\n",
			"0\n1\n2147483648 1\n", "0\n1\n1 9223372036854775808\n", "0\n2\n1 1\n1 2\n", "0\n2\n1 5\n2 5\n", "0\n1\n1 1", "0\n1\n1 1\n\n", "\x00\x00\x00\x00"},
		"offsets": {"", "0\n1\n 0 0\n", "0\n1\nt 0\n", "0\n1\nt 0 0 0\n", "0\n1\nt x 0\n", "0\n1\nt 0 x\n", "0\n1\nt -1 0\n",
			"0\n1\nt 0 -1\n", "0\n2\nt 0 1\nt 0 1\n"},
		"metadata": {"", "version: 0\n", "version: 1\ntopic_id: T2x1c3RlciB0b3BpYyBpZA\n", "version: 0\ntopic: x\n", "version: 0\ntopic_id: T2x\n",
			"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA\n", "version: 0\ntopic_id: T2x1c3RlciB0b3BpYyBpZA\nmore\n", "0\ntopic_id: T2x1c3RlciB0b3BpYyBpZA\n"},
	}
	for format, texts := range cases {
		for _, text := range texts {
			t.Run(fmt.Sprintf("%s %q", format, text), func(t *testing.T) {
				d, r := newDisk(t), readers[format]
				if err := disk.WriteFileSync(d, dir+"/"+r.file, []byte(text)); err != nil {
					t.Fatal(err)
				}
				err := r.read(d)
				if !errors.Is(err, ErrCorrupt) {
					t.Fatalf("error %v, want ErrCorrupt", err)
				}
				if !strings.Contains(err.Error(), dir+"/"+r.file) {
					t.Errorf("error %q does not name the file", err)
				}
			})
		}
	}
}

func TestMissingAndUnreadable(t *testing.T) {
	for format, r := range readers {
		d := disk.NewFaulty(newDisk(t), nil)
		if err := r.read(d); !IsMissing(err) || errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: no file: %v", format, err)
		}
		if err := disk.WriteFileSync(d, filepath.Join(dir, r.file), []byte("x")); err != nil {
			t.Fatal(err)
		}
		d.SetHook(disk.FailFrom(disk.OpRead, 1, syscall.EIO))
		if err := r.read(d); !errors.Is(err, syscall.EIO) || errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: an unreadable file is not a corrupt one: %v", format, err)
		}
	}
}

// TestCrash cuts the power at every operation of a write: what is there afterwards is the old file or the new
// one, and the new one once the write has returned (I-01).
func TestCrash(t *testing.T) {
	old, next := lineage(t, epoch.Entry{Epoch: 1, Start: 0}), lineage(t, epoch.Entry{Epoch: 1, Start: 0}, epoch.Entry{Epoch: 2, Start: 1 << 40})
	for _, torn := range []bool{false, true} {
		for round := range uint64(50) {
			var after []*disk.Crashable
			d := disk.NewCrashable(round)
			if err := d.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"/", "/logs"} {
				if err := d.SyncDir(name); err != nil {
					t.Fatal(err)
				}
			}
			if err := WriteEpochs(d, dir, old); err != nil {
				t.Fatal(err)
			}
			crash := func() {
				if torn {
					after = append(after, d.CrashTorn())
				} else {
					after = append(after, d.Crash())
				}
			}
			watched := disk.NewFaulty(d, func(disk.Call) disk.Fault { crash(); return disk.Fault{} })
			if err := WriteEpochs(watched, dir, next); err != nil {
				t.Fatal(err)
			}
			crash()
			if len(after) < 6 {
				t.Fatalf("only %d moments seen", len(after))
			}
			for i, d := range after {
				c, err := ReadEpochs(d, dir)
				if err != nil {
					t.Fatalf("round %d, crash at operation %d: %v", round, i, err)
				}
				isNew := slices.Equal(c.Entries(), next.Entries())
				if !isNew && (i == len(after)-1 || !slices.Equal(c.Entries(), old.Entries())) {
					t.Fatalf("round %d, crash at operation %d: %v", round, i, c.Entries())
				}
			}
		}
	}
}

// TestWriteFails fails each operation of a write in turn: the error is told and the old file stays readable.
func TestWriteFails(t *testing.T) {
	old, next := lineage(t, epoch.Entry{Epoch: 1, Start: 0}), lineage(t, epoch.Entry{Epoch: 2, Start: 0})
	for _, op := range []disk.Op{disk.OpOpen, disk.OpWrite, disk.OpDatasync, disk.OpCloseFile, disk.OpRename, disk.OpSyncDir} {
		d := newDisk(t)
		if err := WriteEpochs(d, dir, old); err != nil {
			t.Fatal(err)
		}
		err := WriteEpochs(disk.NewFaulty(d, disk.FailNth(op, 1, syscall.ENOSPC)), dir, next)
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s failed: error %v", op, err)
		}
		c, err := ReadEpochs(d, dir)
		if err != nil || (op != disk.OpSyncDir && !slices.Equal(c.Entries(), old.Entries())) {
			t.Errorf("%s failed: then %v, %v", op, c, err)
		}
		if _, err := d.Stat(dir + "/" + EpochFile + disk.TmpSuffix); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s failed: the unfinished file is left: %v", op, err)
		}
	}
}

// FuzzRead throws bytes at every parser; what parses is written back the same (numbers have one form).
func FuzzRead(f *testing.F) {
	f.Add([]byte("0\n1\n3 5\n"))
	f.Add([]byte("0\n1\ntopic 3 5\n"))
	f.Add([]byte("version: 0\ntopic_id: T2x1c3RlciB0b3BpYyBpZA\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tmp := t.TempDir()
		name := filepath.Join(tmp, EpochFile)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tmp, MetadataFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		d := disk.OS()
		if c, err := ReadEpochs(d, tmp); err == nil {
			if err := WriteEpochs(d, tmp, c); err != nil {
				t.Fatal(err)
			}
			if again, _ := os.ReadFile(name); string(again) != string(b) {
				t.Fatalf("%q was read, %q written", b, again)
			}
		} else if !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		if _, err := ReadOffsets(d, name); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		if _, err := ReadMetadata(d, tmp); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	})
}
