package server

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/wire"
)

// Correlation ids by which a patient handler knows what to do.
const (
	parks = 100 // and above: it is parked
	keeps = 200 // and above: the test gives the answer
)

// patient is a handler that parks requests as Handler wants it.
type patient struct {
	kept                    chan *wire.Reply
	registering, registered func() // called before a request is registered, and after that, before it asks whether it may wait

	mu     sync.Mutex
	parked []*wire.Reply // in order; guarded by mu
}

func newPatient() *patient {
	nothing := func() {}
	return &patient{kept: make(chan *wire.Reply, 1), registering: nothing, registered: nothing}
}

// expectSoon has the answers fail that don't come within a minute: a connection that waits is else never given up.
func (c client) expectSoon() {
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		c.t.Fatal(err)
	}
}

type nobody struct{}

func (nobody) Gone() {}

func (p *patient) Serve(_ context.Context, req *wire.Request, reply *wire.Reply) {
	switch {
	case req.CorrelationID < parks:
		answer(reply, []byte("at once"))
		return
	case req.CorrelationID >= keeps:
		p.kept <- reply
		return
	}
	p.registering()
	p.mu.Lock()
	p.parked = append(p.parked, reply)
	p.mu.Unlock()
	p.registered()
	if !req.Watch(nobody{}) {
		answer(reply, []byte("early"))
	}
}

func (p *patient) Relieve(pressed func() bool) {
	for pressed() {
		p.mu.Lock()
		if len(p.parked) == 0 {
			p.mu.Unlock()
			return
		}
		reply := p.parked[0]
		p.parked = p.parked[1:]
		p.mu.Unlock()
		answer(reply, []byte("early"))
	}
}

// I-32: what is parked is answered when somebody waits for its memory, the first first, and no more than that takes. Here
// the last that is parked goes beyond the limit, so that even the smallest request has to wait.
func TestParkedGivesWay(t *testing.T) {
	const limit, size = 50 << 10, 20 << 10
	p := newPatient()
	simulated(t, p, Limits{MemoryBytes: limit}, func(t *testing.T, s *Server, l *pipeListener) {
		var clients []client
		for i := range int32(3) {
			c := l.dial(t)
			go c.Write(frame(parks+i, strings.Repeat("x", size)))
			clients = append(clients, c)
			synctest.Wait()
		}
		if used := s.memory.used(); used <= limit || metricValue(t, s.metrics.memoryWaits) != 0 {
			t.Fatalf("%d bytes are held, and somebody waits", used)
		}
		other := l.dial(t)
		other.expectSoon()
		other.send(frame(1, "small"))
		other.expect(1, "at once")
		clients[0].expect(parks, "early")
		synctest.Wait()
		if len(p.parked) != 2 {
			t.Errorf("%d are still parked, want 2", len(p.parked))
		}
		if n := metricValue(t, s.metrics.memoryWaits); n != 1 {
			t.Errorf("%v waited", n)
		}
	})
}

// I-32: nothing is parked while somebody waits for memory, whenever he began to: before it was registered, when nobody is
// there to look for it any more, or between that and its asking.
func TestNothingIsParkedWhileSomebodyWaits(t *testing.T) {
	const limit = 50 << 10
	for _, late := range []bool{false, true} {
		p := newPatient()
		simulated(t, p, Limits{MemoryBytes: limit}, func(t *testing.T, s *Server, l *pipeListener) {
			reached, goOn := make(chan struct{}), make(chan struct{})
			hold := func() { close(reached); <-goOn }
			if late {
				p.registered = hold
			} else {
				p.registering = hold
			}
			parks20, keeps31, other := l.dial(t), l.dial(t), l.dial(t)
			go parks20.Write(frame(parks, strings.Repeat("x", 20<<10)))
			<-reached
			go keeps31.Write(frame(keeps, strings.Repeat("x", 31<<10)))
			kept := <-p.kept // beyond the limit
			other.send(frame(1, "small"))
			synctest.Wait()
			if metricValue(t, s.metrics.memoryWaits) != 1 {
				t.Fatal("nobody had to wait")
			}
			close(goOn)
			parks20.expectSoon()
			other.expectSoon()
			parks20.expect(parks, "early")
			other.expect(1, "at once")
			go answer(kept, []byte("kept"))
			keeps31.expect(keeps, "kept")
			synctest.Wait()
			if n := s.memory.used(); n != 0 {
				t.Errorf("%d bytes remain", n)
			}
		})
	}
}

// However many begin to wait, what is parked is looked through once at a time, and once more for all who came meanwhile.
func TestReliefOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10)
		var calls int
		through := make(chan struct{})
		b.relieve = func(func() bool) {
			calls++
			<-through
		}
		ctx := context.Background()
		elder := &lease{b: b}
		if waited, err := elder.grow(ctx, 100); waited || err != nil {
			t.Fatal(waited, err)
		}
		var all sync.WaitGroup
		for _, waiters := range []int{1, 500} {
			for range waiters {
				all.Go(func() {
					l := &lease{b: b}
					if _, err := l.grow(ctx, 1); err != nil {
						t.Error(err)
					}
					l.release()
				})
			}
			synctest.Wait()
			if calls != 1 {
				t.Errorf("looked %d times when %d more wait, want once", calls, waiters)
			}
		}
		for range 2 {
			through <- struct{}{}
			synctest.Wait()
		}
		if calls != 2 || b.relieving || !b.pressed() {
			t.Errorf("looked %d times, still looking: %v, somebody waits: %v", calls, b.relieving, b.pressed())
		}
		elder.release()
		all.Wait()
		if b.used() != 0 || b.pressed() {
			t.Errorf("%d bytes remain", b.used())
		}
	})
}

// I-32: an answer that its client does not take keeps nothing of its request, unless records are lent to it.
func TestAnsweredRequestsHoldNothing(t *testing.T) {
	released := false
	h := HandlerFunc(func(_ context.Context, req *wire.Request, reply *wire.Reply) {
		if req.CorrelationID == 1 {
			answer(reply, make([]byte, 100))
			return
		}
		reply.Fetch(&wire.FetchResponse{Release: func() { released = true }})
	})
	simulated(t, h, Limits{}, func(t *testing.T, s *Server, l *pipeListener) {
		c, lent := l.dial(t), l.dial(t)
		go c.Write(frame(1, strings.Repeat("x", 20<<10)))
		synctest.Wait()
		if n := s.memory.used(); n != 0 {
			t.Errorf("%d bytes are held of a request that was answered", n)
		}
		if _, body, err := c.receive(); err != nil || len(body) != 100 {
			t.Errorf("%d bytes: %v", len(body), err)
		}
		m := kmsg.NewPtrFetchRequest()
		m.Version = 12
		fetch := kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, m, 2)
		go lent.Write(fetch)
		synctest.Wait()
		if n := s.memory.used(); n != int64(len(fetch)-4) || released {
			t.Errorf("%d bytes are held of a request of %d whose records are on their way, released: %v", n, len(fetch)-4, released)
		}
		if _, _, err := lent.receive(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := s.memory.used(); n != 0 || !released {
			t.Errorf("%d bytes are held, released: %v", n, released)
		}
	})
}
