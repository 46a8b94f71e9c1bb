package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/firnlog/firn/broker/wire"
)

// Handler serves requests.
//
// Serve is called on the connection's reading goroutine, one request of a connection after the other, and must not
// block long: what has to wait gives its answer later through reply, from any goroutine, exactly once. ctx ends when
// the connection does; a parked request may then be forgotten, but reply must still be given (Close will do), since
// the request's memory counts against Limits.MemoryBytes until then.
// Requests reach Serve only with a version that the table allows.
type Handler interface {
	Serve(ctx context.Context, req *wire.Request, reply *wire.Reply)
}

// HandlerFunc makes a Handler of a function.
type HandlerFunc func(ctx context.Context, req *wire.Request, reply *wire.Reply)

// Serve implements Handler.
func (f HandlerFunc) Serve(ctx context.Context, req *wire.Request, reply *wire.Reply) {
	f(ctx, req, reply)
}

// Limits bound what clients can take. A zero field has the default; a negative timeout means none.
type Limits struct {
	MaxRequestBytes     int           // socket.request.max.bytes; default 100 MiB
	MaxInFlight         int           // requests of one connection that wait for their answer; reading pauses; default 64
	MemoryBytes         int64         // request bytes in memory, all connections; default 512 MiB
	MaxConnections      int           // default 10,000
	MaxConnectionsPerIP int           // max.connections.per.ip; default: as MaxConnections
	IdleTimeout         time.Duration // connections.max.idle.ms; default 10 min
	FrameTimeout        time.Duration // from a frame's first byte to its last; default 30 s
	WriteTimeout        time.Duration // for a client to take 1 MiB of an answer; default 60 s
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	setTime := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	set(&l.MaxRequestBytes, 100<<20)
	set(&l.MaxInFlight, 64)
	set(&l.MaxConnections, 10_000)
	set(&l.MaxConnectionsPerIP, l.MaxConnections)
	if l.MemoryBytes == 0 {
		l.MemoryBytes = 512 << 20
	}
	setTime(&l.IdleTimeout, 10*time.Minute)
	setTime(&l.FrameTimeout, 30*time.Second)
	setTime(&l.WriteTimeout, time.Minute)
	return l
}

func (l Limits) check() error {
	if l.MaxRequestBytes < minFrame || l.MaxInFlight < 1 || l.MemoryBytes < 1 || l.MaxConnections < 1 || l.MaxConnectionsPerIP < 1 {
		return fmt.Errorf("limits %+v: sizes and counts must be positive", l)
	}
	return nil
}

// Options of a Server.
type Options struct {
	Addr       string       // where to listen ("host:port"), unless Listener is set
	Listener   net.Listener // taken over by the server
	Handler    Handler
	Versions   []wire.Range // what Handler serves; anything else does not reach it
	Limits     Limits
	Logger     *slog.Logger          // nil = none
	Registerer prometheus.Registerer // nil = no metrics
}

// Server accepts connections on one listener.
type Server struct {
	handler  Handler
	versions *wire.Versions
	limits   Limits
	log      *slog.Logger
	quiet    limiter
	metrics  *metrics
	memory   *budget
	listener net.Listener

	mu       sync.Mutex
	conns    map[*conn]struct{} // mu
	perIP    map[string]int     // mu
	stopping bool               // mu
	empty    chan struct{}      // mu; closed when stopping and conns is empty
}

// New listens; connections are accepted (by the kernel) from now on and served from Serve on.
func New(o Options) (*Server, error) {
	if o.Handler == nil {
		return nil, errors.New("server: no handler")
	}
	versions, err := wire.NewVersions(o.Versions)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	s := &Server{
		handler:  o.Handler,
		versions: versions,
		limits:   o.Limits.withDefaults(),
		log:      o.Logger,
		listener: o.Listener,
		conns:    map[*conn]struct{}{},
		perIP:    map[string]int{},
		empty:    make(chan struct{}),
	}
	if err := s.limits.check(); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.memory = newBudget(s.limits.MemoryBytes)
	var keys []int16
	for _, r := range o.Versions {
		keys = append(keys, r.Key)
	}
	if s.metrics, err = newMetrics(o.Registerer, keys, func() float64 { return float64(s.memory.used(s.limits.MemoryBytes)) }); err != nil {
		return nil, fmt.Errorf("server: metrics: %w", err)
	}
	if s.listener == nil {
		if s.listener, err = net.Listen("tcp", o.Addr); err != nil {
			return nil, fmt.Errorf("server: %w", err)
		}
	}
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve accepts connections until Shutdown, and returns nil then.
func (s *Server) Serve() error {
	const firstPause, lastPause = 5 * time.Millisecond, time.Second
	pause := firstPause
	for {
		nc, err := s.listener.Accept()
		if err == nil {
			pause = firstPause
			s.accept(nc)
			continue
		}
		if s.isStopping() {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accepting connections: %w", err)
		}
		// Out of descriptors, or a client that went away before it was accepted: others may still come.
		s.warn("accept", "accepting a connection failed", "error", err)
		time.Sleep(pause)
		pause = min(2*pause, lastPause)
	}
}

func (s *Server) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// accept starts a connection, or refuses it.
func (s *Server) accept(nc net.Conn) {
	ip := remoteIP(nc)
	s.mu.Lock()
	reason := ""
	switch {
	case s.stopping:
		reason = "stopping"
	case len(s.conns) >= s.limits.MaxConnections:
		reason = "max connections"
	case s.perIP[ip] >= s.limits.MaxConnectionsPerIP:
		reason = "max connections of the address"
	}
	if reason != "" {
		s.mu.Unlock()
		_ = nc.Close()
		s.metrics.refused.WithLabelValues(reason).Inc()
		s.warn("refuse", "connection refused", "reason", reason, "remote", nc.RemoteAddr())
		return
	}
	c := newConn(s, nc, ip)
	s.conns[c] = struct{}{}
	s.perIP[ip]++
	s.mu.Unlock()
	s.metrics.connections.Inc()
	go c.run()
}

// forget is called once a connection, when it is closed.
func (s *Server) forget(c *conn) {
	s.metrics.connections.Dec()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.perIP[c.ip]--; s.perIP[c.ip] <= 0 {
		delete(s.perIP, c.ip)
	}
	if s.stopping && len(s.conns) == 0 {
		close(s.empty)
	}
}

// Shutdown stops accepting and reading, lets the requests that were read be answered, and closes the connections. When
// ctx ends first the rest is cut off and ctx's error returned. It may be called once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		return errors.New("server: already shut down")
	}
	s.stopping = true
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	if len(conns) == 0 {
		close(s.empty)
	}
	s.mu.Unlock()
	_ = s.listener.Close()
	for _, c := range conns {
		c.drain()
	}
	select {
	case <-s.empty:
		return nil
	case <-ctx.Done():
	}
	for _, c := range conns {
		c.close(errShutdown)
	}
	return fmt.Errorf("server: connections were cut off: %w", context.Cause(ctx))
}

func remoteIP(nc net.Conn) string {
	a := nc.RemoteAddr()
	if t, ok := a.(*net.TCPAddr); ok {
		return t.IP.String()
	}
	return a.String()
}
