package server

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/firnlog/firn/broker/wire"
)

// refused counts the connections that were refused for a reason.
func (s *Server) refusedFor(t testing.TB, reason string) float64 {
	t.Helper()
	return metricValue(t, s.metrics.refused.WithLabelValues(reason))
}

func (s *Server) closedFor(t testing.TB, r *closeReason) float64 {
	t.Helper()
	return metricValue(t, s.metrics.closed.WithLabelValues(r.label))
}

// I-32: a connection beyond the limits is closed at once and counted; one that ends makes room.
func TestConnectionLimits(t *testing.T) {
	for reason, l := range map[string]Limits{
		"max connections":                {MaxConnections: 2, MaxConnectionsPerIP: 2},
		"max connections of the address": {MaxConnectionsPerIP: 2},
	} {
		t.Run(reason, func(t *testing.T) {
			var log syncBuffer
			s := start(t, echo, l, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
			a, b := dial(t, s), dial(t, s)
			a.send(frame(1, "a"))
			a.expect(1, "a")
			b.send(frame(1, "b"))
			b.expect(1, "b")
			dial(t, s).expectClosed()
			if n := s.refusedFor(t, reason); n != 1 {
				t.Errorf("%v connections counted as refused", n)
			}
			setting := map[string]string{"max connections": "raise max.connections", "max connections of the address": "raise max.connections.per.ip"}[reason]
			if got := log.String(); !strings.Contains(got, setting) {
				t.Errorf("the log does not say %q: %s", setting, got)
			}
			a.send(frame(2, "a"))
			a.expect(2, "a")
			b.Close()
			waitFor(t, "the connection to be forgotten", func() bool { return metricValue(t, s.metrics.connections) == 1 })
			c := dial(t, s)
			c.send(frame(1, "c"))
			c.expect(1, "c")
		})
	}
}

// I-32: unless it was said otherwise, one address cannot take all connections that there is room for.
func TestOneAddressLeavesRoom(t *testing.T) {
	s := start(t, echo, Limits{}, func(o *Options) { o.Ceiling = 4 })
	a, b := dial(t, s), dial(t, s)
	for _, c := range []client{a, b} {
		c.send(frame(1, "x"))
		c.expect(1, "x")
	}
	dial(t, s).expectClosed()
	if n := s.refusedFor(t, "max connections of the address"); n != 1 {
		t.Errorf("%v connections counted as refused", n)
	}
	if l := s.Limits(); l.MaxConnections != 4 || l.MaxConnectionsPerIP != 2 {
		t.Errorf("of %d connections %d are for one address, want 2 of 4", l.MaxConnections, l.MaxConnectionsPerIP)
	}
	s.SetLimits(Limits{MaxConnections: 1})
	if l := s.Limits(); l.MaxConnectionsPerIP != 1 {
		t.Errorf("%d connections for one address, want at least one", l.MaxConnectionsPerIP)
	}
}

// An address with a number of its own has that, more or less than the others; 0 is none.
func TestConnectionsOfAnAddress(t *testing.T) {
	s := start(t, echo, Limits{MaxConnectionsPerIP: 1, PerIP: map[string]int{"127.0.0.2": 2, "::ffff:127.0.0.3": 0}})
	from := func(ip string) client {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		c, err := d.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return client{c, t}
	}
	for _, is := range []struct {
		ip string
		ok int
	}{{"127.0.0.1", 1}, {"127.0.0.2", 2}, {"127.0.0.3", 0}} {
		for i := range int32(3) {
			c := from(is.ip)
			if int(i) >= is.ok {
				c.expectClosed()
				continue
			}
			c.send(frame(i, "x"))
			c.expect(i, "x")
		}
	}
	if n := s.refusedFor(t, "max connections of the address"); n != 6 {
		t.Errorf("%v connections counted as refused, want 6", n)
	}
}

// The limits of a running server change for connections to come, and those that are there stay.
func TestSetLimits(t *testing.T) {
	var log syncBuffer
	s := start(t, echo, Limits{}, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	a, b := dial(t, s), dial(t, s)
	for _, c := range []client{a, b} {
		c.send(frame(1, "x"))
		c.expect(1, "x")
	}
	s.SetLimits(Limits{MaxConnections: 1, MaxRequestBytes: 100})
	dial(t, s).expectClosed()
	for _, c := range []client{a, b} {
		c.send(frame(2, "x"))
		c.expect(2, "x")
	}
	b.send(frame(3, strings.Repeat("x", 100)))
	b.expectClosed()
	s.SetLimits(Limits{MaxConnections: -1})
	if got := log.String(); !strings.Contains(got, "must be positive") {
		t.Errorf("limits that make no sense are not reported: %q", got)
	}
	if l := s.Limits(); l.MaxConnections != 1 {
		t.Errorf("%d connections are allowed after limits that make no sense", l.MaxConnections)
	}
	s.SetLimits(Limits{})
	c := dial(t, s)
	c.send(frame(1, "c"))
	c.expect(1, "c")
}

// An idle connection is held to the idle time that is set while it waits, and one that works is not.
func TestSetLimitsOfIdle(t *testing.T) {
	simulated(t, echo, Limits{IdleTimeout: time.Hour}, func(t *testing.T, s *Server, l *pipeListener) {
		idle, quiet := l.dial(t), l.dial(t)
		idle.send(frame(1, "x"))
		idle.expect(1, "x")
		synctest.Wait()
		s.SetLimits(Limits{IdleTimeout: time.Minute})
		for i := range int32(4) {
			time.Sleep(40 * time.Second)
			quiet.send(frame(i, "x"))
			quiet.expect(i, "x")
		}
		idle.expectClosed()
		synctest.Wait()
		if n := s.closedFor(t, errIdle); n != 1 {
			t.Errorf("%v connections closed as idle", n)
		}
	})
}

// What the machine has room for holds max.connections down, and is said.
func TestCeiling(t *testing.T) {
	var log syncBuffer
	s := start(t, echo, Limits{MaxConnections: 100}, func(o *Options) {
		o.Ceiling, o.Logger = 2, slog.New(slog.NewTextHandler(&log, nil))
	})
	if l := s.Limits(); l.MaxConnections != 2 || metricValue(t, s.metrics.limit) != 2 {
		t.Errorf("%d connections are allowed with room for 2", l.MaxConnections)
	}
	if got := log.String(); !strings.Contains(got, "max.connections=100 allowed=2") {
		t.Errorf("the log says %q", got)
	}
	s.SetLimits(Limits{MaxConnections: 100, IdleTimeout: time.Hour})
	if n := strings.Count(log.String(), "allowed=2"); n != 1 {
		t.Errorf("said %d times", n)
	}
	s.SetLimits(Limits{MaxConnections: 1})
	if l := s.Limits(); l.MaxConnections != 1 {
		t.Errorf("%d connections are allowed", l.MaxConnections)
	}
}

// Connections that come too fast are accepted later, none is refused.
func TestConnectionRate(t *testing.T) {
	simulated(t, echo, Limits{ConnectionRate: 2}, func(t *testing.T, s *Server, l *pipeListener) {
		began := time.Now()
		for i := range 12 { // 2 at once, then 2 a second
			c := l.dial(t)
			c.send(frame(1, "x"))
			c.expect(1, "x")
			if at, least := time.Since(began), time.Duration(i-2)*time.Second/2; at < least {
				t.Errorf("connection %d was accepted after %v", i, at)
			}
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("12 connections took %v at 2 a second", took)
		}
		if metricValue(t, s.metrics.acceptPauses) == 0 || metricValue(t, s.metrics.accepted) != 12 {
			t.Error("the pauses are not counted")
		}
	})
}

// I-32: a connection whose requests come too fast is read more slowly, and every request is answered.
func TestRequestRate(t *testing.T) {
	simulated(t, echo, Limits{RequestRate: 10}, func(t *testing.T, s *Server, l *pipeListener) {
		const n = 50 // 10 at once, then 10 a second
		fast, other := l.dial(t), l.dial(t)
		go func() {
			for i := range int32(n) {
				_, _ = fast.Write(frame(i, "x")) // that it arrived is seen from the answers
			}
		}()
		began := time.Now()
		for i := range int32(n) {
			fast.expect(i, "x")
			if at, least := time.Since(began), time.Duration(i-10)*time.Second/10; at < least {
				t.Errorf("request %d was answered after %v", i, at)
			}
			if i == n/2 {
				now := time.Now()
				other.send(frame(i, "x"))
				other.expect(i, "x")
				if time.Since(now) > 0 {
					t.Error("another connection was held up")
				}
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%d requests took %v", n, took)
		}
		if metricValue(t, s.metrics.requestPauses) == 0 {
			t.Error("the pauses are not counted")
		}
		s.SetLimits(Limits{RequestRate: -1})
		began = time.Now()
		for i := range int32(100) {
			other.send(frame(i, "x"))
			other.expect(i, "x")
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("without a limit, 100 requests took %v", took)
		}
	})
}

// A connection that pauses is closed and drained like any other.
func TestRequestRateEndsWithTheServer(t *testing.T) {
	simulated(t, echo, Limits{RequestRate: 0.001}, func(t *testing.T, s *Server, l *pipeListener) {
		c := l.dial(t)
		for i := range int32(2) {
			c.send(frame(i, "x"))
			c.expect(i, "x")
		}
		began := time.Now()
		if err := s.Shutdown(context.Background()); err != nil || time.Since(began) > 0 {
			t.Errorf("Shutdown: %v, after %v", err, time.Since(began))
		}
		c.expectClosed()
	})
}

// I-32: answers that clients do not take are bounded in memory over all connections: who has taken nothing for longest
// is closed, the others keep their answers.
func TestAnswersInMemory(t *testing.T) {
	const size = 1 << 20
	body := bytes.Repeat([]byte("y"), size-100) // with its header, a buffer of size
	h := HandlerFunc(func(_ context.Context, _ *wire.Request, reply *wire.Reply) { answer(reply, body) })
	simulated(t, h, Limits{AnswerBytes: 3 * size, WriteTimeout: time.Hour}, func(t *testing.T, s *Server, l *pipeListener) {
		var clients []client
		for i := range int32(5) {
			c := l.dial(t)
			c.send(frame(i, "x"))
			time.Sleep(time.Second)
			synctest.Wait()
			clients = append(clients, c)
			if n := s.answers.Load(); n > 3*size {
				t.Errorf("%d bytes of answers are in memory after %d clients, of %d allowed", n, i+1, 3*size)
			}
		}
		closed := s.closedFor(t, errUntaken)
		if closed < 2 || closed > 3 {
			t.Errorf("%v connections of 5 were closed, each with an answer of %d bytes", closed, size)
		}
		for i, c := range clients {
			if i < int(closed) {
				c.expectClosed()
			} else {
				c.expect(int32(i), string(body))
			}
		}
		synctest.Wait()
		if n := s.answers.Load(); n != 0 {
			t.Errorf("%d bytes of answers remain", n)
		}
	})
}

// I-32: nor does an answer stay beyond the limit that comes just when who closes connections for others has looked for the last
// time.
func TestAnswerThatComesLate(t *testing.T) {
	const most = 10
	s := start(t, echo, Limits{AnswerBytes: most})
	s.shedding.Store(true) // by one who has looked
	a, b := net.Pipe()
	defer a.Close()
	c := newConn(s, b, "pipe")
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	c.mu.Lock()
	over := c.took(most + 1)
	c.mu.Unlock()
	if !over {
		t.Error("too much is not told")
	}
	s.shed()
	s.shedDone()
	waitFor(t, "the answer to go", func() bool { return s.answers.Load() == 0 && s.closedFor(t, errUntaken) == 1 })
}

// A connection whose client has not taken its answers is not read from until it does.
func TestAnswersOfOneConnection(t *testing.T) {
	p := parked{make(chan *wire.Reply, 10)}
	simulated(t, p, Limits{}, func(t *testing.T, s *Server, l *pipeListener) {
		c := l.dial(t)
		c.send(frame(0, "x"))
		c.send(frame(1, "x"))
		first := <-p.ch
		answer(<-p.ch, make([]byte, maxUntaken))
		go c.send(frame(2, "x"), frame(3, "x"))
		synctest.Wait()
		for len(p.ch) > 0 { // the one that was waited for already
			answer(<-p.ch, nil)
		}
		synctest.Wait()
		if n := metricValue(t, s.metrics.answerPauses); n != 1 {
			t.Errorf("%v pauses counted", n)
		}
		go answer(first, nil)
		for i := range int32(3) {
			if id, _, err := c.receive(); err != nil || id != i {
				t.Fatalf("answer %d, %v", id, err)
			}
		}
		go answer(<-p.ch, nil)
		c.expect(3, "")
	})
}

// The bucket gives a second's worth at once, and never more however long nobody took any.
func TestBucket(t *testing.T) {
	now := time.Now()
	for _, rate := range []float64{0.5, 1, 10, 50_000} {
		var b bucket
		at, n := now, 0
		for at.Before(now.Add(10 * time.Second)) {
			n++
			at = at.Add(b.take(at, rate) + time.Microsecond)
		}
		if most, least := 10*rate+max(rate, 1)+50, 10*rate; float64(n) > most*1.01 || float64(n) < least*0.99 {
			t.Errorf("%v a second: %d in 10 s", rate, n)
		}
		at, n = at.Add(time.Hour), 0
		for b.take(at, rate) == 0 {
			n++
		}
		if float64(n) > max(rate, 1)+rate*pauseStep.Seconds()+1 {
			t.Errorf("%v a second: %d at once after an hour", rate, n)
		}
	}
	var b bucket
	for range 100 {
		if b.take(now, -1) != 0 {
			t.Fatal("no limit, and a pause")
		}
	}
}

func TestLimitsRefuse(t *testing.T) {
	for _, l := range []Limits{
		{MaxRequestBytes: 7}, {MaxInFlight: -1}, {MemoryBytes: -1}, {AnswerBytes: -1}, {MaxConnections: -1},
		{PerIP: map[string]int{"a.name": 1}}, {PerIP: map[string]int{"::1": -1}},
	} {
		if err := l.withDefaults().check(); err == nil {
			t.Errorf("accepted %s", fmt.Sprintf("%+v", l))
		}
	}
}
