package hostile

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/e2e/measure"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var closedBy = regexp.MustCompile(`(?m)^firn_server_closed_connections_total.*$`)

// crowd is many connections that take the broker's time and memory and give nothing. Each has a way of its own; one
// that the broker closes comes back.
type crowd struct {
	addr   string
	topic  string
	open   atomic.Int64
	closed atomic.Int64 // by the broker
	failed atomic.Int64 // to connect
	end    context.CancelFunc
	all    sync.WaitGroup
}

// ways are what the members of a crowd do until ctx ends; they return when the broker has closed the connection.
var ways = []struct {
	name string
	run  func(ctx context.Context, c *crowd, nc net.Conn, r *rand.Rand)
}{
	{"silent", func(ctx context.Context, _ *crowd, nc net.Conn, _ *rand.Rand) { linger(ctx, nc) }},
	{"half a frame", func(ctx context.Context, _ *crowd, nc net.Conn, r *rand.Rand) {
		b := frame(apiVersions(), 3, 1)
		_, _ = nc.Write(b[:1+r.IntN(len(b)-1)])
		linger(ctx, nc)
	}},
	{"a byte at a time", func(ctx context.Context, _ *crowd, nc net.Conn, r *rand.Rand) {
		b := binary.BigEndian.AppendUint32(nil, 1<<20)
		b = append(b, frame(apiVersions(), 3, 1)[4:]...)
		for _, x := range append(b, make([]byte, 1000)...) {
			if _, err := nc.Write([]byte{x}); err != nil || !pause(ctx, time.Duration(1+r.IntN(4))*time.Second) {
				return
			}
		}
	}},
	{"a large frame that stops", func(ctx context.Context, _ *crowd, nc net.Conn, r *rand.Rand) {
		b := binary.BigEndian.AppendUint32(nil, 64<<20)
		_, _ = nc.Write(append(b, make([]byte, r.IntN(32<<10))...))
		linger(ctx, nc)
	}},
	{"never reads its fetches", func(ctx context.Context, c *crowd, nc net.Conn, r *rand.Rand) {
		ask(ctx, nc, r, fetchFrom(c.topic, 0, 0), fetchV)
	}},
	{"never reads its metadata", func(ctx context.Context, _ *crowd, nc net.Conn, r *rand.Rand) {
		ask(ctx, nc, r, kmsg.NewPtrMetadataRequest(), 12) // no list of topics means all
	}},
	{"reads slowly", func(ctx context.Context, c *crowd, nc net.Conn, r *rand.Rand) {
		if _, err := nc.Write(frame(fetchFrom(c.topic, 0, 0), fetchV, 1)); err != nil {
			return
		}
		for b := make([]byte, 512); pause(ctx, time.Duration(1+r.IntN(4))*time.Second); {
			if _, err := nc.Read(b); err != nil {
				return
			}
		}
	}},
}

// ask sends a request now and then and reads no answer, until the broker closes the connection.
func ask(ctx context.Context, nc net.Conn, r *rand.Rand, req kmsg.Request, version int16) {
	stop := context.AfterFunc(ctx, func() { _ = nc.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	for i := int32(0); ; i++ {
		if _, err := nc.Write(frame(req, version, i)); err != nil || !pause(ctx, time.Duration(1+r.IntN(9))*time.Second) {
			return
		}
	}
}

// linger waits until the broker closes the connection.
func linger(ctx context.Context, nc net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = nc.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_, _ = io.Copy(io.Discard, nc)
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// gather brings n connections to the broker.
func gather(t *testing.T, addr, topic string, n int) *crowd {
	ctx, cancel := context.WithCancel(context.Background())
	c := &crowd{addr: addr, topic: topic, end: cancel}
	t.Cleanup(c.leave)
	small := net.Dialer{Timeout: patience, Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { // so that what is not read waits at the broker
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
		})
	}}
	dialing := make(chan struct{}, 64)
	for i := range n {
		c.all.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(i)))
			for ctx.Err() == nil {
				dialing <- struct{}{}
				nc, err := small.DialContext(ctx, "tcp", addr)
				<-dialing
				if err != nil {
					c.failed.Add(1)
					pause(ctx, time.Second)
					continue
				}
				c.open.Add(1)
				ways[i%len(ways)].run(ctx, c, nc, r)
				c.open.Add(-1)
				_ = nc.Close()
				if ctx.Err() == nil {
					c.closed.Add(1)
					pause(ctx, time.Second)
				}
			}
		})
	}
	harness.Eventually(t, 2*time.Minute, "the crowd does not get in", func() bool { return c.open.Load() >= int64(n)*9/10 })
	return c
}

func (c *crowd) leave() {
	c.end()
	c.all.Wait()
}

// latencies of a good client: at each tick it produces a record and fetches it, and the time runs from the tick on.
func (c *conn) latencies(topic string, every, length time.Duration) []time.Duration {
	c.t.Helper()
	var all []time.Duration
	tick := time.NewTicker(every)
	defer tick.Stop()
	for end := time.Now().Add(length); ; {
		at := <-tick.C
		if at.After(end) {
			slices.Sort(all)
			return all
		}
		offset := c.mustProduce(topic, 0, values(strings.Repeat("good", 256)))
		if got := c.fetch(topic, 0, offset); got.ErrorCode != 0 || len(got.RecordBatches) == 0 {
			c.t.Fatalf("fetch at %d: %s, %d bytes", offset, name(got.ErrorCode), len(got.RecordBatches))
		}
		all = append(all, time.Since(at))
	}
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func times(sorted []time.Duration) string {
	return fmt.Sprintf("%d round trips, p50 %v, p99 %v, p99.9 %v, most %v", len(sorted), quantile(sorted, 0.5),
		quantile(sorted, 0.99), quantile(sorted, 0.999), sorted[len(sorted)-1])
}

// size is how many connections this process and the broker, which has the same limit of descriptors and keeps half
// of them for files, may have; up to 10,000, less a few for those that are good.
func size(t *testing.T) int {
	t.Helper()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	return min(10_000, int(min(l.Max, 1<<20))/2) - 20
}

// I-32: a crowd of connections that are slow, silent, half-open or never read does not reach a good client, and leaves
// nothing behind. At full length the good client's p99 stays within twice of what it was.
func TestCrowd(t *testing.T) {
	onlyFirnHere(t)
	b := harness.Start(t, harness.Options{Args: []string{"--set", "max.connections.per.ip=10000"}}) // the crowd has one address
	t.Cleanup(func() { alive(t, b) })
	good := dial(t, b.Kafka)
	for range 4 { // so that metadata is worth not reading
		good.create("wallpaper", 50)
	}
	topic, bulk := good.create("good", 1, "remote.storage.enable", "false"), good.create("bulk", 1, "remote.storage.enable", "false")
	for range 8 {
		good.mustProduce(bulk, 0, values(strings.Repeat("bulk", 200<<10)))
	}
	n, every := harness.Count(300, size(t)), 10*time.Millisecond
	length := time.Duration(harness.Count(2, 60)) * time.Second
	good.latencies(topic, every, length/6) // warms up
	before := good.latencies(topic, every, length)
	empty := measure.Memory(b.PID())
	c := gather(t, b.Kafka, bulk, n)
	full := measure.Memory(b.PID())
	during := good.latencies(topic, every, length)
	t.Logf("a crowd of %d for %v; the broker closed %d of them, %d attempts to connect failed", n, length, c.closed.Load(), c.failed.Load())
	t.Logf("before: %s", times(before))
	t.Logf("during: %s", times(during))
	t.Logf("memory of the broker: %d KiB before, %d KiB when they had come, %d KiB at the end", empty>>10, full>>10, measure.Memory(b.PID())>>10)
	harness.Eventually(t, patience, "the crowd does not come back", func() bool { // at times many were closed just now
		return b.Metric("firn_server_connections") >= float64(n)*0.8
	})
	if was, is := quantile(before, 0.99), quantile(during, 0.99); harness.Full() && is > 2*was {
		t.Errorf("p99 was %v and is %v with the crowd, more than twice", was, is)
	}
	if _, metrics, err := b.Get("/metrics"); err == nil {
		t.Logf("closed: %q", closedBy.FindAllString(metrics, -1))
	}
	c.leave()
	harness.Eventually(t, patience, "the broker keeps something of the crowd", func() bool {
		return b.Metric("firn_server_connections") <= 2 && b.Metric("firn_server_request_memory_bytes") == 0 &&
			b.Metric("firn_server_answer_memory_bytes") == 0
	})
}
