package cold

import (
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

// ReadCached is Read, into a Data that the caller has at hand, of what is in the cache: it waits for nobody, and, as a read
// of the local log, for nothing but the local disk; unless wait is set, not even for that: what of the cache would have to
// be read from there is not found, and ends what it gives. Where that does not do it reports false, and there is nothing to release: Read knows the
// data, or why there are none. d must not have been used before, or be released.
func (r *Reader) ReadCached(d *Data, p topic.Partition, l *ledger.Ledger, offset int64, maxBytes int, wait bool) bool {
	if offset < l.Start || offset >= l.Next {
		return false
	}
	d.reset(r, l.Next)
	d.now = !wait
	if !r.firstCached(l, d, offset, int64(maxBytes)) {
		return false
	}
	r.readRest(p, l, d, offset, maxBytes)
	return true
}

// firstCached is readFirst without waiting. An error is left to be met, and told, by Read.
func (r *Reader) firstCached(l *ledger.Ledger, d *Data, offset, limit int64) bool {
	for at := offset; at < l.Next; {
		a, ok := r.peek(l, at)
		if !ok {
			return false
		}
		chunks := a.ix.Chunks()
		for c, ok := a.ix.FindOffset(at); ok && c < len(chunks); c++ {
			v, ok := r.resident(a, c)
			if !ok {
				return false
			}
			found, err := r.take(&v, c-v.g.span.first, at, limit, true, d)
			if found {
				r.metrics.hits.Inc()
				return true
			}
			if err != nil {
				return false
			}
		}
		at = a.seg.Next // nothing was left from at on: compaction removed it (I-17)
	}
	return true
}
