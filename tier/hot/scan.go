package hot

import (
	"fmt"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/record"
)

// headersAlone is the size of a batch above which the header that follows is read alone. From the page cache a read costs
// about what copying 8 KiB does, so passing over records pays from a little more than that on. A disk that has to be waited
// for reads ahead, and gives all of it sooner than pieces of which less than this is passed over.
const headersAlone = 32 << 10

// scanner walks through the batch headers of a part of a segment. Bodies are not read when batches are large
// (headersAlone, or half of the buffer), and CRCs are not checked: recovery does that.
type scanner struct {
	f    disk.File
	as   patience
	pos  int64 // of the batch after the current one
	end  int64 // no batch goes beyond
	b    []byte
	from int64 // position of b[0]
	n    int   // bytes of b that are filled
	h    record.Header
	at   int64 // position of the current batch
	err  error
}

// next moves to the next batch; false at the end and on an error.
func (s *scanner) next() bool {
	if s.err != nil || s.pos >= s.end {
		return false
	}
	b, err := s.header()
	if err != nil {
		s.err = err
		return false
	}
	h, err := record.ParseHeader(b)
	if err == nil {
		err = plausible(h, s.end-s.pos)
	}
	if err != nil {
		s.err = fmt.Errorf("%s: position %d: %w: %w", s.f.Name(), s.pos, ErrCorruptLog, err)
		return false
	}
	s.h, s.at = h, s.pos
	s.pos += int64(h.Size())
	return true
}

// header returns the bytes of the header at s.pos.
func (s *scanner) header() ([]byte, error) {
	if i := s.pos - s.from; i >= 0 && i+record.HeaderSize <= int64(s.n) {
		return s.b[i : i+record.HeaderSize], nil
	}
	want := int64(len(s.b))
	if int64(s.h.Size()) > min(want/2, headersAlone) {
		want = record.HeaderSize
	}
	want = min(want, s.end-s.pos)
	s.from, s.n = s.pos, 0
	if want < record.HeaderSize {
		return nil, fmt.Errorf("%s: position %d: %d bytes are no batch: %w", s.f.Name(), s.pos, want, ErrCorruptLog)
	}
	if err := readFullAs(s.f, s.b[:want], s.pos, s.as); err != nil {
		return nil, err
	}
	s.n = int(want)
	return s.b[:record.HeaderSize], nil
}

// plausible says why a header cannot be that of a batch with room for at most limit bytes.
func plausible(h record.Header, limit int64) error {
	switch {
	case h.Magic != record.Magic:
		return fmt.Errorf("%w: %d", record.ErrMagic, h.Magic)
	case h.Size() < record.HeaderSize || int64(h.Size()) > limit:
		return fmt.Errorf("%w: %d bytes with %d left", record.ErrInvalid, h.Size(), limit)
	case h.BaseOffset < 0 || h.LastOffsetDelta < 0 || h.LastOffset() < h.BaseOffset:
		return fmt.Errorf("%w: offsets %d to %d", record.ErrInvalid, h.BaseOffset, h.LastOffset())
	}
	return nil
}
