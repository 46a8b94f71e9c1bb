package cold

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/firnlog/firn/tier/archive"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/segment"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// tries is how often a GET is begun without getting a single good chunk before the fill fails.
const tries = 4

// run is adjacent groups of one segment on their way, fetched with one GET. It belongs to no reader (I-22).
type run struct {
	groups []*group
	ahead  bool       // begun by reading ahead
	file   *cacheFile // nil: none was needed yet
}

// fill fetches a run's chunks and makes them readable one by one.
func (r *Reader) fill(n *run) {
	defer r.fills.Done()
	began := time.Now()
	done, err := r.fillSlotted(n)
	if n.file != nil {
		r.mu.Lock()
		free := r.leave(n.file, 0, 0)
		r.mu.Unlock()
		free()
	}
	if err == nil {
		r.metrics.fillSeconds.Observe(time.Since(began).Seconds())
		return
	}
	lost := n.groups[done:]
	r.mu.Lock()
	for _, g := range lost {
		g.done, g.err = true, err
		if r.groups[g.key] == g {
			delete(r.groups, g.key)
		}
		r.policy.drop(g)
		g.wake()
	}
	free := r.freeable(lost)
	r.mu.Unlock()
	if r.ctx.Err() == nil && !errors.Is(err, errNoRoom) {
		r.metrics.errors.Inc()
		g := lost[0]
		r.o.Logger.Warn("reading the archive failed", "object", g.key.object, "partition", g.a.ix.Meta().Topic.String(),
			"from", g.chunk(0).Base, "to", g.chunk(g.span.count-1).Next, "error", err)
	}
	free()
}

// fillSlotted waits for the budgets and fills. It tells how many groups are complete.
func (r *Reader) fillSlotted(n *run) (done int, err error) {
	take := func(c chan struct{}) bool {
		select {
		case c <- struct{}{}:
			return true
		case <-r.ctx.Done():
			return false
		}
	}
	if n.ahead {
		if !take(r.ahead) {
			return 0, ErrClosed
		}
		defer func() { <-r.ahead }()
	}
	if !take(r.slots) {
		return 0, ErrClosed
	}
	defer func() { <-r.slots }()
	weight := int64(0)
	for _, g := range n.groups {
		weight = max(weight, min(g.span.largest, r.o.InFlightBytes))
	}
	if r.inFlight.Acquire(r.ctx, weight) != nil {
		return 0, ErrClosed
	}
	defer r.inFlight.Release(weight)

	bufs := pool.Get().(*buffers)
	defer bufs.release()
	for failed := 0; done < len(n.groups); {
		done0, ready0 := done, n.groups[done].ready // only this goroutine changes them
		if done, err = r.fetch(n, done, bufs); err == nil {
			break
		}
		if done > done0 || n.groups[done].ready > ready0 {
			failed = 0
		}
		if failed++; failed == tries || !again(err) || r.ctx.Err() != nil {
			return done, classify(n.groups[done], err)
		}
		r.metrics.retries.Inc()
		t := time.NewTimer(r.o.RetryPause << (failed - 1))
		select {
		case <-t.C:
		case <-r.ctx.Done():
			t.Stop()
			return done, ErrClosed
		}
	}
	return done, nil
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

// giveRoom gives a group of a run its place in the run's file, or memory when the disk has no room, unless it has it.
func (r *Reader) giveRoom(n *run, g *group) error {
	if g.file != nil || g.mem != nil {
		return nil
	}
	if r.o.Room != nil && !r.o.Room(g.size) {
		if r.shrink(g.size); !r.o.Room(g.size) {
			return r.intoMemory(g, 0)
		}
	}
	if n.file == nil {
		f, err := r.newFile()
		if err != nil {
			if disk.Full(err) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				return r.intoMemory(g, 0)
			}
			return fmt.Errorf("%w: %w", errCache, err)
		}
		n.file = &cacheFile{f: f, users: 1}
	}
	r.mu.Lock()
	g.file, g.at = n.file, n.file.used
	n.file.users++
	r.mu.Unlock()
	n.file.used += g.size
	return nil
}

// intoMemory moves the group to memory, with the first n bytes, which its file holds already. Somebody who only reads
// ahead does not get memory beyond the budget; somebody who waits does, since it is bounded by the fetches under way.
func (r *Reader) intoMemory(g *group, n int64) error {
	r.mu.Lock()
	room := func() bool { return r.memUsed+g.size <= r.o.MemoryBytes }
	var frees []func()
	for _, o := range r.groups {
		if room() {
			break
		}
		if o.mem != nil && !o.held() {
			r.policy.drop(o)
			delete(r.groups, o.key)
			frees = append(frees, r.freeable([]*group{o}))
		}
	}
	enough := room() || g.pins > 0
	if enough {
		r.memUsed += g.size
	}
	r.mu.Unlock()
	for _, free := range frees {
		free()
	}
	r.metrics.evictions.Add(float64(len(frees)))
	if !enough {
		return errNoRoom
	}
	mem := make([]byte, g.size)
	if n > 0 {
		if _, err := g.file.f.ReadAt(mem[:n], g.at); err != nil {
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

// pieceBytes of a raw chunk are read, checked and written at a time: few enough to stay in the processor's cache.
const pieceBytes = 256 << 10

// buffers are what a fill needs beside the group: a piece of a raw chunk, or a compressed one as stored and as decoded.
type buffers struct{ stored, raw []byte }

var pool = sync.Pool{New: func() any { return new(buffers) }}

// maxPooled keeps the buffers of a rare giant from staying for ever.
const maxPooled = 8 << 20

func (b *buffers) release() {
	if cap(b.stored)+cap(b.raw) <= maxPooled {
		pool.Put(b)
	}
}

// fetch gets all chunks from the first that is not ready in n.groups[done] on, with one GET, as far as it comes. It
// tells how many groups are complete now.
func (r *Reader) fetch(n *run, done int, bufs *buffers) (int, error) {
	g, end := n.groups[done], n.groups[len(n.groups)-1]
	first, last := g.chunk(g.ready), end.chunk(end.span.count-1)
	length := last.Position + int64(last.Length) - first.Position
	r.metrics.gets.Inc()
	body, err := r.o.Store.Get(r.ctx, g.key.object, g.a.seg.Position+first.Position, length)
	if err != nil {
		return done, err
	}
	defer body.Close()
	for ; done < len(n.groups); done++ {
		g := n.groups[done]
		if err := r.giveRoom(n, g); err != nil {
			return done, err
		}
		for g.ready < g.span.count {
			c := g.chunk(g.ready)
			add := r.addRaw
			if c.Compressed {
				add = r.addCompressed
			}
			if err := add(g, c, body, bufs); err != nil {
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return done, err
			}
			r.metrics.fetched.Add(float64(c.Length))
		}
	}
	return done, nil
}

func grow(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// addRaw puts the next chunk, which is stored raw, where it is kept, and makes it readable once its checksum was found
// right: until then nobody looks there (I-25).
func (r *Reader) addRaw(g *group, c segment.Chunk, body io.Reader, bufs *buffers) error {
	bufs.stored = grow(bufs.stored, min(c.Length, pieceBytes))
	crc, s := uint32(0), scan(c, g.starts[g.ready])
	var wrong error // a piece that is damaged may look like anything: what the checksum says comes first
	for at := 0; at < c.Length; {
		piece := bufs.stored[:min(len(bufs.stored), c.Length-at)]
		r.yield(g, len(piece))
		if _, err := io.ReadFull(body, piece); err != nil {
			return err
		}
		modest := r.begin()
		crc = crc32.Update(crc, castagnoli, piece)
		if wrong == nil {
			wrong = s.feed(piece)
		}
		err := r.store(g, piece, s.start+int64(at))
		r.end(modest)
		if err != nil {
			return err
		}
		at += len(piece)
	}
	if err := segment.CheckCRC(crc, c); err != nil {
		return err
	}
	return r.added(g, &s, wrong)
}

// addCompressed decodes the next chunk, puts it where it is kept and makes it readable.
func (r *Reader) addCompressed(g *group, c segment.Chunk, body io.Reader, bufs *buffers) (err error) {
	r.yield(g, c.RawLength)
	bufs.stored = grow(bufs.stored, c.Length)
	if _, err := io.ReadFull(body, bufs.stored); err != nil {
		return err
	}
	modest := r.begin()
	defer r.end(modest)
	if bufs.raw, err = segment.DecodeChunk(bufs.raw[:0], bufs.stored, c); err != nil {
		return err
	}
	s := scan(c, g.starts[g.ready])
	if err := s.feed(bufs.raw); err != nil {
		return err
	}
	if err := r.store(g, bufs.raw, s.start); err != nil {
		return err
	}
	return r.added(g, &s, nil)
}

// added makes the group's next chunk readable, unless something is wrong with its batches.
func (r *Reader) added(g *group, s *scanner, wrong error) error {
	if wrong == nil {
		wrong = s.end()
	}
	if wrong != nil {
		return wrong
	}
	r.mu.Lock()
	g.marks[g.ready] = s.marks
	g.ready++
	g.done = g.ready == g.span.count
	g.wake()
	r.mu.Unlock()
	return nil
}

// begin waits for a place among those fills that use a processor: one for each processor, and half as many while producers
// write, for a replay must not stand in their way. end gives it back, and lets others go first.
func (r *Reader) begin() (modest bool) {
	r.working <- struct{}{}
	if modest = r.o.Producing != nil && r.o.Producing(); modest {
		r.modest <- struct{}{}
	}
	return modest
}

func (r *Reader) end(modest bool) {
	if modest {
		<-r.modest
	}
	<-r.working
	runtime.Gosched()
}

// store writes decoded bytes to where the group is kept, moving it to memory when the disk fills up.
func (r *Reader) store(g *group, raw []byte, at int64) error {
	if g.mem == nil {
		_, err := g.file.f.WriteAt(raw, g.at+at)
		if disk.Full(err) {
			r.shrink(g.size)
			_, err = g.file.f.WriteAt(raw, g.at+at)
		}
		switch {
		case err == nil:
			return nil
		case !disk.Full(err):
			return fmt.Errorf("%w: %w", errCache, err)
		}
		if err := r.intoMemory(g, at); err != nil {
			return err
		}
	}
	copy(g.mem[at:], raw)
	return nil
}
