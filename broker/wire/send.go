package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firnlog/firn/tier/disk"
)

// ErrShortRegion says that a region of records is shorter than the answer claims. What was sent already is a prefix of
// a valid answer; the connection must be closed, since nothing that could follow would be right.
var ErrShortRegion = errors.New("region is shorter than announced")

const (
	// smallRegion is the largest region that is copied beside the header bytes rather than sent with sendfile: below,
	// the copy costs less than the additional system call.
	smallRegion = 32 << 10
	// batchBytes is how much is gathered for one write.
	batchBytes = 128 << 10
	// sendStep is the most that is given to the kernel under one write deadline, so that a slow reader with a large
	// answer is measured by its progress.
	sendStep = 1 << 20
)

// Sender writes answers to one connection. Its methods must not be called concurrently.
type Sender struct {
	// Timeout bounds how long each step of at most 1 MiB may wait for the client; not positive = for ever. It may be
	// changed between two calls.
	Timeout time.Duration
	// Waits bounds waiting for the disk; nil = without bound.
	Waits *Waits

	conn  net.Conn
	raw   syscall.RawConn // nil: not a plain socket, so everything is copied
	armed bool            // a write deadline is set

	// The callbacks are made once, their arguments are fields: a closure for each call would be an allocation.
	writeFn, tryFn, fileFn func(fd uintptr) bool
	out                    []byte
	more                   int // MSG_MORE when something follows
	n                      int
	err                    error
	source                 int // what sendfile reads from
	pos                    int64
	left                   int64

	rest  *Buffer   // a gathered answer of which Try could send only a part
	asked bool      // Resident was asked about what is sent, and said that all is there
	probe [1][]byte // arguments of preadv2
	byte  [1]byte
	part  unix.CachestatRange // arguments of cachestat
	pages unix.Cachestat_t

	uncounted bool // cachestat cannot be called
}

// NewSender makes the sender of a connection, with its Timeout.
func NewSender(conn net.Conn, timeout time.Duration) *Sender {
	s := &Sender{conn: conn, Timeout: timeout}
	if tc, ok := conn.(*net.TCPConn); ok {
		if raw, err := tc.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	s.writeFn, s.tryFn, s.fileFn = s.writeReady, s.writeOnce, s.fileReady
	return s
}

// Try sends what of a small answer the socket takes without waiting. It returns the number of bytes sent. Answers with
// regions that are large, or would have to be read from the disk, and connections that cannot be tried, are left alone
// (0). The rest is for Send.
func (s *Sender) Try(r *Response) (int64, error) {
	if s.raw == nil {
		return 0, nil
	}
	if len(r.parts) == 0 {
		n, err := s.call(s.tryFn, r.buf.B, 0)
		return int64(n), err
	}
	all := s.gatherNow(r)
	if all == nil {
		return 0, nil
	}
	n, err := s.call(s.tryFn, all.B, 0)
	if err == nil && n > 0 && n < len(all.B) {
		s.rest = all
	} else {
		all.Free()
	}
	return int64(n), err
}

// gatherNow copies a small answer, if that needs no waiting for the disk; else nil.
func (s *Sender) gatherNow(r *Response) *Buffer {
	if r.size > batchBytes {
		return nil
	}
	for i := range r.parts {
		if r.parts[i].region.Length > smallRegion {
			return nil
		}
	}
	out := NewBuffer(int(r.size))
	b, err := r.appendAll(out.B[:0], s.readNow)
	if err != nil {
		out.Free()
		return nil
	}
	out.B = b
	return out
}

// call writes out by one of the callbacks.
func (s *Sender) call(fn func(uintptr) bool, out []byte, more int) (int, error) {
	s.out, s.more, s.n, s.err = out, more, 0, nil
	err := s.raw.Write(fn)
	s.out = nil
	if err == nil {
		err = s.err
	}
	return s.n, err
}

// Send sends an answer from byte `from` on, waiting for the client as long as need be. from is what Try has sent of it.
func (s *Sender) Send(r *Response, from int64) error {
	err := s.send(r, from)
	s.asked = false
	if s.armed && err == nil { // an old deadline must not fail the next answer
		s.armed = false
		err = s.conn.SetWriteDeadline(time.Time{})
	}
	return err
}

func (s *Sender) send(r *Response, from int64) error {
	if rest := s.rest; rest != nil {
		s.rest = nil
		defer rest.Free()
		return s.write(rest.B[from:], false)
	}
	if len(r.parts) == 0 {
		return s.write(r.buf.B[from:], false)
	}
	scratch := NewBuffer(s.gathered(r))
	defer scratch.Free()
	batch := scratch.B[:0]
	at := 0
	for i := range r.parts {
		p := &r.parts[i]
		var err error
		if batch, err = s.gather(batch, r.buf.B[at:p.after]); err != nil {
			return err
		}
		at = p.after
		if batch, err = s.region(batch, &p.region); err != nil {
			return err
		}
	}
	batch, err := s.gather(batch, r.buf.B[at:])
	if err != nil {
		return err
	}
	return s.write(batch, false)
}

// gathered is how much of an answer is copied before it is written, at most batchBytes: what a client that does not
// read keeps in memory besides the answer. Regions that sendfile cannot send are read in steps of batchBytes.
func (s *Sender) gathered(r *Response) int {
	n := len(r.buf.B)
	for i := range r.parts {
		switch g := &r.parts[i].region; {
		case g.File == nil:
			n += len(g.Bytes)
		case g.Length <= smallRegion:
			n += int(g.Length)
		case s.raw == nil || g.File.OS() == nil:
			return batchBytes
		}
		if n >= batchBytes {
			return batchBytes
		}
	}
	return n
}

// gather adds bytes to the batch, or sends the batch and the bytes when they don't fit.
func (s *Sender) gather(batch, b []byte) ([]byte, error) {
	if len(batch)+len(b) <= cap(batch) {
		return append(batch, b...), nil
	}
	if err := s.write(batch, true); err != nil {
		return nil, err
	}
	if len(b) <= smallRegion {
		return append(batch[:0], b...), nil
	}
	return batch[:0], s.write(b, true)
}

// region sends a region, or adds it to the batch when it is small.
func (s *Sender) region(batch []byte, g *disk.Region) ([]byte, error) {
	if g.File == nil {
		return s.gather(batch, g.Bytes)
	}
	if g.Length <= smallRegion {
		if len(batch)+int(g.Length) > cap(batch) {
			if err := s.write(batch, true); err != nil {
				return nil, err
			}
			batch = batch[:0]
		}
		n := len(batch)
		batch = batch[:n+int(g.Length)]
		return batch, readRegion(g, batch[n:], 0)
	}
	if err := s.write(batch, true); err != nil {
		return nil, err
	}
	batch = batch[:0]
	if f := g.File.OS(); f != nil && s.raw != nil {
		return batch, s.sendfile(int(f.Fd()), g)
	}
	for off := int64(0); off < g.Length; {
		step := batch[:min(int64(cap(batch)), g.Length-off)]
		if err := readRegion(g, step, off); err != nil {
			return nil, err
		}
		if err := s.write(step, true); err != nil {
			return nil, err
		}
		off += int64(len(step))
	}
	return batch, nil
}

// readRegion fills p from byte off of the region.
func readRegion(g *disk.Region, p []byte, off int64) error {
	n, err := g.File.ReadAt(p, g.Position+off)
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %s at %d: %d of %d bytes", ErrShortRegion, g.File.Name(), g.Position+off, n, len(p))
	}
	return fmt.Errorf("reading %s at %d: %w", g.File.Name(), g.Position+off, err)
}

func (s *Sender) arm() error {
	if s.Timeout <= 0 {
		return nil
	}
	s.armed = true
	return s.conn.SetWriteDeadline(time.Now().Add(s.Timeout))
}

// write sends b. more says that the answer goes on, so that the kernel need not send a short packet.
func (s *Sender) write(b []byte, more bool) error {
	for len(b) > 0 {
		step := b[:min(len(b), sendStep)]
		if err := s.writeStep(step, more || len(step) < len(b)); err != nil {
			return err
		}
		b = b[len(step):]
	}
	return nil
}

func (s *Sender) writeStep(step []byte, more bool) error {
	if s.raw == nil {
		if err := s.arm(); err != nil {
			return err
		}
		_, err := s.conn.Write(step)
		return err
	}
	flags := 0
	if more {
		flags = unix.MSG_MORE
	}
	// Mostly the socket takes it all: only if it does not a deadline is worth its price.
	if !s.armed {
		n, err := s.call(s.tryFn, step, flags)
		if err != nil || n == len(step) {
			return err
		}
		step = step[n:]
	}
	if err := s.arm(); err != nil {
		return err
	}
	_, err := s.call(s.writeFn, step, flags)
	return err
}

// writeReady is called by the runtime when the socket takes bytes; false = call again when it does.
func (s *Sender) writeReady(fd uintptr) bool {
	for s.n < len(s.out) {
		n, err := unix.SendmsgN(int(fd), s.out[s.n:], nil, nil, s.more)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false
		case err != nil:
			s.err = fmt.Errorf("write: %w", err)
			return true
		}
		s.n += n
	}
	return true
}

// writeOnce is writeReady that does not wait.
func (s *Sender) writeOnce(fd uintptr) bool {
	s.writeReady(fd)
	return true
}

// sendfile lets the kernel copy the region from the page cache to the socket. The offset is explicit: the
// descriptor's own position is not used, so that any number of readers can share it.
func (s *Sender) sendfile(file int, g *disk.Region) error {
	pos, left := g.Position, g.Length
	for left > 0 {
		if err := s.arm(); err != nil {
			return err
		}
		step := min(left, sendStep)
		if !s.asked {
			s.fetch(file, pos, step)
		}
		s.source, s.pos, s.left, s.err = file, pos, step, nil
		err := s.raw.Write(s.fileFn)
		if err == nil {
			err = s.err
		}
		if errors.Is(err, ErrShortRegion) {
			return fmt.Errorf("%w: %s at %d: %d bytes missing", err, g.File.Name(), s.pos, left-step+s.left)
		}
		if err != nil {
			return err
		}
		pos += step
		left -= step
	}
	s.lookAhead(file, g.Position, pos)
	return nil
}

// fileReady is called by the runtime when the socket takes bytes; false = call again when it does.
func (s *Sender) fileReady(fd uintptr) bool {
	for s.left > 0 {
		n, err := unix.Sendfile(int(fd), s.source, &s.pos, int(s.left)) // advances s.pos
		if n > 0 {
			s.left -= int64(n)
		}
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false
		case err != nil:
			s.err = fmt.Errorf("sendfile: %w", err)
			return true
		case n == 0: // the file ends here
			s.err = ErrShortRegion
			return true
		}
	}
	return true
}
