package cold

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

// acquire gives group n of a, pinned, and begins to fill it if nobody has. With ahead it only makes sure that the
// group is there or on its way, pins nothing, and gives nil; it does nothing when there is no room.
func (r *Reader) acquire(a *archived, n int, ahead bool) (*group, error) {
	k := groupKey{a.seg.Key, a.seg.Position, n}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, ErrClosed
	}
	if g := r.groups[k]; g != nil {
		if ahead {
			g = nil
		} else {
			g.pins++
			r.metrics.hits.Inc()
		}
		r.mu.Unlock()
		return g, nil
	}
	s := a.groups[n]
	victims, room := r.policy.evict(s.raw)
	free := r.evicted(victims)
	if ahead && !room {
		r.mu.Unlock()
		free()
		return nil, nil
	}
	g := newGroup(a, n)
	g.ahead = ahead
	if !ahead {
		g.pins = 1
		r.metrics.misses.Inc()
	} else {
		r.metrics.prefetches.Inc()
	}
	r.groups[k] = g
	r.policy.admit(g)
	r.fills.Add(1)
	r.mu.Unlock()
	free()
	go r.fill(g)
	if ahead {
		return nil, nil
	}
	return g, nil
}

func newGroup(a *archived, n int) *group {
	s := a.groups[n]
	g := &group{key: groupKey{a.seg.Key, a.seg.Position, n}, a: a, span: s, size: s.raw, changed: make(chan struct{}),
		starts: make([]int64, s.count+1), marks: make([][]mark, s.count)}
	for i := range s.count {
		g.starts[i+1] = g.starts[i] + int64(g.chunk(i).RawLength)
	}
	return g
}

// resident gives the group of chunk c, pinned, if that chunk can be read at once.
func (r *Reader) resident(a *archived, c int) (*group, *view) {
	n := a.groupOf(c)
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.groups[groupKey{a.seg.Key, a.seg.Position, n}]
	if g == nil || g.ready <= c-g.span.first {
		return nil, nil
	}
	g.pins++
	return g, g.viewLocked()
}

// unpin lets go of a group; the last one out of an evicted or failed group frees it.
func (r *Reader) unpin(g *group) {
	r.mu.Lock()
	g.pins--
	free := func() {}
	if g.queue == nil {
		free = r.freeable([]*group{g})
	}
	r.mu.Unlock()
	free()
}

// evicted takes victims of the policy out of the map and gives what frees them. mu is held; call free without it.
func (r *Reader) evicted(victims []*group) (free func()) {
	for _, g := range victims {
		delete(r.groups, g.key)
		r.metrics.evictions.Inc()
	}
	return r.freeable(victims)
}

// freeable gives a function that closes the files of those groups that nobody holds. The groups are out of the
// cache. mu is held; call the function without it.
func (r *Reader) freeable(gs []*group) (free func()) {
	var files []disk.File
	for _, g := range gs {
		if g.held() {
			continue // unpin or the fill's end comes back here
		}
		if g.mem != nil {
			r.memUsed -= g.size
			g.mem = nil
		}
		if g.file != nil {
			files = append(files, g.file)
			g.file = nil
		}
	}
	return func() {
		for _, f := range files {
			_ = f.Close() // unlinked already: this is what frees the space, and nothing in it is needed
		}
	}
}

// shrink evicts about n bytes, to make room on the disk.
func (r *Reader) shrink(n int64) {
	r.mu.Lock()
	victims, _ := r.policy.evict(r.policy.budget - r.policy.used() + n)
	free := r.evicted(victims)
	r.mu.Unlock()
	free()
}

var fileNumber atomic.Int64

// newFile makes an unlinked file in the cache folder.
func (r *Reader) newFile() (disk.File, error) {
	name := filepath.Join(r.o.CacheDir, fmt.Sprintf("group-%d", fileNumber.Add(1)))
	f, err := r.o.FS.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	if err := r.o.FS.Remove(name); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cache: %w", err)
	}
	return f, nil
}

// follow notes a read of [from, next) and reads ahead when it belongs to a sequential reader.
func (r *Reader) follow(p topic.Partition, l *ledger.Ledger, from, next int64) {
	r.mu.Lock()
	st := r.streams.read(p, from, next, 2*min(r.o.GroupBytes, r.maxRaw), r.o.ReadAheadBytes)
	start := st.window > 0 && !st.busy && !r.closed && next < l.Next
	if start {
		st.busy = true
		r.fills.Add(1)
	}
	window := st.window
	r.mu.Unlock()
	if start {
		go r.readAhead(st, l, next, window)
	}
}

// readAhead begins to fetch what follows offset at, window bytes of it, over segment ends if need be.
func (r *Reader) readAhead(st *stream, l *ledger.Ledger, at, window int64) {
	defer r.fills.Done()
	defer func() {
		r.mu.Lock()
		st.busy = false
		r.mu.Unlock()
	}()
	for window > 0 && at < l.Next {
		a, err := r.find(r.ctx, l, at)
		if err != nil {
			return // the reader itself meets it and reports it
		}
		c, ok := a.ix.FindOffset(at)
		if !ok {
			at = a.seg.Next
			continue
		}
		n := a.groupOf(c)
		if _, err := r.acquire(a, n, true); err != nil {
			return
		}
		s := a.groups[n]
		window -= s.raw
		at = a.ix.Chunks()[s.first+s.count-1].Next
	}
}
