package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
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
	maxUntaken = 1 << 20 // bytes of answers in memory, of one connection; beyond, no further request is read
	maxHeld    = 8       // answers that wait until what was read with them is served, to be sent together
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
	srv           *Server
	nc            net.Conn
	local, remote net.Addr
	ip            string
	ctx           context.Context // ends when the connection does
	cancel        context.CancelCauseFunc
	sender        *wire.Sender // used by who set sending
	batch         []*call      // likewise: what is being sent together
	from          int64        // likewise: bytes of it that are sent, for pumpFn
	pumpFn        func()       // pumpOn, made once

	// Of the reading goroutine alone.
	in       intake
	next     *call         // whose frame is being read
	frameEnd time.Time     // when it must be complete; zero = not begun, or not asked yet
	inFrame  bool          // a frame has begun
	biggest  int           // frame so far
	rate     bucket        // of requests
	pause    time.Duration // before the next request is read
	held     int           // requests served since answers were sent last

	mu         sync.Mutex
	slot       sync.Cond // signalled when inFlight falls, on drain and on close
	queue      []*call   // dispatched and not yet being sent, in order
	base       []*call   // memory for queue
	inFlight   int       // dispatched and not yet sent
	serving    *call     // what the reading goroutine serves, or has served and not looked at the answer of
	sending    bool
	draining   bool
	closed     bool
	armed      time.Time // when reading fails; zero = never
	lastAnswer time.Time // or when the connection was accepted
	untaken    int64     // bytes of answers in memory that are not sent
	since      time.Time // when untaken was 0, or fell, last
	clientID   string
}

func newConn(s *Server, nc net.Conn, ip string) *conn {
	c := &conn{
		srv: s, nc: nc, ip: ip,
		local: nc.LocalAddr(), remote: nc.RemoteAddr(),
		sender:     wire.NewSender(nc, 0),
		lastAnswer: time.Now(),
	}
	c.in.init(nc, s.memory)
	c.slot.L = &c.mu
	c.sender.Waits = s.waits
	c.pumpFn = c.pumpOn
	c.base = make([]*call, 0, 8)
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
	c.in.drop()
	c.send() // what was held
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
		frame, err := c.nextFrame()
		if err != nil {
			return err
		}
		if err := c.dispatch(frame); err != nil {
			return err
		}
		// Answers to what came together leave together, as long as the next request need not be waited for.
		if c.held++; c.held >= maxHeld || !c.frameBuffered() {
			c.send()
		}
	}
}

// send sends what is answered, and lets others send from here on what will be.
func (c *conn) send() {
	c.held = 0
	c.mu.Lock()
	c.serving = nil
	pump := c.startPump()
	c.mu.Unlock()
	if pump {
		c.pump(wire.ForSocket)
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
		if c.held > 0 {
			c.mu.Unlock()
			c.send()
			c.mu.Lock()
			continue
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
	c.send()
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

// nextFrame waits for the next request and reads its frame; from its first byte on time runs.
func (c *conn) nextFrame() (*wire.Buffer, error) {
	c.inFrame, c.frameEnd = false, time.Time{}
	head := c.in.peek(4)
	for ; head == nil; head = c.in.peek(4) {
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
	c.inFrame = true
	size := int32(binary.BigEndian.Uint32(head))
	if most := c.srv.limits.Load().MaxRequestBytes; size < minFrame || int(size) > most {
		return nil, fmt.Errorf("%w: a frame of %d bytes, allowed are %d to %d", errBadFrame, size, minFrame, most)
	}
	c.in.skip(4)
	c.in.last = int(size) + 4
	c.next = newCall(c)
	frame, err := c.frame(int(size))
	if err != nil {
		return nil, c.readError(err, errSlowFrame)
	}
	c.biggest = max(c.biggest, int(size))
	return frame, nil
}

// frame reads the rest of a frame of that size.
func (c *conn) frame(size int) (*wire.Buffer, error) {
	there := c.in.buffered() >= size
	if !there && size > max(wire.FirstGrowth, min(c.biggest, wire.MaxFirst)) {
		return wire.ReadFrame(c, size, c.biggest)
	}
	if err := c.Reserve(size); err != nil {
		return nil, err
	}
	if there {
		return c.in.frame(size), nil
	}
	b, have := c.in.begun(size)
	if b == nil {
		b, have = wire.NewBuffer(size), 0
	}
	if err := c.ReadFull(b.B[have:]); err != nil {
		b.Free()
		return nil, err
	}
	return b, nil
}

// frameBuffered reports whether nextFrame will not have to wait for the client.
func (c *conn) frameBuffered() bool {
	head := c.in.peek(4)
	return head != nil && c.in.buffered()-4 >= int(int32(binary.BigEndian.Uint32(head)))
}

// fill waits for bytes of the next request.
func (c *conn) fill() error {
	if err := c.begin(); err != nil {
		return err
	}
	for {
		err := c.in.fill()
		if err == nil {
			return nil
		}
		timeout := errIdle
		if c.inFrame {
			timeout = errSlowFrame
		}
		if err := c.again(err, timeout); err != nil {
			return err
		}
	}
}

// ReadFull implements wire.FrameReader.
func (c *conn) ReadFull(p []byte) error {
	if p = p[c.in.copy(p):]; len(p) == 0 {
		return nil
	}
	if err := c.begin(); err != nil {
		return err
	}
	for len(p) > 0 {
		n, err := c.in.direct(p)
		p = p[n:]
		if err == nil {
			continue
		}
		if err := c.again(err, errSlowFrame); err != nil {
			return err
		}
	}
	return nil
}

// begin is called before bytes are waited for. It sees to it that reading fails when time is over, or earlier: a
// deadline is left where it is as long as it does not come too late, because to move one costs more than to be woken by
// one in vain now and then.
func (c *conn) begin() error {
	if c.in.buffered() > 0 {
		c.inFrame = true
	}
	limits := c.srv.limits.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return errDrained
	}
	at := c.frameEnd
	switch {
	case c.inFrame && at.IsZero():
		at = after(limits.FrameTimeout)
		c.frameEnd = at
	case !c.inFrame && limits.IdleTimeout > 0 && (c.inFlight == 0 || c.armed.IsZero()):
		at = c.lastAnswer.Add(limits.IdleTimeout)
	}
	if at.IsZero() || !c.armed.IsZero() && !c.armed.After(at) {
		return nil
	}
	return c.arm(at)
}

// again decides on a failed read: nil if it was woken before its time, so that reading goes on; timeout is the reason if
// time is over.
func (c *conn) again(err error, timeout *closeReason) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return c.readError(err, timeout)
	}
	limits := c.srv.limits.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return errDrained
	}
	now, at := time.Now(), c.frameEnd
	if !c.inFrame {
		switch {
		case limits.IdleTimeout <= 0:
			at = time.Time{}
		case c.inFlight > 0: // a connection whose request waits for its answer is in use
			at = now.Add(limits.IdleTimeout)
		default:
			at = c.lastAnswer.Add(limits.IdleTimeout)
		}
	}
	if !at.IsZero() && !now.Before(at) {
		return timeout
	}
	return c.arm(at)
}

// arm sets when reading fails. It is called with c.mu held, and not once the connection drains: drain sets a deadline in
// the past, which must not be overwritten.
func (c *conn) arm(at time.Time) error {
	if err := c.nc.SetReadDeadline(at); err != nil {
		return fmt.Errorf("%w: %w", errClient, err)
	}
	c.armed = at
	return nil
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// limitsChanged wakes the reading goroutine, so that it waits for what it waits for by the new limits.
func (c *conn) limitsChanged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slot.Broadcast()
	if !c.closed && !c.draining {
		_ = c.arm(past) // fails only if the connection is gone
	}
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

// Reserve implements wire.FrameReader: it takes memory from the budget of all connections. Time that it waited for
// others is not the client's fault, so the frame's time starts again.
func (c *conn) Reserve(n int) error {
	if c.next.lease.try(int64(n)) {
		return nil
	}
	c.send() // who waits for memory must not hold answers whose requests hold it
	waited, err := c.next.lease.grow(c.ctx, int64(n))
	if err == nil && waited {
		c.frameEnd = time.Time{}
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
		LocalAddr: c.local, RemoteAddr: c.remote, Received: time.Now(),
	}
	k.req.From(k)
	c.pause = c.rate.take(k.req.Received, c.srv.limits.Load().RequestRate)
	k.req.Own(frame)
	k.reply.Init(&k.req, k)

	c.mu.Lock()
	if c.closed || c.draining {
		closed := c.closed
		c.mu.Unlock()
		k.free()
		if closed {
			return errClient
		}
		return errDrained // it came as reading was to stop
	}
	if c.clientID != string(h.ClientID) { // else the string that is there serves again
		c.clientID = string(h.ClientID)
	}
	k.req.ClientID = c.clientID
	c.push(k)
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
	k.letGo()
	return err
}

// push queues a call. The queue slides through base, and back to its beginning. The caller holds mu.
func (c *conn) push(k *call) {
	if n := len(c.queue); n == cap(c.queue) {
		if 2*n >= cap(c.base) {
			c.base = make([]*call, 0, 2*cap(c.base))
		}
		c.queue = c.base[:copy(c.base[:n], c.queue)]
		clear(c.queue[n:cap(c.queue)])
	}
	c.queue = append(c.queue, k)
}

// serve calls the handler. A panic ends this connection and no more.
func (c *conn) serve(k *call) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.srv.metrics.panics.Inc()
			c.srv.log.Error("a request handler panicked; its connection is closed", "panic", p,
				"api", kmsg.NameForKey(k.req.Key), "version", k.req.Version, "remote", c.remote, "stack", string(debug.Stack()))
			k.reply.Close(errPanic)
			err = errPanic
		}
	}()
	c.srv.handler.Serve(c.ctx, &k.req, &k.reply)
	return nil
}

// stopServing lets no request begin from here on.
func (c *conn) stopServing() {
	c.mu.Lock()
	c.draining = true
	c.mu.Unlock()
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
	_ = c.nc.SetReadDeadline(past)
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
		} else if k.gone != nil {
			k.gone.Gone()
			k.gone = nil
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
	now := time.Now()
	for _, k := range answered {
		k.finish(0, now)
	}
	reason := errClient
	errors.As(err, &reason)
	c.srv.metrics.closed.WithLabelValues(reason.label).Inc()
	if reason.warn {
		c.srv.warn(reason.label, "connection closed", "reason", err, "remote", c.remote, "client_id", clientID)
	}
	c.srv.forget(c)
}
