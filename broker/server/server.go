package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
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
//
// Relieve is called when requests wait for memory: what is parked for its client's sake only, a Fetch that waits for
// records, is to be answered with what there is, until pressed reports false or there is no more of it. It must not wait
// for anything, and is not called again before it has returned. Who parks a request first puts it where Relieve finds it and
// then asks wire.Request.Watch, which says whether it may wait; so none is missed.
type Handler interface {
	Serve(ctx context.Context, req *wire.Request, reply *wire.Reply)
	Relieve(pressed func() bool)
}

// HandlerFunc makes a Handler of a function that parks nothing.
type HandlerFunc func(ctx context.Context, req *wire.Request, reply *wire.Reply)

// Serve implements Handler.
func (f HandlerFunc) Serve(ctx context.Context, req *wire.Request, reply *wire.Reply) {
	f(ctx, req, reply)
}

// Relieve implements Handler.
func (HandlerFunc) Relieve(func() bool) {}

// Options of a Server.
type Options struct {
	Addr       string       // where to listen ("host:port"), unless Listener is set
	Listener   net.Listener // taken over by the server
	Handler    Handler
	Versions   []wire.Range          // what Handler serves; anything else does not reach it
	Limits     Limits                // to begin with, see SetLimits
	Ceiling    int                   // connections that there is room for, whatever Limits say; 0 = unknown
	Logger     *slog.Logger          // nil = none
	Registerer prometheus.Registerer // nil = no metrics
}

// diskWaits is how many connections at once may wait for records to be read from the disk: each holds a thread meanwhile.
const diskWaits = 32

// Server accepts connections on one listener.
type Server struct {
	handler  Handler
	versions *wire.Versions
	ceiling  int
	limits   atomic.Pointer[Limits]
	log      *slog.Logger
	quiet    limiter
	metrics  *metrics
	memory   *budget
	waits    *wire.Waits // of answers for the disk
	mailer   mailer
	listener net.Listener
	answers  atomic.Int64  // bytes of answers in memory that are not sent
	shedding atomic.Bool   // somebody is in shedAnswers
	stop     chan struct{} // closed when stopping

	mu       sync.Mutex
	asked    int                // mu; max.connections as it was set, before the ceiling
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
		ceiling:  o.Ceiling,
		log:      o.Logger,
		listener: o.Listener,
		conns:    map[*conn]struct{}{},
		perIP:    map[string]int{},
		empty:    make(chan struct{}),
		stop:     make(chan struct{}),
		memory:   newBudget(0),
		waits:    wire.NewWaits(diskWaits),
	}
	s.mailer.runFn = s.mailer.run
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var keys []int16
	for _, r := range o.Versions {
		keys = append(keys, r.Key)
	}
	if s.metrics, err = newMetrics(o.Registerer, keys, func() float64 { return float64(s.memory.used()) },
		func() float64 { return float64(s.answers.Load()) }); err != nil {
		return nil, fmt.Errorf("server: metrics: %w", err)
	}
	s.memory.waits, s.memory.relieve = s.metrics.memoryWaits, o.Handler.Relieve
	if err := s.setLimits(o.Limits); err != nil {
		return nil, fmt.Errorf("server: %w", err)
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
	var rate bucket
	for {
		nc, err := s.listener.Accept()
		if err == nil {
			pause = firstPause
			s.metrics.accepted.Inc()
			s.accept(nc)
			if wait := rate.take(time.Now(), s.limits.Load().ConnectionRate); wait > 0 {
				s.metrics.acceptPauses.Inc()
				s.sleep(wait)
			}
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
		s.sleep(pause)
		pause = min(2*pause, lastPause)
	}
}

// sleep waits; the next connections wait in the kernel's queue, for which there is no goroutine or descriptor of ours.
func (s *Server) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.stop:
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
	limits := s.limits.Load()
	reason, hint := "", "nothing: clients come back by themselves"
	switch {
	case s.stopping:
		reason = "stopping"
	case len(s.conns) >= limits.MaxConnections:
		reason, hint = "max connections", "raise max.connections"
	case s.perIP[ip] >= limits.connectionsOf(ip):
		reason = "max connections of the address"
		hint = "clients behind one proxy or NAT share an address: raise max.connections.per.ip, or name the address in max.connections.per.ip.overrides"
	}
	if reason != "" {
		s.mu.Unlock()
		s.metrics.refused.WithLabelValues(reason).Inc()
		s.warn("refuse: "+reason, "connection refused", "reason", reason, "remote", nc.RemoteAddr(), "what to do", hint)
		_ = nc.Close() // last: what a peer sees has been counted and told
		return
	}
	c := newConn(s, nc, ip)
	s.conns[c] = struct{}{}
	s.perIP[ip]++
	s.mu.Unlock()
	s.metrics.connections.Inc()
	limits.sizeSendBuffer(nc)
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
	close(s.stop)
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	if len(conns) == 0 {
		close(s.empty)
	}
	s.mu.Unlock()
	_ = s.listener.Close()
	for _, c := range conns { // all, before a client can see that one is closed
		c.stopServing()
	}
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
