package hot

import "sync"

// buf is a pooled scratch buffer.
type buf struct{ b []byte }

// Scratch buffers come in two sizes: for looking at one place of a file, and for walking through one.
const (
	smallBuf = 8 << 10
	largeBuf = 256 << 10
)

var (
	smallBufs = sync.Pool{New: func() any { return &buf{make([]byte, smallBuf)} }}
	largeBufs = sync.Pool{New: func() any { return &buf{make([]byte, largeBuf)} }}
)

// getBuf returns a buffer of at least n bytes, n at most largeBuf.
func getBuf(n int) *buf {
	if n <= smallBuf {
		return smallBufs.Get().(*buf)
	}
	return largeBufs.Get().(*buf)
}

func putBuf(b *buf) {
	if len(b.b) == smallBuf {
		smallBufs.Put(b)
	} else {
		largeBufs.Put(b)
	}
}
