package server

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/firnlog/firn/broker/wire"
)

// call is one request on its way to its answer.
type call struct {
	conn  *conn
	req   wire.Request
	reply wire.Reply
	lease lease
	bytes int // of the frame, its length prefix included

	// Written under conn.mu when the answer is given, then read by who sends it.
	done bool
	resp *wire.Response // nil = nothing to send
	err  error          // not nil = close the connection
}

// Complete implements wire.Sink.
func (k *call) Complete(_ *wire.Request, resp *wire.Response, err error) {
	c := k.conn
	c.mu.Lock()
	k.done, k.resp, k.err = true, resp, err
	if c.closed {
		c.mu.Unlock()
		k.finish(0)
		return
	}
	over := c.took(resp.Memory())
	// While Serve runs the reading goroutine will send it: it may wait for the socket.
	pump := c.serving != k && c.startPump()
	c.mu.Unlock()
	if over {
		c.srv.shed()
	}
	if pump {
		c.pump(nil, 0, false)
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

// finish counts the call and frees what it holds. sent is the bytes that went out.
func (k *call) finish(sent int64) {
	failed := k.err != nil || (k.resp != nil && k.resp.ErrorCode != 0)
	k.conn.srv.metrics.request(k.req.Key, k.bytes, sent, failed, time.Since(k.req.Received))
	k.free()
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
// pump, or the goroutine that it hands over to, is done. k, if not nil, is a call that has left the queue and of
// whose answer the first `from` bytes are sent. Only if wait is set may pump wait for the socket or for a file.
func (c *conn) pump(k *call, from int64, wait bool) {
	for {
		if k == nil {
			if k = c.pop(); k == nil {
				return
			}
		}
		err := k.err
		var sent int64
		memory := k.resp.Memory()
		if k.resp != nil {
			sent = k.resp.Size()
			c.sender.Timeout = c.srv.limits.Load().WriteTimeout
			if !wait {
				if from, err = c.sender.Try(k.resp); err == nil && from < sent {
					go c.pump(k, from, true)
					return
				}
			} else {
				err = c.sender.Send(k.resp, from)
			}
			err = sendError(err)
		} else if reason := (*closeReason)(nil); err != nil && !errors.As(err, &reason) {
			err = fmt.Errorf("%w: %w", errHandler, err)
		}
		if err != nil {
			k.err = err
			sent = 0
		}
		k.finish(sent)
		if !c.sent(memory, err) {
			return
		}
		k, from = nil, 0
	}
}

// pop takes the first call off the queue if it is answered; else the pump stops.
func (c *conn) pop() *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.queue) == 0 || !c.queue[0].done {
		c.sending = false
		return nil
	}
	k := c.queue[0]
	c.queue[0] = nil
	if c.queue = c.queue[1:]; len(c.queue) == 0 {
		c.queue = c.base[:0]
	}
	return k
}

// sent notes that a call is over, whose answer took memory. It reports whether the pump goes on.
func (c *conn) sent(memory int64, err error) bool {
	c.mu.Lock()
	c.inFlight--
	c.lastAnswer = time.Now()
	if !c.closed { // else close counted it
		c.untaken -= memory
		c.since = c.lastAnswer
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
