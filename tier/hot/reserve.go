package hot

import (
	"math"

	"github.com/firnlog/firn/tier/disk"
)

// A log that is flushed itself, batch by batch, grows its file with each: to find room for the bytes costs the file system
// more than to have it (some 10% of a flush), so room is taken ahead.
const (
	reserveFrom  = 32 << 10 // bytes of one write; what is less is the journal's to flush
	reserveShare = 4        // the part of the segment that is taken ahead
	leastReserve = 1 << 20
	mostReserve  = 8 << 20
)

// reserve takes room for n bytes at a position of the file, which are about to be written, and for more. It is only a help:
// without room the write will say so. The caller is the writer.
func (s *segment) reserve(cfg *Config, h disk.File, at, n int64) {
	ahead := min(at/reserveShare, mostReserve)
	if n < reserveFrom || at+n <= s.reserved || ahead < leastReserve || cfg.Preallocate || !cfg.flushMode() {
		return
	}
	if h.Reserve(at, n+ahead) != nil {
		s.reserved = math.MaxInt64 // not again for this segment
		return
	}
	s.reserved = at + n + ahead
}
