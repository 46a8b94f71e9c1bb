package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// region is a part of a file, held until it is released.
type region struct {
	f       *os.File
	at, n   int64
	release func() // nil: nothing to do
}

// supply is where batches come from.
type supply interface {
	// take gives whole batches from the one that holds the offset on: at most so many bytes, but at least one batch. The
	// region is empty when there is none, high then tells where they end. An error closes the connection.
	take(topic []byte, partition int32, offset, most int64) (r region, high int64, err error)
}

// sender answers the Fetch requests of one connection.
type sender struct {
	raw  syscall.RawConn
	req  fetch
	out  []byte
	cuts []cut

	// Of the call under way, so that the functions given to raw need not be made anew.
	b       []byte
	r       region
	err     error
	more    bool
	write   func(fd uintptr) bool
	forward func(fd uintptr) bool
}

// cut is a region that is sent after out up to a position.
type cut struct {
	upTo int
	r    region
}

// answer serves a connection from s.
func answer(c *net.TCPConn, s supply) error {
	q, err := newQuiet(c)
	if err != nil {
		return err
	}
	a := &sender{raw: q.raw}
	a.write, a.forward = a.writeSome, a.sendSome
	in := frames{r: q}
	for {
		frame, err := in.next()
		if err != nil {
			return err
		}
		if err := a.req.parse(frame); err != nil {
			return err
		}
		err = a.build(s)
		if err == nil {
			err = a.send()
		}
		for _, x := range a.cuts {
			if x.r.release != nil {
				x.r.release()
			}
		}
		if err != nil {
			return err
		}
	}
}

// build makes the answer but for the regions, which stand in cuts.
func (a *sender) build(s supply) error {
	a.cuts = a.cuts[:0]
	out := a.out[:0]
	out = append(out, 0, 0, 0, 0)
	out = binary.BigEndian.AppendUint32(out, a.req.correlation)
	out = append(out, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) // no tags, no throttling, no error, no session
	out = binary.AppendUvarint(out, uint64(a.req.topics)+1)
	left, room, inFiles := 0, a.req.max, int64(0)
	for i := range a.req.parts {
		p := &a.req.parts[i]
		if p.first {
			out = append(out, p.topic...)
			out = binary.AppendUvarint(out, uint64(p.count)+1)
			left = p.count
		}
		var r region
		var high int64
		if room > 0 {
			var err error
			if r, high, err = s.take(p.name(), p.partition, p.offset, min(room, p.max)); err != nil {
				return fmt.Errorf("fetch of %s-%d at %d: %w", p.name(), p.partition, p.offset, err)
			}
		}
		out = binary.BigEndian.AppendUint32(out, uint32(p.partition))
		out = append(out, 0, 0)
		out = binary.BigEndian.AppendUint64(out, uint64(high))
		out = binary.BigEndian.AppendUint64(out, uint64(high))
		out = append(out, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff) // log start 0, no aborted transactions, no other replica
		out = binary.AppendUvarint(out, uint64(r.n)+1)
		if r.n > 0 {
			a.cuts = append(a.cuts, cut{len(out), r})
			room, inFiles = room-r.n, inFiles+r.n
		}
		out = append(out, 0)
		if left--; left == 0 {
			out = append(out, 0)
		}
	}
	out = append(out, 0)
	binary.BigEndian.PutUint32(out, uint32(int64(len(out)-4)+inFiles))
	a.out = out
	return nil
}

// send writes the answer: what is before a region is held back by the kernel to go with it.
func (a *sender) send() error {
	from := 0
	for _, x := range a.cuts {
		a.b, a.more = a.out[from:x.upTo], true
		if err := a.do(a.write); err != nil {
			return err
		}
		a.r = x.r
		if err := a.do(a.forward); err != nil {
			return err
		}
		from = x.upTo
	}
	a.b, a.more = a.out[from:], false
	return a.do(a.write)
}

func (a *sender) do(fn func(fd uintptr) bool) error {
	a.err = nil
	if err := a.raw.Write(fn); err != nil {
		return err
	}
	return a.err
}

// writeSome writes b as far as the socket takes it; it reports whether all is done or has failed.
func (a *sender) writeSome(fd uintptr) bool {
	flags := unix.MSG_NOSIGNAL
	if a.more {
		flags |= unix.MSG_MORE
	}
	for len(a.b) > 0 {
		n, again, err := sendNow(fd, a.b, flags)
		if a.err = err; again || err != nil {
			return !again
		}
		a.b = a.b[n:]
	}
	return true
}

// sendSome is writeSome for r.
func (a *sender) sendSome(fd uintptr) bool {
	for a.r.n > 0 {
		n, again, err := sendfileNow(fd, int(a.r.f.Fd()), &a.r.at, a.r.n)
		if a.err = err; again || err != nil {
			return !again
		}
		if n == 0 {
			a.err = io.ErrUnexpectedEOF
			return true
		}
		a.r.n -= int64(n)
	}
	return true
}
