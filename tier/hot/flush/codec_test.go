package flush

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/topic"
)

func testFrame() (*Frame, []Record) {
	p := topic.Partition{ID: topic.ID{1, 2, 3}, Topic: "orders", Index: 7}
	recs := []Record{
		{Kind: Bytes, Part: p, Epoch: 5, Segment: 100, Position: 4096, Base: 120, Next: 130, Bytes: []byte("the bytes")},
		{Kind: Forget, Part: p, Next: 130, Bytes: []byte{}},
		{Kind: Bytes, Part: topic.Partition{Topic: "", Index: -1}, Bytes: bytes.Repeat([]byte("x"), 5000)},
	}
	f := &Frame{}
	f.reset(0x1122334455667788, 9)
	for i := range recs {
		copy(f.Add(&recs[i], len(recs[i].Bytes)), recs[i].Bytes)
	}
	return f, recs
}

func parsed(t *testing.T, b []byte) (header, []Record) {
	t.Helper()
	h, err := parseHeader(b)
	require.NoError(t, err)
	var got []Record
	require.NoError(t, parseRecords(h, b[frameHeader:frameHeader+h.length], func(r *Record, at int, damaged bool) error {
		require.False(t, damaged)
		require.Equal(t, r.Bytes, b[frameHeader+at:frameHeader+at+len(r.Bytes)])
		got = append(got, *r)
		return nil
	}))
	return h, got
}

// TestCodec: what is written is read, also when the number of the frame changed after it was filled.
func TestCodec(t *testing.T) {
	for _, seq := range []uint64{9, 10} {
		f, recs := testFrame()
		b := f.seal(seq, 4)
		require.Zero(t, len(b)%block)
		h, got := parsed(t, b)
		require.Equal(t, header{length: len(b) - frameHeader - padding(b), records: 3, life: 0x1122334455667788, seq: seq, floor: 4}, h)
		require.Equal(t, recs, got)
	}
	f, recs := testFrame()
	f.Add(&recs[0], 100)
	f.Undo()
	_, got := parsed(t, f.seal(9, 1))
	require.Equal(t, recs, got)
	f.Add(&recs[0], 9)
	f.reset(1, 1) // what was added is dropped
	copy(f.Add(&recs[0], 9), recs[0].Bytes)
	_, got = parsed(t, f.seal(1, 1))
	require.Equal(t, recs[:1], got)
}

func padding(b []byte) int { return len(b) - len(bytes.TrimRight(b, "\x00")) }

// TestFormat holds the format to what it was when it was first written.
func TestFormat(t *testing.T) {
	f := &Frame{}
	f.reset(0x0102030405060708, 2)
	copy(f.Add(&Record{Kind: Bytes, Part: topic.Partition{ID: topic.ID{0xaa, 0xbb}, Topic: "t", Index: 3}, Epoch: 4, Segment: 5,
		Position: 6, Base: 7, Next: 8}, 2), "hi")
	b := f.seal(2, 1)
	require.Equal(t, "666a6631f6c8f05b4b00000001000000080706050403020102000000000000000100000000000000"+
		"829673594e1a3f950101000002000000aabb0000000000000000000000000000030000000400000005000000000000000600000000000000"+
		"07000000000000000800000000000000"+"74"+"6869", hex.EncodeToString(b[:bytes.LastIndexByte(b, 'i')+1]))
	b = head(0x0102030405060708)
	require.Len(t, b, block)
	require.Zero(t, bytes.Trim(b[frameHeader:], "\x00"))
	require.Equal(t, "666a663183174ea000000000000000000807060504030201"+"0000000000000000"+"0000000000000000", hex.EncodeToString(b[:frameHeader]))
}

// TestEveryByteCounts: no byte of a frame can change unnoticed.
func TestEveryByteCounts(t *testing.T) {
	f, recs := testFrame()
	b := bytes.Clone(f.seal(9, 4))
	end := len(b) - padding(b)
	for i := range end {
		b[i] ^= 0x10
		h, err := parseHeader(b)
		if err == nil {
			damaged := false
			err = parseRecords(h, b[frameHeader:frameHeader+h.length], func(_ *Record, _ int, d bool) error { damaged = damaged || d; return nil })
			require.True(t, err != nil || damaged, "byte %d", i)
		}
		b[i] ^= 0x10
	}
	_, got := parsed(t, b)
	require.Equal(t, recs, got)
}

// FuzzJournal: whatever lies in a journal's file, reading it ends, and says what is there or why not.
func FuzzJournal(f *testing.F) {
	fr, _ := testFrame()
	f.Add(bytes.Clone(fr.seal(9, 9)))
	fr, _ = testFrame()
	one := bytes.Clone(fr.seal(1, 1))
	fr, _ = testFrame()
	f.Add(append(one, fr.seal(2, 1)...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		mem := disk.NewCrashable(1)
		require.NoError(t, disk.WriteFileSync(mem, "/firn-journal.0", b))
		r, err := ReadJournal(mem, "/")
		if err != nil {
			require.ErrorIs(t, err, ErrJournal)
			return
		}
		for _, s := range r.Logs {
			for i := range s.Extents {
				if err := r.ReadAt(&s.Extents[i], make([]byte, s.Extents[i].Length)); !errors.Is(err, ErrDamaged) {
					require.NoError(t, err)
				}
			}
			if _, err := r.Keep(s); err != nil {
				t.Fatal(err)
			}
		}
		require.NoError(t, r.Close())
	})
}
