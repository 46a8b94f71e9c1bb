package producer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"hash/crc32"
	"os"
	"slices"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden is a state with all that an entry can hold.
func golden() []Entry {
	var s State
	for i := range int32(7) {
		s.Apply(batch(1000, 2, i*10, 10), int64(i)*20, 1700000000000+int64(i))
	}
	s.Apply(transactional(batch(1001, 0, 1<<31-3, 8)), 200, 1700000000100)
	s.ApplyMarker(control(1002, 4), 300, 9, 1700000000200)
	s.Apply(batch(1003, 0, 0, 1), 301, 1700000000300)
	s.ApplyMarker(control(1003, 0), 302, 3, 1700000000400)
	return s.Entries()
}

// TestGolden keeps version 1 readable and written for ever. Kafka's DumpLogSegments reads the file, too.
func TestGolden(t *testing.T) {
	const name = "testdata/00000000000000000303.snapshot"
	b := AppendSnapshot([]byte("kept"), golden())[4:]
	if *update {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Error("the snapshot's bytes have changed")
	}
	entries, err := DecodeSnapshot(want)
	if err != nil {
		t.Fatal(err)
	}
	back := golden()
	back[3].batches[0].Timestamp = back[3].LastTimestamp // the format has one time for both
	if !slices.Equal(entries, back) {
		t.Errorf("read\n%+v, want\n%+v", entries, back)
	}
}

// snapshotOf builds a snapshot with a right CRC around raw entries.
func snapshotOf(version int16, count int32, raw []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(version))
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(count))
	b = append(b, raw...)
	binary.BigEndian.PutUint32(b[2:], crc32.Checksum(b[6:], castagnoli))
	return b
}

func TestDecodeCorrupt(t *testing.T) {
	good := AppendSnapshot(nil, golden())
	for i := range good {
		if _, err := DecodeSnapshot(good[:i]); !errors.Is(err, ErrCorruptSnapshot) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if _, err := DecodeSnapshot(bad); !errors.Is(err, ErrCorruptSnapshot) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
	raw := func(edit func(*Entry, *Batch)) []byte {
		e := NewEntry(1)
		e.Epoch = 0
		b := Batch{LastOffset: 5, LastSeq: 5, Delta: 1}
		edit(&e, &b)
		return appendSnapshotEntry(nil, &e, b)
	}
	for name, b := range map[string][]byte{
		"version 2":         snapshotOf(2, 0, nil),
		"negative count":    snapshotOf(1, -1, nil),
		"count too small":   snapshotOf(1, 0, raw(func(*Entry, *Batch) {})),
		"count overflows":   snapshotOf(1, 1<<30, raw(func(*Entry, *Batch) {})),
		"negative id":       snapshotOf(1, 1, raw(func(e *Entry, b *Batch) { e.ID = -2 })),
		"negative epoch":    snapshotOf(1, 1, raw(func(e *Entry, b *Batch) { e.Epoch = -1 })),
		"negative sequence": snapshotOf(1, 1, raw(func(e *Entry, b *Batch) { b.LastSeq = -5 })),
		"negative delta":    snapshotOf(1, 1, raw(func(e *Entry, b *Batch) { b.Delta = -1 })),
		"delta too large":   snapshotOf(1, 1, raw(func(e *Entry, b *Batch) { b.Delta = 6 })),
	} {
		if _, err := DecodeSnapshot(b); !errors.Is(err, ErrCorruptSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if e, err := DecodeSnapshot(snapshotOf(1, 0, nil)); err != nil || len(e) != 0 {
		t.Errorf("empty snapshot: %v, %v", e, err)
	}
}

// TestDecodeKafka reads what Kafka writes: one entry a producer, in any order; of two the later counts.
func TestDecodeKafka(t *testing.T) {
	a, b, c := NewEntry(9), NewEntry(4), NewEntry(9)
	a.Epoch, b.Epoch, c.Epoch = 1, 0, 2
	a.CurrentTxnFirstOffset = 3
	raw := appendSnapshotEntry(nil, &a, Batch{LastOffset: 7, LastSeq: 2, Delta: 2, Timestamp: 50})
	raw = appendSnapshotEntry(raw, &b, Batch{LastOffset: 8, LastSeq: 0, Timestamp: 51})
	raw = appendSnapshotEntry(raw, &c, Batch{LastOffset: 9, LastSeq: 0, Timestamp: 52})
	got, err := DecodeSnapshot(snapshotOf(1, 3, raw))
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	if e := got[0]; e.ID != 9 || e.Epoch != 2 || len(e.Batches()) != 1 || e.Batches()[0].LastOffset != 9 || e.CurrentTxnFirstOffset != None {
		t.Errorf("producer 9: %+v", e)
	}
	if e := got[1]; e.ID != 4 || e.LastTimestamp != 51 {
		t.Errorf("producer 4: %+v", e)
	}
}

func FuzzDecodeSnapshot(f *testing.F) {
	f.Add(AppendSnapshot(nil, golden())[snapshotHeader:], true)
	f.Add([]byte{1, 2, 3}, false)
	f.Fuzz(func(t *testing.T, raw []byte, fixed bool) {
		b := raw
		if fixed { // get past the CRC, to the entries
			b = snapshotOf(1, int32(len(raw)/snapshotEntry), raw)
		}
		entries, err := DecodeSnapshot(b)
		if err != nil {
			if !errors.Is(err, ErrCorruptSnapshot) {
				t.Fatal(err)
			}
			return
		}
		again, err := DecodeSnapshot(AppendSnapshot(nil, entries))
		if err != nil {
			t.Fatalf("what was read cannot be written and read: %v", err)
		}
		if !slices.Equal(entries, again) {
			t.Fatalf("read %+v, then %+v", entries, again)
		}
	})
}
