package cold

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/firnlog/firn/tier/archive"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/segment"
)

// tries is how often a GET is begun without getting a single good chunk before the fill fails.
const tries = 4

// fill fetches a group's chunks and makes them readable one by one. It belongs to no reader (I-22).
func (r *Reader) fill(g *group) {
	defer r.fills.Done()
	began := time.Now()
	err := r.fillSlotted(g)
	r.mu.Lock()
	g.done, g.err = true, err
	var free func()
	if err != nil {
		if r.groups[g.key] == g {
			delete(r.groups, g.key)
		}
		r.policy.drop(g)
		free = r.freeable([]*group{g})
	}
	g.wake()
	r.mu.Unlock()
	switch {
	case err == nil:
		r.metrics.fillSeconds.Observe(time.Since(began).Seconds())
		return
	case r.ctx.Err() == nil && !errors.Is(err, errNoRoom):
		r.metrics.errors.Inc()
		r.o.Logger.Warn("reading the archive failed", "object", g.key.object, "partition", g.a.ix.Meta().Topic.String(),
			"from", g.chunk(0).Base, "to", g.chunk(g.span.count-1).Next, "error", err)
	}
	free()
}

// fillSlotted waits for the budgets and fills.
func (r *Reader) fillSlotted(g *group) error {
	take := func(c chan struct{}) bool {
		select {
		case c <- struct{}{}:
			return true
		case <-r.ctx.Done():
			return false
		}
	}
	if g.ahead {
		if !take(r.ahead) {
			return ErrClosed
		}
		defer func() { <-r.ahead }()
	}
	if !take(r.slots) {
		return ErrClosed
	}
	defer func() { <-r.slots }()
	weight := min(g.span.largest, r.o.InFlightBytes)
	if r.inFlight.Acquire(r.ctx, weight) != nil {
		return ErrClosed
	}
	defer r.inFlight.Release(weight)

	if err := r.giveRoom(g); err != nil {
		return err
	}
	bufs := pool.Get().(*buffers)
	defer bufs.release()
	for failed := 0; ; {
		before := g.ready // only this goroutine changes it
		err := r.fetch(g, bufs)
		if err == nil {
			return nil
		}
		if g.ready > before {
			failed = 0
		}
		if failed++; failed == tries || !again(err) || r.ctx.Err() != nil {
			return classify(g, err)
		}
		r.metrics.retries.Inc()
		t := time.NewTimer(r.o.RetryPause << (failed - 1))
		select {
		case <-t.C:
		case <-r.ctx.Done():
			t.Stop()
			return ErrClosed
		}
	}
}

// again tells whether fetching once more may help: after any fault of transport, and after bad bytes (I-25).
func again(err error) bool {
	return !errors.Is(err, object.ErrNotExist) && !errors.Is(err, object.ErrDenied) && !errors.Is(err, object.ErrNoBucket) &&
		!errors.Is(err, object.ErrRange) && !errors.Is(err, errCache)
}

// errCache marks faults of the cache itself, not of the store.
var errCache = errors.New("chunk cache")

// errNoRoom ends a fill that only reads ahead. A reader that came to wait for it meanwhile begins one of its own.
var errNoRoom = fmt.Errorf("%w: the disk is full, and so is the memory that stands in for it", errCache)

// classify says in the archive's words what is wrong with the object.
func classify(g *group, err error) error {
	switch {
	case errors.Is(err, object.ErrNotExist):
		return fmt.Errorf("%w: %s (offsets %d to %d)", archive.ErrMissing, g.key.object, g.a.seg.Base, g.a.seg.Next)
	case errors.Is(err, segment.ErrCorrupt), errors.Is(err, object.ErrRange):
		return fmt.Errorf("%w: %s (offsets %d to %d): %w", archive.ErrDamaged, g.key.object, g.a.seg.Base, g.a.seg.Next, err)
	}
	return fmt.Errorf("object %s: %w", g.key.object, err)
}

// giveRoom gives the group its file, or memory when the disk has no room.
func (r *Reader) giveRoom(g *group) error {
	if r.o.Room != nil && !r.o.Room(g.size) {
		if r.shrink(g.size); !r.o.Room(g.size) {
			return r.intoMemory(g)
		}
	}
	f, err := r.newFile()
	if err != nil {
		if diskFull(err) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			return r.intoMemory(g)
		}
		return fmt.Errorf("%w: %w", errCache, err)
	}
	r.mu.Lock()
	g.file = f
	r.mu.Unlock()
	return nil
}

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// intoMemory moves the group to memory, with what its file holds already. Somebody who only reads ahead does not
// get memory beyond the budget; somebody who waits does, since it is bounded by the fetches under way.
func (r *Reader) intoMemory(g *group) error {
	r.mu.Lock()
	var victims []*group
	for _, o := range r.groups {
		if r.memUsed+g.size <= r.o.MemoryBytes {
			break
		}
		if o.mem != nil && !o.held() {
			r.policy.drop(o)
			delete(r.groups, o.key)
			r.freeable([]*group{o})() // nothing but memory unless it moved from a file, and closing is quick
			victims = append(victims, o)
		}
	}
	if r.memUsed+g.size > r.o.MemoryBytes && g.pins == 0 {
		r.mu.Unlock()
		return errNoRoom
	}
	r.memUsed += g.size
	f := g.file
	r.mu.Unlock()
	r.metrics.evictions.Add(float64(len(victims)))
	mem := make([]byte, g.size)
	if n := g.starts[g.ready]; n > 0 {
		if _, err := f.ReadAt(mem[:n], 0); err != nil {
			r.mu.Lock()
			r.memUsed -= g.size
			r.mu.Unlock()
			return fmt.Errorf("%w: %w", errCache, err)
		}
	}
	r.mu.Lock()
	g.mem = mem // the file stays open for regions that were handed out
	r.mu.Unlock()
	return nil
}

// buffers are what a fill needs beside the group.
type buffers struct{ stored, raw []byte }

var pool = sync.Pool{New: func() any { return new(buffers) }}

// maxPooled keeps the buffers of a rare giant from staying for ever.
const maxPooled = 8 << 20

func (b *buffers) release() {
	if cap(b.stored)+cap(b.raw) <= maxPooled {
		pool.Put(b)
	}
}

// fetch gets all chunks that are not ready yet with one ranged GET, as far as it comes.
func (r *Reader) fetch(g *group, bufs *buffers) error {
	first, last := g.chunk(g.ready), g.chunk(g.span.count-1)
	length := last.Position + int64(last.Length) - first.Position
	r.metrics.gets.Inc()
	body, err := r.o.Store.Get(r.ctx, g.key.object, g.a.seg.Position+first.Position, length)
	if err != nil {
		return err
	}
	defer body.Close()
	for g.ready < g.span.count {
		c := g.chunk(g.ready)
		bufs.stored = grow(bufs.stored, c.Length)
		if _, err := io.ReadFull(body, bufs.stored); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		r.metrics.fetched.Add(float64(c.Length))
		if err := r.addChunk(g, c, bufs); err != nil {
			return err
		}
	}
	return nil
}

func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// addChunk verifies the next chunk, whose stored bytes are in bufs, and makes it readable.
func (r *Reader) addChunk(g *group, c segment.Chunk, bufs *buffers) error {
	raw := bufs.stored
	if c.Compressed {
		var err error
		if bufs.raw, err = segment.DecodeChunk(bufs.raw[:0], bufs.stored, c); err != nil {
			return err
		}
		raw = bufs.raw
	} else if err := segment.CheckChunk(bufs.stored, c); err != nil {
		return err
	}
	i := g.ready
	marks, err := scan(raw, c, g.starts[i])
	if err != nil {
		return err
	}
	if err := r.store(g, raw, g.starts[i]); err != nil {
		return err
	}
	r.mu.Lock()
	g.marks[i] = marks
	g.ready++
	g.wake()
	r.mu.Unlock()
	return nil
}

// store writes decoded bytes to where the group is kept, moving it to memory when the disk fills up.
func (r *Reader) store(g *group, raw []byte, at int64) error {
	if g.mem == nil {
		_, err := g.file.WriteAt(raw, at)
		if diskFull(err) {
			r.shrink(g.size)
			_, err = g.file.WriteAt(raw, at)
		}
		switch {
		case err == nil:
			return nil
		case !diskFull(err):
			return fmt.Errorf("%w: %w", errCache, err)
		}
		if err := r.intoMemory(g); err != nil {
			return err
		}
	}
	copy(g.mem[at:], raw)
	return nil
}

// scan walks over a chunk's batches, makes sure that they are whole and in order, and notes where some of them
// begin. The chunk's checksum was right, so an error means that its writer was wrong.
func scan(raw []byte, c segment.Chunk, start int64) ([]mark, error) {
	var marks []mark
	it := record.Batches(raw)
	last, next := int64(-markBytes), int64(-1)
	for it.Next() {
		h := it.Header()
		if h.NextOffset() <= next || h.NextOffset() > c.Next || h.LastOffsetDelta < 0 {
			return nil, fmt.Errorf("%w: a batch with offsets %d to %d in a chunk of %d to %d", segment.ErrCorrupt,
				h.BaseOffset, h.LastOffset(), c.Base, c.Next-1)
		}
		next = h.NextOffset()
		if pos := int64(it.Position()); pos-last >= markBytes {
			marks = append(marks, mark{h.BaseOffset, start + pos})
			last = pos
		}
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("%w: the batches of a chunk: %w", segment.ErrCorrupt, err)
	}
	if it.Consumed() != len(raw) {
		return nil, fmt.Errorf("%w: the batches of a chunk are cut short", segment.ErrCorrupt)
	}
	return marks, nil
}
