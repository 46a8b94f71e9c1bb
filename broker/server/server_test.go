package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/wire"
)

var testVersions = []wire.Range{{Key: 0, Min: 3, Max: 13}, {Key: 1, Min: 4, Max: 18}, {Key: 3, Min: 0, Max: 13}, {Key: 18, Min: 0, Max: 4}}

// start runs a server on the loopback for the length of the test.
func start(t testing.TB, h Handler, l Limits, edit ...func(*Options)) *Server {
	t.Helper()
	o := Options{Addr: "127.0.0.1:0", Handler: h, Versions: testVersions, Limits: l}
	for _, e := range edit {
		e(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

type client struct {
	net.Conn
	t testing.TB
}

func dial(t testing.TB, s *Server) client {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return client{c, t}
}

// frame is a Metadata request whose one topic name is text.
func frame(correlation int32, text string) []byte {
	m := kmsg.NewPtrMetadataRequest()
	m.Version = 1
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &text
	m.Topics = append(m.Topics, topic)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, m, correlation)
}

func (c client) send(b ...[]byte) {
	c.t.Helper()
	if _, err := c.Write(bytes.Join(b, nil)); err != nil {
		c.t.Fatal(err)
	}
}

// receive reads one answer.
func (c client) receive() (correlation int32, body []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return 0, nil, err
	}
	body = make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(c, body); err != nil {
		return 0, nil, err
	}
	return int32(binary.BigEndian.Uint32(body)), body[4:], nil
}

func (c client) expect(correlation int32, body string) {
	c.t.Helper()
	got, b, err := c.receive()
	if err != nil || got != correlation || string(b) != body {
		c.t.Fatalf("answer %d %.60q %v, want %d %.60q", got, b, err, correlation, body)
	}
}

func (c client) expectClosed() {
	c.t.Helper()
	if id, b, err := c.receive(); err == nil {
		c.t.Fatalf("answer %d %q, want the connection closed", id, b)
	}
}

// topicOf is the text of a frame made by frame.
func topicOf(req *wire.Request) string {
	m, err := req.Decode()
	if err != nil {
		return err.Error()
	}
	return *m.(*kmsg.MetadataRequest).Topics[0].Topic
}

// rawAnswer is an answer to a frame made by frame whose body is any bytes.
type rawAnswer struct {
	*kmsg.MetadataResponse
	body []byte
}

func (r rawAnswer) AppendTo(b []byte) []byte { return append(b, r.body...) }

func answer(reply *wire.Reply, body []byte) {
	reply.Message(rawAnswer{kmsg.NewPtrMetadataResponse(), body})
}

// echo answers at once with the text.
var echo = HandlerFunc(func(_ context.Context, req *wire.Request, reply *wire.Reply) {
	answer(reply, []byte(topicOf(req)))
})

// parked keeps replies for the test to give.
type parked struct {
	ch chan *wire.Reply
}

func (p parked) Serve(_ context.Context, _ *wire.Request, reply *wire.Reply) { p.ch <- reply }
func (parked) Relieve(func() bool)                                           {}

// Answers leave in the order of the requests, whatever order they are given in and by whom.
func TestOrder(t *testing.T) {
	p := parked{make(chan *wire.Reply, 10)}
	s := start(t, p, Limits{})
	c := dial(t, s)
	var replies []*wire.Reply
	for i := range int32(5) {
		c.send(frame(i, "x"))
		replies = append(replies, <-p.ch)
	}
	for _, i := range []int{3, 1, 4, 2} {
		answer(replies[i], []byte{byte('a' + i)})
	}
	answer(replies[0], []byte("a"))
	for i := range int32(5) {
		c.expect(i, string('a'+i))
	}
}

// The same under load: several connections, pipelined, answered by racing goroutines with small and large bodies.
func TestOrderUnderLoad(t *testing.T) {
	large := strings.Repeat("z", 300<<10)
	h := HandlerFunc(func(_ context.Context, req *wire.Request, reply *wire.Reply) {
		text := topicOf(req)
		give := func() {
			if len(text)%3 == 0 {
				text += large
			}
			answer(reply, []byte(text))
		}
		if len(text)%2 == 0 {
			go give()
		} else {
			give()
		}
	})
	s := start(t, h, Limits{MaxInFlight: 8})
	var all sync.WaitGroup
	for range 4 {
		c := dial(t, s)
		const n = 200
		all.Go(func() {
			for i := range int32(n) {
				if _, err := c.Write(frame(i, strings.Repeat("q", int(i%50)))); err != nil {
					t.Error(err)
					return
				}
			}
		})
		all.Go(func() {
			for i := range int32(n) {
				want := strings.Repeat("q", int(i%50))
				if len(want)%3 == 0 {
					want += large
				}
				if id, b, err := c.receive(); err != nil || id != i || string(b) != want {
					t.Errorf("answer %d of %d bytes, %v; want %d of %d bytes", id, len(b), err, i, len(want))
					return
				}
			}
		})
	}
	all.Wait()
}

// acks=0 has no answer and does not hold up the next; a refused one closes after what came before it is sent.
func TestNoneAndClose(t *testing.T) {
	p := parked{make(chan *wire.Reply, 10)}
	s := start(t, p, Limits{})
	c := dial(t, s)
	c.send(frame(1, "x"), frame(2, "x"), frame(3, "x"), frame(4, "x"))
	first, second, third, fourth := <-p.ch, <-p.ch, <-p.ch, <-p.ch
	answer(fourth, []byte("never"))
	third.Close(errors.New("acks=0 failed"))
	answer(second, []byte("second"))
	first.None()
	c.expect(2, "second")
	c.expectClosed()
}

// No more than MaxInFlight requests of a connection are with the handler; the next is read when one is answered.
func TestMaxInFlight(t *testing.T) {
	p := parked{make(chan *wire.Reply, 10)}
	s := start(t, p, Limits{MaxInFlight: 2})
	c, other := dial(t, s), dial(t, s)
	for i := range int32(3) {
		c.send(frame(i, "x"))
	}
	first, second := <-p.ch, <-p.ch
	other.send(frame(9, "x")) // another connection is not held up
	answer(<-p.ch, nil)
	other.expect(9, "")
	select {
	case <-p.ch:
		t.Fatal("a third request is with the handler")
	default:
	}
	waitFor(t, "the pause to be counted", func() bool { return metricValue(t, s.metrics.inFlightPauses) == 1 })
	answer(first, nil)
	third := <-p.ch
	answer(second, nil)
	answer(third, nil)
	for i := range int32(3) {
		c.expect(i, "")
	}
}

// An answer that a slow client does not take does not hold up the one who gives it, nor other connections.
func TestSlowReaderHoldsNobodyUp(t *testing.T) {
	p := parked{make(chan *wire.Reply, 10)}
	s := start(t, p, Limits{})
	slow, other := dial(t, s), dial(t, s)
	slow.send(frame(1, "x"))
	body := bytes.Repeat([]byte("y"), 64<<20)
	answer(<-p.ch, body) // returns although nobody reads
	slow.send(frame(2, "x"))
	answer(<-p.ch, []byte("after"))
	other.send(frame(3, "x"))
	answer(<-p.ch, []byte("other"))
	other.expect(3, "other")
	slow.expect(1, string(body))
	slow.expect(2, "after")
}

// A client that never reads is closed, and what its answers hold is released: the one that is being sent and the one
// that waits behind it.
func TestSlowReaderIsClosed(t *testing.T) {
	p := parked{make(chan *wire.Reply, 2)}
	s := start(t, p, Limits{WriteTimeout: 20 * time.Millisecond})
	c := dial(t, s)
	m := kmsg.NewPtrFetchRequest()
	m.Version = 12
	c.send(frame(1, "x"), kmsg.NewRequestFormatter().AppendRequest(nil, m, 2))
	first, second := <-p.ch, <-p.ch
	released := make(chan struct{}, 2) // a second release would be seen below
	second.Fetch(&wire.FetchResponse{Release: func() { released <- struct{}{} }})
	answer(first, make([]byte, 64<<20))
	<-released
	waitFor(t, "memory to be given back", func() bool { return s.memory.used() == 0 })
	if n := metricValue(t, s.metrics.closed.WithLabelValues(errSlowRead.label)); n != 1 {
		t.Errorf("%v connections closed as slow readers", n)
	}
	if len(released) > 0 {
		t.Error("released twice")
	}
}

// waitFor polls for a condition that no channel announces.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// ApiVersions of an unknown version is answered (KIP-511), old Produce is told UNSUPPORTED_VERSION in its own
// version, anything else unknown closes the connection.
func TestVersions(t *testing.T) {
	s := start(t, echo, Limits{})
	c := dial(t, s)
	c.send([]byte{0, 0, 0, 10, 0, 18, 0, 99, 0, 0, 0, 5, 0xff, 0xff})
	_, body, err := c.receive()
	var v kmsg.ApiVersionsResponse
	if err != nil || v.ReadFrom(body) != nil || v.ErrorCode != 35 || len(v.ApiKeys) != len(testVersions) || v.ApiKeys[0].MinVersion != 0 {
		t.Fatalf("%+v, %v", v, err)
	}
	c.send([]byte{0, 0, 0, 8, 0, 18, 0x7f, 0xff, 0, 0, 0, 6}) // of an unknown version only the first 8 bytes are certain
	if id, _, err := c.receive(); err != nil || id != 6 {
		t.Fatalf("%d %v", id, err)
	}
	format := kmsg.NewRequestFormatter()
	for version := range int16(3) {
		m := kmsg.NewPtrProduceRequest()
		m.Version, m.Acks = version, 1
		m.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 4}}}}
		c.send(format.AppendRequest(nil, m, 7))
		_, body, err := c.receive()
		p := kmsg.ProduceResponse{Version: version}
		if err != nil || p.ReadFrom(body) != nil || p.Topics[0].Topic != "t" || p.Topics[0].Partitions[0].Partition != 4 || p.Topics[0].Partitions[0].ErrorCode != 35 {
			t.Fatalf("version %d: %+v, %v", version, p, err)
		}
	}
	c.send(frame(8, "still open"))
	c.expect(8, "still open")
	for name, bad := range map[string][]byte{
		"unknown key":            {0, 0, 0, 10, 0x10, 0, 0, 0, 0, 0, 0, 5, 0xff, 0xff},
		"negative key":           {0, 0, 0, 10, 0xff, 0xff, 0, 0, 0, 0, 0, 5, 0xff, 0xff},
		"key that is not served": {0, 0, 0, 10, 0, 2, 0, 1, 0, 0, 0, 5, 0xff, 0xff},
		"version too new":        {0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 5, 0xff, 0xff},
		"version too old":        {0, 0, 0, 10, 0, 1, 0, 3, 0, 0, 0, 5, 0xff, 0xff},
		"negative version":       {0, 0, 0, 10, 0, 0, 0xff, 0xff, 0, 0, 0, 5, 0xff, 0xff},
		"old produce, acks=0":    {0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 5, 0xff, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0},
		"old produce, garbage":   {0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 5, 0xff, 0xff, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s)
			c.send(bad)
			c.expectClosed()
		})
	}
}

// I-32: a handler's panic ends its connection, is logged with its stack and counted, and nobody else notices.
func TestPanicIsContained(t *testing.T) {
	var log syncBuffer
	reg := prometheus.NewRegistry()
	h := HandlerFunc(func(ctx context.Context, req *wire.Request, reply *wire.Reply) {
		if topicOf(req) == "boom" {
			panic("boom")
		}
		echo(ctx, req, reply)
	})
	s := start(t, h, Limits{}, func(o *Options) {
		o.Logger, o.Registerer = slog.New(slog.NewTextHandler(&log, nil)), reg
	})
	bad, good := dial(t, s), dial(t, s)
	good.send(frame(1, "before"))
	good.expect(1, "before")
	bad.send(frame(1, "ok"), frame(2, "boom"), frame(3, "never"))
	bad.expect(1, "ok")
	bad.expectClosed()
	good.send(frame(2, "after"))
	good.expect(2, "after")
	if got := log.String(); !strings.Contains(got, "panicked") || !strings.Contains(got, "server_test.go") {
		t.Errorf("log %q has no stack", got)
	}
	if n := metricValue(t, s.metrics.panics); n != 1 {
		t.Errorf("%v panics counted", n)
	}
	waitFor(t, "memory to be given back", func() bool { return s.memory.used() == 0 })
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Shutdown answers what was read, reads nothing more, and closes.
func TestShutdownDrains(t *testing.T) {
	p := parked{make(chan *wire.Reply, 10)}
	s := start(t, p, Limits{})
	busy, idle := dial(t, s), dial(t, s)
	busy.send(frame(1, "x"), frame(2, "x"))
	first, second := <-p.ch, <-p.ch
	idle.send(frame(1, "x"))
	answer(<-p.ch, nil)
	idle.expect(1, "")
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	idle.expectClosed()
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("a connection was accepted while shutting down")
	}
	busy.send(frame(3, "never read"))
	answer(second, []byte("2"))
	select {
	case err := <-done:
		t.Fatalf("Shutdown returned %v while an answer is owed", err)
	default:
	}
	answer(first, []byte("1"))
	busy.expect(1, "1")
	busy.expect(2, "2")
	busy.expectClosed()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(p.ch) > 0 {
		t.Error("a request was read while shutting down")
	}
}

// Shutdown cuts off what is not answered when its time is over; the late answer is dropped and its memory given back.
func TestShutdownCutsOff(t *testing.T) {
	p := parked{make(chan *wire.Reply, 1)}
	s := start(t, p, Limits{})
	c := dial(t, s)
	c.send(frame(1, "x"))
	late := <-p.ch
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	c.expectClosed()
	if s.memory.used() == 0 {
		t.Error("the parked request holds no memory")
	}
	answer(late, []byte("late"))
	if n := s.memory.used(); n != 0 {
		t.Errorf("%d bytes of requests remain", n)
	}
}

// The handler's context ends when the client goes away.
func TestContextEndsWithConnection(t *testing.T) {
	ctxs := make(chan context.Context, 1)
	s := start(t, HandlerFunc(func(ctx context.Context, _ *wire.Request, reply *wire.Reply) {
		ctxs <- ctx
		context.AfterFunc(ctx, func() { reply.Close(nil) })
	}), Limits{})
	c := dial(t, s)
	c.send(frame(1, "x"))
	ctx := <-ctxs
	c.Close()
	<-ctx.Done()
	waitFor(t, "memory to be given back", func() bool { return s.memory.used() == 0 })
}

// Metrics count what happened.
func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, echo, Limits{}, func(o *Options) { o.Registerer = reg })
	c := dial(t, s)
	c.send(frame(1, "hello"))
	c.expect(1, "hello")
	m := s.metrics.byKey[3]
	waitFor(t, "the request to be counted", func() bool { return metricValue(t, m.requests) == 1 })
	if in, out := metricValue(t, m.received), metricValue(t, m.sent); in != float64(len(frame(1, "hello"))) || out != 13 {
		t.Errorf("%v bytes in, %v out", in, out)
	}
	if _, err := reg.Gather(); err != nil {
		t.Error(err)
	}
	if _, err := New(Options{Addr: "127.0.0.1:0", Handler: echo, Versions: testVersions, Registerer: reg}); err == nil {
		t.Error("metrics registered twice")
	}
}

func TestNewRefuses(t *testing.T) {
	s := start(t, echo, Limits{})
	for name, o := range map[string]Options{
		"no handler":    {Addr: "127.0.0.1:0"},
		"used port":     {Addr: s.Addr().String(), Handler: echo},
		"bad versions":  {Addr: "127.0.0.1:0", Handler: echo, Versions: []wire.Range{{Key: 3, Min: 0, Max: 99}}},
		"bad limits":    {Addr: "127.0.0.1:0", Handler: echo, Limits: Limits{MaxInFlight: -1}},
		"nonsense addr": {Addr: "nonsense", Handler: echo},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func metricValue(t testing.TB, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
}
