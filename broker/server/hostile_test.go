package server

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/wire"
)

// I-32: truncated, oversized and garbage frames close their own connection; one beside them works all the while.
func TestBadFrames(t *testing.T) {
	s := start(t, echo, Limits{MaxRequestBytes: 1 << 20})
	good := dial(t, s)
	n := int32(0)
	check := func() {
		t.Helper()
		n++
		good.send(frame(n, "good"))
		good.expect(n, "good")
	}
	whole := frame(1, "some topic")
	size := func(n int32, rest ...byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(n)), rest...)
	}
	bad := map[string][]byte{
		"negative length":      size(-1),
		"least length":         size(-1 << 31),
		"length 0":             size(0),
		"shorter than header":  size(7, 0, 3, 0, 1, 0, 0, 0),
		"oversized":            size(1<<20 + 1),
		"length of 2 GiB":      size(1<<31 - 1),
		"an HTTP request":      []byte("GET / HTTP/1.1\r\n\r\n"),
		"a TLS hello":          {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3},
		"client id too long":   size(10, 0, 3, 0, 1, 0, 0, 0, 9, 0x7f, 0xff),
		"tags without end":     size(15, 0, 3, 0, 9, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f),
		"unknown key, garbage": size(9, 0x44, 3, 0, 9, 0, 0, 0, 9, 1),
	}
	for name, b := range bad {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s)
			c.send(b)
			c.expectClosed()
			check()
		})
	}
	t.Run("truncated", func(t *testing.T) {
		for cut := range whole {
			c := dial(t, s)
			c.send(whole[:cut])
			c.Close()
		}
		check()
	})
	t.Run("half-open", func(t *testing.T) {
		c := dial(t, s)
		c.send(whole[:len(whole)-1])
		if err := c.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		c.expectClosed()
		check()
	})
	t.Run("garbage", func(t *testing.T) {
		r := rand.New(rand.NewPCG(31, 32))
		for range 100 {
			b := make([]byte, 4+r.IntN(300))
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			if r.IntN(2) == 0 { // a right length, so that the rest is looked at
				binary.BigEndian.PutUint32(b, uint32(len(b)-4))
			}
			c := dial(t, s)
			c.send(b)
			_ = c.Conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c)
		}
		check()
	})
	waitFor(t, "memory to be given back", func() bool { return s.memory.used() == 0 })
}

// pipeListener gives out in-memory connections, so that time can be simulated.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipeListener) dial(t testing.TB) client {
	a, b := net.Pipe()
	l.conns <- b
	t.Cleanup(func() { a.Close() })
	return client{a, t}
}

// simulated runs fn with a server whose clock is simulated.
func simulated(t *testing.T, h Handler, limits Limits, fn func(t *testing.T, s *Server, l *pipeListener)) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		s := start(t, h, limits, func(o *Options) { o.Listener = l })
		fn(t, s, l)
	})
}

// I-32: a frame that trickles in is cut off when its time is over, however regularly bytes arrive; an idle connection
// only after the idle time.
func TestSlowFrame(t *testing.T) {
	simulated(t, echo, Limits{FrameTimeout: 10 * time.Second, IdleTimeout: time.Hour}, func(t *testing.T, s *Server, l *pipeListener) {
		slow, quiet := l.dial(t), l.dial(t)
		began := time.Now()
		var sent int
		for _, b := range frame(1, "a topic that takes its time") {
			if _, err := slow.Write([]byte{b}); err != nil {
				break
			}
			sent++
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("closed after %v and %d bytes", took, sent)
		}
		time.Sleep(30 * time.Minute)
		quiet.send(frame(2, "quiet"))
		quiet.expect(2, "quiet")
		time.Sleep(59 * time.Minute)
		quiet.send(frame(3, "quiet"))
		quiet.expect(3, "quiet")
		began = time.Now()
		quiet.expectClosed()
		if took := time.Since(began); took < time.Hour || took > 2*time.Hour {
			t.Errorf("an idle connection was closed after %v", took)
		}
		synctest.Wait()
		if slow, idle := s.closedFor(t, errSlowFrame), s.closedFor(t, errIdle); slow != 1 || idle != 1 {
			t.Errorf("%v counted as slow, %v as idle", slow, idle)
		}
	})
}

// A connection whose request waits for its answer is not idle.
func TestParkedIsNotIdle(t *testing.T) {
	p := parked{make(chan *wire.Reply, 1)}
	simulated(t, p, Limits{IdleTimeout: time.Minute}, func(t *testing.T, s *Server, l *pipeListener) {
		c := l.dial(t)
		c.send(frame(1, "x"))
		reply := <-p.ch
		time.Sleep(10 * time.Minute)
		go answer(reply, []byte("late"))
		c.expect(1, "late")
		time.Sleep(30 * time.Second)
		c.send(frame(2, "x"))
		answer(<-p.ch, []byte("next"))
		c.expect(2, "next")
	})
}

// A client that takes no byte of its answer is cut off.
func TestWriteTimeout(t *testing.T) {
	simulated(t, echo, Limits{WriteTimeout: 5 * time.Second}, func(t *testing.T, s *Server, l *pipeListener) {
		c := l.dial(t)
		c.send(frame(1, "x"))
		time.Sleep(4 * time.Second)
		synctest.Wait()
		s.mu.Lock()
		open := len(s.conns)
		s.mu.Unlock()
		if open != 1 {
			t.Error("closed too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		s.mu.Lock()
		open = len(s.conns)
		s.mu.Unlock()
		if open != 0 {
			t.Error("still open")
		}
	})
}

// I-32: requests in memory are bounded over all connections: what does not fit waits, in order, and goes on when an
// answer makes room. A frame beyond the whole budget passes alone.
func TestMemoryBound(t *testing.T) {
	type held struct {
		id    int32
		reply *wire.Reply
	}
	ch := make(chan held, 10)
	p := HandlerFunc(func(_ context.Context, req *wire.Request, reply *wire.Reply) { ch <- held{req.CorrelationID, reply} })
	const text = 20 << 10
	simulated(t, p, Limits{MemoryBytes: 50 << 10}, func(t *testing.T, s *Server, l *pipeListener) {
		big := string(make([]byte, text))
		var replies []held // in the order in which the requests came to fit, which need not be that of the clients
		var clients []client
		for i := range int32(5) {
			c := l.dial(t)
			go c.Write(frame(i, big))
			clients = append(clients, c)
			synctest.Wait()
		}
		for len(ch) > 0 {
			replies = append(replies, <-ch)
		}
		// Two fit; the third may go beyond the limit, alone.
		if len(replies) != 3 {
			t.Fatalf("%d requests of 20 KiB are in memory, of 50 KiB allowed", len(replies))
		}
		if n := metricValue(t, s.metrics.memoryWaits); n != 2 {
			t.Errorf("%v counted as waiting", n)
		}
		for answered := 0; answered < 5; answered++ {
			r := replies[answered]
			go answer(r.reply, nil)
			clients[r.id].expect(r.id, "")
			synctest.Wait()
			for len(ch) > 0 {
				replies = append(replies, <-ch)
			}
			if inMemory := len(replies) - answered - 1; inMemory > 3 {
				t.Errorf("%d requests in memory", inMemory)
			}
		}
		if n := s.memory.used(); n != 0 {
			t.Errorf("%d bytes remain", n)
		}
	})
}

// I-32: a request that would take more than one may, parsed and answered, is refused when that is known; the others go on.
func TestTooManyParts(t *testing.T) {
	h := HandlerFunc(func(ctx context.Context, req *wire.Request, reply *wire.Reply) {
		if req.Key != wire.KeyProduce {
			echo(ctx, req, reply)
			return
		}
		p, err := req.Produce()
		if err != nil {
			reply.Close(err)
			return
		}
		reply.Produce(&wire.ProduceResponse{Topics: []wire.ProduceTopicResponse{{Name: "t", Partitions: make([]wire.ProducePartitionResponse, len(p.Topics[0].Partitions))}}})
	})
	s := start(t, h, Limits{MaxRequestBytes: 1 << 20, MemoryBytes: 1 << 20})
	produce := func(partitions int) []byte {
		m := kmsg.NewPtrProduceRequest()
		m.Version, m.Acks = 9, -1
		m.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: make([]kmsg.ProduceRequestTopicPartition, partitions)}}
		return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, m, 1)
	}
	most, good := dial(t, s), dial(t, s)
	most.send(produce(60_000)) // 30 MB, beyond all that there is: alone it may
	if _, _, err := most.receive(); err != nil {
		t.Error(err)
	}
	many := dial(t, s)
	many.send(produce(70_000))
	many.expectClosed()
	waitFor(t, "it to be counted", func() bool { return s.closedFor(t, errBadFrame) == 1 })
	good.send(frame(2, "good"))
	good.expect(2, "good")
	waitFor(t, "memory to be given back", func() bool { return s.memory.used() == 0 })
}

// A request that takes less than one may is served, also where twice that would be more.
func TestPartsUpToTheLimit(t *testing.T) {
	h := HandlerFunc(func(_ context.Context, req *wire.Request, reply *wire.Reply) {
		if _, err := req.Fetch(); err != nil {
			reply.Close(err)
			return
		}
		reply.Fetch(&wire.FetchResponse{})
	})
	s := start(t, h, Limits{MaxRequestBytes: 1 << 20})
	m := kmsg.NewPtrFetchRequest()
	m.Version = 12
	for _, partitions := range []int{17_000, 1} { // 17 MB of 32 MiB
		m.Topics = append(m.Topics, kmsg.FetchRequestTopic{Topic: "t", Partitions: make([]kmsg.FetchRequestTopicPartition, partitions)})
	}
	c := dial(t, s)
	c.send(kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, m, 1))
	if id, _, err := c.receive(); err != nil || id != 1 {
		t.Fatalf("answer %d: %v", id, err)
	}
	waitFor(t, "memory to be given back", func() bool { return s.memory.used() == 0 })
}

// Frames that are half read and wait for memory do not block each other for ever.
func TestBudgetElder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		ctx := context.Background()
		leases := []*lease{{b: b}, {b: b}, {b: b}}
		var order []int
		for _, l := range leases {
			if waited, err := l.grow(ctx, 30); waited || err != nil {
				t.Fatal(waited, err)
			}
		}
		var mu sync.Mutex
		for i, l := range leases {
			go func() {
				if _, err := l.grow(ctx, 50); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
			}()
			synctest.Wait()
		}
		mu.Lock()
		if len(order) != 1 || order[0] != 0 {
			t.Errorf("%v went on, want the first alone", order)
		}
		mu.Unlock()
		leases[0].release()
		synctest.Wait()
		mu.Lock()
		if len(order) < 2 || order[1] != 1 {
			t.Errorf("%v went on, want the second next", order)
		}
		mu.Unlock()
		cancelled, cancel := context.WithCancel(ctx)
		fourth := &lease{b: b}
		failed := make(chan error, 1)
		go func() { _, err := fourth.grow(cancelled, 1000); failed <- err }()
		synctest.Wait()
		cancel()
		if err := <-failed; err == nil {
			t.Error("granted although cancelled")
		}
		leases[1].release()
		synctest.Wait()
		leases[2].release()
		if len(order) != 3 || b.free != 100 || b.elder != nil || b.waiting.Len() != 0 {
			t.Errorf("order %v, %d free, elder %v, %d waiting", order, b.free, b.elder, b.waiting.Len())
		}
	})
}
