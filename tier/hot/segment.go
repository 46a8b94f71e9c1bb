package hot

import (
	"encoding/binary"
	"errors"
	"math"
	"sync"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/record"
)

// segment is one .log file with its indexes. The last one of a log is active: it grows.
type segment struct {
	log  *Log
	base int64
	file file
	idx  index // .index
	tidx index // .timeindex

	mu   sync.Mutex
	tail segmentTail // guarded by mu; written by the log's writer only

	// Guarded by the log's mu.
	synced      int64 // bytes of the file known to be durable there; below 0: not even what was cut off it is, see cutTorn
	wroteBack   int64 // bytes that the disk was asked to write back
	entrySynced bool  // the folder's entry for the file is known to be durable

	// Owned by the log's writer.
	sinceIndex int64 // bytes appended since the last index entry
	firstTime  int64 // greatest timestamp of the first batch; NoTimestamp if empty or unknown
	created    int64 // ms: when the segment was begun in this process, for rolling by time
	timeAdded  int64 // timestamp of the last entry in the time index
	reserved   int64 // up to where the file has room on the disk, about; see reserve
}

// segmentTail is what an append changes, read as one so that size and next belong together.
type segmentTail struct {
	size          int64 // bytes of whole batches; the file may be longer (a failed write, preallocation)
	next          int64 // offset after the last batch
	maxTime       int64 // greatest timestamp, NoTimestamp if there is none
	maxTimeOffset int64 // last offset of the first batch that has it
	modified      int64 // ms: the last append
}

func newSegment(l *Log, base int64) *segment {
	s := &segment{log: l, base: base}
	s.file = file{log: l, base: base, suffix: logSuffix}
	s.idx = index{width: indexEntry, file: file{log: l, base: base, suffix: indexSuffix}, verified: true}
	s.tidx = index{width: timeIndexEntry, file: file{log: l, base: base, suffix: timeIndexSuffix}, verified: true}
	s.tail = noTime(base)
	s.firstTime, s.timeAdded = record.NoTimestamp, record.NoTimestamp
	return s
}

func (s *segment) now() segmentTail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tail
}

func (s *segment) set(t segmentTail) {
	s.mu.Lock()
	s.tail = t
	s.mu.Unlock()
}

// note enters a batch that lies at position pos = t.size into the indexes and into t. Like Kafka, an entry is
// made for the first batch after more than interval bytes without one.
func (s *segment) note(t *segmentTail, h *record.Header, interval int64) (flush bool) {
	if t.size == 0 {
		s.firstTime = h.MaxTimestamp
	}
	if h.MaxTimestamp > t.maxTime {
		t.maxTime, t.maxTimeOffset = h.MaxTimestamp, h.LastOffset()
	}
	if s.sinceIndex > interval {
		var e [maxIndexEntry]byte
		binary.BigEndian.PutUint32(e[0:], uint32(h.LastOffset()-s.base))
		binary.BigEndian.PutUint32(e[4:], uint32(t.size))
		flush = s.idx.add(e[:indexEntry])
		flush = s.addTime(t) || flush
		s.sinceIndex = 0
	}
	s.sinceIndex += int64(h.Size())
	t.size += int64(h.Size())
	t.next = h.NextOffset()
	return flush
}

// addTime enters the greatest timestamp so far into the time index, unless it stands there.
func (s *segment) addTime(t *segmentTail) (flush bool) {
	if t.maxTime <= s.timeAdded {
		return false
	}
	var e [maxIndexEntry]byte
	binary.BigEndian.PutUint64(e[0:], uint64(t.maxTime))
	binary.BigEndian.PutUint32(e[8:], uint32(t.maxTimeOffset-s.base))
	s.timeAdded = t.maxTime
	return s.tidx.add(e[:timeIndexEntry])
}

// flushIndexes writes what the indexes hold in memory. A failure costs nothing but memory: the next one tries again.
func (s *segment) flushIndexes() error {
	return errors.Join(s.idx.flush(), s.tidx.flush())
}

// syncIndexes makes the indexes durable, and reports whether the folder has their names for good. Without the folder being
// synced afterwards, if not, they may still be lost.
func (s *segment) syncIndexes() (named bool, err error) {
	idx, err := s.idx.sync()
	if err != nil {
		return false, err
	}
	tidx, err := s.tidx.sync()
	return idx && tidx, err
}

// setNamed notes that the folder has the names of the indexes for good.
func (s *segment) setNamed() { s.noteIndexes(func(x *index) { x.named = true }) }

// noteIndexes notes something of both indexes; the offset index comes last, for checkIndexes goes by it.
func (s *segment) noteIndexes(note func(*index)) {
	for _, x := range []*index{&s.tidx, &s.idx} {
		x.mu.Lock()
		note(x)
		x.mu.Unlock()
	}
}

// finish completes the indexes of a segment that does not grow (any more, or until the next start): the last
// entry of the time index is the greatest timestamp of all, and both files exist.
func (s *segment) finish() error {
	t := s.now()
	s.addTime(&t)
	if err := s.flushIndexes(); err != nil {
		return err
	}
	for _, x := range []*index{&s.idx, &s.tidx} {
		h, err := x.file.acquire(true)
		if err != nil {
			return err
		}
		h.release()
	}
	return nil
}

// shut closes the segment's files as soon as their users are done.
func (s *segment) shut() {
	s.file.shut()
	s.idx.file.shut()
	s.tidx.file.shut()
}

// find returns position and base offset of the first batch that ends above offset: the one that holds the offset
// or, if there is none, the next. At the end of the segment these are the size and the next offset. Everything
// before that position is wholly below or at offset.
func (s *segment) find(offset int64) (pos, base int64, err error) { return s.findAs(offset, mayWait) }

func (s *segment) findAs(offset int64, as patience) (pos, base int64, err error) {
	t := s.now()
	if offset >= t.next {
		return t.size, t.next, nil
	}
	if offset <= s.base {
		return 0, s.base, nil
	}
	if pos, ok := s.log.hints.get(s, offset); ok {
		return pos, offset, nil
	}
	from, err := s.floor(byOffset, offset-s.base, as)
	if err != nil {
		return 0, 0, err
	}
	pos, base = t.size, t.next
	err = s.scan(from, t.size, as, func(sc *scanner) bool {
		if sc.h.NextOffset() <= offset {
			return true
		}
		pos, base = sc.at, sc.h.BaseOffset
		return false
	})
	return pos, base, err
}

// boundary returns the end of the last batch that begins at or after position from and ends at or before limit,
// or from if there is none, and the base offset of the batch that follows. end is the segment's end for the
// caller, and next the offset there.
func (s *segment) boundary(from, limit, end, next int64, as patience) (pos, base int64, err error) {
	if limit >= end {
		return end, next, nil
	}
	if pos, base, ok := s.log.hints.boundary(s, from, limit); ok {
		return pos, base, nil
	}
	life := s.log.hints.life.Load()
	floor, err := s.floor(byPosition, limit, as)
	if err != nil {
		return 0, 0, err
	}
	pos, base = end, next
	err = s.scan(max(from, floor), end, as, func(sc *scanner) bool {
		if sc.pos > limit {
			pos, base = sc.at, sc.h.BaseOffset
			s.log.hints.put(life, s, base, pos, sc.pos)
			return false
		}
		return true
	})
	return pos, base, err
}

// scan calls fn for each batch from position pos, where one must begin, to end, until fn returns false.
func (s *segment) scan(pos, end int64, as patience, fn func(*scanner) bool) error {
	if pos >= end {
		return nil // the file of an empty log need not be there
	}
	h, err := s.file.acquireAs(as)
	if err != nil {
		return err
	}
	defer h.release()
	b := getBuf(smallBuf)
	defer putBuf(b)
	sc := b.scan(h.File, pos, end, as)
	for sc.next() {
		if !fn(sc) {
			return nil
		}
	}
	return sc.err
}

// walk is scan for going through much of a segment.
func (s *segment) walk(pos, end int64, fn func(*record.Header, int64)) error {
	if pos >= end {
		return nil
	}
	h, err := s.file.acquire(false)
	if err != nil {
		return err
	}
	defer h.release()
	b := getBuf(largeBuf)
	defer putBuf(b)
	sc := b.scan(h.File, pos, end, mayWait)
	for sc.next() {
		fn(&sc.h, sc.at)
	}
	return sc.err
}

// floor returns the largest known position where a batch begins from which what is looked for is found by walking on: by
// offset, v is relative to the base of the segment. Its only error is disk.ErrWait.
func (s *segment) floor(field indexField, v int64, as patience) (int64, error) {
	if err := s.checkIndexesAs(as); errors.Is(err, disk.ErrWait) {
		return 0, err
	} else if err != nil {
		s.log.dir.logger.Warn("an index cannot be used, reading goes on without it",
			"partition", s.log.name, "segment", s.base, "error", err)
		return 0, nil
	}
	top := s.now().size // of what the field can be
	if field == byOffset {
		top = s.now().next - s.base
	}
	e, ok, err := s.idx.floor(field, v, top, as)
	switch {
	case err == nil && ok:
		return byPosition.of(e[:]), nil
	case errors.Is(err, disk.ErrWait):
		return 0, err
	}
	return 0, nil // without an index, a walk from the start finds everything
}

// checkIndexes makes sure, once after a start, that the index files were not damaged by a power cut, and builds them
// again if they were. The active segment's are seen to when the log is opened.
func (s *segment) checkIndexes() error { return s.checkIndexesAs(mayWait) }

func (s *segment) checkIndexesAs(as patience) error {
	s.idx.mu.Lock()
	ok := s.idx.verified
	s.idx.mu.Unlock()
	if ok {
		return nil
	}
	if as == noWait { // all of both files is read
		return disk.ErrWait
	}
	s.log.indexMu.Lock()
	defer s.log.indexMu.Unlock()
	s.idx.mu.Lock()
	ok = s.idx.verified
	s.idx.mu.Unlock()
	if ok {
		return nil
	}
	err := s.verifyIndexes()
	if err != nil {
		s.log.dir.logger.Info("building the indexes of a segment again", "partition", s.log.name,
			"segment", s.base, "because", err)
		return s.rebuild()
	}
	s.setVerified()
	return nil
}

// verifyIndexes reads both index files and says what is wrong with them.
func (s *segment) verifyIndexes() error {
	t := s.now()
	err := s.idx.verify(s.idx.len(), offsetFields, [2]int64{t.next - s.base, t.size - 1})
	if err == nil {
		err = s.tidx.verify(s.tidx.len(), timeFields, [2]int64{math.MaxInt64, t.next - s.base})
	}
	return err
}

func (s *segment) setVerified() { s.noteIndexes(func(x *index) { x.verified = true }) }

// rebuild makes both indexes anew from the batches. The segment must not grow meanwhile. Readers that come in
// between find less than there is, and walk further.
func (s *segment) rebuild() error {
	if err := errors.Join(s.idx.reset(), s.tidx.reset()); err != nil {
		return err
	}
	end := s.now().size
	t := noTime(s.base)
	s.sinceIndex, s.timeAdded = 0, record.NoTimestamp
	interval := int64(s.log.config().IndexIntervalBytes)
	var ferr error
	err := s.walk(0, end, func(h *record.Header, _ int64) {
		if s.note(&t, h, interval) && ferr == nil {
			ferr = s.flushIndexes()
		}
	})
	if err = errors.Join(err, ferr); err != nil {
		return err
	}
	t.modified = s.now().modified
	s.set(t)
	defer s.log.changed()
	return s.finish()
}
