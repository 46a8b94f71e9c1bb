package server

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/wire"
)

const (
	minFrame   = 8       // a request header without a client id
	readBuffer = 4 << 10 // of a connection; larger frames are read straight into their own buffer
	maxUntaken = 1 << 20 // bytes of answers in memory, of one connection; beyond, no further request is read
)

// Why a connection is closed. The text of a closeReason is the label of the metric.
type closeReason struct {
	label string
	warn  bool // worth a line in the log
}

func (r *closeReason) Error() string { return r.label }

var (
	errClient    = &closeReason{label: "client"} // went away, or the network did
	errIdle      = &closeReason{label: "idle"}
	errShutdown  = &closeReason{label: "shutdown"}
	errSlowFrame = &closeReason{label: "slow frame", warn: true}
	errBadFrame  = &closeReason{label: "bad frame", warn: true}
	errVersion   = &closeReason{label: "unsupported request", warn: true}
	errHandler   = &closeReason{label: "request refused", warn: true}
	errPanic     = &closeReason{label: "panic"} // logged where it is caught
	errSend      = &closeReason{label: "send failed", warn: true}
	errSlowRead  = &closeReason{label: "slow reader", warn: true}
	errUntaken   = &closeReason{label: "answer memory", warn: true}
)

// errDrained ends the reading of a connection that stays open for the answers that it owes.
var errDrained = errors.New("draining")

// conn is one client connection. Its reading goroutine is run; answers come from anywhere through call.Complete.
//
// A call is queued from when it is dispatched until its answer is about to be sent. Whoever finds the first call of
// the queue answered while nobody sends sets sending and pumps: sends until the first is not answered. So answers
// leave in order and one at a time, without a goroutine that waits for them.
type conn struct {
	srv    *Server
	nc     net.Conn
	ip     string
	ctx    context.Context // ends when the connection does
	cancel context.CancelCauseFunc
	in     *bufio.Reader
	sender *wire.Sender // used by who set sending

	// Of the reading goroutine alone.
	next     *call         // whose frame is being read
	frameEnd time.Time     // when it must be complete; zero = not begun
	biggest  int           // frame so far
	rate     bucket        // of requests
	pause    time.Duration // before the next request is read

	mu         sync.Mutex
	slot       *sync.Cond // signalled when inFlight falls, on drain and on close
	queue      []*call    // dispatched and not yet being sent, in order
	base       []*call    // memory for queue
	inFlight   int        // dispatched and not yet sent
	serving    *call      // whose Serve has not returned
	sending    bool
	draining   bool
	closed     bool
	waiting    bool      // for a request to begin
	lastAnswer time.Time // or when the connection was accepted
	untaken    int64     // bytes of answers in memory that are not sent
	since      time.Time // when untaken was 0, or fell, last
	clientID   string
}

func newConn(s *Server, nc net.Conn, ip string) *conn {
	c := &conn{
		srv: s, nc: nc, ip: ip,
		in:         bufio.NewReaderSize(nc, readBuffer),
		sender:     wire.NewSender(nc, 0),
		lastAnswer: time.Now(),
	}
	c.slot = sync.NewCond(&c.mu)
	c.base = make([]*call, 0, 4)
	c.queue = c.base
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	if t, ok := nc.(*net.TCPConn); ok {
		_ = t.SetNoDelay(true)
	}
	return c
}

// run reads requests until the connection ends, or is to be drained.
func (c *conn) run() {
	err := c.readAll()
	if c.next != nil {
		c.next.lease.release()
	}
	if !errors.Is(err, errDrained) {
		c.close(err)
	}
}

func (c *conn) readAll() error {
	for {
		if err := c.waitSlot(); err != nil {
			return err
		}
		if err := c.pace(); err != nil {
			return err
		}
		size, err := c.nextFrame()
		if err != nil {
			return err
		}
		c.next = &call{conn: c, lease: lease{b: c.srv.memory}}
		frame, err := wire.ReadFrame(c, size, c.biggest)
		if err != nil {
			return c.readError(err, errSlowFrame)
		}
		c.biggest = max(c.biggest, size)
		if err := c.dispatch(frame); err != nil {
			return err
		}
	}
}

// waitSlot waits until another request may be in flight.
func (c *conn) waitSlot() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	counted := false
	for !c.draining && !c.closed {
		paused := c.srv.metrics.inFlightPauses
		switch {
		case c.inFlight >= c.srv.limits.Load().MaxInFlight:
		case c.untaken > maxUntaken:
			paused = c.srv.metrics.answerPauses
		default:
			return nil
		}
		if !counted {
			paused.Inc()
			counted = true
		}
		c.slot.Wait()
	}
	if c.closed {
		return errClient
	}
	return errDrained
}

// pace waits until the rate of requests allows the next. What the client sends meanwhile waits in the kernel, and
// then with the client.
func (c *conn) pace() error {
	if c.pause == 0 {
		return nil
	}
	c.srv.metrics.requestPauses.Inc()
	t := time.NewTimer(c.pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-c.ctx.Done():
		return errClient
	case <-c.srv.stop:
		return errDrained
	}
}

// nextFrame waits for the next request and returns the size of its frame; from its first byte on time runs.
func (c *conn) nextFrame() (int, error) {
	c.frameEnd = time.Time{}
	for c.in.Buffered() == 0 {
		if err := c.await(); err != nil {
			return 0, err
		}
		_, err := c.in.Peek(1)
		if errors.Is(err, os.ErrDeadlineExceeded) && c.busy() {
			continue
		}
		if err != nil {
			return 0, c.readError(err, errIdle)
		}
	}
	if c.in.Buffered() < 4 {
		if err := c.frameDeadline(); err != nil {
			return 0, err
		}
	}
	head, err := c.in.Peek(4)
	if err != nil {
		return 0, c.readError(err, errSlowFrame)
	}
	size := int32(binary.BigEndian.Uint32(head))
	if most := c.srv.limits.Load().MaxRequestBytes; size < minFrame || int(size) > most {
		return 0, fmt.Errorf("%w: a frame of %d bytes, allowed are %d to %d", errBadFrame, size, minFrame, most)
	}
	_, _ = c.in.Discard(4)
	if c.in.Buffered() < int(size) {
		if err := c.frameDeadline(); err != nil {
			return 0, err
		}
	}
	return int(size), nil
}

// busy reports whether the connection is in use although no request arrived for the idle time.
func (c *conn) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := c.srv.limits.Load().IdleTimeout
	return c.inFlight > 0 || idle <= 0 || time.Since(c.lastAnswer) < idle
}

// await sets the time in which the next request must begin, until limitsChanged sets another.
func (c *conn) await() error { return c.deadline(time.Time{}, true) }

// deadline sets the time in which the next bytes must arrive; if a request is waited for, that is the idle time. It
// fails once the connection drains: drain sets a deadline in the past, which must not be overwritten.
func (c *conn) deadline(at time.Time, waiting bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return errDrained
	}
	if c.waiting = waiting; waiting {
		at = after(c.srv.limits.Load().IdleTimeout)
	}
	if err := c.nc.SetReadDeadline(at); err != nil {
		return fmt.Errorf("%w: %w", errClient, err)
	}
	return nil
}

// limitsChanged wakes the reading goroutine, so that it waits for what it waits for by the new limits.
func (c *conn) limitsChanged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slot.Broadcast()
	if c.waiting && !c.closed {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // fails only if the connection is gone
	}
}

// frameDeadline sets the time in which the frame that has begun must be complete.
func (c *conn) frameDeadline() error {
	if c.frameEnd.IsZero() {
		c.frameEnd = after(c.srv.limits.Load().FrameTimeout)
	}
	return c.deadline(c.frameEnd, false)
}

// after is the time in d; never if d is not positive.
func after(d time.Duration) (at time.Time) {
	if d > 0 {
		at = time.Now().Add(d)
	}
	return at
}

// readError says what a failed read means; timeout is the reason if time ran out.
func (c *conn) readError(err error, timeout *closeReason) error {
	c.mu.Lock()
	draining := c.draining
	c.mu.Unlock()
	var reason *closeReason
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && draining:
		return errDrained
	case errors.Is(err, os.ErrDeadlineExceeded):
		return timeout
	case errors.As(err, &reason) || errors.Is(err, errDrained):
		return err
	}
	return fmt.Errorf("%w: %w", errClient, err)
}

// ReadFull implements wire.FrameReader.
func (c *conn) ReadFull(p []byte) error {
	_, err := io.ReadFull(c.in, p)
	return err
}

// Reserve implements wire.FrameReader: it takes memory from the budget of all connections. Time that it waited for
// others is not the client's fault, so the frame's time starts again.
func (c *conn) Reserve(n int) error {
	waited, err := c.next.lease.grow(c.ctx, int64(n))
	if err == nil && waited {
		c.frameEnd = time.Time{}
		err = c.frameDeadline()
	}
	return err
}

// dispatch makes a call of a frame and has it served. An error ends the connection.
func (c *conn) dispatch(frame *wire.Buffer) error {
	h, err := wire.ParseHeader(frame.B)
	served, known := c.srv.versions.Serves(h.Key, h.Version)
	newApiVersions := known && !served && h.Key == wire.KeyApiVersions // of its header, too, only the start is certain
	if err != nil && !newApiVersions {
		frame.Free()
		return fmt.Errorf("%w: %w", errBadFrame, err)
	}
	oldProduce := known && h.Key == wire.KeyProduce && h.Version >= 0 && h.Version < wire.MinProduceVersion
	if !served && !newApiVersions && !oldProduce {
		frame.Free()
		return fmt.Errorf("%w: key %d (%s) version %d", errVersion, h.Key, kmsg.NameForKey(h.Key), h.Version)
	}
	k := c.next
	c.next = nil
	k.bytes = len(frame.B) + 4
	k.req = wire.Request{
		Key: h.Key, Version: h.Version, CorrelationID: h.CorrelationID, Body: h.Body,
		LocalAddr: c.nc.LocalAddr(), RemoteAddr: c.nc.RemoteAddr(), Received: time.Now(),
	}
	c.pause = c.rate.take(k.req.Received, c.srv.limits.Load().RequestRate)
	k.req.Own(frame)
	k.reply.Init(&k.req, k)

	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		k.free()
		return errClient
	}
	if c.clientID != string(h.ClientID) { // else the string that is there serves again
		c.clientID = string(h.ClientID)
	}
	k.req.ClientID = c.clientID
	c.queue = append(c.queue, k)
	c.inFlight++
	c.serving = k
	c.mu.Unlock()

	err = nil
	switch {
	case served:
		err = c.serve(k)
	case h.Key == wire.KeyApiVersions:
		resp, err := wire.UnsupportedApiVersions(h.CorrelationID, c.srv.versions.Advertised())
		k.Complete(&k.req, resp, err)
	default:
		k.refuseProduce()
	}

	c.mu.Lock()
	c.serving = nil
	pump := c.startPump()
	c.mu.Unlock()
	if pump {
		c.pump(nil, 0, true)
	}
	return err
}

// serve calls the handler. A panic ends this connection and no more.
func (c *conn) serve(k *call) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.srv.metrics.panics.Inc()
			c.srv.log.Error("a request handler panicked; its connection is closed", "panic", p,
				"api", kmsg.NameForKey(k.req.Key), "version", k.req.Version, "remote", c.nc.RemoteAddr(), "stack", string(debug.Stack()))
			k.reply.Close(errPanic)
			err = errPanic
		}
	}()
	c.srv.handler.Serve(c.ctx, &k.req, &k.reply)
	return nil
}

// drain stops reading; the connection closes when the answers that it owes are sent.
func (c *conn) drain() {
	c.mu.Lock()
	c.draining = true
	done := c.inFlight == 0
	c.slot.Broadcast()
	c.mu.Unlock()
	if done {
		c.close(errShutdown)
		return
	}
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
}

// close ends the connection, once. Requests whose answer is outstanding are freed when it is given.
func (c *conn) close(err error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	var answered []*call
	for _, k := range c.queue {
		if k.done {
			answered = append(answered, k)
		}
	}
	c.queue = nil
	c.srv.answers.Add(-c.untaken)
	c.untaken = 0
	clientID := c.clientID
	c.slot.Broadcast()
	c.mu.Unlock()

	c.cancel(err)
	_ = c.nc.Close()
	for _, k := range answered {
		k.finish(0)
	}
	reason := errClient
	errors.As(err, &reason)
	c.srv.metrics.closed.WithLabelValues(reason.label).Inc()
	if reason.warn {
		c.srv.warn(reason.label, "connection closed", "reason", err, "remote", c.nc.RemoteAddr(), "client_id", clientID)
	}
	c.srv.forget(c)
}
