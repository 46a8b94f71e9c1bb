package cold

import (
	"time"

	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

// streams recognises sequential readers: a read that begins where an earlier one of the same partition ended
// continues its stream, and the longer the stream the further it is read ahead. Consumers are not known here by
// name; a few streams a partition are enough, because what many consumers read at one place they share in the
// cache. It is pure; the caller locks.
type streams struct {
	limit int // streams remembered in all
	clock int64
	all   map[topic.Partition][]*stream
	count int

	active  int       // streams that are read ahead, as of
	counted time.Time // …
}

// stream is one sequential reader.
type stream struct {
	next   int64 // where it goes on
	window int64 // bytes to read ahead
	busy   bool  // reading ahead is being arranged: wanted bytes from at on
	looked int64 // the window when it was arranged last
	since  int64 // bytes read since then
	used   int64 // streams.clock of the last read
	last   time.Time

	ledger     *ledger.Ledger // with wanted and at: constant while busy
	at, wanted int64
	readAhead  func() // made once
}

const (
	streamsPerPartition = 8
	// A stream that was not read for so long is not being read: what is read ahead is shared by the others.
	restAfter = 5 * time.Second
	// countEvery is how often the streams are counted.
	countEvery = time.Second
)

func newStreams(limit int) *streams {
	return &streams{limit: limit, all: make(map[topic.Partition][]*stream)}
}

// read notes a read of [from, next), so many bytes, and gives its stream. first is the window of a stream once its second read
// shows that it is one; it doubles with each read up to longest.
func (s *streams) read(p topic.Partition, from, next, bytes, first, longest int64, now time.Time) *stream {
	s.clock++
	list := s.all[p]
	for _, st := range list {
		if st.next == from {
			st.next, st.used, st.last = next, s.clock, now
			st.since += bytes
			st.window = min(max(first, 2*st.window), longest)
			return st
		}
	}
	fresh := stream{next: next, used: s.clock, last: now}
	if len(list) < streamsPerPartition {
		st := new(stream)
		*st = fresh
		if s.count >= s.limit {
			s.forgetSome()
			list = s.all[p]
		}
		s.all[p] = append(list, st)
		s.count++
		return st
	}
	oldest := 0
	for i, o := range list {
		if o.used < list[oldest].used {
			oldest = i
		}
	}
	if list[oldest].busy { // whoever arranges its reading ahead still has it
		list[oldest] = new(stream)
	}
	*list[oldest] = fresh
	return list[oldest]
}

// readers tells how many streams are read ahead, about, and at least 1.
func (s *streams) readers(now time.Time) int {
	if since := now.Sub(s.counted); since < 0 || since >= countEvery {
		s.counted, s.active = now, 0
		for _, list := range s.all {
			for _, st := range list {
				if st.window > 0 && now.Sub(st.last) < restAfter {
					s.active++
				}
			}
		}
	}
	return max(s.active, 1)
}

// forgetSome drops the older half of all streams. It is linear and rare.
func (s *streams) forgetSome() {
	line := s.clock - int64(s.limit/2)
	s.count = 0
	for p, list := range s.all {
		kept := list[:0]
		for _, st := range list {
			if st.used > line {
				kept = append(kept, st)
			}
		}
		if len(kept) == 0 {
			delete(s.all, p)
			continue
		}
		clear(list[len(kept):])
		s.all[p] = kept
		s.count += len(kept)
	}
}
