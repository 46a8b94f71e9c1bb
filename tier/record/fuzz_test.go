package record

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
)

// seeds are whole batches of each codec, some of them wrong inside.
func seeds(f *testing.F) {
	for _, codec := range allCodecs {
		f.Add(sample(codec, 1))
		f.Add(slices.Concat(sample(codec, 3), sample(None, 2)))
		f.Add(body(codec, 3, 2, rec(0, nil)))
		f.Add(NewBuilder(codec).AppendAt(4, 1, nil, nil, nil).Build(1))
	}
	f.Add(EndTxnMarker(0, 1, 2, 3, ControlAbort, 4))
	f.Add(sample(Gzip, 2)[:HeaderSize])
	f.Add([]byte{})
}

// kinds are the faults that a batch may have.
var kinds = []error{ErrTruncated, ErrCorrupt, ErrMagic, ErrInvalid, ErrTooLarge}

func oneKind(t *testing.T, err error) {
	n := 0
	for _, k := range kinds {
		if errors.Is(err, k) {
			n++
		}
	}
	if n != 1 {
		t.Fatalf("%d kinds of fault: %v", n, err)
	}
}

// I-32: no bytes make Check or the iterator panic, and what Check accepts is what it says.
func FuzzCheck(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Check(b)
		if err != nil {
			oneKind(t, err)
		} else {
			if h.Size() > len(b) || h.NextOffset() <= h.BaseOffset || int64(h.Count) != h.NextOffset()-h.BaseOffset {
				t.Fatalf("accepted %+v in %d bytes", h, len(b))
			}
			if _, err := CheckStored(b); err != nil {
				t.Fatalf("CheckStored is stricter: %v", err)
			}
			c := slices.Clone(b)
			StampLogAppendTime(c, 5)
			Stamp(c, 77, 8)
			if h, err := Check(c); err != nil || h.BaseOffset != 77 || h.LeaderEpoch != 8 || h.MaxTimestamp != 5 {
				t.Fatalf("stamped: %+v, %v", h, err)
			}
		}
		end := 0
		it := Batches(b)
		for it.Next() {
			if it.Position() != end || it.Consumed() <= end || it.Header().NextOffset() <= it.Header().BaseOffset {
				t.Fatalf("batch at %d: %+v", it.Position(), it.Header())
			}
			end = it.Consumed()
		}
		if it.Err() == nil && end != len(b) {
			t.Fatalf("stopped at %d of %d without a reason", end, len(b))
		}
		_, _ = Find(b, 50)
		if err := Dump(io.Discard, b, 0, true); err != nil {
			t.Fatal(err)
		}
		if err := DumpLog(io.Discard, bytes.NewReader(b), int64(len(b)), true); err != nil {
			t.Fatal(err)
		}
	})
}

// I-32: whatever stands in a batch, its decoding ends in records or in an error, within its bound of memory. The CRC is
// made right, so that the fuzzer gets inside.
func FuzzRecords(f *testing.F) {
	seeds(f)
	const limit = 1 << 20
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < HeaderSize {
			return
		}
		n, bytes := 0, 0
		err := Records(b, limit, func(i int, r *Record) error {
			if i != n {
				t.Fatalf("record %d after %d", i, n)
			}
			n++
			bytes += len(r.Key) + len(r.Value)
			return nil
		})
		if err != nil {
			oneKind(t, err)
		} else if h := parseHeader(b); n != int(h.Count) || bytes > max(limit, len(b)) {
			t.Fatalf("%d records of %d with %d bytes", n, h.Count, bytes)
		}
		if ValidateRecords(b, limit) == nil && err != nil {
			t.Fatalf("ValidateRecords is laxer: %v", err)
		}
		_ = MaxTimestampOffset(b, limit)
	})
}

// I-32: the codecs by themselves, without a header around them.
func FuzzDecompress(f *testing.F) {
	for _, codec := range allCodecs {
		for _, in := range []string{"", "x", "to be or not to be, that is to be"} {
			packed, err := Compress(nil, []byte(in), codec)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(byte(codec), packed)
		}
	}
	f.Fuzz(func(t *testing.T, codec byte, src []byte) {
		const limit = 1 << 18
		out, err := Decompress(nil, src, Codec(codec%8), limit)
		if err != nil {
			oneKind(t, err)
		} else if len(out) > limit {
			t.Fatalf("%d bytes", len(out))
		}
	})
}

// I-32: whatever a batch holds, it becomes one of another codec with the same records, or an error within its bound.
func FuzzRecompress(f *testing.F) {
	for i, codec := range allCodecs {
		f.Add(sample(codec, 3), byte(i+1), int8(i))
		f.Add(body(codec, 3, 2, rec(0, nil)), byte(i+2), int8(-i))
	}
	const limit = 1 << 18
	f.Fuzz(func(t *testing.T, b []byte, to byte, level int8) {
		c := Compression{Codec: Codec(to % 5), Level: int(level)}
		out, h, err := Recompress(nil, b, c, limit)
		if err != nil {
			oneKind(t, err)
			return
		}
		if h.Codec() != c.Codec || h.Size() != len(out) {
			t.Fatalf("%+v in %d bytes", h, len(out))
		}
		was := parseHeader(b)
		plain, err := Decompress(nil, b[HeaderSize:was.Size()], was.Codec(), max(limit, len(b)))
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decompress(nil, out[HeaderSize:], c.Codec, len(plain))
		if err != nil || !bytes.Equal(plain, again) {
			t.Fatalf("%d bytes became %d: %v", len(plain), len(again), err)
		}
		if ValidateRecords(b, max(limit, len(plain))) == nil {
			if err := ValidateRecords(out, max(limit, len(plain))); err != nil {
				t.Fatal(err)
			}
		}
		was.Attributes = was.Attributes&^attrCodec | int16(c.Codec)
		was.Length, was.CRC = h.Length, h.CRC
		if was != h {
			t.Fatalf("%+v, was %+v", h, was)
		}
	})
}
