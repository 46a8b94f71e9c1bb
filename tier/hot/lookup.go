package hot

import (
	"fmt"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/record"
)

// TimeResult is a record that a lookup by time found.
type TimeResult struct {
	Offset    int64
	Timestamp int64 // ms
	Epoch     int32 // leader epoch of its batch
}

// OffsetForTime returns the first record in [LocalStart, limit) whose timestamp is at least ts (ms); false if there is
// none. As in Kafka, segments and batches are chosen by their greatest timestamps, then the record by its own. A batch
// whose records cannot be decoded counts as a whole, by its header; that is logged, and no error.
func (l *Log) OffsetForTime(ts, limit int64) (r TimeResult, ok bool, err error) {
	err = l.settled(func() error {
		r, ok, err = l.offsetForTime(ts, limit)
		return err
	})
	return r, ok && err == nil, err
}

func (l *Log) offsetForTime(ts, limit int64) (TimeResult, bool, error) {
	limit = min(limit, l.End())
	start := l.LocalStart()
	for _, s := range l.segments() {
		if s.base >= limit {
			break
		}
		if t := s.now(); t.next <= start || t.maxTime < ts {
			continue
		}
		r, ok, err := s.findTime(ts, start, limit)
		if err != nil || ok {
			return r, ok, err
		}
	}
	return TimeResult{}, false, nil
}

func (s *segment) findTime(ts, start, limit int64) (r TimeResult, ok bool, err error) {
	from, err := s.floorTime(ts, start)
	if err != nil {
		return r, false, err
	}
	t := s.now()
	h, err := s.file.acquire(false)
	if err != nil {
		return r, false, err
	}
	defer h.release()
	b := getBuf(smallBuf)
	defer putBuf(b)
	sc := scanner{f: h.File, pos: from, end: t.size, b: b.b}
	for sc.next() {
		if sc.h.BaseOffset >= limit {
			return r, false, nil
		}
		if sc.h.MaxTimestamp < ts || sc.h.LastOffset() < start {
			continue
		}
		r, ok := s.findRecord(h.File, &sc, ts, start)
		if ok {
			return r, r.Offset < limit, nil
		}
	}
	return r, false, sc.err
}

// floorTime returns a position before which no batch reaches ts.
func (s *segment) floorTime(ts, start int64) (int64, error) {
	if s.checkIndexes() != nil {
		return 0, nil //nolint:nilerr // a walk from the beginning finds it as well
	}
	e, ok, err := s.tidx.floor(byTime, ts-1, 0, mayWait) // up to and with that entry, all are below ts
	offset := max(start, s.base)
	if ok && err == nil {
		offset = max(offset, s.base+byTimeOffset.of(e[:]))
	}
	pos, _, err := s.find(offset)
	return pos, err
}

// findRecord finds the first record of the scanner's batch with a timestamp of at least ts and an offset of at least
// start.
func (s *segment) findRecord(f disk.File, sc *scanner, ts, start int64) (TimeResult, bool) {
	r := TimeResult{Epoch: sc.h.LeaderEpoch}
	found := false
	err := s.decode(f, sc, func(b []byte, most int) (err error) {
		if sc.h.BaseOffset >= start {
			r.Offset, r.Timestamp, found, err = record.FindTimestamp(b, ts, most)
			return err
		}
		return record.Records(b, most, func(_ int, rec *record.Record) error { // the start lies within the batch
			if t, off := sc.h.Timestamp(rec), sc.h.Offset(rec); !found && t >= ts && off >= start {
				r.Offset, r.Timestamp, found = off, t, true
			}
			return nil
		})
	})
	if err == nil {
		return r, found
	}
	s.log.dir.logger.Warn("a batch cannot be decoded, a lookup by time takes it as a whole",
		"partition", s.log.name, "offset", sc.h.BaseOffset, "error", err)
	r.Offset, r.Timestamp = max(start, sc.h.BaseOffset), sc.h.MaxTimestamp
	return r, true
}

// decode calls fn with the scanner's batch and how far it may be decompressed. It takes one of a few places before it reads
// the batch: a client can have any number of lookups wait, and what waits holds none (I-32). Only then it waits for its turn
// to decompress: those turns are also producers', who must not wait for a lookup's disk.
func (s *segment) decode(f disk.File, sc *scanner, fn func(b []byte, most int) error) error {
	d := s.log.dir
	d.lookups <- struct{}{}
	defer func() { <-d.lookups }()
	b := make([]byte, sc.h.Size())
	if err := readFull(f, b, sc.at); err != nil {
		return err
	}
	return d.o.Unpack.DoStored(sc.h.Codec(), func(most int) error { return fn(b, most) })
}

// MaxTimestamp returns the first record in [LocalStart, limit) that has the greatest timestamp; false if there is no
// record with one. limit must be where a batch ends; a batch that the start lies in counts as a whole, as in Kafka.
func (l *Log) MaxTimestamp(limit int64) (r TimeResult, ok bool, err error) {
	err = l.settled(func() error {
		r, ok, err = l.maxTimestamp(limit)
		return err
	})
	return r, ok && err == nil, err
}

func (l *Log) maxTimestamp(limit int64) (TimeResult, bool, error) {
	limit = min(limit, l.End())
	start := l.LocalStart()
	var best *segment
	bestTime, bestOffset := int64(record.NoTimestamp), int64(0)
	for _, s := range l.segments() {
		if s.base >= limit {
			break
		}
		t := s.now()
		if t.next > limit || s.base < start { // only a part of it counts
			var err error
			if t.maxTime, t.maxTimeOffset, err = s.maxTimeWithin(start, limit); err != nil {
				return TimeResult{}, false, err
			}
		}
		if t.maxTime > bestTime {
			best, bestTime, bestOffset = s, t.maxTime, t.maxTimeOffset
		}
	}
	if best == nil {
		return TimeResult{}, false, nil
	}
	r, err := best.maxTimeRecord(bestOffset)
	return r, err == nil, err
}

// maxTimeWithin returns the greatest timestamp of the batches in [start, limit) and the last offset of the first batch
// that has it.
func (s *segment) maxTimeWithin(start, limit int64) (maxTime, offset int64, err error) {
	maxTime, offset = record.NoTimestamp, s.base
	from := int64(0)
	if start > s.base {
		if from, _, err = s.find(start); err != nil {
			return 0, 0, err
		}
	} else if err := s.checkIndexes(); err == nil {
		// The index says what the greatest is up to one of its entries.
		e, ok, err := s.tidx.floor(byTimeOffset, limit-1-s.base, 0, mayWait)
		if err == nil && ok {
			maxTime, offset = byTime.of(e[:]), s.base+byTimeOffset.of(e[:])
			if from, _, err = s.find(offset); err != nil {
				return 0, 0, err
			}
		}
	}
	end, _, err := s.find(limit)
	if err != nil {
		return 0, 0, err
	}
	err = s.walk(from, end, func(h *record.Header, _ int64) {
		if h.MaxTimestamp > maxTime {
			maxTime, offset = h.MaxTimestamp, h.LastOffset()
		}
	})
	return maxTime, offset, err
}

// maxTimeRecord returns the first record with the greatest timestamp of the batch that holds the offset.
func (s *segment) maxTimeRecord(offset int64) (TimeResult, error) {
	pos, _, err := s.find(offset)
	if err != nil {
		return TimeResult{}, err
	}
	h, err := s.file.acquire(false)
	if err != nil {
		return TimeResult{}, err
	}
	defer h.release()
	buf := getBuf(smallBuf)
	defer putBuf(buf)
	sc := scanner{f: h.File, pos: pos, end: s.now().size, b: buf.b}
	if !sc.next() {
		return TimeResult{}, fmt.Errorf("no batch at offset %d: %w", offset, sc.err)
	}
	r := TimeResult{Timestamp: sc.h.MaxTimestamp, Epoch: sc.h.LeaderEpoch}
	err = s.decode(h.File, &sc, func(b []byte, most int) error {
		r.Offset = record.MaxTimestampOffset(b, most)
		return nil
	})
	return r, err
}
