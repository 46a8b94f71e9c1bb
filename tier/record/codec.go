package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codec is a batch's compression, numbered as in its attributes.
type Codec int8

// The codecs that Kafka has.
const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2 // Kafka's clients write the xerial framing, some others raw snappy: both are read
	LZ4    Codec = 3 // the frame format
	Zstd   Codec = 4 // KIP-110
)

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

// Known reports whether the codec exists.
func (c Codec) Known() bool { return c >= None && c <= Zstd }

// String gives the name that Kafka's config compression.type uses.
func (c Codec) String() string {
	if !c.Known() {
		return "codec " + strconv.Itoa(int(c))
	}
	return codecNames[c]
}

// Decompress appends src, decompressed with c, to dst. More than max bytes of output are refused with ErrTooLarge,
// before they are held in memory; bytes that are not of the codec give ErrCorrupt. On an error dst is returned as
// it was.
func Decompress(dst, src []byte, c Codec, max int) ([]byte, error) {
	var out []byte
	var err error
	switch c {
	case None:
		if len(src) > max {
			return dst, tooLarge(max)
		}
		return append(dst, src...), nil
	case Gzip:
		out, err = gunzip(dst, src, max)
	case Snappy:
		out, err = unsnappy(dst, src, max)
	case LZ4:
		r := lz4Readers.Get().(*lz4Reader)
		defer lz4Readers.Put(r)
		r.src.Reset(src)
		r.lz4.Reset(&r.src)
		out, err = readAll(dst, r.lz4, len(src), max)
		r.src.Reset(nil)
	case Zstd:
		out, err = DecompressZstd(dst, src, 0, max)
	default:
		return dst, fmt.Errorf("%w: %d", ErrCodec, c)
	}
	if err != nil {
		if !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrCorrupt) {
			err = fmt.Errorf("%w: %s: %w", ErrCorrupt, c, err)
		}
		return dst, err
	}
	return out, nil
}

func tooLarge(max int) error { return fmt.Errorf("%w: over %d bytes", ErrTooLarge, max) }

// readAll appends to dst what r gives until its end, at most max bytes. Memory follows the bytes that really came,
// not what a frame claims: the first guess is a small multiple of the compressed size.
func readAll(dst []byte, r io.Reader, compressed, max int) ([]byte, error) {
	start := len(dst)
	dst = slices.Grow(dst, min(max, 4*compressed+512)+1)
	for {
		room := min(cap(dst)-len(dst), max-(len(dst)-start)+1) // one more than allowed tells "too large" from "exactly max"
		n, err := r.Read(dst[len(dst) : len(dst)+room])
		dst = dst[:len(dst)+n]
		if len(dst)-start > max {
			return nil, tooLarge(max)
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return nil, err
		}
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, len(dst)-start)
		}
	}
}

type gzipReader struct {
	src bytes.Reader
	gz  gzip.Reader
}

func gunzip(dst, src []byte, max int) ([]byte, error) {
	r := gzipReaders.Get().(*gzipReader)
	defer gzipReaders.Put(r)
	r.src.Reset(src)
	defer r.src.Reset(nil)
	if err := r.gz.Reset(&r.src); err != nil {
		return nil, err
	}
	return readAll(dst, &r.gz, len(src), max)
}

type lz4Reader struct {
	src bytes.Reader
	lz4 *lz4.Reader
}

// DecompressZstd is Decompress for zstd frames. expect, if positive, is the size that the output should have; it
// saves work when it is right and does no harm when not.
//
// The decoder is told to stay within the capacity of its output, which is enlarged step by step: a frame's own
// claim of its size is never believed, and there is no window besides the output.
func DecompressZstd(dst, src []byte, expect, max int) ([]byte, error) {
	d := zstdDecoders.Get().(*zstd.Decoder)
	defer zstdDecoders.Put(d)
	room := 4*len(src) + 512
	if expect > 0 && expect/64 <= len(src) {
		room = expect
	}
	room = min(max, room)
	for {
		dst = slices.Grow(dst, room)
		limit := min(cap(dst)-len(dst), max)
		out, err := d.DecodeAll(src, dst[:len(dst):len(dst)+limit])
		switch {
		case err == nil:
			return out, nil
		case !errors.Is(err, zstd.ErrDecoderSizeExceeded):
			return nil, fmt.Errorf("%w: zstd: %w", ErrCorrupt, err)
		case limit >= max:
			return nil, tooLarge(max)
		}
		room = min(max, 4*limit)
	}
}

// Codec state is dear to make and cheap to reset, hence the pools. All of it runs on the caller's goroutine.
var (
	gzipReaders  = sync.Pool{New: func() any { return new(gzipReader) }}
	lz4Readers   = sync.Pool{New: func() any { return &lz4Reader{lz4: lz4.NewReader(nil)} }}
	zstdDecoders = sync.Pool{New: func() any {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecodeAllCapLimit(true))
		must(err)
		return d
	}}
)

// must is for options that are constant: they are right or no test passes.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
