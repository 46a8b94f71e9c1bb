package hot

import (
	"log/slog"
	"os"
	"testing"

	"github.com/firnlog/firn/tier/disk"
)

// I-32: whatever lies in a segment's file, opening the log ends, with whole batches only, and every one of them is
// found again by the next start.
func FuzzRecover(f *testing.F) {
	good := append(stored(batch(2, 30, startMs), 0), stored(batch(1, 30, startMs), 2)...)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(append(good, make([]byte, 100)...))
	f.Fuzz(func(t *testing.T, segment []byte) {
		mem := disk.NewCrashable(1)
		open := func() *Dir {
			d, err := OpenDir(Options{FS: mem, Path: "/log", BootID: "boot", Housekeep: -1, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		d := open()
		l, err := d.Open(part(0), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Make(); err != nil {
			t.Fatal(err)
		}
		name := l.active().file.path()
		d.flusher.Close() // as a kill does
		_ = d.lock.Close()
		file, err := mem.OpenFile(name, os.O_RDWR|os.O_TRUNC, 0)
		if err == nil {
			_, err = file.WriteAt(segment, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		end := int64(-1)
		for range 2 {
			d := open()
			l, err := d.Open(part(0), nil)
			if err != nil {
				t.Fatal(err)
			}
			if end >= 0 && l.End() != end {
				t.Fatalf("ends at %d, and at the next start at %d", end, l.End())
			}
			end = l.End()
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// stored is a batch as a log stores it at an offset.
func stored(b []byte, offset int64) []byte {
	for i := range 8 {
		b[i] = byte(offset >> (56 - 8*i))
	}
	return b
}
