package cold

import (
	"container/list"
	"context"
	"fmt"
	"io"
	"sort"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/segment"
)

// archived is an opened segment: its index, cut into groups.
type archived struct {
	seg    ledger.Segment
	ix     *segment.Index
	groups []span
}

// span is the chunks [first, first+count) of a segment.
type span struct {
	first, count int
	raw          int64 // decoded bytes
	stored       int64 // bytes in the object
	largest      int64 // what a fill holds in memory at most: a piece of a raw chunk, a compressed one as stored and decoded
}

// cutGroups cuts a segment into groups of about maxStored bytes to fetch and maxRaw to keep, at least a chunk each.
// The same index always gives the same groups.
func cutGroups(chunks []segment.Chunk, maxStored, maxRaw int64) []span {
	var out []span
	var s span
	for i, c := range chunks {
		raw, stored := int64(c.RawLength), int64(c.Length)
		if s.count > 0 && (s.raw+raw > maxRaw || s.stored+stored > maxStored) {
			out = append(out, s)
			s = span{first: i}
		}
		s.count++
		s.raw += raw
		s.stored += stored
		if c.Compressed {
			s.largest = max(s.largest, raw+stored)
		} else {
			s.largest = max(s.largest, min(stored, pieceBytes))
		}
	}
	if s.count > 0 {
		out = append(out, s)
	}
	return out
}

// groupOf tells which group has the chunk.
func (a *archived) groupOf(chunk int) int {
	return sort.Search(len(a.groups), func(i int) bool { return a.groups[i].first+a.groups[i].count > chunk })
}

// groupKey names a group: the segment's place in the store and the group's number.
type groupKey struct {
	object   string
	position int64
	number   int
}

// key names group n.
func (a *archived) key(n int) groupKey { return groupKey{a.seg.Key, a.seg.Position, n} }

// mark says where, in a group's decoded bytes, a batch begins. There is one about every markBytes.
type mark struct {
	offset   int64 // base offset of the batch
	position int64
}

const markBytes = 16 << 10

// group is one group in the cache, or on its way in or out.
type group struct {
	// Set before the group is shared, and constant.
	key    groupKey
	a      *archived
	span   span
	size   int64   // span.raw
	starts []int64 // where each chunk begins in the decoded bytes, and the end

	// Guarded by Reader.mu. Chunks below ready are complete and never change: they are read without the lock.
	ready   int // decoded chunks
	marks   [][]mark
	done    bool          // the fill has ended
	err     error         // … with this
	changed chan struct{} // closed and replaced when ready, done or err change
	pins    int           // reads under way
	seen    int64         // decoded bytes up to which it was read at least once
	unread  bool          // begun by reading ahead, and not read yet
	spared  bool          // … and was due to be evicted once; see policy
	freq    int           // reads over bytes seen before; see policy
	queue   *queue        // nil: not in the cache
	place   *list.Element
	file    *cacheFile // set before the first chunk is ready
	at      int64      // where it begins in the file
	mem     []byte     // instead of, or from some chunk on beside, the file
}

// held tells whether the group must stay. Reader.mu is held.
func (g *group) held() bool { return g.pins > 0 || !g.done }

// chunk gives the i-th chunk of the group.
func (g *group) chunk(i int) segment.Chunk { return g.a.ix.Chunks()[g.span.first+i] }

// view is what a reader that pinned the group may see of it.
type view struct {
	g     *group
	file  disk.File
	at    int64
	mem   []byte
	ready int
	marks [][]mark
	head  []byte // scratch of record.HeaderSize bytes
	now   bool   // headers are not waited for
}

// end is the position after the last chunk that is ready.
func (v *view) end() int64 { return v.g.starts[v.ready] }

// ReadAt reads decoded bytes below end.
func (v *view) ReadAt(p []byte, off int64) (int, error) {
	if v.mem != nil {
		return v.copyAt(p, off)
	}
	return v.file.ReadAt(p, v.at+off)
}

// ReadNow is ReadAt; where that would wait for the disk the error is disk.ErrWait.
func (v *view) ReadNow(p []byte, off int64) (int, error) {
	if v.mem != nil {
		return v.copyAt(p, off)
	}
	if v.file.Waits() {
		return 0, disk.ErrWait
	}
	return v.file.ReadNow(p, v.at+off)
}

func (v *view) copyAt(p []byte, off int64) (int, error) {
	n := copy(p, v.mem[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// region gives the bytes [from, to) to be sent.
func (v *view) region(from, to int64) disk.Region {
	if v.mem != nil {
		return disk.Region{Bytes: v.mem[from:to:to]}
	}
	return disk.Region{File: v.file, Position: v.at + from, Length: to - from}
}

// chunkBytes reads one chunk's batches into buf.
func (v *view) chunkBytes(i int, buf []byte) ([]byte, error) {
	n := int(v.g.starts[i+1] - v.g.starts[i])
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := v.ReadAt(buf, v.g.starts[i]); err != nil {
		return buf, fmt.Errorf("read the cache: %w", err)
	}
	return buf, nil
}

// header reads the batch header at pos.
func (v *view) header(pos int64) (record.Header, error) {
	var err error
	if v.now {
		_, err = v.ReadNow(v.head, pos)
	} else {
		_, err = v.ReadAt(v.head, pos)
	}
	if err != nil {
		return record.Header{}, fmt.Errorf("read the cache: %w", err)
	}
	return record.ParseHeader(v.head)
}

// batchAt finds, in chunk i, the first batch that ends above offset.
func (v *view) batchAt(i int, offset int64) (pos int64, h record.Header, ok bool, err error) {
	pos, end := v.g.starts[i], v.g.starts[i+1]
	marks := v.marks[i]
	if n := sort.Search(len(marks), func(n int) bool { return marks[n].offset > offset }); n > 0 {
		pos = marks[n-1].position
	}
	for pos < end {
		if h, err = v.header(pos); err != nil {
			return 0, h, false, err
		}
		if h.NextOffset() > offset {
			return pos, h, true, nil
		}
		pos += int64(h.Size())
	}
	return 0, h, false, nil
}

// cut tells where a read that begins with the batch h at pos ends: after as many whole batches as fit in limit
// bytes, at least the first when atLeastOne, and below end. next is the offset after the last of them.
func (v *view) cut(pos int64, h record.Header, limit int64, atLeastOne bool) (to, next int64, err error) {
	if end := v.end(); end-pos <= limit {
		return end, v.g.chunk(v.ready - 1).Next, nil
	}
	to, next = pos, h.BaseOffset
	if m, ok := v.lastMark(pos, pos+limit); ok {
		to, next = m.position, m.offset
	}
	for to < v.end() {
		if to != pos {
			if h, err = v.header(to); err != nil {
				return 0, 0, err
			}
		}
		size := int64(h.Size())
		if to+size > pos+limit && !(atLeastOne && to == pos) {
			break
		}
		to, next = to+size, h.NextOffset()
	}
	return to, next, nil
}

// lastMark gives the last mark in (after, upTo].
func (v *view) lastMark(after, upTo int64) (mark, bool) {
	i := sort.Search(v.ready, func(i int) bool { return v.g.starts[i] > upTo }) - 1
	if i < 0 {
		return mark{}, false
	}
	marks := v.marks[i]
	n := sort.Search(len(marks), func(n int) bool { return marks[n].position > upTo }) - 1
	if n < 0 || marks[n].position <= after {
		return mark{}, false
	}
	return marks[n], true
}

// await waits until chunk i (of the group) is ready and gives a view of the group, which the caller has pinned.
func (r *Reader) await(ctx context.Context, g *group, i int) (view, error) {
	for {
		r.mu.Lock()
		if g.ready > i {
			v := g.viewLocked()
			r.mu.Unlock()
			return v, nil
		}
		err, changed := g.err, g.changed
		r.mu.Unlock()
		if err != nil {
			return view{}, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return view{}, ctx.Err()
		}
	}
}

func (g *group) viewLocked() view {
	v := view{g: g, at: g.at, mem: g.mem, ready: g.ready, marks: g.marks[:g.ready:g.ready]}
	if g.file != nil {
		v.file = g.file.f
	}
	return v
}

// wake tells waiters that something changed. Reader.mu is held.
func (g *group) wake() {
	close(g.changed)
	g.changed = make(chan struct{})
}
