package flush

import (
	"errors"
	"io"

	"github.com/firnlog/firn/tier/disk"
)

// Sizes of a window's reads.
const (
	windowMost = 64 << 10
	windowNear = 512 // to pass over fewer bytes than that costs more than to read them: a system call
)

// window reads what is asked for of a file, from front to back, each byte at most once. Far apart, it reads little more
// than that; close together, ever more at once.
type window struct {
	f     disk.File
	least int    // bytes that one read is for
	b     []byte // what stands from position from on; its capacity is used again
	from  int64
	step  int // what the last read was for
}

func newWindow(f disk.File, least int) *window { return &window{f: f, least: least, step: least} }

// at returns n bytes from pos on, which are good until the next call; fewer where the file ends before.
func (w *window) at(pos int64, n int) ([]byte, error) {
	end := w.from + int64(len(w.b))
	if pos >= w.from && pos+int64(n) <= end {
		return w.b[pos-w.from:][:n], nil
	}
	w.step = min(2*w.step, windowMost)
	if pos >= end+windowNear {
		w.step = w.least
	}
	have := 0
	if pos >= w.from && pos < end {
		have = copy(w.b, w.b[pos-w.from:])
	}
	w.from = pos
	w.b = extend(w.b[:have], max(n, w.step)-have)
	m, err := w.f.ReadAt(w.b[have:], pos+int64(have))
	w.b = w.b[:have+m]
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return w.b[:min(n, len(w.b))], nil
}
