package hot

import (
	"encoding/binary"
	"fmt"
	"sync"
)

// The two indexes of a segment, in Kafka's formats (OffsetIndex, TimeIndex), all numbers big-endian, offsets
// relative to the segment's base:
//
//	.index      last offset of a batch int32, position of that batch in the segment int32
//	.timeindex  greatest timestamp so far int64, last offset of the batch that has it int32
//
// Every field of an index grows from entry to entry, which is what makes both searchable by each of theirs, and
// what shows when a page of the file was lost in a power cut: index files are synced now and then only (checkpoint), for
// what they lack can be built again from the segment.
const (
	indexEntry     = 8
	timeIndexEntry = 12
	maxIndexEntry  = timeIndexEntry
	// tailBytes of entries are kept in memory before they are written: an append does not pay for two more
	// system calls.
	tailBytes = 4096
)

// index is one of a segment's index files with the entries that are not in it yet.
type index struct {
	file  file
	width int

	wmu sync.Mutex // serialises writes of the file; taken before mu

	mu       sync.Mutex
	onDisk   int    // entries in the file
	tail     []byte // entries after those
	verified bool   // the file is known to hold onDisk good entries
	named    bool   // the folder's entry for the file is known to be durable
}

// indexField is where a number stands in an entry.
type indexField struct {
	at   int
	wide bool // int64, else int32
}

var (
	byOffset     = indexField{at: 0}             // .index
	byPosition   = indexField{at: 4}             // .index
	byTime       = indexField{at: 0, wide: true} // .timeindex
	byTimeOffset = indexField{at: 8}             // .timeindex
)

// The fields of an entry of each index, for verify.
var (
	offsetFields = [2]indexField{byOffset, byPosition}
	timeFields   = [2]indexField{byTime, byTimeOffset}
)

func (f indexField) of(entry []byte) int64 {
	if f.wide {
		return int64(binary.BigEndian.Uint64(entry[f.at:]))
	}
	return int64(int32(binary.BigEndian.Uint32(entry[f.at:])))
}

func (x *index) len() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.onDisk + len(x.tail)/x.width
}

// add appends an entry, in memory; full reports that it is time to flush.
func (x *index) add(entry []byte) (full bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tail = append(x.tail, entry...)
	return len(x.tail) >= tailBytes
}

// flush writes the tail to the file and gives its memory back. The write is not under the mutex that readers need.
func (x *index) flush() error {
	x.wmu.Lock()
	defer x.wmu.Unlock()
	x.mu.Lock()
	tail, at := x.tail, int64(x.onDisk*x.width)
	x.mu.Unlock()
	if len(tail) == 0 {
		return nil
	}
	h, err := x.file.acquire(true)
	if err != nil {
		return err
	}
	defer h.release()
	if _, err := h.WriteAt(tail, at); err != nil {
		return err
	}
	x.mu.Lock()
	x.onDisk += len(tail) / x.width
	if x.tail = x.tail[len(tail):]; len(x.tail) == 0 {
		x.tail = nil
	}
	x.mu.Unlock()
	return nil
}

// reset empties the index; the file's content is cut off.
func (x *index) reset() error { return x.cut(0) }

// cut keeps the first n entries. Everything must be in the file. The cut is durable, unlike what is written to an index:
// if entries of batches that were cut off came back, nothing would tell them from those that took their place.
func (x *index) cut(n int) error {
	x.wmu.Lock()
	defer x.wmu.Unlock()
	h, err := x.file.acquire(true)
	if err != nil {
		return err
	}
	defer h.release()
	if err := h.Truncate(int64(n * x.width)); err != nil {
		return err
	}
	if err := h.Datasync(); err != nil {
		return x.file.log.dir.syncFailed(err)
	}
	x.mu.Lock()
	x.onDisk, x.tail, x.verified = n, nil, true
	x.mu.Unlock()
	return nil
}

// sync makes all entries durable, and reports whether the file's name is. What cannot be written stays in memory. A file that
// is opened for this alone is closed again.
func (x *index) sync() (named bool, err error) {
	_, open := x.file.lastUse()
	if err := x.flush(); err != nil {
		return false, err
	}
	h, err := x.file.acquire(true)
	if err != nil {
		return false, err
	}
	defer h.release()
	if err := h.Datasync(); err != nil {
		return false, x.file.log.dir.syncFailed(err)
	}
	if !open {
		x.file.shut()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.named, nil
}

// bytes is the size that the file has once everything is flushed.
func (x *index) bytes() int64 { return int64(x.len() * x.width) }

// verify reads the first n entries of the file and checks that every field grows and stays within its limit.
func (x *index) verify(n int, fields [2]indexField, limit [2]int64) error {
	if n == 0 {
		return nil
	}
	h, err := x.file.acquire(false)
	if err != nil {
		return err
	}
	defer h.release()
	buf := getBuf(64 << 10)
	defer putBuf(buf)
	per := len(buf.b) / x.width
	last := [2]int64{-1 << 63, -1 << 63}
	for at := 0; at < n; at += per {
		b := buf.b[:min(per, n-at)*x.width]
		if err := readFull(h, b, int64(at*x.width)); err != nil {
			return err
		}
		for i := 0; i < len(b); i += x.width {
			for k, f := range fields {
				v := f.of(b[i:])
				if v <= last[k] || v > limit[k] {
					return fmt.Errorf("%s: entry %d: %d after %d, at most %d: %w",
						h.Name(), at+i/x.width, v, last[k], limit[k], ErrCorruptLog)
				}
				last[k] = v
			}
		}
	}
	return nil
}
