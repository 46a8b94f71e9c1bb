package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/klauspost/compress/snappy"
)

// Snappy in Kafka comes in the framing of the snappy-java library, here called xerial: a magic, a version and a
// compatible version (4 bytes each), then blocks, each a big-endian length and that many bytes of raw snappy.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const (
	xerialHeader    = 16
	xerialVersion   = 1
	xerialBlockSize = 32 << 10 // of uncompressed bytes; what snappy-java takes by default

	// maxSnappyRatio is more than snappy can compress by: its densest element turns 3 bytes into 64. A block that
	// claims more lies, and is refused before memory is taken for it.
	maxSnappyRatio = 22
)

func compressXerial(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = binary.BigEndian.AppendUint32(dst, xerialVersion)
	dst = binary.BigEndian.AppendUint32(dst, xerialVersion)
	for len(src) > 0 {
		block := src[:min(len(src), xerialBlockSize)]
		src = src[len(block):]
		n := snappy.MaxEncodedLen(len(block))
		dst = slices.Grow(dst, 4+n)
		enc := snappy.Encode(dst[len(dst)+4:len(dst)+4+n], block)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(enc)))
		dst = append(dst, enc...)
	}
	return dst
}

// unsnappy appends the decompressed src, xerial or raw, to dst.
func unsnappy(dst, src []byte, max int) ([]byte, error) {
	start := len(dst)
	if !bytes.HasPrefix(src, xerialMagic) {
		return appendSnappyBlock(dst, src, start, max)
	}
	if len(src) < xerialHeader {
		return nil, fmt.Errorf("%w: snappy: header of %d bytes", ErrCorrupt, len(src))
	}
	src = src[xerialHeader:] // the versions never changed, and not every client writes them right
	for len(src) > 0 {
		if len(src) < 4 {
			return nil, fmt.Errorf("%w: snappy: %d bytes after the last block", ErrCorrupt, len(src))
		}
		n := binary.BigEndian.Uint32(src)
		src = src[4:]
		if uint64(n) > uint64(len(src)) {
			return nil, fmt.Errorf("%w: snappy: block of %d bytes, %d are left", ErrCorrupt, n, len(src))
		}
		var err error
		if dst, err = appendSnappyBlock(dst, src[:n], start, max); err != nil {
			return nil, err
		}
		src = src[n:]
	}
	return dst, nil
}

// appendSnappyBlock decodes one raw block; what dst holds from start on counts against max.
func appendSnappyBlock(dst, block []byte, start, max int) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil || n > maxSnappyRatio*len(block) {
		return nil, fmt.Errorf("%w: snappy: block of %d bytes claims %d", ErrCorrupt, len(block), n)
	}
	if n > max-(len(dst)-start) {
		return nil, tooLarge(max)
	}
	dst = slices.Grow(dst, n)
	if _, err = snappy.Decode(dst[len(dst):len(dst)+n], block); err != nil {
		return nil, fmt.Errorf("%w: snappy: %w", ErrCorrupt, err)
	}
	return dst[:len(dst)+n], nil
}
