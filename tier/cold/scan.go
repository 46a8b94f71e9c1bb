package cold

import (
	"fmt"

	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/segment"
)

// scanner walks over a chunk's batches as their bytes come in, makes sure that they are whole and in order, and notes
// where some of them begin. Where the chunk's checksum is right, an error means that its writer was wrong.
type scanner struct {
	chunk segment.Chunk
	start int64 // of the chunk in its group
	marks []mark

	at     int64 // bytes of the chunk seen
	batch  int64 // where the next batch begins
	offset int64 // after the batch before it; -1: none
	head   [record.HeaderSize]byte
	have   int // bytes of a header that was cut, in head
}

func scan(c segment.Chunk, start int64) scanner { return scanner{chunk: c, start: start, offset: -1} }

// feed takes the chunk's next bytes.
func (s *scanner) feed(p []byte) error {
	begin := s.at
	s.at += int64(len(p))
	for s.batch < s.at {
		var h record.Header
		var err error
		if from := s.batch - begin; s.have == 0 && s.at-s.batch >= record.HeaderSize {
			h, err = record.ParseHeader(p[from:])
		} else {
			s.have += copy(s.head[s.have:], p[max(from, 0):])
			if s.have < len(s.head) {
				return nil
			}
			s.have = 0
			h, err = record.ParseHeader(s.head[:])
		}
		if err == nil {
			err = s.add(h)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// add notes the batch that begins at s.batch.
func (s *scanner) add(h record.Header) error {
	size := int64(h.Size())
	if h.Magic != record.Magic || size < record.HeaderSize || s.batch+size > int64(s.chunk.RawLength) {
		return fmt.Errorf("%w: what lies at byte %d of a chunk with offsets %d to %d is no batch", segment.ErrCorrupt, s.batch,
			s.chunk.Base, s.chunk.Next-1)
	}
	if h.NextOffset() <= s.offset || h.NextOffset() > s.chunk.Next || h.LastOffsetDelta < 0 {
		return fmt.Errorf("%w: a batch with offsets %d to %d in a chunk of %d to %d", segment.ErrCorrupt,
			h.BaseOffset, h.LastOffset(), s.chunk.Base, s.chunk.Next-1)
	}
	s.offset = h.NextOffset()
	if pos := s.start + s.batch; len(s.marks) == 0 || pos-s.marks[len(s.marks)-1].position >= markBytes {
		s.marks = append(s.marks, mark{h.BaseOffset, pos})
	}
	s.batch += size
	return nil
}

// end reports whether the bytes that were fed end with a batch.
func (s *scanner) end() error {
	if s.have > 0 || s.batch != s.at || s.at != int64(s.chunk.RawLength) {
		return fmt.Errorf("%w: the batches of a chunk are cut short", segment.ErrCorrupt)
	}
	return nil
}
