package wire

import (
	"math/bits"
	"sync"
)

// Buffers are pooled by size class: powers of two from minClass to maxClass bytes. Larger ones are made when needed
// and left to the garbage collector, so that one huge request does not stay in memory for ever.
const (
	minClassBits = 9  // 512 B
	maxClassBits = 21 // 2 MiB
)

// Buffer is a byte slice from a pool. It belongs to one owner, who calls Free once.
type Buffer struct {
	B     []byte
	all   []byte // what B was cut from; nil = not pooled
	class int    // index into pools, -1 = not pooled
}

var pools [maxClassBits - minClassBits + 1]sync.Pool

// NewBuffer returns a buffer of length n, of unspecified content, whose capacity is the size class of n.
func NewBuffer(n int) *Buffer {
	c := classOf(n)
	if c < 0 {
		return &Buffer{B: make([]byte, n), class: -1}
	}
	if v := pools[c].Get(); v != nil {
		b := v.(*Buffer)
		b.B = b.all[:n]
		return b
	}
	all := make([]byte, 1<<(c+minClassBits))
	return &Buffer{B: all[:n], all: all, class: c}
}

// Slice makes B the bytes from..to of the whole buffer, and reports false if that is too short.
func (b *Buffer) Slice(from, to int) bool {
	if to > len(b.all) {
		return false
	}
	b.B = b.all[from:to]
	return true
}

// Cap is how many bytes the buffer keeps in memory.
func (b *Buffer) Cap() int { return max(len(b.all), cap(b.B)) }

// Free gives the buffer back. Its bytes must not be used any more.
func (b *Buffer) Free() {
	if b == nil || b.class < 0 {
		return
	}
	b.B = nil // what append made of it is not ours to pool
	pools[b.class].Put(b)
}

func classOf(n int) int {
	if n <= 1<<minClassBits {
		return 0
	}
	c := bits.Len(uint(n-1)) - minClassBits
	if c > maxClassBits-minClassBits {
		return -1
	}
	return c
}

// FrameReader says how ReadFrame gets its memory; package server implements it with a bound over all connections.
type FrameReader interface {
	// ReadFull fills p completely.
	ReadFull(p []byte) error
	// Reserve is called before n more bytes of memory are taken for the frame; it may wait.
	Reserve(n int) error
}

// FirstGrowth is the memory that a frame of an unproven connection may take before any of it has arrived: little enough
// that all connections together, stalled, leave most of the budget to others.
const FirstGrowth = 16 << 10

// MaxFirst is the most that ReadFrame takes before any byte has arrived, and the largest buffer that is pooled.
const MaxFirst = 1 << maxClassBits

// ReadFrame reads the size bytes of a frame (its length prefix is read already). A claimed length costs nothing until
// its bytes are there: the buffer starts with at most first bytes (within FirstGrowth and MaxFirst) and is made four
// times as large each time it is full. On an error the buffer is given back; what was reserved is for the caller to undo.
func ReadFrame(r FrameReader, size, first int) (*Buffer, error) {
	step := min(size, max(FirstGrowth, min(first, MaxFirst)))
	if err := r.Reserve(step); err != nil {
		return nil, err
	}
	b := NewBuffer(step)
	if err := r.ReadFull(b.B); err != nil {
		b.Free()
		return nil, err
	}
	for len(b.B) < size {
		have := len(b.B)
		next := min(size, have*4)
		if err := r.Reserve(next - have); err != nil {
			b.Free()
			return nil, err
		}
		g := NewBuffer(next)
		copy(g.B, b.B)
		b.Free()
		b = g
		if err := r.ReadFull(b.B[have:]); err != nil {
			b.Free()
			return nil, err
		}
	}
	return b, nil
}
