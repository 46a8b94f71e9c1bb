package server

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/firnlog/firn/broker/wire"
)

// checksum answers with the CRC of what it was asked.
var checksum = HandlerFunc(func(_ context.Context, req *wire.Request, reply *wire.Reply) {
	answer(reply, binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(req.Body)))
})

// sized is a frame whose body is n bytes.
func sized(correlation int32, n int, rng *rand.ChaCha8) (frame []byte, crc uint32) {
	b := binary.BigEndian.AppendUint32(nil, uint32(10+n))
	b = append(b, 0, 3, 0, 1)
	b = binary.BigEndian.AppendUint32(b, uint32(correlation))
	b = append(b, 0xff, 0xff)
	body := make([]byte, n)
	_, _ = rng.Read(body)
	return append(b, body...), crc32.ChecksumIEEE(body)
}

// Frames arrive as they were sent, whatever their sizes and wherever what arrives at once begins and ends; their memory
// is given back.
func TestFramesOfAllSizes(t *testing.T) {
	for name, pipe := range map[string]bool{"socket": false, "other": true} {
		t.Run(name, func(t *testing.T) {
			var s *Server
			var c client
			if pipe {
				l := newPipeListener()
				s = start(t, checksum, Limits{}, func(o *Options) { o.Listener = l })
				c = l.dial(t)
			} else {
				s = start(t, checksum, Limits{})
				c = dial(t, s)
			}
			rng := rand.NewChaCha8([32]byte{3})
			r := rand.New(rng)
			var stream []byte
			var want []uint32
			for i := range int32(1500) {
				n := r.IntN(300)
				switch r.IntN(12) {
				case 0:
					n = r.IntN(6 << 10)
				case 1:
					n = 10_000 + r.IntN(90_000)
				case 2:
					if i%20 == 0 {
						n = r.IntN(3 << 20)
					}
				}
				f, crc := sized(i, n, rng)
				stream, want = append(stream, f...), append(want, crc)
			}
			go func() {
				for len(stream) > 0 {
					n := min(len(stream), 1+r.IntN(1<<r.IntN(20)))
					if _, err := c.Write(stream[:n]); err != nil {
						t.Error(err)
						return
					}
					stream = stream[n:]
				}
			}()
			for i, crc := range want {
				id, b, err := c.receive()
				if err != nil || id != int32(i) || binary.BigEndian.Uint32(b) != crc {
					t.Fatalf("answer %d to request %d: %x, %v; want %08x", id, i, b, err, crc)
				}
			}
			waitFor(t, "memory to be given back", func() bool { return s.memory.used() == 0 })
		})
	}
}

// counted counts the writes of a connection.
type counted struct {
	net.Conn
	writes *atomic.Int32
}

func (c counted) Write(p []byte) (int, error) { c.writes.Add(1); return c.Conn.Write(p) }

// Requests that came together are answered with one write, unless they are very many; whoever must be waited for holds
// up nobody's answer but those behind.
func TestAnswersLeaveTogether(t *testing.T) {
	parked := make(chan *wire.Reply, 1)
	h := HandlerFunc(func(_ context.Context, req *wire.Request, reply *wire.Reply) {
		if topicOf(req) == "wait" {
			parked <- reply
			return
		}
		answer(reply, []byte(topicOf(req)))
	})
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		start(t, h, Limits{}, func(o *Options) { o.Listener = l })
		a, b := net.Pipe()
		var writes atomic.Int32
		l.conns <- counted{b, &writes}
		defer a.Close()
		c := client{a, t}
		go c.send(frame(1, "x"), frame(2, "y"), frame(3, "z"))
		got := make([]byte, 27)
		if _, err := io.ReadFull(c, got); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := writes.Swap(0); n != 1 {
			t.Errorf("%d writes for three answers", n)
		}
		go c.send(frame(4, "x"), frame(5, "wait"), frame(6, "z"))
		c.expect(4, "x")
		reply := <-parked
		synctest.Wait()
		go answer(reply, []byte("w"))
		c.expect(5, "w")
		c.expect(6, "z")
		many := make([][]byte, 3*maxHeld)
		for i := range many {
			many[i] = frame(int32(i), "x")
		}
		go c.send(many...)
		for i := range many {
			c.expect(int32(i), "x")
		}
	})
}

// left is told that a client is gone.
type left struct{ n atomic.Int32 }

func (l *left) Gone() { l.n.Add(1) }

// Whoever watches a client is told once that it has gone before its answer, and not after it.
func TestWatch(t *testing.T) {
	type call struct {
		req   *wire.Request
		reply *wire.Reply
	}
	ch := make(chan call, 2)
	s := start(t, HandlerFunc(func(_ context.Context, req *wire.Request, reply *wire.Reply) { ch <- call{req, reply} }), Limits{})
	c := dial(t, s)
	var answered, gone, late left
	c.send(frame(1, "x"), frame(2, "x"))
	first, second := <-ch, <-ch
	if !first.req.Watch(&answered) || !second.req.Watch(&gone) {
		t.Error("a client that is there counts as gone")
	}
	answer(first.reply, nil)
	c.expect(1, "")
	c.Close()
	waitFor(t, "the news", func() bool { return gone.n.Load() == 1 })
	if second.req.Watch(&late) {
		t.Error("a client that is gone counts as there")
	}
	var wg sync.WaitGroup
	wg.Go(func() { answer(second.reply, nil) })
	wg.Wait()
	if a, g, l := answered.n.Load(), gone.n.Load(), late.n.Load(); a != 0 || g != 1 || l != 0 {
		t.Errorf("told %d times after its answer, %d times, %d times", a, g, l)
	}
}
