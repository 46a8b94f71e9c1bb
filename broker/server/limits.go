package server

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"time"
)

// Limits bound what clients can take. A zero field has the default; a negative timeout or rate means none.
type Limits struct {
	MaxRequestBytes int   // socket.request.max.bytes; default 100 MiB
	MaxInFlight     int   // requests of one connection that wait for their answer; reading pauses; default 64
	MemoryBytes     int64 // of requests in memory, frames and what many parts are parsed to and answered with, all connections; default 512 MiB
	AnswerBytes     int64 // bytes of answers in memory that clients have not taken, all connections; default 256 MiB

	MaxConnections      int            // max.connections; default 10,000; Options.Ceiling holds it down
	MaxConnectionsPerIP int            // max.connections.per.ip; default: half of MaxConnections, held down as it is; negative: none but those of PerIP
	PerIP               map[string]int // max.connections.per.ip.overrides, by address ("10.0.0.7", "::1"); names are resolved by the caller; 0 = none
	ConnectionRate      float64        // max.connection.creation.rate: accepted a second; accepting pauses; default none
	RequestRate         float64        // requests a second of one connection, after as many at once; reading pauses; default 50,000

	SendBuffer int // socket.send.buffer.bytes, of connections from then on; negative: the kernel's; default localSendBuffer for clients on this machine

	IdleTimeout  time.Duration // connections.max.idle.ms; default 10 min
	FrameTimeout time.Duration // from a frame's first byte to its last; default 30 s
	WriteTimeout time.Duration // for a client to take 1 MiB of an answer; default 60 s
}

func (l Limits) withDefaults() Limits {
	l.MaxRequestBytes = cmp.Or(l.MaxRequestBytes, 100<<20)
	l.MaxInFlight = cmp.Or(l.MaxInFlight, 64)
	l.MemoryBytes = cmp.Or(l.MemoryBytes, 512<<20)
	l.AnswerBytes = cmp.Or(l.AnswerBytes, 256<<20)
	l.MaxConnections = cmp.Or(l.MaxConnections, 10_000)
	l.RequestRate = cmp.Or(l.RequestRate, 50_000)
	l.IdleTimeout = cmp.Or(l.IdleTimeout, 10*time.Minute)
	l.FrameTimeout = cmp.Or(l.FrameTimeout, 30*time.Second)
	l.WriteTimeout = cmp.Or(l.WriteTimeout, time.Minute)
	return l
}

func (l Limits) check() error {
	if l.MaxRequestBytes < minFrame || l.MaxInFlight < 1 || l.MemoryBytes < 1 || l.AnswerBytes < 1 || l.MaxConnections < 1 {
		return fmt.Errorf("limits %+v: sizes and counts must be positive", l)
	}
	for addr, n := range l.PerIP {
		if net.ParseIP(addr) == nil || n < 0 {
			return fmt.Errorf("limits: %d connections of address %q: want an IP address and a number from 0 on", n, addr)
		}
	}
	return nil
}

// normal has every address as remoteIP spells it, no more connections than the ceiling, and what follows from that.
func (l Limits) normal(ceiling int) Limits {
	perIP := make(map[string]int, len(l.PerIP))
	for addr, n := range maps.All(l.PerIP) {
		perIP[net.ParseIP(addr).String()] = n
	}
	l.PerIP = perIP
	if ceiling > 0 {
		l.MaxConnections = min(l.MaxConnections, ceiling)
	}
	l.MaxConnectionsPerIP = cmp.Or(l.MaxConnectionsPerIP, (l.MaxConnections+1)/2) // so that no address takes them all
	return l
}

// connectionsOf is how many connections an address may have.
func (l *Limits) connectionsOf(ip string) int {
	if n, ok := l.PerIP[ip]; ok {
		return n
	}
	return l.MaxConnectionsPerIP
}

// Limits are those in force.
func (s *Server) Limits() Limits { return *s.limits.Load() }

// SetLimits changes the limits of a running server; as in Options, a zero field has the default. Connections that are
// there stay, also those that are now too many, and keep the new limits from their next request on; an idle one from
// now on. Limits that make no sense are logged and leave the old ones. It may be called from any goroutine.
func (s *Server) SetLimits(l Limits) {
	if err := s.setLimits(l); err != nil {
		s.log.Error("the limits of connections stay as they are", "error", err)
	}
}

func (s *Server) setLimits(l Limits) error {
	l = l.withDefaults()
	if err := l.check(); err != nil {
		return err
	}
	asked := l.MaxConnections
	l = l.normal(s.ceiling)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.MaxConnections < asked && asked != s.asked {
		s.log.Warn("fewer connections are allowed than max.connections says, because files need descriptors, too; raise the hard limit of open files (ulimit -Hn, LimitNOFILE=)",
			"max.connections", asked, "allowed", l.MaxConnections)
	}
	s.asked = asked
	s.limits.Store(&l)
	s.memory.resize(l.MemoryBytes)
	s.metrics.limit.Set(float64(l.MaxConnections))
	for c := range s.conns {
		c.limitsChanged()
	}
	return nil
}
