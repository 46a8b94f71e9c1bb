package wire

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Request is one request as it came off a connection: its header is parsed, its body is not.
//
// Body, and everything that Produce and Fetch return, aliases a pooled frame: it is valid until the one call of the
// Reply that belongs to the request has been made, and must not be touched after it. What is needed for longer must
// be copied. A Request is used by one goroutine at a time.
type Request struct {
	Key           int16 // API key
	Version       int16 // within the server's version table (ApiVersions and Produce below 3 excepted, see package server)
	CorrelationID int32
	ClientID      string // empty when null; an ordinary string that may be kept
	Body          []byte // what follows the request header
	LocalAddr     net.Addr
	RemoteAddr    net.Addr
	Received      time.Time // when the frame was complete

	frame   *Buffer
	account account
	produce *ProduceRequest
	fetch   *FetchRequest
}

// ErrMalformed is in the chain of every error that says that the bytes of a frame, header or body are not what the
// protocol allows. Kafka closes the connection on such a request; a handler does so with Reply.Close.
var ErrMalformed = errors.New("malformed request")

// ErrUnknownKey says that kmsg or the version table does not know an API key.
var ErrUnknownKey = errors.New("unknown API key")

// Decode parses the body of any request but the hot ones with kmsg. It is bounded: a body whose claimed lengths are
// not backed by bytes, or whose decoded form would be out of proportion to its size, is refused with ErrMalformed
// before anything is allocated (see check.go). Strings are copied, byte slices alias the frame. It is called within Serve,
// as are Produce and Fetch: each may wait until other requests leave it memory.
func (r *Request) Decode() (kmsg.Request, error) {
	return decode(r.Key, r.Version, r.Body, &r.account)
}

// Reserve takes n more bytes for what the request becomes, where that is more than was taken when it was parsed: a Decode
// takes answerCost for each element of a list, and Fetch FetchPartitionCost for each partition that is named. What was taken
// is given back when the request is answered. Like Decode it is called within Serve, where it may wait until other requests
// leave it memory: before the memory is allocated, in as many pieces as is convenient, since most of them are served from what
// was asked for already. The error says why there is none; the connection is to be closed with it. It allocates nothing.
func (r *Request) Reserve(n int) error {
	if !r.account.spend(n) {
		return fmt.Errorf("what it asks for: %w", r.account.why)
	}
	return nil
}

// Produce parses the body of a Produce request. The result belongs to the Request: it is recycled when the reply is
// sent. The second call returns the same value.
func (r *Request) Produce() (*ProduceRequest, error) {
	if r.produce != nil {
		return r.produce, nil
	}
	if r.Key != KeyProduce {
		return nil, fmt.Errorf("%w: API key %d is not Produce", ErrMalformed, r.Key)
	}
	p := producePool.Get().(*ProduceRequest)
	if err := p.parse(r.Version, r.reader()); err != nil {
		p.recycle()
		return nil, err
	}
	r.produce = p
	return p, nil
}

// Fetch parses the body of a Fetch request. The result belongs to the Request: it is recycled when the reply is
// sent. The second call returns the same value.
func (r *Request) Fetch() (*FetchRequest, error) {
	if r.fetch != nil {
		return r.fetch, nil
	}
	if r.Key != KeyFetch {
		return nil, fmt.Errorf("%w: API key %d is not Fetch", ErrMalformed, r.Key)
	}
	f := fetchPool.Get().(*FetchRequest)
	if err := f.parse(r.Version, r.reader()); err != nil {
		f.recycle()
		return nil, err
	}
	r.fetch = f
	return f, nil
}

func (r *Request) reader() reader {
	return reader{b: r.Body, account: &r.account}
}

// Client tells of the connection that a request came from. Package server implements it.
type Client interface {
	// Watch is called when the request is to be parked. It has g.Gone called, once, when the connection ends before the
	// request is answered. It reports false, and does not call, if the request is to be answered at once: because the
	// connection has ended already, or because other requests wait for the memory that it holds.
	Watch(g Goner) bool
	// Reserve takes memory for what the request becomes beside its frame, parsed and answered, until it is answered. It
	// may wait for it, and is called within Serve only: who waits elsewhere might wait for an answer that is sent after its
	// own. The error says why there is none; the connection is to be closed then.
	Reserve(n int) error
	// SendHeld is called within Serve before the request waits long for anything else. Answers to requests before it may be held
	// until it is served, to leave with its own: they are sent now.
	SendHeld()
}

// Goner is told that nobody waits for an answer any more. Gone is called under a lock of the connection: it must not
// block, nor give the answer itself.
type Goner = interface{ Gone() }

// Watch has g told when the client goes away before its answer is given, and says whether the request may wait; see Client.
// One without a connection, as in tests, has a client that stays.
func (r *Request) Watch(g Goner) bool { return r.account.client == nil || r.account.client.Watch(g) }

// SendHeld has answers sent that are held until this request is served, because that may take long; see Client.
func (r *Request) SendHeld() {
	if r.account.client != nil {
		r.account.client.SendHeld()
	}
}

// From says whose request it is. Package server calls it before the request is served.
func (r *Request) From(c Client) { r.account = account{client: c} }

// Own hands the pooled frame that Body aliases to the request, so that Free recycles it.
func (r *Request) Own(frame *Buffer) { r.frame = frame }

// Free recycles the frame and the parsed hot-path forms. Package server calls it, when the reply was given or, where records
// are lent to it, is sent or dropped; handlers never do. Body and what was parsed from it must not be used any more. Further
// calls do nothing.
func (r *Request) Free() {
	if r.produce != nil {
		r.produce.recycle()
		r.produce = nil
	}
	if r.fetch != nil {
		r.fetch.recycle()
		r.fetch = nil
	}
	r.Body = nil
	if r.frame != nil {
		r.frame.Free()
		r.frame = nil
	}
}
