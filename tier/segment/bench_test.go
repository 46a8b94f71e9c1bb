package segment

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
)

func BenchmarkWriter(b *testing.B) {
	text, noise := batches(1000, 100_000, nil), batches(1000, 10_000, rand.New(rand.NewPCG(1, 1)))
	for _, c := range []struct {
		name        string
		data        []byte
		compression Compression
	}{{"none", text, CompressionNone}, {"zstd", text, CompressionZstd}, {"zstd/incompressible", noise, CompressionZstd}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.data)))
			b.ReportAllocs()
			for b.Loop() {
				w := NewWriter(io.Discard, WriterOptions{Meta: testMeta, Compression: c.compression})
				if err := w.Add(c.data); err != nil {
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
