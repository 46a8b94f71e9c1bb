package record

import (
	"fmt"
	"math"
)

// Iterator walks the whole batches of a byte slice. The zero Iterator is at the end of nothing. Not for
// concurrent use. It does not allocate unless it meets a fault.
//
//	it := record.Batches(b)
//	for it.Next() {
//		use(it.Header(), it.Bytes())
//	}
//	if err := it.Err(); err != nil { … }
type Iterator struct {
	b      []byte
	header Header
	pos    int // of the current batch
	next   int // of the one after
	err    error
}

// Batches returns an Iterator that stands before the first batch of b.
func Batches(b []byte) Iterator { return Iterator{b: b} }

// Next moves to the next batch. It reports false at the end of the bytes, and at a batch that is cut short
// (ErrTruncated), of another magic (ErrMagic), or whose length or offsets cannot be (ErrInvalid): then Err says
// so and Consumed tells where that batch begins. CRC and records are not looked at.
func (it *Iterator) Next() bool {
	it.pos = it.next
	if it.err != nil || it.next >= len(it.b) {
		return false
	}
	h, err := frame(it.b[it.next:])
	if err == nil && (h.LastOffsetDelta < 0 || h.BaseOffset > math.MaxInt64-1-int64(h.LastOffsetDelta)) {
		err = fmt.Errorf("%w: base offset %d with last offset delta %d", ErrInvalid, h.BaseOffset, h.LastOffsetDelta)
	}
	if err != nil {
		it.err = fmt.Errorf("batch at byte %d: %w", it.next, err)
		return false
	}
	it.header = h
	it.next += h.Size()
	return true
}

// Header is the current batch's header.
func (it *Iterator) Header() Header { return it.header }

// Bytes is the current batch, whole. It aliases the slice that is walked.
func (it *Iterator) Bytes() []byte { return it.b[it.pos:it.next:it.next] }

// Position is where the current batch begins in the slice.
func (it *Iterator) Position() int { return it.pos }

// Consumed is where the last whole batch that Next accepted ends.
func (it *Iterator) Consumed() int { return it.next }

// Err is the fault that ended the walk, nil at the end of the bytes. A fetch answer may end in a batch that is
// cut short: ErrTruncated is then no fault.
func (it *Iterator) Err() error { return it.err }

// Find returns where in b, whole batches in order of offset, the first batch with NextOffset > offset begins: the
// batch that holds the offset, or, if a cleaner removed it, the next that exists. ok is false if there is none.
// A batch that cannot be walked over ends the search.
func Find(b []byte, offset int64) (pos int, ok bool) {
	for it := Batches(b); it.Next(); {
		if it.header.NextOffset() > offset {
			return it.pos, true
		}
	}
	return 0, false
}
