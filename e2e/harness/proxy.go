package harness

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// FaultyProxy stands before an object store and breaks a share of what passes, at random from a seed: requests
// that are refused, throttled, carried out but never answered, or stalled; bodies that end early or arrive with a
// bit flipped.
type FaultyProxy struct {
	// Addr is where it listens, host:port.
	Addr string

	share  atomic.Int64 // of requests that go wrong, in percent
	broken atomic.Int64
	mu     sync.Mutex
	rng    *rand.Rand
}

// NewFaultyProxy starts one before target (host:port). It ends with the test.
func NewFaultyProxy(t testing.TB, target string, seed uint64) *FaultyProxy {
	t.Helper()
	p := &FaultyProxy{rng: rand.New(rand.NewPCG(seed, 0))}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: target})
			r.Out.Host = r.In.Host // what the client signed; the store checks the signature against it
		},
		ModifyResponse: p.damage,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(forward, w, r) }))
	t.Cleanup(s.Close)
	p.Addr = s.Listener.Addr().String()
	return p
}

// Break sets how many percent of the requests go wrong.
func (p *FaultyProxy) Break(percent int) { p.share.Store(int64(percent)) }

// Broken is how many requests went wrong so far.
func (p *FaultyProxy) Broken() int64 { return p.broken.Load() }

func (p *FaultyProxy) roll(n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rng.IntN(n)
}

func (p *FaultyProxy) unlucky() bool {
	if p.roll(100) >= int(p.share.Load()) {
		return false
	}
	p.broken.Add(1)
	return true
}

func (p *FaultyProxy) serve(forward http.Handler, w http.ResponseWriter, r *http.Request) {
	if !p.unlucky() {
		forward.ServeHTTP(w, r)
		return
	}
	switch p.roll(5) {
	case 0:
		w.WriteHeader(http.StatusInternalServerError)
	case 1:
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`)
	case 2: // carried out, but nobody hears of it
		forward.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case 3: // stands still for a moment, then goes away
		select {
		case <-r.Context().Done():
		case <-time.After(2 * time.Second):
		}
		panic(http.ErrAbortHandler)
	case 4:
		r.Header.Set("X-Firn-Damage", "1")
		forward.ServeHTTP(w, r)
	}
}

// damage cuts or changes the body of an answer that was chosen for it.
func (p *FaultyProxy) damage(res *http.Response) error {
	if res.Request.Header.Get("X-Firn-Damage") == "" || res.ContentLength <= 0 || res.Request.Method != http.MethodGet {
		return nil
	}
	at := int64(p.roll(int(res.ContentLength)))
	if p.roll(2) == 0 {
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
