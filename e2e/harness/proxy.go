package harness

import (
	"context"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// FaultyProxy stands before an object store. It breaks a share of what passes, from a seed: requests that are refused,
// throttled, carried out but never answered, or stalled; bodies that end early or arrive with a bit flipped. What
// happens to the n-th request of a method to a kind of object depends on the seed, these and n alone, however
// requests interleave. It also does single things on order: it holds back an answer, or refuses what would be stored.
type FaultyProxy struct {
	// Addr is where it listens, host:port.
	Addr string

	seed    uint64
	forward http.Handler
	share   atomic.Int64 // of requests that go wrong, in percent
	broken  atomic.Int64
	deaf    atomic.Bool // segments are not accepted

	mu    sync.Mutex
	calls map[string]uint64 // requests so far by method and kind
	hold  *Held             // the next segment that is stored, or nil
}

// NewFaultyProxy starts one before target (host:port). It ends with the test.
func NewFaultyProxy(t testing.TB, target string, seed uint64) *FaultyProxy {
	t.Helper()
	p := &FaultyProxy{seed: seed, calls: make(map[string]uint64)}
	p.forward = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: target})
			r.Out.Host = r.In.Host // what the client signed; the store checks the signature against it
		},
		ModifyResponse: damage,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	s := httptest.NewServer(p)
	t.Cleanup(func() {
		s.CloseClientConnections() // ends what is held, too
		s.Close()
	})
	p.Addr = s.Listener.Addr().String()
	return p
}

// Before gives a store URL that leads to the proxy instead of to the endpoint in it.
func (p *FaultyProxy) Before(storeURL, endpoint string) string {
	storeURL = strings.ReplaceAll(storeURL, endpoint, p.Addr)
	return strings.ReplaceAll(storeURL, url.QueryEscape(endpoint), url.QueryEscape(p.Addr))
}

// Break sets how many percent of the requests go wrong.
func (p *FaultyProxy) Break(percent int) { p.share.Store(int64(percent)) }

// Broken is how many requests went wrong so far.
func (p *FaultyProxy) Broken() int64 { return p.broken.Load() }

// RefuseSegments makes the store seem to be unavailable for new segments; all else passes.
func (p *FaultyProxy) RefuseSegments(on bool) { p.deaf.Store(on) }

// Held is a segment that was stored, and the answer to the request that stored it.
type Held struct {
	// Stored is closed once the segment is in the store.
	Stored <-chan struct{}
	// Sent is closed once the answer was written to the client's connection; never if the client has gone.
	Sent <-chan struct{}

	key          string
	stored, sent chan struct{}
	release      chan struct{}
	once         sync.Once
}

// Key of the object, in the store's bucket; after Stored.
func (h *Held) Key() string { return h.key }

// Release lets the answer go.
func (h *Held) Release() { h.once.Do(func() { close(h.release) }) }

// HoldSegment carries out the next PUT of a segment whatever Break says, and holds its answer back until it is released.
func (p *FaultyProxy) HoldSegment() *Held {
	h := &Held{stored: make(chan struct{}), sent: make(chan struct{}), release: make(chan struct{})}
	h.Stored, h.Sent = h.stored, h.sent
	p.arm(h)
	return h
}

func (p *FaultyProxy) arm(h *Held) {
	p.mu.Lock()
	p.hold = h
	p.mu.Unlock()
}

var segmentName = regexp.MustCompile(`^[0-9]{19}-[0-9]+-[0-9a-f]{32}$`)

// kind tells what an object is by its key: a segment, a fold, another by its folder or name.
func kind(path string) string {
	parts := strings.Split(path, "/")
	last := parts[len(parts)-1]
	switch {
	case IsSegment(path):
		return "segment"
	case strings.HasPrefix(last, "fold-"):
		return "fold"
	case len(parts) > 2 && (parts[len(parts)-2] == "markers" || parts[len(parts)-2] == "distrust"):
		return parts[len(parts)-2]
	case strings.HasPrefix(last, "probe-"):
		return "probe"
	}
	return "other"
}

// IsSegment tells whether a key is that of an archived segment.
func IsSegment(key string) bool {
	dir, last := "", key
	if i := strings.LastIndexByte(key, '/'); i >= 0 {
		dir, last = key[:i], key[i+1:]
	}
	return segmentName.MatchString(last) && !strings.HasSuffix(dir, "/markers")
}

// fate is what happens to one request.
type fate struct {
	strikes bool
	how     int     // which fault
	where   float64 // in the body, as a share of its length
	cut     bool    // rather than flipped
}

// The faults. The last one needs a body to damage.
const (
	refused = iota
	throttled
	unanswered
	stalled
	damaged
	faults
)

func (p *FaultyProxy) fateOf(r *http.Request) fate {
	name := r.Method + " " + kind(r.URL.Path)
	p.mu.Lock()
	n := p.calls[name]
	p.calls[name]++
	p.mu.Unlock()
	h := fnv.New64a()
	_, _ = io.WriteString(h, name) // never fails
	rng := rand.New(rand.NewPCG(p.seed^h.Sum64(), n))
	f := fate{strikes: rng.IntN(100) < int(p.share.Load()), how: rng.IntN(faults), where: rng.Float64(), cut: rng.IntN(2) == 0}
	if f.how == damaged && r.Method != http.MethodGet {
		f.how = unanswered
	}
	return f
}

// take gives the order to hold the answer to a segment, if there is one, to one request.
func (p *FaultyProxy) take() *Held {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hold
	p.hold = nil
	return h
}

// ServeHTTP implements http.Handler.
func (p *FaultyProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	segment := r.Method == http.MethodPut && kind(r.URL.Path) == "segment"
	if segment && p.deaf.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if segment {
		if h := p.take(); h != nil {
			p.carryOut(h, w, r)
			return
		}
	}
	f := p.fateOf(r)
	if !f.strikes {
		p.forward.ServeHTTP(w, r)
		return
	}
	p.broken.Add(1)
	switch f.how {
	case refused:
		w.WriteHeader(http.StatusInternalServerError)
	case throttled:
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`)
	case unanswered: // carried out, but nobody hears of it
		p.forward.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case stalled: // stands still for a moment, then goes away
		select {
		case <-r.Context().Done():
		case <-time.After(2 * time.Second):
		}
		panic(http.ErrAbortHandler)
	case damaged:
		p.forward.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), fateKey{}, f)))
	}
}

// carryOut does the request and holds its answer back; if it is not a good one, the order stands for the next.
func (p *FaultyProxy) carryOut(h *Held, w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	p.forward.ServeHTTP(answer, r)
	good := answer.Code == http.StatusOK
	if good {
		_, h.key, _ = strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		close(h.stored)
		select {
		case <-h.release:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	} else {
		p.arm(h)
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	if _, err := w.Write(answer.Body.Bytes()); err != nil {
		panic(http.ErrAbortHandler)
	}
	if err := http.NewResponseController(w).Flush(); err == nil && good {
		close(h.sent)
	}
}

// fateKey is where a request's context holds the fate of its body.
type fateKey struct{}

// damage cuts or changes the body of an answer that was chosen for it.
func damage(res *http.Response) error {
	f, ok := res.Request.Context().Value(fateKey{}).(fate)
	if !ok || res.ContentLength <= 0 {
		return nil
	}
	at := int64(f.where * float64(res.ContentLength))
	if f.cut {
		res.Body = &cutBody{ReadCloser: res.Body, left: at}
	} else {
		res.Body = &flippedBody{ReadCloser: res.Body, at: at}
	}
	return nil
}

// cutBody ends early; the proxy then drops the connection, since the announced length is not reached.
type cutBody struct {
	io.ReadCloser
	left int64
}

func (c *cutBody) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.ReadCloser.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}

// flippedBody changes one bit on the way.
type flippedBody struct {
	io.ReadCloser
	at int64
}

func (f *flippedBody) Read(b []byte) (int, error) {
	n, err := f.ReadCloser.Read(b)
	if f.at >= 0 && f.at < int64(n) {
		b[f.at] ^= 0x10
	}
	f.at -= int64(n)
	return n, err
}
