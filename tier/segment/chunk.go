package segment

import (
	"errors"
	"hash/crc32"
	"slices"

	"github.com/firnlog/firn/tier/record"
)

// DecodeChunk appends the record batches of a chunk, whose stored bytes are stored, to dst. Length and CRC-32C are
// checked before anything else (I-25), and no more than RawLength bytes are decompressed. Errors are ErrCorrupt.
// A chunk that is not Compressed is copied: to avoid that, use CheckChunk and the stored bytes themselves.
func DecodeChunk(dst, stored []byte, c Chunk) ([]byte, error) {
	if err := CheckChunk(stored, c); err != nil {
		return dst, err
	}
	if !c.Compressed {
		return append(dst, stored...), nil
	}
	out, err := record.DecompressZstd(dst, stored, c.RawLength, c.RawLength)
	switch {
	case errors.Is(err, record.ErrTooLarge):
		return dst, corrupt("the chunk at %d decompresses to more than %d bytes", c.Position, c.RawLength)
	case err != nil:
		return dst, corrupt("the chunk at %d does not decompress: %v", c.Position, err)
	case len(out)-len(dst) != c.RawLength:
		return dst, corrupt("the chunk at %d decompresses to %d bytes, not %d", c.Position, len(out)-len(dst), c.RawLength)
	}
	return out, nil
}

// CheckChunk verifies length and CRC-32C of a chunk's stored bytes (I-25).
func CheckChunk(stored []byte, c Chunk) error {
	if len(stored) != c.Length {
		return corrupt("the chunk at %d has %d bytes, not %d", c.Position, len(stored), c.Length)
	}
	return CheckCRC(crc32.Checksum(stored, castagnoli), c)
}

// CheckCRC is for who computed the CRC-32C of a chunk's stored bytes, all c.Length of them, while they came in (I-25).
func CheckCRC(crc uint32, c Chunk) error {
	if crc != c.CRC32C {
		return corrupt("the CRC-32C of the chunk at %d is %08x, not %08x", c.Position, crc, c.CRC32C)
	}
	return nil
}

// minSaving is by how much, in percent, a frame must be smaller than the batches to be worth a decompression at every
// read.
const minSaving = 5

// worthIt reports whether a chunk of raw bytes is stored as a frame of packed bytes.
func worthIt(raw, packed int) bool { return packed <= raw-raw*minSaving/100 && packed < raw }

// sortedBy is a sorted copy.
func sortedBy[T any](s []T, cmp func(a, b T) int) []T {
	s = slices.Clone(s)
	slices.SortStableFunc(s, cmp)
	return s
}
