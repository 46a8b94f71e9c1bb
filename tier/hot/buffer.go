package hot

import (
	"sync"

	"github.com/firnlog/firn/tier/disk"
)

// buf is a pooled scratch buffer, with a scanner that reads into it.
type buf struct {
	b  []byte
	sc scanner
}

// Scratch buffers come in two sizes: for looking at one place of a file, and for walking through one.
const (
	smallBuf = 8 << 10
	largeBuf = 256 << 10
)

var (
	smallBufs = sync.Pool{New: func() any { return &buf{b: make([]byte, smallBuf)} }}
	largeBufs = sync.Pool{New: func() any { return &buf{b: make([]byte, largeBuf)} }}
)

// getBuf returns a buffer of at least n bytes, n at most largeBuf.
func getBuf(n int) *buf {
	if n <= smallBuf {
		return smallBufs.Get().(*buf)
	}
	return largeBufs.Get().(*buf)
}

// scan is a scanner of a part of a file that uses the buffer.
func (b *buf) scan(f disk.File, pos, end int64, as patience) *scanner {
	b.sc = scanner{f: f, as: as, pos: pos, end: end, b: b.b}
	return &b.sc
}

func putBuf(b *buf) {
	b.sc.f = nil
	if len(b.b) == smallBuf {
		smallBufs.Put(b)
	} else {
		largeBufs.Put(b)
	}
}
