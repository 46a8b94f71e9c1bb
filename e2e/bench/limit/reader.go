package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sort"
	"sync"

	"golang.org/x/sys/unix"
)

// readerOptions of newReader. All but CacheBytes are needed.
type readerOptions struct {
	Addr        string // where to listen, host:port
	Endpoint    string // of the store, host:port, plain HTTP
	Bucket      string
	Credentials string // an AWS credentials file
	Cache       string // folder of the cache files, which have no names
	CacheBytes  int64  // kept there; 0: 4 GiB
}

const (
	workers    = 4        // GETs at once
	getBytes   = 8 << 20  // fetched with one GET, about
	aheadBytes = 64 << 20 // decompressed, that one partition is read ahead
)

// reader is the least that could answer Fetch requests from the archive. A segment has one cache file, preallocated when
// its first chunk is asked for. A GET fetches several chunks; a worker reads them through one small buffer, so that what
// it checks and writes is in the processor's cache, and they can be served one by one.
//
// Its memory is bounded by the workers, the indexes apart; goroutines by what is read ahead.
type reader struct {
	*server
	o      readerOptions
	store  *store
	ctx    context.Context // of fills
	cancel context.CancelFunc
	fills  sync.WaitGroup
	slots  chan *buffers // a worker holds one
	topics map[string]map[int32][]*cached

	getBytes, aheadBytes int64 // the constants, but for tests

	mu     sync.Mutex
	change sync.Cond // some chunk is there, or some fill has failed
	used   int64     // guarded by mu: bytes of all cache files
	clock  int64     // guarded by mu
}

// cached is a segment and what is cached of it. All but o is guarded by reader.mu.
type cached struct {
	o     *object
	f     *os.File // nil: nothing is
	state []state  // of each chunk
	busy  int      // fills and answers under way
	last  int64    // reader.clock when it was last used
	err   error    // of the last fill that failed, until the next one
}

type state byte

const (
	absent state = iota
	filling
	ready
)

// newReader reads all indexes and serves.
func newReader(o readerOptions) (*reader, error) {
	if o.CacheBytes <= 0 {
		o.CacheBytes = 4 << 30
	}
	r := &reader{o: o, topics: make(map[string]map[int32][]*cached), getBytes: getBytes, aheadBytes: aheadBytes}
	r.change.L = &r.mu
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.slots = make(chan *buffers, workers)
	for range workers {
		r.slots <- &buffers{piece: make([]byte, pieceBytes)}
	}
	var err error
	if r.store, err = openStore(r.o); err != nil {
		return nil, err
	}
	objects, err := r.store.segments(r.ctx)
	if err != nil {
		return nil, err
	}
	for topic, partitions := range objects {
		r.topics[topic] = make(map[int32][]*cached)
		for p, list := range partitions {
			for _, s := range list {
				r.topics[topic][p] = append(r.topics[topic][p], &cached{o: s, state: make([]state, len(s.chunks))})
			}
		}
	}
	r.server, err = serve(r.o.Addr, func(c *net.TCPConn) error { return answer(c, r) })
	return r, err
}

// Close ends connections and fills, and gives the cache up. It tells why connections had failed.
func (r *reader) Close() error {
	r.cancel()
	r.mu.Lock()
	r.change.Broadcast()
	r.mu.Unlock()
	err := r.close()
	r.fills.Wait()
	for _, t := range r.topics {
		for _, list := range t {
			for _, s := range list {
				if s.f != nil {
					err = errors.Join(err, s.f.Close())
				}
			}
		}
	}
	return err
}

// take implements supply. It waits for the first chunk and gives all that are there; an answer is cut at chunks, the
// first of which may be larger than what was asked for.
func (r *reader) take(topic []byte, partition int32, offset, most int64) (region, int64, error) {
	list := r.topics[string(topic)][partition]
	if len(list) == 0 {
		return region{}, 0, errors.New("no such partition")
	}
	high := list[len(list)-1].o.next
	i := sort.Search(len(list), func(i int) bool { return list[i].o.next > offset })
	if i == len(list) {
		return region{}, high, nil
	}
	s := list[i]
	first := sort.Search(len(s.o.chunks), func(c int) bool { return s.o.chunks[c].next > offset })
	r.mu.Lock()
	defer r.mu.Unlock()
	s.busy++ // so that reading ahead does not take its file away
	found, err := r.await(list[i:], first, offset, most)
	if err != nil {
		s.busy--
		return region{}, high, err
	}
	found.release = func() { r.release(s) }
	return found, high, nil
}

// await is take for the first segment of list, from a chunk on. r.mu is held, and given up while it waits.
func (r *reader) await(list []*cached, first int, offset, most int64) (region, error) {
	s := list[0]
	if err := r.readAhead(list, first); err != nil {
		return region{}, err
	}
	for s.state[first] != ready && s.err == nil && r.ctx.Err() == nil {
		r.change.Wait()
	}
	if s.state[first] != ready {
		return region{}, errors.Join(s.err, r.ctx.Err())
	}
	at := s.o.chunks[first].at
	end := at
	for c := first; c < len(s.state) && s.state[c] == ready && (c == first || end-at+int64(s.o.chunks[c].raw) <= most); c++ {
		end += int64(s.o.chunks[c].raw)
	}
	if offset > s.o.chunks[first].base {
		skip, err := batchesBelow(s.f, at, end, offset)
		if err != nil {
			return region{}, err
		}
		at += skip
	}
	return region{f: s.f, at: at, n: end - at}, nil
}

func (r *reader) release(s *cached) {
	r.mu.Lock()
	s.busy--
	r.mu.Unlock()
}

// batchesBelow is the size of the batches that end at or below an offset.
func batchesBelow(f *os.File, at, end, offset int64) (int64, error) {
	var h [batchHeader]byte
	for from := at; ; {
		if at >= end {
			return 0, fmt.Errorf("no batch holds offset %d", offset)
		}
		if _, err := f.ReadAt(h[:], at); err != nil {
			return 0, err
		}
		if int64(binary.BigEndian.Uint64(h[:]))+int64(binary.BigEndian.Uint32(h[23:])) >= offset {
			return at - from, nil
		}
		at += int64(batchSize(h[:]))
	}
}

// readAhead begins to fill what is not there from a chunk of list's first segment on. r.mu is held.
func (r *reader) readAhead(list []*cached, chunk int) error {
	for left := r.aheadBytes; len(list) > 0 && left > 0; list, chunk = list[1:], 0 {
		s := list[0]
		r.clock++
		s.last = r.clock
		for chunk < len(s.state) && left > 0 {
			if s.state[chunk] != absent {
				left -= int64(s.o.chunks[chunk].raw)
				chunk++
				continue
			}
			if s.f == nil {
				if err := r.makeRoom(s); err != nil {
					return err
				}
			}
			from, bytes := chunk, int64(0)
			for chunk < len(s.state) && s.state[chunk] == absent && bytes < r.getBytes {
				bytes += int64(s.o.chunks[chunk].length)
				left -= int64(s.o.chunks[chunk].raw)
				s.state[chunk] = filling
				chunk++
			}
			to := chunk
			s.busy++
			s.err = nil
			r.fills.Go(func() { r.fill(s, from, to) })
		}
	}
	return nil
}

// makeRoom gives s its file and takes others' that were not used for longest. r.mu is held.
func (r *reader) makeRoom(s *cached) error {
	for r.used+s.o.raw > r.o.CacheBytes {
		var oldest *cached
		for _, t := range r.topics {
			for _, list := range t {
				for _, x := range list {
					if x.f != nil && x.busy == 0 && x != s && (oldest == nil || x.last < oldest.last) {
						oldest = x
					}
				}
			}
		}
		if oldest == nil {
			break // all are in use
		}
		oldest.f.Close()
		oldest.f = nil
		clear(oldest.state)
		r.used -= oldest.o.raw
	}
	fd, err := unix.Open(r.o.Cache, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("make a cache file: %w", err)
	}
	s.f = os.NewFile(uintptr(fd), s.o.key)
	if err := unix.Fallocate(fd, 0, 0, s.o.raw); err != nil {
		return fmt.Errorf("preallocate a cache file: %w", err)
	}
	r.used += s.o.raw
	return nil
}

// fill fetches chunks [from, to) of a segment.
func (r *reader) fill(s *cached, from, to int) {
	b := <-r.slots
	done, err := r.store.chunks(r.ctx, s.o, s.f, from, to, b, func(c int) {
		r.mu.Lock()
		s.state[c] = ready
		r.change.Broadcast()
		r.mu.Unlock()
	})
	r.slots <- b
	r.mu.Lock()
	for c := done; c < to; c++ {
		s.state[c] = absent
	}
	s.busy--
	if err != nil {
		s.err = err
		r.change.Broadcast()
	}
	r.mu.Unlock()
}
