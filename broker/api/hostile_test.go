package api

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/fetchsession"
	"github.com/firnlog/firn/broker/server"
	"github.com/firnlog/firn/broker/wire"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/record"
)

// heap is what is in memory once the garbage is collected.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools keep goes with the second
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// manyPartitions is a request that names n partitions, of which the first is there. It is not answered before a record of it
// is flushed, or comes.
func manyPartitions(key int16, n int) []byte {
	if key == 0 {
		req := kmsg.NewPtrProduceRequest()
		req.Acks, req.TimeoutMillis = -1, 600_000
		topic := kmsg.ProduceRequestTopic{Topic: "t", Partitions: make([]kmsg.ProduceRequestTopicPartition, n)}
		topic.Partitions[0].Records = record.NewBuilder(record.None).Append(1000, nil, make([]byte, 10), nil).Build(0)
		req.Topics = []kmsg.ProduceRequestTopic{topic}
		return frameOf(req, 9)
	}
	return frameOf(fetchOfMany(n), 12)
}

// fetchOfMany is a patient fetch, without a session, of n partitions, of which the first is there.
func fetchOfMany(n int) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = 600_000, 1<<20, 1<<20, -1
	topic := kmsg.FetchRequestTopic{Topic: "t"}
	for p := range int32(n) {
		q := kmsg.NewFetchRequestTopicPartition()
		q.Partition, q.PartitionMaxBytes, q.CurrentLeaderEpoch = p, 1<<20, -1
		topic.Partitions = append(topic.Partitions, q)
	}
	if n > 0 {
		req.Topics = []kmsg.FetchRequestTopic{topic}
	}
	return req
}

// I-32: requests that name a great many partitions take their memory, parsed and answered, from the budget of all: many at
// once wait for each other, and what is in memory is what is counted.
func TestHostileWidth(t *testing.T) {
	const clients, limit, partitions = 16, 16 << 20, 10_000
	for name, c := range map[string]struct {
		key  int16
		cost int64 // that is counted for a partition
	}{"produce": {0, 512}, "fetch": {1, 1 << 10}} {
		t.Run(name, func(t *testing.T) {
			d := disk.NewFaulty(inFolder{disk.OS(), t.TempDir()}, nil) // the real one, which takes no memory
			e := newEnvOn(t, metatestBroker(t), d, quietLog)
			e.create("t", 1, "flush.messages", "1")
			reg := prometheus.NewRegistry()
			addr := serve(t, e, func(o *server.Options) { o.Limits, o.Registerer = server.Limits{MemoryBytes: limit}, reg })
			dialRaw(t, addr).send(produceFrame("t", 1, 1)) // the log is there
			p, err := e.parts.ByName("t", 0)
			require.NoError(t, err)
			require.Eventually(t, func() bool { return p.HighWatermark() == 1 }, 20*time.Second, time.Millisecond)

			flushed := make(chan struct{})
			flush := sync.OnceFunc(func() { close(flushed) })
			t.Cleanup(flush)
			d.SetHook(func(call disk.Call) disk.Fault {
				if call.Op == disk.OpDatasync || call.Op == disk.OpWriteSync {
					<-flushed
				}
				return disk.Fault{}
			})
			before := heap()
			frame := manyPartitions(c.key, partitions)
			var all sync.WaitGroup
			var conns []net.Conn
			for range clients {
				conn, err := net.Dial("tcp", addr)
				require.NoError(t, err)
				t.Cleanup(func() { _ = conn.Close() })
				conns = append(conns, conn)
				all.Go(func() {
					if _, err := conn.Write(frame); err != nil {
						t.Error(err)
					}
				})
				if c.key == 1 { // they are answered when others need their memory
					all.Go(func() { _, _ = io.Copy(io.Discard, conn) })
				}
			}
			used := func() int64 { return int64(gauge(t, reg, "firn_server_request_memory_bytes")) }
			require.Eventually(t, func() bool { return used() >= limit-c.cost*partitions }, 20*time.Second, time.Millisecond)
			require.Eventually(t, func() bool { return gauge(t, reg, "firn_server_request_memory_waits_total") >= 4 }, 20*time.Second, time.Millisecond)
			one := c.cost*partitions + int64(len(frame)) + 1<<20
			require.LessOrEqual(t, used(), limit+one)
			require.Eventually(t, func() bool { // fetches make way for each other, and leave garbage until all have had their turn
				return heap()-before <= limit+one+int64(clients*len(frame))+4<<20
			}, 20*time.Second, 10*time.Millisecond)

			flush()
			for _, conn := range conns {
				if c.key == 0 {
					var head [4]byte
					_, err := io.ReadFull(conn, head[:])
					require.NoError(t, err)
					_, err = io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head[:])))
					require.NoError(t, err)
				}
				require.NoError(t, conn.Close())
			}
			all.Wait()
			require.Eventually(t, func() bool { return used() == 0 }, 20*time.Second, time.Millisecond)
			require.Eventually(t, func() bool { return heap()-before < 4<<20 }, 20*time.Second, 100*time.Millisecond)
		})
	}
}

// counting counts the fetches that Serve is through with: they are answered or wait.
type counting struct {
	*API
	fetches atomic.Int64
}

func (c *counting) Serve(ctx context.Context, req *wire.Request, reply *wire.Reply) {
	key := req.Key
	c.API.Serve(ctx, req, reply)
	if key == 1 {
		c.fetches.Add(1)
	}
}

// apiVersionsFrame is the smallest request of all.
func apiVersionsFrame() []byte { return frameOf(kmsg.NewPtrApiVersionsRequest(), 3) }

// I-32: fetches that wait for records, however wide and patient, keep nobody else out: whoever needs their memory has them
// answered. Also when their clients come again at once, and when these don't take the answers.
func TestPatientFetchesGiveWay(t *testing.T) {
	const limit, partitions = 16 << 20, 10_000 // which take 1 KiB each
	e := newEnvOn(t, metatestBroker(t), inFolder{disk.OS(), t.TempDir()}, quietLog)
	e.create("t", 1)
	e.create("other", 1)
	reg := prometheus.NewRegistry()
	counted := &counting{API: e.a}
	addr := serve(t, e, func(o *server.Options) {
		o.Handler, o.Limits, o.Registerer = counted, server.Limits{MemoryBytes: limit}, reg
	})
	used := func() int64 { return int64(gauge(t, reg, "firn_server_request_memory_bytes")) }
	var received atomic.Int64 // by the patient
	full := func() {          // both wait, the second of them beyond the limit
		t.Helper()
		require.Eventually(t, func() bool { return counted.fetches.Load()-received.Load() == 2 && used() > limit }, time.Minute, time.Millisecond)
	}
	bystander := dialRaw(t, addr)
	versions, produce := apiVersionsFrame(), produceFrame("other", 1, 1)
	served := func() {
		t.Helper()
		require.NoError(t, bystander.c.SetDeadline(time.Now().Add(time.Minute)))
		bystander.send(versions)
		bystander.answer()
		bystander.send(produce)
		bystander.accepted("other")
	}
	served()
	frame := manyPartitions(1, partitions)
	patient := []net.Conn{dialRaw(t, addr).c, dialRaw(t, addr).c}
	for _, c := range patient {
		_, err := c.Write(frame)
		require.NoError(t, err)
	}
	full()
	require.Zero(t, gauge(t, reg, "firn_server_request_memory_waits_total"))
	served()

	var all sync.WaitGroup
	for _, c := range patient {
		all.Go(func() {
			var head [15]byte // with the answer's error code at its end
			for {
				if _, err := io.ReadFull(c, head[:]); err != nil {
					return // closed by the test
				}
				if code := binary.BigEndian.Uint16(head[13:]); code != 0 {
					t.Errorf("error %d", code)
				}
				_, _ = io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[:]))+4-int64(len(head)))
				received.Add(1)
				_, _ = c.Write(frame)
			}
		})
	}
	for range 10 {
		full()
		served()
	}
	for _, c := range patient {
		require.NoError(t, c.Close())
	}
	all.Wait()

	deaf := dialRaw(t, addr).c
	all.Go(func() {
		for {
			if _, err := deaf.Write(frame); err != nil {
				return // closed by the test
			}
		}
	})
	require.Eventually(t, func() bool { return gauge(t, reg, "firn_server_answer_pauses_total") > 0 }, time.Minute, time.Millisecond)
	served()
	require.NoError(t, deaf.Close())
	all.Wait()
	require.Eventually(t, func() bool { return used() == 0 }, 20*time.Second, time.Millisecond)
}

// gauge reads a metric.
func gauge(t testing.TB, reg *prometheus.Registry, name string) float64 {
	all, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range all {
		if m := f.GetMetric(); f.GetName() == name {
			return m[0].GetGauge().GetValue() + m[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

// I-32: a fetch that was refused leaves no more memory to the next one than one that was served.
func TestRefusedFetchKeepsLittle(t *testing.T) {
	a := new(API)
	c := a.newFetchCall(nil, nil)
	c.asked.Partitions = make([]fetchsession.Partition, 0, wire.KeepPartitions+1)
	c.free()
	for range 10 {
		if c := a.newFetchCall(nil, nil); cap(c.asked.Partitions) > wire.KeepPartitions {
			t.Fatalf("%d partitions are kept", cap(c.asked.Partitions))
		}
	}
}

// I-32: a small batch of a great many records that are all refused does not make a large answer.
func TestHostileRecordErrors(t *testing.T) {
	e := newEnv(t)
	e.create("keys", 1, "cleanup.policy", "compact")
	b := record.NewBuilder(record.Gzip)
	for range 50_000 {
		b.Append(1000, nil, nil, nil)
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 1000
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: "keys", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: b.Build(0)}}}}
	answered := make(chan outcome, 1)
	e.send(req, 9, func(o outcome) { answered <- o })
	o := <-answered
	require.NoError(t, o.err)
	require.Less(t, len(o.body), 100*hot.MaxBadRecords)
	require.Greater(t, len(o.body), 10*hot.MaxBadRecords)
}

// I-32: nor do many such batches in one request: all that is told of their records together is bounded, and nothing is made that is
// not sent.
func TestHostileRecordErrorsOfManyBatches(t *testing.T) {
	const batches = 1000
	e := newEnv(t)
	e.create("t", 1)
	b, late := record.NewBuilder(record.Gzip), time.Now().Add(2*time.Hour).UnixMilli()
	for range hot.MaxBadRecords {
		b.Append(late, nil, nil, nil)
	}
	parts := repeat(batches, kmsg.ProduceRequestTopicPartition{Records: b.Build(0)})
	for name, c := range map[string]struct {
		version, acks int16
		want          []int // partitions in the answer, those with a sentence, and records that are named
	}{
		"told":         {9, -1, []int{batches, batches, hot.MaxBadRecords}},
		"too old":      {7, -1, []int{batches, 0, 0}},
		"not listened": {9, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			req := kmsg.NewPtrProduceRequest()
			req.Acks, req.TimeoutMillis = c.acks, 1000
			req.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: parts}}
			answered := make(chan outcome, 1)
			before := heap()
			peak := peakHeap(func() {
				e.send(req, c.version, func(o outcome) { answered <- o })
			})
			require.Less(t, peak-before, int64(64<<20))
			o := <-answered
			if c.want == nil {
				require.ErrorIs(t, o.err, hot.ErrTimestamp, "the connection is closed")
				return
			}
			require.NoError(t, o.err)
			resp := req.ResponseKind().(*kmsg.ProduceResponse)
			require.NoError(t, resp.ReadFrom(o.body))
			got := []int{len(resp.Topics[0].Partitions), 0, 0}
			for _, p := range resp.Topics[0].Partitions {
				require.Equal(t, kerr.InvalidTimestamp.Code, p.ErrorCode)
				if p.ErrorMessage != nil {
					got[1]++
				}
				got[2] += len(p.ErrorRecords)
			}
			require.Equal(t, c.want, got)
		})
	}
}

// I-32: an incremental fetch takes the memory of all partitions that its session stands for, although it names none. So small
// requests don't take more than is allowed either, and give way to others.
func TestHostileSessions(t *testing.T) {
	const limit, partitions, fetches = 16 << 20, 10_000, 64
	const one = partitions * wire.FetchPartitionCost
	e := newEnvOn(t, metatestBroker(t), inFolder{disk.OS(), t.TempDir()}, quietLog)
	e.create("t", 1)
	e.create("other", 1)
	reg := prometheus.NewRegistry()
	addr := serve(t, e, func(o *server.Options) { o.Limits, o.Registerer = server.Limits{MemoryBytes: limit}, reg })
	used := func() int64 { return int64(gauge(t, reg, "firn_server_request_memory_bytes")) }
	bystander := dialRaw(t, addr)
	served := func() {
		t.Helper()
		require.NoError(t, bystander.c.SetDeadline(time.Now().Add(time.Minute)))
		bystander.send(produceFrame("other", 1, 1))
		bystander.accepted("other")
	}
	served()
	patient := dialRaw(t, addr)
	full := fetchOfMany(partitions)
	full.SessionEpoch, full.MaxWaitMillis = 0, 0
	patient.send(frameOf(full, 12))
	id := int32(binary.BigEndian.Uint32(patient.answer()[1+4+2:]))
	require.NotZero(t, id)
	require.Eventually(t, func() bool { return used() == 0 }, 20*time.Second, time.Millisecond)

	before := heap()
	var frames []byte
	for epoch := range int32(fetches) {
		next := fetchOfMany(0)
		next.SessionID, next.SessionEpoch = id, epoch+1
		frames = append(frames, frameOf(next, 12)...)
	}
	patient.send(frames) // whose answers nobody takes
	require.Eventually(t, func() bool { return used() >= one-8<<10 }, 20*time.Second, time.Millisecond)
	for range 5 {
		served()
	}
	require.LessOrEqual(t, used(), int64(limit+one))
	require.Eventually(t, func() bool { return heap()-before <= limit+one }, 20*time.Second, 10*time.Millisecond)

	require.NoError(t, patient.c.Close())
	require.Eventually(t, func() bool { return used() == 0 }, 20*time.Second, time.Millisecond)
}
