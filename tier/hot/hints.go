package hot

import (
	"sync"
	"sync/atomic"
)

// hints remembers a few places where batches begin: consumers go on where they stopped, and every fetch ends at
// the same high watermark, so most reads need no index. Consumers that read the same, one behind the other, end at the same
// places: only the first of them looks for those. Logs that many read from at once are given more places.
type hints struct {
	life atomic.Int64 // changes when places do

	mu   sync.Mutex
	ring []hint
	next int
	miss bool // somebody looked in vain since the last place was taken
}

const (
	fewHints  = 8
	mostHints = 64
)

type hint struct {
	s           *segment
	offset, pos int64 // of a batch
	end         int64 // position at which it ends, 0: not known
}

// get returns the position of the batch that begins at offset.
func (h *hints) get(s *segment, offset int64) (pos int64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.ring {
		if e := &h.ring[i]; e.s == s && e.offset == offset {
			return e.pos, true
		}
	}
	h.miss = true
	return 0, false
}

// boundary returns the batch after position from that begins at or before limit and ends beyond.
func (h *hints) boundary(s *segment, from, limit int64) (pos, offset int64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.ring {
		if e := &h.ring[i]; e.s == s && from < e.pos && e.pos <= limit && limit < e.end {
			return e.pos, e.offset, true
		}
	}
	h.miss = true
	return 0, 0, false
}

// put remembers a batch, which was found in that life: who looked before batches were cut off may come after others took their
// offsets. end is where it ends, 0 if that is not known.
func (h *hints) put(life int64, s *segment, offset, pos, end int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if life != h.life.Load() {
		return
	}
	for i := range h.ring {
		if e := &h.ring[i]; e.s == s && e.offset == offset {
			e.end = max(e.end, end)
			return
		}
	}
	n := len(h.ring)
	if n < fewHints || h.miss && n < mostHints {
		h.ring = append(h.ring, hint{})
		copy(h.ring[h.next+1:], h.ring[h.next:]) // the oldest stay the next to go
	}
	h.miss = false
	h.ring[h.next] = hint{s, offset, pos, end}
	h.next = (h.next + 1) % len(h.ring)
}

func (h *hints) clear() {
	h.mu.Lock()
	h.life.Add(1)
	clear(h.ring)
	h.mu.Unlock()
}
