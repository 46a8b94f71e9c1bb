package segment

import (
	"bytes"
	"io"
	"testing"
)

func BenchmarkWriter(b *testing.B) {
	data := batches(1000, 100_000, nil)
	for name, c := range map[string]Compression{"none": CompressionNone, "zstd": CompressionZstd} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				w := NewWriter(io.Discard, WriterOptions{Meta: testMeta, Compression: c})
				if err := w.Add(data); err != nil {
					b.Fatal(err)
				}
				if _, err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodeChunk(b *testing.B) {
	seg, _ := write(b, WriterOptions{Meta: testMeta, Compression: CompressionZstd}, batches(1000, 100_000, nil))
	ix, _ := read(b, seg)
	c := ix.Chunks()[0]
	stored := seg[c.Position : c.Position+int64(c.Length)]
	var dst []byte
	b.SetBytes(int64(c.RawLength))
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = DecodeChunk(dst[:0], stored, c); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseIndex(b *testing.B) {
	seg, s := write(b, WriterOptions{Meta: testMeta, State: testState, ChunkBytes: 1 << 17}, batches(1000, 100_000, nil))
	tail := bytes.Clone(seg[int64(len(seg))-s.IndexLength:])
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseIndex(tail, s.Length); err != nil {
			b.Fatal(err)
		}
	}
}
