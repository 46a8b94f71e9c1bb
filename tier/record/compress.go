package record

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Compression is a codec and how hard it tries, on the scale of Kafka's configs (KIP-390): Gzip 1 to 9, LZ4 1 to 17, Zstd
// -131072 to 22. A level of 0 is the codec's default; so is -1 for Gzip and, as in Kafka, 9 for LZ4. Snappy and None have
// no levels.
//
// The compressors here have fewer steps than those of Kafka: LZ4's levels above 9 are one, Zstd's are four (below 3, 3 to
// 5, 6 to 9, above).
type Compression struct {
	Codec Codec
	Level int
}

// Compress appends src, compressed with c at the codec's default level, to dst. The only error is ErrCodec.
func Compress(dst, src []byte, c Codec) ([]byte, error) {
	return Compression{Codec: c}.Compress(dst, src)
}

// Compress appends src, compressed, to dst. The only error is ErrCodec.
func (c Compression) Compress(dst, src []byte) ([]byte, error) {
	switch c.Codec {
	case None:
		return append(dst, src...), nil
	case Gzip:
		w, pool := gzipWriter(c.Level)
		defer pool.Put(w)
		buf := bytes.NewBuffer(dst)
		w.Reset(buf)
		return finish(buf, w, src)
	case Snappy:
		return compressXerial(dst, src), nil
	case LZ4:
		w := lz4Writers.Get().(*lz4.Writer)
		defer lz4Writers.Put(w)
		buf := bytes.NewBuffer(dst)
		w.Reset(buf)
		if err := w.Apply(lz4.CompressionLevelOption(lz4Level(c.Level))); err != nil {
			return nil, err
		}
		return finish(buf, w, src)
	case Zstd:
		e, pool := zstdEncoder(c.Level)
		defer pool.Put(e)
		return e.EncodeAll(src, dst), nil
	}
	return dst, fmt.Errorf("%w: %d", ErrCodec, c.Codec)
}

// finish sends all of src through w, which writes to buf.
func finish(buf *bytes.Buffer, w io.WriteCloser, src []byte) ([]byte, error) {
	if _, err := w.Write(src); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// A pool for each level: a compressor keeps the tables of the level that it was made for.
var (
	gzipWriters  [gzip.BestCompression + 1]sync.Pool // 0 is the default level
	zstdEncoders [zstd.SpeedBestCompression + 1]sync.Pool
	lz4Writers   = sync.Pool{New: func() any {
		w := lz4.NewWriter(io.Discard)
		// What Kafka's own writer does: independent blocks of 64 KiB, no checksum (the batch has one).
		must(w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.ConcurrencyOption(1)))
		return w
	}}
)

func gzipWriter(level int) (*gzip.Writer, *sync.Pool) {
	if level < 1 || level >= len(gzipWriters) {
		level = 0
	}
	pool := &gzipWriters[level]
	if w, ok := pool.Get().(*gzip.Writer); ok {
		return w, pool
	}
	if level == 0 {
		level = gzip.DefaultCompression
	}
	w, err := gzip.NewWriterLevel(io.Discard, level)
	must(err)
	return w, pool
}

// lz4Level is Fast for what Kafka gives its fast compressor, which is its default level 9, oddly.
func lz4Level(level int) lz4.CompressionLevel {
	switch {
	case level < 1 || level == 9:
		return lz4.Fast
	case level > 9:
		return lz4.Level9
	}
	return lz4.Level1 << (level - 1)
}

func zstdEncoder(level int) (*zstd.Encoder, *sync.Pool) {
	speed := zstd.SpeedDefault
	if level != 0 {
		speed = zstd.EncoderLevelFromZstd(level)
	}
	pool := &zstdEncoders[speed]
	if e, ok := pool.Get().(*zstd.Encoder); ok {
		return e, pool
	}
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
		zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true))
	must(err)
	return e, pool
}
