package segment

import (
	"bytes"
	"errors"
	"hash/crc32"
	"testing"
)

// I-32: no bytes at a segment's end make ParseIndex panic or take memory out of proportion, and an index that it
// accepts can be used without further checks. The fuzzer gives the blocks; the checksums around them are made right.
func FuzzSegmentIndex(f *testing.F) {
	for _, o := range []WriterOptions{
		{Meta: testMeta}, {Meta: testMeta, State: testState, ChunkBytes: 1, Compression: CompressionZstd},
	} {
		seg, _ := write(f, o, batches(1000, 1010, nil))
		f.Add(indexOf(seg), true)
		f.Add(seg, false)
	}
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, b []byte, dress bool) {
		total := int64(len(b))
		if dress {
			b, total = dressed(b)
		}
		ix, err := ParseIndex(b, total)
		if err != nil {
			var short *ShortError
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) && !errors.As(err, &short) {
				t.Fatalf("no kind of fault: %v", err)
			}
			return
		}
		m := ix.Meta()
		next, end := m.Base, int64(HeaderSize)
		for i, c := range ix.Chunks() {
			if c.Base != next || c.Next <= next || c.Position != end || c.Position+int64(c.Length) > total {
				t.Fatalf("chunk %d: %+v", i, c)
			}
			next, end = c.Next, c.Position+int64(c.Length)
			if j, ok := ix.FindOffset(c.Base); !ok || j != i {
				t.Fatalf("offset %d is in chunk %d", c.Base, j)
			}
		}
		if len(ix.Chunks()) > 0 && next != m.Next {
			t.Fatalf("chunks end at %d, the range at %d", next, m.Next)
		}
		_ = ix.AbortedIn(m.Base, m.Next)
		if !dress { // then all of the segment is there
			_ = VerifyIndex(ix, bytes.NewReader(b))
		}
	})
}

// dressed puts a footer after index blocks, and makes their checksums and the place of the index fit.
func dressed(blocks []byte) (tail []byte, total int64) {
	b := bytes.Clone(blocks)
	position := int64(HeaderSize)
	for rest := b; len(rest) >= blockOverhead; {
		n := int(be.Uint32(rest[4:]))
		if n > len(rest)-blockOverhead {
			break
		}
		be.PutUint32(rest[8+n:], crc32.Checksum(rest[:8+n], castagnoli))
		if blockType(be.Uint16(rest)) == blockChunks {
			if chunks, err := parseChunks(rest[8 : 8+n]); err == nil && len(chunks) > 0 {
				c := chunks[len(chunks)-1]
				position = max(position, c.Position) + int64(c.Length)
			}
		}
		rest = rest[8+n+4:]
	}
	if position < 0 || position > 1<<40 {
		position = HeaderSize
	}
	f := footer{indexPosition: position, indexLength: int64(len(b)), indexCRC: crc32.Checksum(b, castagnoli)}
	f.length = position + f.indexLength + FooterSize
	return f.append(b), f.length
}

// I-32: whatever is stored, decoding it ends in RawLength bytes or in an error. The CRC is made right, so that the
// fuzzer gets to the decompression.
func FuzzDecodeChunk(f *testing.F) {
	seg, _ := write(f, WriterOptions{Meta: testMeta, Compression: CompressionZstd}, batches(1000, 1100, nil))
	ix, _ := read(f, seg)
	c := ix.Chunks()[0]
	f.Add(seg[c.Position:c.Position+int64(c.Length)], uint32(c.RawLength), true)
	f.Add([]byte("raw"), uint32(3), false)
	f.Add([]byte{}, uint32(0), true)
	f.Fuzz(func(t *testing.T, stored []byte, raw uint32, compressed bool) {
		c := Chunk{Length: len(stored), RawLength: int(raw % (1 << 22)), Compressed: compressed,
			CRC32C: crc32.Checksum(stored, castagnoli)}
		if !compressed {
			c.RawLength = len(stored)
		}
		out, err := DecodeChunk(nil, stored, c)
		if err == nil && len(out) != c.RawLength {
			t.Fatalf("%d bytes, not %d", len(out), c.RawLength)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("no kind of fault: %v", err)
		}
		c.CRC32C++
		if _, err := DecodeChunk(nil, stored, c); err == nil {
			t.Fatal("I-25: a wrong CRC went unseen")
		}
	})
}
