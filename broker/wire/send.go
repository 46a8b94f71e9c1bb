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
	"github.com/firnlog/firn/tier/nowait"
)

// ErrShortRegion says that a region of records is shorter than the answer claims. What was sent already is a prefix of
// a valid answer; the connection must be closed, since nothing that could follow would be right.
var ErrShortRegion = errors.New("region is shorter than announced")

// errFull says that a socket takes no more at once.
var errFull = errors.New("the socket is full")

const (
	// smallRegion is the largest region that is copied beside the header bytes rather than sent with sendfile: below,
	// the copy costs less than the additional system calls.
	smallRegion = 32 << 10
	// batchBytes is how much is gathered for one write.
	batchBytes = 128 << 10
	// sendStep is the most that is given to the kernel under one write deadline, so that a slow reader with a large
	// answer is measured by its progress.
	sendStep = 1 << 20
	// seenFor is how long what was seen in the page cache is taken to be there.
	seenFor = 100 * time.Millisecond
)

// Patience is what sending may wait for.
type Patience int

// What it must not wait for is left to who may wait for more.
const (
	ForNothing Patience = iota
	ForSocket           // the client
	ForDisk             // the client and, a few at once, the disk
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

	// Of the answer that is being sent.
	may   Patience
	size  int64  // of all of it
	sent  int64  // of it
	batch []byte // gathered and not written yet, in a pooled buffer

	// The callbacks are made once, their arguments are fields: a closure for each call would be an allocation.
	writeFn, tryFn, fileFn func(fd uintptr) bool
	out                    []byte
	flags                  int // MSG_MORE when something follows
	n                      int
	err                    error
	source                 int // what sendfile reads from
	pos                    int64
	left                   int64
	seen                   time.Time // when all of it was in the page cache; zero: that is not known

	byte  [1]byte             // that preadNow reads
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

// Send sends an answer from byte `from` on, which is what earlier calls have sent of it. It returns how much is sent by now:
// less than all of it, without an error, where the rest would have to wait for what it may not. ForNothing leaves answers
// alone that are large and not in memory, and connections that cannot be tried.
func (s *Sender) Send(r *Response, from int64, may Patience) (sent int64, err error) {
	if may == ForNothing && (s.raw == nil || !r.small()) {
		return from, nil
	}
	s.may, s.size, s.sent = may, r.size, from
	err = s.send(r, from)
	if errors.Is(err, disk.ErrWait) || errors.Is(err, errFull) {
		err = nil
	}
	if s.armed && err == nil { // an old deadline must not fail the next answer
		s.armed = false
		err = s.conn.SetWriteDeadline(time.Time{})
	}
	return s.sent, err
}

func (s *Sender) send(r *Response, from int64) error {
	if len(r.parts) == 0 {
		return s.write(r.buf.B[from:])
	}
	scratch := NewBuffer(s.gathered(r))
	defer scratch.Free()
	s.batch = scratch.B[:0]
	err := s.parts(r, from)
	if errors.Is(err, disk.ErrWait) { // for which what was gathered before need not wait
		if ferr := s.flush(); ferr != nil {
			err = ferr
		}
	}
	s.batch = nil
	return err
}

// parts sends an answer that has regions.
func (s *Sender) parts(r *Response, from int64) error {
	at := 0
	for i := range r.parts {
		p := &r.parts[i]
		if err := s.gather(skip(r.buf.B[at:p.after], &from)); err != nil {
			return err
		}
		at = p.after
		g := p.region
		n := min(regionLen(&g), from)
		from -= n
		if g.File == nil {
			g.Bytes = g.Bytes[n:]
		} else {
			g.Position, g.Length = g.Position+n, g.Length-n
		}
		if err := s.region(&g); err != nil {
			return err
		}
	}
	if err := s.gather(skip(r.buf.B[at:], &from)); err != nil {
		return err
	}
	return s.flush()
}

// skip takes what is sent of b off its beginning, and off sent.
func skip(b []byte, sent *int64) []byte {
	n := min(int64(len(b)), *sent)
	*sent -= n
	return b[n:]
}

// small reports whether an answer is in memory, or all of it is to be copied and leaves with one write.
func (r *Response) small() bool {
	if len(r.parts) == 0 {
		return true
	}
	if r.size > batchBytes {
		return false
	}
	for i := range r.parts {
		if g := &r.parts[i].region; g.File != nil && g.Length > smallRegion {
			return false
		}
	}
	return true
}

// call writes out by one of the callbacks.
func (s *Sender) call(fn func(uintptr) bool, out []byte, flags int) error {
	s.out, s.flags, s.n, s.err = out, flags, 0, nil
	err := s.raw.Write(fn)
	s.out = nil
	s.sent += int64(s.n)
	if err == nil {
		err = s.err
	}
	return err
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
func (s *Sender) gather(b []byte) error {
	if len(s.batch)+len(b) > cap(s.batch) {
		if err := s.flush(); err != nil {
			return err
		}
		if len(b) > smallRegion {
			return s.write(b)
		}
	}
	s.batch = append(s.batch, b...)
	return nil
}

// flush writes the batch.
func (s *Sender) flush() error {
	err := s.write(s.batch)
	s.batch = s.batch[:0]
	return err
}

// region sends a region, or adds it to the batch when it is small.
func (s *Sender) region(g *disk.Region) error {
	if g.File == nil {
		return s.gather(g.Bytes)
	}
	if f := g.File.OS(); g.Length > smallRegion && f != nil && s.raw != nil {
		if err := s.flush(); err != nil {
			return err
		}
		return s.sendfile(int(f.Fd()), g)
	}
	for off := int64(0); off < g.Length; {
		rest := g.Length - off
		if rest > int64(cap(s.batch)-len(s.batch)) {
			if err := s.flush(); err != nil {
				return err
			}
		}
		n := len(s.batch)
		step := s.batch[n:min(int64(cap(s.batch)), int64(n)+rest)]
		if err := s.read(g, step, off); err != nil {
			return err
		}
		s.batch = s.batch[:n+len(step)]
		off += int64(len(step))
	}
	return nil
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

// write sends b.
func (s *Sender) write(b []byte) error {
	for len(b) > 0 {
		step := b[:min(len(b), sendStep)]
		if err := s.writeStep(step); err != nil {
			return err
		}
		b = b[len(step):]
	}
	return nil
}

func (s *Sender) writeStep(step []byte) error {
	if s.raw == nil {
		if err := s.arm(); err != nil {
			return err
		}
		n, err := s.conn.Write(step)
		s.sent += int64(n)
		return err
	}
	flags := 0
	if s.sent+int64(len(step)) < s.size {
		flags = unix.MSG_MORE // the kernel need not send a short packet
	}
	// Mostly the socket takes it all: only if it does not a deadline is worth its price.
	if !s.armed {
		err := s.call(s.tryFn, step, flags)
		if err != nil || s.n == len(step) {
			return err
		}
		if s.may == ForNothing {
			return errFull
		}
		step = step[s.n:]
	}
	if err := s.arm(); err != nil {
		return err
	}
	return s.call(s.writeFn, step, flags)
}

// System calls that do not wait; tests replace them.
var (
	sendNow     = nowait.Send
	sendfileNow = nowait.Sendfile
)

// writeReady is called by the runtime when the socket takes bytes; false = call again when it does.
func (s *Sender) writeReady(fd uintptr) bool {
	for s.n < len(s.out) {
		n, err := sendNow(int(fd), s.out[s.n:], s.flags)
		switch {
		case err == nil:
			s.n += n
		case errors.Is(err, unix.EAGAIN):
			return false
		default:
			s.err = fmt.Errorf("write: %w", err)
			return true
		}
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
		step := min(left, sendStep)
		if !s.there(file, pos, step) {
			if s.may != ForDisk {
				return disk.ErrWait
			}
			s.fetch(file, pos, step)
		}
		if err := s.arm(); err != nil {
			return err
		}
		s.source, s.pos, s.left, s.err = file, pos, step, nil
		err := s.raw.Write(s.fileFn)
		s.sent += step - s.left
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
		n, err := s.sendSome(int(fd))
		s.left -= int64(n)
		switch {
		case errors.Is(err, unix.EAGAIN):
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

// sendSome has the kernel send some of what is left: without a word to the scheduler, unless that may have to be read from
// the disk.
func (s *Sender) sendSome(fd int) (int, error) {
	if time.Since(s.seen) < seenFor {
		return sendfileNow(fd, s.source, &s.pos, int(s.left))
	}
	for {
		n, err := unix.Sendfile(fd, s.source, &s.pos, int(s.left))
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}
