package server

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/firnlog/firn/broker/wire"
)

// call is one request on its way to its answer. Those of Produce and Fetch are used again: their handlers leave request
// and reply alone once they have answered.
type call struct {
	conn  *conn
	req   wire.Request
	reply wire.Reply
	lease lease
	forms int          // what of the lease is for other than the frame
	bytes int          // of the frame, its length prefix included
	users atomic.Int32 // the goroutine that serves it, and its answer

	// Written under conn.mu when the answer is given, then read by who sends it.
	done   bool
	resp   *wire.Response // nil = nothing to send
	err    error          // not nil = close the connection
	memory int64          // that the answer takes
	size   int64          // of the answer

	gone wire.Goner // told when the connection ends before the answer; guarded by conn.mu
}

var calls = sync.Pool{New: func() any { return new(call) }}

func newCall(c *conn) *call {
	k := calls.Get().(*call)
	k.conn, k.lease.b = c, c.srv.memory
	k.users.Store(2)
	return k
}

// letGo is called by each of the two users when it is done with the call.
func (k *call) letGo() {
	if k.users.Add(-1) > 0 || k.req.Key != wire.KeyProduce && k.req.Key != wire.KeyFetch {
		return
	}
	*k = call{}
	calls.Put(k)
}

// Watch implements wire.Client.
func (k *call) Watch(g wire.Goner) bool {
	if k.lease.b.pressed() {
		return false
	}
	k.conn.mu.Lock()
	defer k.conn.mu.Unlock()
	if k.conn.closed {
		return false
	}
	k.gone = g
	return true
}

// leastForms is what a request may take beside its frame however small the largest frame is.
const leastForms = 32 << 20

// Reserve implements wire.Client: what a request becomes when it is parsed and answered comes out of the budget of all
// connections, as its frame does, and may take as much as the largest frame.
func (k *call) Reserve(n int) error {
	c := k.conn
	if most := max(c.srv.limits.Load().MaxRequestBytes, leastForms); n > most-k.forms {
		return fmt.Errorf("%w: it takes %d bytes of memory beside its frame of %d, allowed are %d", errBadFrame, k.forms+n, k.bytes, most)
	}
	k.forms += n
	if k.lease.try(int64(n)) {
		return nil
	}
	c.send() // who waits for memory must not hold answers whose requests hold it
	_, err := k.lease.grow(c.ctx, int64(n))
	return err
}

// SendHeld implements wire.Client.
func (k *call) SendHeld() { k.conn.send() }

// Complete implements wire.Sink. The request is over with that: others may have its memory, however slowly the client
// takes the answer. Only records that are lent to the answer keep it until they are sent, and with them what names them.
func (k *call) Complete(_ *wire.Request, resp *wire.Response, err error) {
	c := k.conn
	if !resp.Lent() {
		k.req.Free()
		k.lease.release()
	}
	memory := resp.Memory()
	var size int64
	if resp != nil {
		size = resp.Size()
	}
	c.mu.Lock()
	k.done, k.resp, k.err, k.memory, k.size, k.gone = true, resp, err, memory, size, nil
	if c.closed {
		c.mu.Unlock()
		k.finish(0, time.Now())
		return
	}
	over := c.took(memory)
	// The reading goroutine sends the answer to what it serves itself: it may wait for the socket.
	pump := c.serving != k && c.startPump()
	more := c.inFlight > 1
	c.mu.Unlock()
	if over {
		c.srv.shed()
	}
	switch {
	case pump && more:
		c.srv.mailer.add(c)
	case pump:
		c.pump(wire.ForNothing)
	}
}

// refuseProduce answers a Produce request of a version that is advertised but not served.
func (k *call) refuseProduce() {
	resp, acks, err := wire.UnsupportedProduce(&k.req)
	if err == nil && acks == 0 { // no answer is read
		resp.Free()
		resp, err = nil, fmt.Errorf("%w: Produce version %d with acks=0", errVersion, k.req.Version)
	}
	k.Complete(&k.req, resp, err)
}

// finish counts the call, frees what it holds and lets go of it. sent is the bytes that went out.
func (k *call) finish(sent int64, now time.Time) {
	failed := k.err != nil || (k.resp != nil && k.resp.ErrorCode != 0)
	k.conn.srv.metrics.request(k.req.Key, k.bytes, sent, failed, now.Sub(k.req.Received))
	k.free()
	k.letGo()
}

func (k *call) free() {
	k.resp.Free()
	k.resp = nil
	k.req.Free()
	k.lease.release()
}

// startPump reports whether the caller is to pump. It is called with c.mu held.
func (c *conn) startPump() bool {
	if c.sending || c.closed || len(c.queue) == 0 || !c.queue[0].done {
		return false
	}
	c.sending = true
	return true
}

// pump sends answers until the first call of the queue has none. The caller has set c.sending, which stays set until
// pump is done, or the goroutine that it hands over to for what it may not wait for: the reading one may wait for the
// socket, but the client's next requests need not wait for the disk; somebody else's for nothing.
func (c *conn) pump(may wire.Patience) {
	for c.pop() && c.flush(0, may) {
	}
}

// pumpOn is pump when the first c.from bytes of the batch are sent already.
func (c *conn) pumpOn() {
	if c.flush(c.from, wire.ForDisk) {
		c.pump(wire.ForDisk)
	}
}

// pop takes the first calls off the queue, as many as are answered and fit into one write, and makes them the batch. If
// there is none the pump stops.
func (c *conn) pop() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.queue) == 0 || !c.queue[0].done {
		c.sending = false
		return false
	}
	first := c.queue[0]
	n := 1
	for n < len(c.queue) && first.resp != nil {
		k := c.queue[n]
		if !k.done || k.resp == nil || !first.resp.Join(k.resp) {
			break
		}
		n++
	}
	c.batch = append(c.batch, c.queue[:n]...)
	clear(c.queue[:n])
	if c.queue = c.queue[n:]; len(c.queue) == 0 {
		c.queue = c.base[:0]
	}
	return true
}

// flush sends the batch, of which the first `from` bytes are sent, and finishes its calls. It reports whether the pump
// goes on.
func (c *conn) flush(from int64, may wire.Patience) bool {
	first := c.batch[0]
	err := first.err
	if resp := first.resp; resp != nil {
		c.sender.Timeout = c.srv.limits.Load().WriteTimeout
		from, err = c.sender.Send(resp, from, may)
		if err == nil && from < resp.Size() {
			c.from = from
			go c.pumpFn()
			return false
		}
		err = sendError(err)
	} else if reason := (*closeReason)(nil); err != nil && !errors.As(err, &reason) {
		err = fmt.Errorf("%w: %w", errHandler, err)
	}
	now := time.Now()
	var memory int64
	for _, k := range c.batch {
		memory += k.memory
		sent := k.size
		if err != nil {
			k.err, sent = err, 0
		}
		k.finish(sent, now)
	}
	n := len(c.batch)
	clear(c.batch)
	c.batch = c.batch[:0]
	return c.sent(n, memory, err, now)
}

// sent notes that n calls are over, whose answers took memory. It reports whether the pump goes on.
func (c *conn) sent(n int, memory int64, err error, now time.Time) bool {
	c.mu.Lock()
	c.inFlight -= n
	c.lastAnswer = now
	if memory > 0 && !c.closed { // else close counted it
		c.untaken -= memory
		c.since = now
		c.srv.answers.Add(-memory)
	}
	c.slot.Signal()
	last := c.draining && c.inFlight == 0
	c.mu.Unlock()
	switch {
	case err != nil:
		c.close(err)
	case last:
		c.close(errShutdown)
	default:
		return true
	}
	return false
}

// sendError says what a failed write means.
func sendError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: %w", errSlowRead, err)
	case errors.Is(err, wire.ErrShortRegion):
		return fmt.Errorf("%w: %w", errSend, err)
	}
	return fmt.Errorf("%w: %w", errClient, err)
}
