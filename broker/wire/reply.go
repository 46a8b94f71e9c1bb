package wire

import (
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Reply is where a handler puts the answer to one Request. Exactly one of its methods Message, Produce, Fetch,
// None and Close is called, once, from any goroutine, inside Serve or any time later; calls after the first
// are ignored (and release what they were given). The answer is encoded before the method returns, so that
// the caller may reuse what it passed in (a FetchResponse's files excepted, see there). The methods do not wait for
// a slow client: what the socket does not take at once is sent by another goroutine.
type Reply struct {
	req  *Request
	sink Sink
	done atomic.Bool
}

// Sink takes what a Reply was given. Complete is called at most once a Reply: with the encoded response, or with nil
// and a nil error for None, or with nil and the reason for Close. It owns the response and frees it.
type Sink interface {
	Complete(req *Request, resp *Response, err error)
}

// SinkFunc makes a Sink of a function; tests of handlers use it.
type SinkFunc func(req *Request, resp *Response, err error)

// Complete implements Sink.
func (f SinkFunc) Complete(req *Request, resp *Response, err error) { f(req, resp, err) }

// NewReply makes the reply for a request.
func NewReply(req *Request, sink Sink) *Reply {
	r := new(Reply)
	r.Init(req, sink)
	return r
}

// Init is NewReply for a Reply that is embedded elsewhere.
func (r *Reply) Init(req *Request, sink Sink) { r.req, r.sink = req, sink }

// Message answers with a kmsg response, whose version is set to the request's.
func (r *Reply) Message(m kmsg.Response) {
	if !r.first() {
		return
	}
	resp, err := EncodeMessage(r.req.Key, r.req.Version, r.req.CorrelationID, m)
	r.sink.Complete(r.req, resp, err)
}

// Produce answers a Produce request.
func (r *Reply) Produce(p *ProduceResponse) {
	if !r.first() {
		return
	}
	resp, err := EncodeProduce(r.req.Version, r.req.CorrelationID, p)
	r.sink.Complete(r.req, resp, err)
}

// Fetch answers a Fetch request without copying the records. f.Release is called exactly once, when the answer is
// sent or dropped, also if the reply was already given.
func (r *Reply) Fetch(f *FetchResponse) {
	if !r.first() {
		if f.Release != nil {
			f.Release()
		}
		return
	}
	resp, err := EncodeFetch(r.req.Version, r.req.CorrelationID, f)
	r.sink.Complete(r.req, resp, err)
}

// None ends a request that has no answer: Produce with acks=0 that succeeded.
func (r *Reply) None() {
	if r.first() {
		r.sink.Complete(r.req, nil, nil)
	}
}

// Close ends a request by closing its connection once the answers to the requests before it are sent: for a body
// that cannot be parsed, or for acks=0 that failed. err says why, for the log; nil is allowed.
func (r *Reply) Close(err error) {
	if !r.first() {
		return
	}
	if err == nil {
		err = errClosedByHandler
	}
	r.sink.Complete(r.req, nil, err)
}

// Done reports whether the reply was given.
func (r *Reply) Done() bool { return r.done.Load() }

var errClosedByHandler = fmt.Errorf("closed by the handler")

func (r *Reply) first() bool { return r.done.CompareAndSwap(false, true) }
