package hostile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// neighbour produces and reads all the while on a connection of its own and must never see an error (I-32).
type neighbour struct {
	rounds atomic.Int64
	stop   context.CancelFunc
	err    chan error
}

func startNeighbour(t *testing.T, addr string) *neighbour {
	t.Helper()
	topic := dial(t, addr).create("neighbour", 1)
	ctx, stop := context.WithCancel(context.Background())
	n := &neighbour{stop: stop, err: make(chan error, 1)}
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0), kgo.RecordRetries(0),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(0)}}))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer cl.Close()
		n.err <- n.run(ctx, cl)
	}()
	return n
}

func (n *neighbour) run(ctx context.Context, cl *kgo.Client) error {
	for read := int64(0); ctx.Err() == nil; {
		n.rounds.Add(1)
		if err := cl.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint(n.rounds.Load()))).FirstErr(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("produce: %w", err)
		}
		for read < n.rounds.Load() && ctx.Err() == nil {
			fs := cl.PollFetches(ctx)
			if err := fs.Err(); err != nil && ctx.Err() == nil {
				return fmt.Errorf("fetch: %w", err)
			}
			read += int64(fs.NumRecords())
		}
	}
	return nil
}

// end stops the neighbour once it has gone a few rounds further, and fails the test if anything went wrong for it.
func (n *neighbour) end(t *testing.T) {
	t.Helper()
	before := n.rounds.Load()
	harness.Eventually(t, patience, "the neighbour stands still", func() bool {
		return n.rounds.Load() >= before+3 || len(n.err) > 0
	})
	n.stop()
	if err := <-n.err; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("a well-behaved client beside the bad ones saw: %v", err)
	}
}

// TestBadFrames (I-32): a frame that is none closes its own connection and no other.
func TestBadFrames(t *testing.T) {
	s := start(t, harness.Options{})
	n := startNeighbour(t, s.addr)
	whole := frame(kmsg.NewPtrMetadataRequest(), 12, 1)
	sized := func(size uint32, rest []byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, size), rest...)
	}
	produce := frame(produceTo("topic", 0, values("x").bytes()), produceV, 1)
	for _, bad := range []struct {
		name  string
		bytes []byte
		own   bool // Kafka waits for more instead, or closes later
	}{
		{"a negative length", sized(0xffffffff, whole[4:]), false},
		{"the smallest length", sized(0x80000000, nil), false},
		{"the largest length", sized(0x7fffffff, whole[4:]), false},
		{"more than is allowed", sized(101<<20, whole[4:]), false},
		{"length 0", sized(0, nil), true},
		{"a header cut short", sized(5, whole[4:9]), false},
		{"a client id that is longer than the frame", sized(10, []byte{0, 3, 0, 0, 0, 0, 0, 1, 0x7f, 0xff}), false},
		{"a body cut short", sized(uint32(len(whole)-4-3), whole[4:len(whole)-3]), false},
		{"an array of two thousand million", sized(19, append(append([]byte{}, whole[4:19]...), 0x7f, 0xff, 0xff, 0xff)), false},
		{"records that are longer than the frame", sized(uint32(len(produce)-4-20), produce[4:len(produce)-20]), false},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), false},
		{"TLS", append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, make([]byte, 40)...), false},
	} {
		t.Run(bad.name, func(t *testing.T) {
			if bad.own && s.firn == nil {
				t.Skip("Kafka does otherwise")
			}
			c := dial(t, s.addr)
			c.write(bad.bytes)
			c.closed()
		})
	}
	t.Run("cut off", func(t *testing.T) {
		for i := range whole {
			c := dial(t, s.addr)
			c.write(whole[:i])
			_ = c.Conn.(*net.TCPConn).CloseWrite()
			c.closed()
		}
	})
	t.Run("noise", func(t *testing.T) {
		noise(t, s.addr, harness.Count(300, 5000))
	})
	t.Run("flipped bits", func(t *testing.T) {
		flips(t, s.addr, harness.Count(300, 5000))
	})
	n.end(t)
}

// noise sends random bytes, half of them behind a length that is right.
func noise(t *testing.T, addr string, times int) {
	r := rand.New(rand.NewPCG(1, 2))
	for range times {
		b := make([]byte, 4+r.IntN(400))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		if r.IntN(4) > 0 {
			binary.BigEndian.PutUint32(b, uint32(len(b)-4))
			if len(b) > 8 { // keys and versions that exist, mostly
				binary.BigEndian.PutUint16(b[4:], uint16(served[r.IntN(len(served))]))
				binary.BigEndian.PutUint16(b[6:], uint16(r.IntN(14)))
			}
		}
		throw(t, addr, b)
	}
}

// flips sends requests that were right before one to three bits changed.
func flips(t *testing.T, addr string, times int) {
	r := rand.New(rand.NewPCG(3, 4))
	topic := dial(t, addr).create("flipped", 1)
	for i := range times {
		var b []byte
		switch i % 4 {
		case 0:
			b = frame(produceTo(topic, 0, values("a", "b").bytes()), int16(3+r.IntN(10)), 1)
		case 1:
			b = frame(fetchFrom(topic, 0, 0), int16(4+r.IntN(9)), 1)
		case 2:
			b = frame(kmsg.NewPtrMetadataRequest(), int16(r.IntN(14)), 1)
		case 3:
			b = frame(apiVersions(), int16(r.IntN(5)), 1)
		}
		for range 1 + r.IntN(3) {
			at := 4 + r.IntN(len(b)-4)
			b[at] ^= 1 << r.IntN(8)
		}
		throw(t, addr, b)
	}
}

// throw sends bytes and nothing more, and lets the broker answer or not.
func throw(t *testing.T, addr string, b []byte) {
	t.Helper()
	c := dial(t, addr)
	defer func() { _ = c.Close() }()
	if _, err := c.Write(b); err != nil {
		return // closed already
	}
	_ = c.Conn.(*net.TCPConn).CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 4096)
	for {
		if _, err := c.Read(buf); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("% x: neither answered nor closed", b)
			}
			return
		}
	}
}

// TestSlowFrames (I-32): frames that trickle in, stand still half-way, or are never begun hold nobody else up.
func TestSlowFrames(t *testing.T) {
	s := onlyFirn(t, harness.Options{}) // Kafka claims the memory for what it was promised, and is gone
	n := startNeighbour(t, s.addr)
	slow := dial(t, s.addr)
	whole := frame(apiVersions(), 3, 1)
	for range 200 { // half-open: some with half a frame, some with a large one claimed, some with nothing
		c := dial(t, s.addr)
		c.write(whole[:rand.IntN(len(whole))])
		big := dial(t, s.addr)
		big.write(binary.BigEndian.AppendUint32(nil, 90<<20))
		big.write(whole[4:])
		_ = dial(t, s.addr)
	}
	slow.corr = 1
	for i := range whole {
		slow.write(whole[i : i+1])
		before := n.rounds.Load()
		harness.Eventually(t, patience, "the neighbour stands still", func() bool { return n.rounds.Load() > before || len(n.err) > 0 })
	}
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.SetVersion(3)
	if err := slow.tryRecv(resp); err != nil {
		t.Errorf("the slow request: %v", err)
	}
	n.end(t)
	if peak := peakMemory(t, s.firn.PID()); peak > 1<<30 { // 200 times 90 MiB were announced
		t.Errorf("the broker took %d MiB", peak>>20)
	} else {
		t.Logf("the broker took %d MiB at most", peak>>20)
	}
}

// peakMemory is the most memory that a process has had resident, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("this system does not tell what memory a process has")
	}
	var kib int64
	_, after, _ := strings.Cut(string(b), "VmHWM:")
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
