package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// sendBuffer is of each connection, in bytes: Kafka's default, and firn's for clients on the same machine, to whom it is
// cheaper to send than with the kernel's, which has room for whole answers.
const sendBuffer = 100 << 10

// server accepts connections and owns their goroutines.
type server struct {
	l     net.Listener
	wg    sync.WaitGroup
	mu    sync.Mutex
	conns map[*net.TCPConn]struct{} // guarded by mu
	ended bool                      // guarded by mu
	errs  []error                   // guarded by mu: why connections were closed by us
}

// serve listens and gives each connection to handle, on a goroutine of its own, until close.
func serve(addr string, handle func(*net.TCPConn) error) (*server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &server{l: l, conns: make(map[*net.TCPConn]struct{})}
	s.wg.Go(func() { s.accept(handle) })
	return s, nil
}

func (s *server) accept(handle func(*net.TCPConn) error) {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return // closed
		}
		t := c.(*net.TCPConn)
		_ = t.SetWriteBuffer(sendBuffer)
		s.mu.Lock()
		if s.ended {
			s.mu.Unlock()
			_ = t.Close()
			return
		}
		s.conns[t] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() {
			err := handle(t)
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.conns, t)
			if err != nil && !errors.Is(err, io.EOF) && !s.ended && len(s.errs) < 16 {
				s.errs = append(s.errs, err)
			}
			_ = t.Close() // last: what the peer sees has been noted
		})
	}
}

// Addr is where it listens, host:port.
func (s *server) Addr() string { return s.l.Addr().String() }

// close ends all connections and waits for their goroutines. It tells why connections had failed before.
func (s *server) close() error {
	s.mu.Lock()
	s.ended = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	_ = s.l.Close()
	s.wg.Wait()
	return errors.Join(s.errs...)
}
