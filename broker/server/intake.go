package server

import (
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/firnlog/firn/broker/wire"
	"github.com/firnlog/firn/tier/nowait"
)

const (
	leastRead = 4 << 10  // bytes that are read at once from a connection of which nothing is known yet
	mostRead  = 64 << 10 // from one that sends much; larger frames are read straight into their own buffer
	shrinkAt  = 64       // reads in a row that would have fitted into a quarter, until less is read at once
)

// intake is what has been read from a connection and not been taken yet. It is used by the reading goroutine.
//
// It takes a pooled buffer when bytes are there to be read, and gives it back when they are taken: a connection that
// waits for its client holds none, and the buffer that a busy broker reads into is one that the processor has at hand.
type intake struct {
	conn  net.Conn
	raw   syscall.RawConn // nil: not a plain socket, whose buffer stays
	buf   *wire.Buffer    // nil: nothing is buffered, but for head
	r, w  int             // what of buf is not taken
	head  [4]byte         // the beginning of a length, held while more is waited for
	heads int             // bytes in head

	want  int   // how much to read at once, as far as small frames go
	last  int   // the last frame and its length: the next may be as large
	small int   // reads in a row that brought little
	lease lease // of the buffer's memory beyond leastRead

	// Of the callback, which is made once: a closure for each read would be an allocation.
	readFn func(fd uintptr) bool
	into   []byte // where to read to; nil: into buf
	n      int
	err    error
}

func (in *intake) init(nc net.Conn, memory *budget) {
	in.conn, in.want, in.lease.b = nc, leastRead, memory
	if t, ok := nc.(*net.TCPConn); ok {
		if raw, err := t.SyscallConn(); err == nil {
			in.raw, in.readFn = raw, in.ready
		}
	}
}

// buffered is how many bytes can be taken without reading.
func (in *intake) buffered() int { return in.w - in.r + in.heads }

// fill waits for bytes and buffers them. It is called while less than the four bytes of a length are buffered.
func (in *intake) fill() error {
	in.put()
	n, err := in.wait(nil)
	if n > 0 {
		in.w += n
		in.adapt(n)
		return nil
	}
	return err
}

// direct waits for bytes and reads them to p; nothing is buffered.
func (in *intake) direct(p []byte) (int, error) { return in.wait(p) }

func (in *intake) wait(p []byte) (int, error) {
	in.into, in.n, in.err = p, 0, nil
	if in.raw == nil {
		in.n, in.err = in.conn.Read(in.target())
	} else if err := in.raw.Read(in.readFn); err != nil {
		in.err = err
	}
	in.into = nil
	if in.n == 0 && in.err == nil {
		in.err = io.EOF
	}
	return in.n, in.err
}

// ready is called by the runtime when there may be bytes; false = call again when there are.
func (in *intake) ready(fd uintptr) bool {
	p := in.target()
	n, err := nowait.Read(int(fd), p)
	if errors.Is(err, unix.EAGAIN) {
		in.put()
		return false
	}
	in.n, in.err = n, err
	return true
}

// target is where to read to: if it is the buffer, what was held of a length stands before.
func (in *intake) target() []byte {
	if in.into != nil {
		return in.into
	}
	if in.buf == nil {
		n := max(in.want, min(in.last, wire.MaxFirst))
		if in.raw == nil || n > leastRead && !in.lease.try(int64(n-leastRead)) {
			n = leastRead
		}
		in.buf = wire.NewBuffer(n)
	}
	in.r = 0
	in.w = copy(in.buf.B, in.head[:in.heads])
	in.heads = 0
	return in.buf.B[in.w:]
}

// put gives the buffer back; less than four bytes are in it.
func (in *intake) put() {
	if in.buf == nil {
		return
	}
	in.heads = copy(in.head[:], in.buf.B[in.r:in.w])
	in.r, in.w = 0, 0
	if in.raw != nil {
		in.drop()
	}
}

// drop frees the buffer, whatever is in it.
func (in *intake) drop() {
	in.buf.Free()
	in.buf, in.r, in.w = nil, 0, 0
	in.lease.release()
}

// adapt goes by what a read of the buffer brought.
func (in *intake) adapt(n int) {
	switch {
	case n >= in.want-len(in.head):
		in.want, in.small = min(4*in.want, mostRead), 0
	case n > in.want/4 || in.want == leastRead:
		in.small = 0
	default:
		if in.small++; in.small == shrinkAt {
			in.want, in.small = in.want/4, 0
		}
	}
}

// copy takes up to len(p) bytes of what is buffered.
func (in *intake) copy(p []byte) int {
	if in.buf == nil {
		return 0
	}
	n := copy(p, in.buf.B[in.r:in.w])
	in.r += n
	in.taken()
	return n
}

// taken is called when bytes were taken.
func (in *intake) taken() {
	if in.r == in.w && in.raw != nil {
		in.drop()
	}
}

// peek is the next n bytes if they are buffered, else nil.
func (in *intake) peek(n int) []byte {
	if in.buf == nil || in.w-in.r < n {
		return nil
	}
	return in.buf.B[in.r : in.r+n]
}

// skip takes n bytes that are buffered.
func (in *intake) skip(n int) {
	in.r += n
	in.taken()
}

// frame takes n buffered bytes as a buffer of their own: the one that they were read into if they fill most of it and
// nothing else is there, else a copy.
func (in *intake) frame(n int) *wire.Buffer {
	if in.w-in.r == n {
		if b := in.whole(n); b != nil {
			return b
		}
	}
	b := wire.NewBuffer(n)
	in.copy(b.B)
	return b
}

// begun takes the buffer as that of a frame of n bytes whose beginning, have bytes, is all that is in it. It returns nil
// if it does not suit; then the bytes are to be copied.
func (in *intake) begun(n int) (b *wire.Buffer, have int) {
	have = in.w - in.r
	return in.whole(n), have
}

// whole takes the buffer for a frame of n bytes that begins at r, if it has room for it and not much more.
func (in *intake) whole(n int) *wire.Buffer {
	b := in.buf
	if in.raw == nil || b == nil || 2*(in.r+n) < b.Cap() || !b.Slice(in.r, in.r+n) {
		return nil
	}
	in.buf, in.r, in.w = nil, 0, 0
	in.lease.release()
	return b
}
