package hot

import (
	"errors"
	"fmt"

	"github.com/firnlog/firn/tier/disk"
)

// Data is what a read found: whole batches in consecutive regions of segment files, which stay readable until Release,
// also if they are trimmed meanwhile.
type Data struct {
	Regions []disk.Region
	// First is the base offset of the first batch, which may be below the offset that was asked for. At the beginning of a
	// segment that was cleaned it may lie in the gap before the first batch.
	First int64
	// Next is where the next read begins: what lies between the last batch and it, a cleaner removed. If there is no batch
	// it is the asked offset, or the end of the gap that this lies in (I-17).
	Next  int64
	Bytes int // length of all regions

	pins []*handle
	one  [1]disk.Region // most reads stay in one segment
	pin  [1]*handle
}

// Release lets go of the files. It must be called once, after the last use of the regions.
func (d *Data) Release() {
	for _, h := range d.pins {
		h.release()
	}
	d.pins, d.Regions = nil, nil
}

// maxRegions bounds how many segments one read goes through.
const maxRegions = 16

// Read returns the batches that hold offset and follow it, up to maxBytes in whole batches, and none that reaches
// beyond limit (an offset above which the caller shows nothing: high watermark, last stable offset, or End). With
// atLeastOne the first batch is returned whatever its size. offset must be in [LocalStart, limit], else ErrOutOfRange;
// at limit, and where nothing fits, Data is empty. A limit above End counts as End.
func (l *Log) Read(offset, limit int64, maxBytes int, atLeastOne bool) (*Data, error) {
	d := new(Data)
	if err := l.ReadTo(d, offset, limit, maxBytes, atLeastOne); err != nil {
		return nil, err
	}
	return d, nil
}

// ReadTo is Read into a Data that the caller has at hand: one that was never used, or was released. On an error there is
// nothing to release.
func (l *Log) ReadTo(d *Data, offset, limit int64, maxBytes int, atLeastOne bool) error {
	return l.readAs(d, offset, limit, maxBytes, atLeastOne, mayWait)
}

// TryReadTo is ReadTo that does not wait for the disk: where finding the batches would mean to open a file, to check an
// index for the first time, or to read what is not in the page cache, it fails with disk.ErrWait. Whether the batches
// themselves are there, it does not ask.
func (l *Log) TryReadTo(d *Data, offset, limit int64, maxBytes int, atLeastOne bool) error {
	return l.readAs(d, offset, limit, maxBytes, atLeastOne, noWait)
}

func (l *Log) readAs(d *Data, offset, limit int64, maxBytes int, atLeastOne bool, as patience) error {
	return l.settled(func() error {
		if offset < l.LocalStart() {
			return l.outOfRange(offset, l.End())
		}
		return l.read(d, offset, limit, int64(maxBytes), atLeastOne, as)
	})
}

// settled calls fn again as long as it meets segments that were trimmed since it looked, and says why if the log was
// closed instead.
func (l *Log) settled(fn func() error) error {
	for {
		err := fn()
		if !errors.Is(err, errGone) {
			return err
		}
		l.mu.Lock()
		closed := l.closed
		l.mu.Unlock()
		if closed != nil {
			return fmt.Errorf("%s: %w", l.name, closed)
		}
	}
}

func (l *Log) read(d *Data, offset, limit, maxBytes int64, atLeastOne bool, as patience) error {
	limit = min(limit, l.End())
	if offset < l.LocalStart() || offset > limit {
		return l.outOfRange(offset, limit)
	}
	d.First, d.Next, d.Bytes = offset, offset, 0
	d.Regions, d.pins = d.one[:0], d.pin[:0]
	if offset == limit {
		return nil
	}
	segs := l.segments()
	i := segmentAt(segs, offset)
	if i < 0 {
		return errGone
	}
	for ; i < len(segs) && len(d.Regions) < maxRegions && d.Next < limit; i++ {
		room := maxBytes - int64(d.Bytes)
		more, err := d.add(segs[i], limit, room, atLeastOne && d.Bytes == 0, as)
		if err != nil {
			d.Release()
			return err
		}
		if !more {
			break
		}
	}
	return nil
}

// add appends what is to be read of s, from d.Next on, and reports whether the next segment may follow.
func (d *Data) add(s *segment, limit, room int64, atLeastOne bool, as patience) (more bool, err error) {
	life := s.log.hints.life.Load()
	from, base, err := s.findAs(d.Next, as)
	if err != nil {
		return false, err
	}
	end, next, err := s.findAs(limit, as)
	if err != nil {
		return false, err
	}
	whole := s.now().size == end // for what is below limit, this is the end of the segment
	if end-from > room {
		whole = false
		end, next, err = s.cut(from, from+room, end, next, atLeastOne, as)
		if err != nil {
			return false, err
		}
	}
	if end <= from {
		if d.Bytes == 0 { // the offset may lie in a gap
			d.Next = max(d.Next, min(next, limit))
		}
		return whole, nil
	}
	h, err := s.file.acquireAs(as)
	if err != nil {
		return false, err
	}
	if d.Bytes == 0 {
		d.First = base
	}
	d.pins = append(d.pins, h)
	d.Regions = append(d.Regions, disk.Region{File: h.File, Position: from, Length: end - from})
	d.Bytes += int(end - from)
	d.Next = min(next, limit) // a cleaned batch may be missing there
	s.log.hints.put(life, s, next, end, 0)
	return whole, nil
}

// cut returns the end of the last batch from position from that ends at or before limit and the offset after it; with
// atLeastOne that of the first batch if it is larger. end and next are where the caller's view ends.
func (s *segment) cut(from, limit, end, next int64, atLeastOne bool, as patience) (pos, offset int64, err error) {
	pos, offset, err = s.boundary(from, limit, end, next, as)
	if err != nil || pos > from || !atLeastOne {
		return pos, offset, err
	}
	err = s.scan(from, end, as, func(sc *scanner) bool {
		pos, offset = sc.pos, sc.h.NextOffset()
		return false
	})
	return pos, offset, err
}

// ReadBytes is Read into memory: at most max bytes of whole batches that hold offset and follow it, none beyond limit,
// but at least one if there is one.
func (l *Log) ReadBytes(offset, limit int64, max int) ([]byte, error) {
	d, err := l.Read(offset, limit, max, true)
	if err != nil {
		return nil, err
	}
	defer d.Release()
	b := make([]byte, d.Bytes)
	at := 0
	for _, r := range d.Regions {
		if err := readFull(r.File, b[at:at+int(r.Length)], r.Position); err != nil {
			return nil, fmt.Errorf("%s: %w", l.name, err)
		}
		at += int(r.Length)
	}
	return b, nil
}
