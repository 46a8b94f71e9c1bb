// Package rest holds what the s3 and minio stores share although their clients differ: the HTTP transport with its
// time limits, the words for what an S3 service answers, the plan of a multipart upload, and how a bulk delete goes
// on after its answer. It knows nothing of either client library.
package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits of the transport. Zero fields mean defaults.
type Limits struct {
	MaxConnections int           // 0: 64
	ConnectTimeout time.Duration // 0: 5 s
	HeaderTimeout  time.Duration // 0: 30 s
	StallTimeout   time.Duration // 0: 30 s
}

func (l Limits) withDefaults() Limits {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if l.MaxConnections <= 0 {
		l.MaxConnections = 64
	}
	def(&l.ConnectTimeout, 5*time.Second)
	def(&l.HeaderTimeout, 30*time.Second)
	def(&l.StallTimeout, 30*time.Second)
	return l
}

// ErrStalled is wrapped when a body moved no byte for the stall timeout.
var ErrStalled = errors.New("no byte moved for too long")

// NewTransport gives a transport for many parallel ranged GETs: as many idle connections are kept as may be open, so
// that a burst does not connect anew, and it speaks HTTP/1.1 only, since parallel streams in one HTTP/2 connection
// share one window and one loss. There is no limit on a whole request, which may be long and healthy; what is
// limited is connecting, waiting for the answer's header, and the time in which no byte of a body moves.
// A nil trust means the system's certificates.
func NewTransport(l Limits, trust *tls.Config) http.RoundTripper {
	l = l.withDefaults()
	dialer := &net.Dialer{Timeout: l.ConnectTimeout, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &stallConn{Conn: c, limit: l.StallTimeout}, nil
		},
		TLSClientConfig:       trust,
		TLSHandshakeTimeout:   l.ConnectTimeout,
		ResponseHeaderTimeout: l.HeaderTimeout,
		ExpectContinueTimeout: time.Second,
		MaxIdleConns:          l.MaxConnections,
		MaxIdleConnsPerHost:   l.MaxConnections,
		MaxConnsPerHost:       l.MaxConnections,
		IdleConnTimeout:       90 * time.Second,
		DisableCompression:    true, // bodies are compressed already, and a length must mean what it says
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}
	return &transport{next: t, limit: l.StallTimeout}
}

// stallConn fails a write that the other side does not take for too long: an upload into a black hole.
type stallConn struct {
	net.Conn
	limit time.Duration
}

func (c *stallConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		err = fmt.Errorf("%w: %w", ErrStalled, err)
	}
	return n, err
}

// ReadFrom sends a request's body in large steps: net/http would copy it by 32 KiB.
func (c *stallConn) ReadFrom(r io.Reader) (n int64, err error) {
	buf := steps.Get().(*[stepBytes]byte)
	defer steps.Put(buf)
	for {
		m, err := io.ReadAtLeast(r, buf[:], 1)
		if m > 0 {
			sent, failed := c.Write(buf[:m])
			n += int64(sent)
			if failed != nil {
				return n, failed
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, err
		}
	}
}

const stepBytes = 256 << 10

var steps = sync.Pool{New: func() any { return new([stepBytes]byte) }}

// transport puts a stall limit on the bodies of answers and keeps the Date of those whose context asks for it.
type transport struct {
	next  http.RoundTripper
	limit time.Duration
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	out := req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		out.Body = onlyReader{req.Body}
	}
	resp, err := t.next.RoundTrip(out)
	if err != nil {
		cancel()
		return nil, err
	}
	if d, ok := req.Context().Value(dateKey{}).(*Date); ok {
		d.keep(resp.Header.Get("Date"))
	}
	resp.Body = &stallBody{body: resp.Body, limit: t.limit, cancel: cancel}
	return resp, nil
}

// onlyReader hides a body's WriteTo. The AWS client closes the body of a request as soon as the answer's header is there,
// and its WriteTo then says io.EOF, which net/http, still asking whether the body is longer than announced, takes for a
// fault: it closes the connection below the answer that is being read.
type onlyReader struct{ io.ReadCloser }

// CloseIdleConnections lets http.Client pass the wish on.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// stallBody ends the request when one Read waits too long. The time between reads does not count: a reader may be slow.
type stallBody struct {
	body   io.ReadCloser
	limit  time.Duration
	cancel context.CancelFunc
	timer  *time.Timer

	mu      sync.Mutex
	stalled bool // guarded by mu
}

func (b *stallBody) Read(p []byte) (int, error) {
	if b.timer == nil {
		b.timer = time.AfterFunc(b.limit, b.giveUp)
	} else {
		b.timer.Reset(b.limit)
	}
	n, err := b.body.Read(p)
	b.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.stalled {
			err = fmt.Errorf("%w (%v)", ErrStalled, b.limit)
		}
	}
	return n, err
}

func (b *stallBody) giveUp() {
	b.mu.Lock()
	b.stalled = true
	b.mu.Unlock()
	b.cancel()
}

func (b *stallBody) Close() error {
	err := b.body.Close()
	b.cancel()
	return err
}

// Date takes the Date header of the last answer to a request whose context was made by WithDate: the store's clock,
// in whole seconds.
type Date struct {
	mu   sync.Mutex
	time time.Time
}

type dateKey struct{}

// WithDate gives a context whose requests leave the Date of their answer in the Date.
func WithDate(ctx context.Context) (context.Context, *Date) {
	d := &Date{}
	return context.WithValue(ctx, dateKey{}, d), d
}

func (d *Date) keep(header string) {
	t, err := http.ParseTime(header)
	if err != nil {
		return
	}
	d.mu.Lock()
	d.time = t
	d.mu.Unlock()
}

// Time gives the date, if there was one.
func (d *Date) Time() (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.time, !d.time.IsZero()
}
