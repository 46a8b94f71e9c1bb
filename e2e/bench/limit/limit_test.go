package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/e2e/measure"
)

const loopback = "127.0.0.1:0"

func startSink(t *testing.T, o sinkOptions) *sink {
	t.Helper()
	o.Addr, o.Dir = loopback, t.TempDir()
	if o.Bytes == 0 {
		o.Bytes = 4 << 20
	}
	s, err := newSink(o)
	require.NoError(t, err)
	return s
}

func dial(t *testing.T, addr string) *measure.Conn {
	t.Helper()
	c, err := measure.Dial(addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// produceRequest has one batch for each of some partitions in each of two topics.
func produceRequest(version int16, partitions []int32, batch []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks = version, -1
	for i := range 2 {
		t := kmsg.NewProduceRequestTopic()
		t.Topic, t.TopicID = fmt.Sprintf("topic-%d", i), [16]byte{byte(i + 1)}
		for _, n := range partitions {
			p := kmsg.NewProduceRequestTopicPartition()
			p.Partition, p.Records = n, batch
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

// stamped is a batch as it must be stored at an offset.
func stamped(batch []byte, base int64) []byte {
	b := bytes.Clone(batch)
	binary.BigEndian.PutUint64(b, uint64(base))
	binary.BigEndian.PutUint32(b[12:], 0)
	return b
}

// TestSinkAnswers: answers name what was asked, in every version that is served, and files hold what was sent.
func TestSinkAnswers(t *testing.T) {
	for version := int16(9); version <= 13; version++ {
		s := startSink(t, sinkOptions{Partitions: 3})
		c := dial(t, s.Addr())
		batch := measure.NewPayload(5, 100, measure.Noise(1)).Bytes
		for round := range int64(3) {
			req := produceRequest(version, []int32{2, 0}, batch)
			require.NoError(t, c.Send(req))
			res := kmsg.NewPtrProduceResponse()
			res.Version = version
			require.NoError(t, c.Receive(res))
			require.Len(t, res.Topics, 2)
			for i, topic := range res.Topics {
				if version >= 13 {
					require.Equal(t, req.Topics[i].TopicID, topic.TopicID)
				} else {
					require.Equal(t, req.Topics[i].Topic, topic.Topic)
				}
				require.Len(t, topic.Partitions, 2)
				for j, p := range topic.Partitions {
					require.Zero(t, p.ErrorCode)
					require.Equal(t, []int32{2, 0}[j], p.Partition)
					require.Equal(t, 10*round+5*int64(i), p.BaseOffset)
					require.Nil(t, p.ErrorMessage)
				}
			}
		}
		var want []byte
		for i := range int64(6) {
			want = append(want, stamped(batch, 5*i)...)
		}
		for _, p := range []int{0, 2} {
			have, err := os.ReadFile(filepath.Join(s.o.Dir, fmt.Sprintf("sink-%d", p)))
			require.NoError(t, err)
			require.True(t, bytes.HasPrefix(have, want))
		}
		require.NoError(t, s.Close())
	}
}

// TestSinkRefuses: a flipped bit, a cut batch and a partition that is not there are refused, each alone.
func TestSinkRefuses(t *testing.T) {
	s := startSink(t, sinkOptions{Partitions: 1})
	c := dial(t, s.Addr())
	good := measure.NewPayload(5, 100, measure.Noise(1)).Bytes
	send := func(partition int32, records []byte) kmsg.ProduceResponseTopicPartition {
		require.NoError(t, c.Send(produceRequest(11, []int32{partition}, records)))
		res := kmsg.NewPtrProduceResponse()
		res.Version = 11
		require.NoError(t, c.Receive(res))
		return res.Topics[1].Partitions[0]
	}
	for at := 21; at < len(good); at += 50 {
		bad := bytes.Clone(good)
		bad[at] ^= 4
		require.EqualValues(t, codeCorrupt, send(0, bad).ErrorCode, "byte %d", at)
	}
	require.EqualValues(t, codeCorrupt, send(0, good[:len(good)-1]).ErrorCode)
	require.EqualValues(t, codeCorrupt, send(0, good[:20]).ErrorCode)
	require.EqualValues(t, codeCorrupt, send(0, nil).ErrorCode)
	require.EqualValues(t, codeUnknownPartition, send(1, good).ErrorCode)
	require.EqualValues(t, codeUnknownPartition, send(-1, good).ErrorCode)
	p := send(0, good)
	require.Zero(t, p.ErrorCode)
	require.EqualValues(t, 5, p.BaseOffset, "the two topics share the partition; nothing that was refused took an offset")
	require.NoError(t, s.Close())
}

// A frame that is no request, or one of another kind, ends its connection only.
func TestSinkBadFrames(t *testing.T) {
	s := startSink(t, sinkOptions{Partitions: 1})
	other := dial(t, s.Addr())
	for _, b := range [][]byte{{0, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 4, 0, 1, 0, 12}, append([]byte{0, 0, 0, 60, 0, 0, 0, 11}, bytes.Repeat([]byte{0xff}, 56)...)} {
		c := dial(t, s.Addr())
		_, err := c.Write(b)
		require.NoError(t, err)
		_, err = c.Head()
		require.Error(t, err, "%v", b)
	}
	require.NoError(t, other.Send(produceRequest(11, []int32{0}, measure.NewPayload(1, 9, measure.Noise(1)).Bytes)))
	_, err := other.Head()
	require.NoError(t, err)
	require.ErrorIs(t, s.Close(), errFrame)
}

// TestSinkLoads runs the bench's loads against every kind of sink: all is answered, also when files are full many times.
func TestSinkLoads(t *testing.T) {
	for name, o := range map[string]sinkOptions{
		"page cache": {Partitions: 16, Bytes: 32 << 20}, "flush": {Partitions: 16, Bytes: 32 << 20, Flush: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := startSink(t, o)
			for _, b := range []measure.Payload{measure.NewPayload(100, 1000, measure.Noise(1)), measure.NewPayload(1, 100, measure.Noise(2))} {
				p, err := measure.Pipelined{Addr: s.Addr(), Topic: "t", Partitions: 16, Conns: 4, InFlight: 5, Batches: []measure.Payload{b}}.Start()
				require.NoError(t, err)
				got, err := p.RunBytes(context.Background(), min(16<<20, 2000*int64(len(b.Bytes))))
				require.NoError(t, err)
				require.Positive(t, got.Requests)
				require.NoError(t, p.Close())
			}
			require.NoError(t, s.Close())
			left, err := os.ReadDir(s.o.Dir)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

// TestSinkFlushes: in flush mode no answer comes before a flush of its file that began after the write has ended.
func TestSinkFlushes(t *testing.T) {
	o := sinkOptions{Partitions: 4, Flush: true, Bytes: 4 << 20}
	var mu sync.Mutex
	var durable []byte // the file as the last flush that ended found it
	syncs := 0
	o.Sync = func(f *os.File) error {
		b := make([]byte, 4<<20)
		_, err := f.ReadAt(b, 0)
		time.Sleep(time.Millisecond) // long enough for an answer that does not wait
		mu.Lock()
		defer mu.Unlock()
		durable = b
		syncs++
		if errors.Is(err, io.EOF) { // files of a partition are smaller
			err = nil
		}
		return err
	}
	s := startSink(t, o)
	c := dial(t, s.Addr())
	for i := range 50 {
		batch := measure.NewPayload(1, 500, measure.Noise(uint64(i))).Bytes
		require.NoError(t, c.Send(produceRequest(11, []int32{int32(i % 4)}, batch)))
		res := kmsg.NewPtrProduceResponse()
		res.Version = 11
		require.NoError(t, c.Receive(res))
		mu.Lock()
		require.Equal(t, 2, bytes.Count(durable, batch[21:]), "request %d", i)
		mu.Unlock()
	}
	require.GreaterOrEqual(t, syncs, 50)
	require.NoError(t, s.Close())
}

// TestSinkFlushesWhatItReplaces: a file that is full is durable before it is let go of.
func TestSinkFlushesWhatItReplaces(t *testing.T) {
	var full atomic.Int32
	s := startSink(t, sinkOptions{Partitions: 1, Flush: true, Bytes: 64 << 10, Sync: func(f *os.File) error {
		if b := make([]byte, 8); must(f.ReadAt(b, 60<<10)) == 8 && !bytes.Equal(b, make([]byte, 8)) {
			full.Add(1)
		}
		return nil
	}})
	c := dial(t, s.Addr())
	for i := range 4 {
		require.NoError(t, c.Send(produceRequest(11, []int32{0}, measure.NewPayload(1, 31<<10, measure.Noise(uint64(i))).Bytes))) // twice
		res := kmsg.NewPtrProduceResponse()
		res.Version = 11
		require.NoError(t, c.Receive(res))
	}
	require.NoError(t, s.Close())
	require.Equal(t, int32(4+3), full.Load(), "each once before its answer, and three before they were replaced")
}

func must(n int, _ error) int { return n }

// TestSinkReplacesWhatIsFlushed: a file that is full while it is flushed stays open until that has ended, and no longer.
func TestSinkReplacesWhatIsFlushed(t *testing.T) {
	var (
		begun = make(chan *os.File, 1)
		goOn  = make(chan struct{})
		first atomic.Bool
	)
	s := startSink(t, sinkOptions{Partitions: 1, Flush: true, Bytes: 64 << 10, Sync: func(f *os.File) error {
		if first.CompareAndSwap(false, true) {
			begun <- f
			<-goOn
		}
		_, err := f.Stat()
		return err
	}})
	a, b := dial(t, s.Addr()), dial(t, s.Addr())
	fill := func(c *measure.Conn, seed uint64) { // twice 31 KiB
		require.NoError(t, c.Send(produceRequest(11, []int32{0}, measure.NewPayload(1, 31<<10, measure.Noise(seed)).Bytes)))
	}
	fill(a, 1)
	old := <-begun
	fill(b, 2)
	d := &s.parts[0].file
	require.Eventually(t, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.cur.File != old
	}, time.Minute, time.Millisecond)
	_, err := old.Stat()
	require.NoError(t, err)
	close(goOn)
	for _, c := range []*measure.Conn{a, b} {
		res := kmsg.NewPtrProduceResponse()
		res.Version = 11
		require.NoError(t, c.Receive(res))
	}
	_, err = old.Stat()
	require.ErrorIs(t, err, os.ErrClosed)
	require.NoError(t, s.Close())
}

// TestSinkFlushFails: nobody is answered who waited for a flush that failed, or comes after it.
func TestSinkFlushFails(t *testing.T) {
	s := startSink(t, sinkOptions{Partitions: 1, Flush: true, Sync: func(*os.File) error { return os.ErrInvalid }})
	for range 2 {
		c := dial(t, s.Addr())
		_ = c.Send(produceRequest(11, []int32{0}, measure.NewPayload(1, 9, measure.Noise(1)).Bytes))
		_, err := c.Head()
		require.Error(t, err)
	}
	require.ErrorIs(t, s.Close(), os.ErrInvalid)
}

// writeLog writes n batches into segments of a partition's folder and gives all bytes.
func writeLog(t *testing.T, dir string, n, perSegment int) []byte {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	var all, segment []byte
	for i := range n {
		if i%perSegment == 0 {
			segment = nil
		}
		segment = append(segment, stamped(measure.NewPayload(5, 1000, measure.Noise(uint64(i))).Bytes, 5*int64(i))...)
		if i%perSegment == perSegment-1 || i == n-1 {
			all = append(all, segment...)
			name := fmt.Sprintf("%020d.log", 5*(i/perSegment*perSegment))
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), append(segment, make([]byte, 300)...), 0o644)) // preallocated
		}
	}
	return all
}

// readAll reads a partition as a consumer does and gives its bytes; see fetchRequest.
func readAll(t *testing.T, addr, topic string, partition int32, from, end int64, most int32, times int) []byte {
	t.Helper()
	c := dial(t, addr)
	var all []byte
	for next := from; next < end; {
		require.NoError(t, c.Send(fetchRequest(topic, partition, next, most, times)))
		res := kmsg.NewPtrFetchResponse()
		res.Version = 12
		require.NoError(t, c.Receive(res))
		require.Equal(t, times, len(res.Topics))
		p := res.Topics[0].Partitions[0]
		require.Zero(t, p.ErrorCode)
		require.Equal(t, end, p.HighWatermark)
		require.Positive(t, len(p.RecordBatches))
		require.LessOrEqual(t, len(p.RecordBatches), max(int(most), 1<<20+1<<17))
		for _, again := range res.Topics {
			checkSums(t, again.Partitions[0].RecordBatches)
		}
		all = append(all, p.RecordBatches...)
		next = measure.After(p.RecordBatches, next)
	}
	return all
}

// fetchRequest asks for a partition so many times in one request: what follows the first one's records in an answer is to
// be looked at, too. A broker gives it once only.
func fetchRequest(topic string, partition int32, offset int64, most int32, times int) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.MinBytes, req.SessionEpoch = 12, 50<<20, 1, -1
	for range times {
		t := kmsg.NewFetchRequestTopic()
		t.Topic = topic
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, offset, most, -1
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	return req
}

func checkSums(t *testing.T, b []byte) {
	t.Helper()
	for len(b) > 0 {
		n := batchSize(b)
		require.Positive(t, n)
		require.LessOrEqual(t, n, len(b), "whole batches")
		require.Equal(t, binary.BigEndian.Uint32(b[17:]), crc32.Checksum(b[21:n], castagnoli))
		b = b[n:]
	}
}

// TestSource: what is in the files comes, from every offset on, cut at batches, over the ends of segments.
func TestSource(t *testing.T) {
	dir := t.TempDir()
	want := writeLog(t, filepath.Join(dir, "some-topic-3"), 100, 30)
	writeLog(t, filepath.Join(dir, "some-topic-0"), 1, 30)
	s, err := newSource(sourceOptions{Addr: loopback, Dir: dir})
	require.NoError(t, err)
	size := len(want) / 100
	for _, most := range []int32{1, int32(size), int32(2*size + 100), 1 << 20} {
		require.True(t, bytes.Equal(want, readAll(t, s.Addr(), "some-topic", 3, 0, 500, most, 2)), "%d bytes at once", most)
	}
	for _, from := range []int64{4, 5, 149, 150, 151, 499} {
		require.True(t, bytes.Equal(want[size*int(from/5):], readAll(t, s.Addr(), "some-topic", 3, from, 500, 1<<20, 2)), "from %d", from)
	}
	got, err := measure.Reading{Addr: s.Addr(), Topic: "some-topic", Ends: []int64{5}, Consumers: 3}.Run(context.Background(), 20*time.Millisecond)
	require.NoError(t, err)
	require.Positive(t, got.Requests)
	require.NoError(t, s.Close())
	_, err = newSource(sourceOptions{Addr: loopback, Dir: t.TempDir()})
	require.ErrorContains(t, err, "no segment")
}

// TestSteadyStateAllocatesNothing: the references would not be the least that is possible.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	s := startSink(t, sinkOptions{Partitions: 2})
	batch := measure.NewPayload(5, 100, measure.Noise(1)).Bytes
	frame := kmsg.NewRequestFormatter().AppendRequest(nil, produceRequest(11, []int32{0, 1}, batch), 1)[4:]
	sc := &sinkConn{}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		sc.out = sc.out[:0]
		if err := sc.req.parse(frame); err != nil {
			t.Fatal(err)
		}
		if err := s.take(sc); err != nil {
			t.Fatal(err)
		}
	}))
	require.NoError(t, s.Close())
}
