package segment

import (
	"fmt"
	"io"

	"github.com/firnlog/firn/tier/record"
)

// VerifyIndex reads the whole segment that begins at r's first byte and holds its index against its data: checksums of
// chunks and batches, offsets, timestamps, sums. Uploaders call it before they upload (I-16): an index that is wrong in
// the archive would hide records for ever. Errors: ErrCorrupt, ErrUnsupported, and those of r.
func VerifyIndex(ix *Index, r io.ReaderAt) error {
	var head [HeaderSize]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return fmt.Errorf("reading the header of a cold segment: %w", err)
	}
	if err := checkHeader(head[:]); err != nil {
		return err
	}
	v := verifier{ix: ix, next: ix.meta.Base, sums: noSums}
	var stored, decoded []byte
	var err error
	for i, c := range ix.chunks {
		if stored, err = readChunk(stored, r, c); err != nil {
			return fmt.Errorf("chunk %d: %w", i, err)
		}
		batches := stored
		if c.Compressed {
			decoded, err = DecodeChunk(decoded[:0], stored, c)
			batches = decoded
		} else {
			err = CheckChunk(stored, c)
		}
		if err != nil {
			return fmt.Errorf("chunk %d: %w", i, err)
		}
		if err := v.chunk(c, batches); err != nil {
			return fmt.Errorf("chunk %d: %w", i, err)
		}
	}
	if v.sums != ix.sums {
		return corrupt("the index says %+v, the batches %+v", ix.sums, v.sums)
	}
	return nil
}

// readChunk reads a chunk's stored bytes, into buf if it is large enough.
func readChunk(buf []byte, r io.ReaderAt, c Chunk) ([]byte, error) {
	if cap(buf) < c.Length {
		buf = make([]byte, c.Length)
	}
	buf = buf[:c.Length]
	if _, err := r.ReadAt(buf, c.Position); err != nil && err != io.EOF {
		return buf, fmt.Errorf("reading %d bytes at %d: %w", c.Length, c.Position, err)
	}
	return buf, nil
}

// verifier computes from the batches what the index should say.
type verifier struct {
	ix   *Index
	next int64 // offset after the last batch seen
	sums sums
}

func (v *verifier) chunk(c Chunk, batches []byte) error {
	var minTime, maxTime int64
	start := len(batches)
	for len(batches) > 0 {
		h, err := record.CheckStored(batches)
		if err != nil {
			return corrupt("batch at offset %d: %v", h.BaseOffset, err)
		}
		first := len(batches) == start
		// Only the segment's first batch may begin below what it covers.
		if h.BaseOffset < max(v.next, c.Base) && v.sums.data > 0 || h.NextOffset() <= c.Base || h.NextOffset() > c.Next {
			return corrupt("the batch with offsets %d to %d is not of a chunk with offsets %d to %d",
				h.BaseOffset, h.LastOffset(), c.Base, c.Next-1)
		}
		if h.LeaderEpoch > v.ix.meta.Epoch {
			return corrupt("the batch at offset %d has leader epoch %d, the segment %d", h.BaseOffset, h.LeaderEpoch, v.ix.meta.Epoch)
		}
		if ts := h.FirstTimestamp(); first || ts < minTime {
			minTime = ts
		}
		if ts := h.MaxTimestamp; first || ts > maxTime {
			maxTime = ts
		}
		v.note(h, batches[:h.Size()])
		batches = batches[h.Size():]
	}
	if minTime != c.MinTimestamp || maxTime != c.MaxTimestamp {
		return corrupt("its timestamps go from %d to %d, the index says %d to %d", minTime, maxTime, c.MinTimestamp, c.MaxTimestamp)
	}
	return nil
}

// note adds a batch to the sums.
func (v *verifier) note(h record.Header, b []byte) {
	if ts := h.FirstTimestamp(); v.sums.data == 0 || ts < v.sums.minTimestamp {
		v.sums.minTimestamp = ts
	}
	if h.MaxTimestamp > v.sums.maxTimestamp {
		v.sums.maxTimestamp = h.MaxTimestamp
		v.sums.maxTimestampOffset = record.MaxTimestampOffset(b, record.DefaultMaxDecoded)
	}
	v.sums.data += int64(len(b))
	v.next = h.NextOffset()
}
