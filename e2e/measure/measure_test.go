package measure

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// taken is what a fake broker understood of a request.
type taken struct {
	id, partition int32
	records       []byte
}

// fake is a broker that takes the frames of this package apart by another's code, and answers so that they are checked.
type fake struct {
	addr string

	mu    sync.Mutex
	code  int16           // guarded by mu: the error that produce is answered with
	logs  map[int32]int64 // guarded by mu: next offset
	taken []taken         // guarded by mu
	batch []byte          // what fetches are answered with, three records a time
}

func startFake(t *testing.T) *fake {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	f := &fake{addr: l.Addr().String(), logs: map[int32]int64{}, batch: NewPayload(3, 10, Noise(1)).Bytes}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { f.serve(t, c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return f
}

func (f *fake) serve(t *testing.T, c net.Conn) {
	defer c.Close()
	for {
		head := make([]byte, 4)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint32(head))
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		key, id := int16(binary.BigEndian.Uint16(b)), int32(binary.BigEndian.Uint32(b[4:]))
		req := kmsg.RequestForKey(key)
		req.SetVersion(int16(binary.BigEndian.Uint16(b[2:])))
		client := int(binary.BigEndian.Uint16(b[8:]))
		if err := req.ReadFrom(b[10+client+1:]); err != nil {
			t.Errorf("a request that cannot be read: %v", err)
			return
		}
		var res kmsg.Response
		switch req := req.(type) {
		case *kmsg.ProduceRequest:
			res = f.produce(id, req)
		case *kmsg.FetchRequest:
			res = f.fetch(req)
		}
		out := binary.BigEndian.AppendUint32(nil, 0)
		out = binary.BigEndian.AppendUint32(out, uint32(id))
		out = res.AppendTo(append(out, 0))
		binary.BigEndian.PutUint32(out, uint32(len(out)-4))
		for len(out) > 0 { // in pieces, as networks do
			n := min(len(out), 30)
			if _, err := c.Write(out[:n]); err != nil {
				return
			}
			out = out[n:]
		}
	}
}

func (f *fake) produce(id int32, req *kmsg.ProduceRequest) kmsg.Response {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := req.Topics[0].Partitions[0]
	f.taken = append(f.taken, taken{id: id, partition: p.Partition, records: p.Records})
	res := kmsg.NewPtrProduceResponse()
	res.Version = req.Version
	topic := kmsg.NewProduceResponseTopic()
	topic.Topic = req.Topics[0].Topic
	part := kmsg.NewProduceResponseTopicPartition()
	part.Partition, part.ErrorCode, part.BaseOffset = p.Partition, f.code, f.logs[p.Partition]
	f.logs[p.Partition] += int64(binary.BigEndian.Uint32(p.Records[57:]))
	topic.Partitions = append(topic.Partitions, part)
	res.Topics = append(res.Topics, topic)
	return res
}

func (f *fake) fetch(req *kmsg.FetchRequest) kmsg.Response {
	f.mu.Lock()
	defer f.mu.Unlock()
	res := kmsg.NewPtrFetchResponse()
	res.Version = req.Version
	topic := kmsg.NewFetchResponseTopic()
	topic.Topic = req.Topics[0].Topic
	for _, p := range req.Topics[0].Partitions {
		part := kmsg.NewFetchResponseTopicPartition()
		part.Partition, part.ErrorCode = p.Partition, f.code
		if p.FetchOffset < f.logs[p.Partition] {
			part.RecordBatches = append([]byte(nil), f.batch...)
			binary.BigEndian.PutUint64(part.RecordBatches, uint64(p.FetchOffset))
		}
		topic.Partitions = append(topic.Partitions, part)
	}
	res.Topics = append(res.Topics, topic)
	return res
}

// check looks at what arrived: whole batches, whose sums are right.
func (f *fake) check(t *testing.T) (records int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range f.taken {
		require.Equal(t, binary.BigEndian.Uint32(x.records[17:]), crc32.Checksum(x.records[21:], castagnoli))
		records += int64(binary.BigEndian.Uint32(x.records[57:]))
	}
	return records
}

func TestPipelined(t *testing.T) {
	f := startFake(t)
	batches := []Payload{NewPayload(2, 100, Noise(1)), NewPayload(3, 5, Noise(2))}
	p, err := Pipelined{Addr: f.addr, Topic: "some-topic", Partitions: 5, Conns: 2, InFlight: 3, Batches: batches}.Start()
	require.NoError(t, err)
	got, err := p.RunBytes(t.Context(), 10_000)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, got.Bytes, int64(10_000))
	assert.Equal(t, got.Bytes, got.Plain)
	assert.Equal(t, f.check(t), got.Records, "what is counted is what arrived")
	assert.Len(t, f.taken, int(got.Requests))
	assert.Equal(t, int(got.Requests), got.Latencies.Len())
	assert.Len(t, f.logs, 5, "every partition is written to")

	f.mu.Lock()
	f.code = 7
	f.mu.Unlock()
	_, err = p.Run(t.Context(), time.Hour)
	require.ErrorContains(t, err, "error code 7")
	require.NoError(t, p.Close())
}

func TestPaced(t *testing.T) {
	f := startFake(t)
	var batches []Payload
	for n := range 8 {
		batches = append(batches, NewPayload(n+1, 10, Noise(uint64(n))))
	}
	const length = 200 * time.Millisecond
	l := Paced{Addr: f.addr, Topic: "some-topic", Partitions: 2, Conns: 4, Every: 4 * time.Millisecond, InFlight: 2, Batches: batches}
	p, err := l.Start()
	require.NoError(t, err)
	begin := time.Now()
	got, err := p.Run(t.Context(), begin, length, time.Minute)
	require.NoError(t, err)
	assert.Equal(t, int64(200), got.Records)
	assert.Equal(t, int64(200), l.Records(length))
	assert.Equal(t, int64(200), f.check(t))
	assert.Equal(t, 200, got.Latencies.Len(), "one for each record, however they were sent")
	assert.Positive(t, got.Latencies.Quantile(0.001), "nothing is answered before it is due")
	assert.GreaterOrEqual(t, time.Since(begin), length-4*time.Millisecond, "the last one is sent when it is due")
	assert.Equal(t, map[int32]int64{0: 100, 1: 100}, f.logs)
	require.NoError(t, p.Close())

	f.mu.Lock()
	f.code = 7
	f.mu.Unlock()
	p, err = l.Start()
	require.NoError(t, err)
	_, err = p.Run(t.Context(), time.Now(), length, time.Minute)
	require.ErrorContains(t, err, "error code 7")
	require.NoError(t, p.Close())
}

// TestPacedTellsWhatIsNotAnswered: a broker that says nothing does not look fast.
func TestPacedTellsWhatIsNotAnswered(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	l := Paced{Addr: silent.Addr().String(), Topic: "t", Partitions: 1, Conns: 1, Every: time.Millisecond, InFlight: 2, Batches: []Payload{NewPayload(1, 10, Noise(1))}}
	p, err := l.Start()
	require.NoError(t, err)
	_, err = p.Run(t.Context(), time.Now(), 10*time.Millisecond, 10*time.Millisecond)
	require.ErrorContains(t, err, "10 records are not acknowledged")
	require.NoError(t, p.Close())
}

func TestDue(t *testing.T) {
	l := Paced{Conns: 4, Every: 10 * time.Millisecond}
	assert.Equal(t, 27500*time.Microsecond, l.Due(3, 2))
	l.Grid = time.Millisecond
	assert.Equal(t, 27*time.Millisecond, l.Due(3, 2))
	for _, length := range []time.Duration{0, 1, 5 * time.Millisecond, 7 * time.Millisecond, 7001 * time.Microsecond, 10 * time.Millisecond, time.Second} {
		var n int64
		for i := range l.Conns {
			for k := int64(0); l.Due(i, k) < length; k++ {
				n++
			}
		}
		assert.Equal(t, n, l.Records(length), "%v", length)
	}
}

func TestReading(t *testing.T) {
	f := startFake(t)
	f.logs = map[int32]int64{0: 30, 1: 60}
	l := Reading{Addr: f.addr, Topic: "some-topic", Ends: []int64{30, 60, 0}, Consumers: 3} // one is empty
	got, err := l.Run(t.Context(), 0)
	require.NoError(t, err)
	assert.Equal(t, int64(3*30), got.Requests, "each consumer reads each partition once")
	assert.Equal(t, 3*30*int64(len(f.batch)), got.Bytes)
	got, err = l.Run(t.Context(), 20*time.Millisecond)
	require.NoError(t, err)
	assert.Positive(t, got.Bytes)

	f.mu.Lock()
	f.code = 6
	f.mu.Unlock()
	_, err = l.Run(t.Context(), 0)
	require.ErrorContains(t, err, "error code 6")
	f.mu.Lock()
	f.code, f.logs = 0, map[int32]int64{}
	f.mu.Unlock()
	_, err = l.Run(t.Context(), 0)
	require.ErrorContains(t, err, "brings nothing")
	l.Ends = []int64{0}
	_, err = l.Run(t.Context(), time.Hour)
	require.ErrorContains(t, err, "nothing to read")
}

func TestTail(t *testing.T) {
	f := startFake(t)
	f.logs = map[int32]int64{0: 6, 1: 3}
	tail, err := NewTail(f.addr, "some-topic", 2)
	require.NoError(t, err)
	seen := map[[2]int64]bool{}
	require.NoError(t, tail.Run(t.Context(), 9, func(p int32, o int64) { seen[[2]int64{int64(p), o}] = true }))
	assert.Len(t, seen, 9)
	assert.True(t, seen[[2]int64{0, 5}])
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, tail.Run(ctx, 1, func(int32, int64) {}), "did not reach")
	_ = tail.Close()
}

// TestAnswersCutShort: whatever a server sends, the client says what is wrong with it.
func TestAnswersCutShort(t *testing.T) {
	f := &fake{logs: map[int32]int64{0: 3}, batch: NewPayload(3, 10, Noise(1)).Bytes}
	req := kmsg.NewPtrFetchRequest()
	req.Version = FetchVersion
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = "t"
	topic.Partitions = append(topic.Partitions, kmsg.NewFetchRequestTopicPartition())
	req.Topics = append(req.Topics, topic)
	whole := f.fetch(req).AppendTo([]byte{0, 0, 0, 9, 0})
	var bytes int
	require.NoError(t, parseFetch(whole, 9, func(p fetched) { bytes += len(p.records) }))
	assert.Equal(t, len(f.batch), bytes)
	for n := range len(whole) - 1 { // without its last byte it is whole as far as anybody asks
		assert.Error(t, parseFetch(whole[:n], 9, func(fetched) {}), "%d of %d bytes", n, len(whole))
	}
	assert.Error(t, parseFetch(whole, 8, func(fetched) {}))
	_, err := parseProduced(make([]byte, 20), "topic", 0)
	assert.Error(t, err)
}

func TestPayloads(t *testing.T) {
	plain := NewPayload(256, 1014, Noise(1))
	assert.Equal(t, len(plain.Bytes), plain.Plain)
	assert.InDelta(t, 256<<10, plain.Plain, 2000)
	z, err := NewZstdPayload(256, 1014, Events(1))
	require.NoError(t, err)
	assert.Equal(t, plain.Plain, z.Plain, "GB are counted before compression")
	assert.InDelta(t, 4, float64(z.Plain)/float64(len(z.Bytes)), 1.5, "events compress as events do")
	var b kmsg.RecordBatch
	require.NoError(t, b.ReadFrom(z.Bytes))
	assert.Equal(t, int32(256), b.NumRecords)
	assert.Equal(t, int16(4), b.Attributes)
	d, err := zstd.NewReader(nil)
	require.NoError(t, err)
	defer d.Close()
	records, err := d.DecodeAll(b.Records, nil)
	require.NoError(t, err)
	var first kmsg.Record
	require.NoError(t, first.ReadFrom(records))
	assert.Contains(t, string(first.Value), `"kind":"`)
	assert.Len(t, first.Value, 1014)
	assert.Equal(t, int64(256), After(z.Bytes, 0))
	assert.Equal(t, int64(7), After(z.Bytes[:len(z.Bytes)-1], 7), "a torn batch is none")
	assert.Equal(t, int64(7), After(make([]byte, 100), 7), "nor is one of no size")
}

func TestLatencies(t *testing.T) {
	var l Latencies
	assert.Zero(t, l.Quantile(0.5))
	for i := 100; i > 0; i-- {
		l.Add(time.Duration(i))
	}
	assert.Equal(t, time.Duration(50), l.Quantile(0.5))
	assert.Equal(t, time.Duration(99), l.Quantile(0.99))
	assert.Equal(t, time.Duration(100), l.Quantile(0.999))
	var more Latencies
	more.Add(1000)
	l.Merge(&more)
	assert.Equal(t, time.Duration(1000), l.Quantile(1))
	assert.Equal(t, 101, l.Len())
}

// TestMeter measures this process: it is both server and client.
func TestMeter(t *testing.T) {
	folder := t.TempDir()
	m, err := StartMeter(os.Getpid(), folder)
	require.NoError(t, err)
	f, err := os.CreateTemp(folder, "")
	require.NoError(t, err)
	defer f.Close()
	sum := uint32(0)
	for begin := time.Now(); time.Since(begin) < 100*time.Millisecond; {
		sum = crc32.Update(sum, castagnoli, make([]byte, 4096))
	}
	_, err = f.Write(bytes.Repeat([]byte{1}, 1<<20))
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	c, err := m.Stop()
	require.NoError(t, err)
	if c.Device >= 0 { // else it is a file system of memory, or of several devices
		assert.GreaterOrEqual(t, c.Device, int64(1<<20))
	}
	assert.Positive(t, c.CPU, sum)
	assert.Positive(t, c.ClientCPU)
	assert.Positive(t, c.Peak)
	assert.Positive(t, c.Syscalls)
	assert.GreaterOrEqual(t, c.Took, 100*time.Millisecond)
	_, err = StartMeter(-1, "")
	require.Error(t, err)
	m, err = StartMeter(os.Getpid(), "")
	require.NoError(t, err)
	c, err = m.Stop()
	require.NoError(t, err)
	assert.Negative(t, c.Device)
}
