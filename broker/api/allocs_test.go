package api

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/server"
	"github.com/firnlog/firn/metadata/brokerconfig"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/record"
)

// settled are configs that don't change: what a broker reads of them is made once for each change.
type settled struct {
	Configs
	v *brokerconfig.Values
}

func (s settled) Values() *brokerconfig.Values { return s.v }

// hotEnv is a server on a real socket and a real disk, with the topics "cached" (page-cache mode), "flushed" and "archived" of
// two partitions each. The last is what a topic is by default, in the care of an uploader that looks at it far more often than
// usual; only that it uploads in as large pieces as may be, so that no upload falls into what is counted (see
// TestProduceAllocationsBesideUploads).
func hotEnv(t testing.TB) (addr string) {
	_, addr = newHotEnv(t)
	return addr
}

func newHotEnv(t testing.TB) (e *env, addr string) {
	store := metatestBroker(t)
	e = newEnvWith(t, store, inFolder{disk.OS(), t.TempDir()}, quietLog, archiveOf(t, store))
	e.create("cached", 2, "flush.messages", "9223372036854775807", "remote.storage.enable", "false")
	e.create("flushed", 2, "flush.messages", "1", "remote.storage.enable", "false")
	e.create("archived", 2, "remote.storage.enable", "true", "firn.remote.segment.bytes", "1073741824")
	e.a.Configs = settled{e.a.Configs, e.a.Configs.Values()}
	return e, serve(t, e)
}

// serve makes a server of handlers.
func serve(t testing.TB, e *env, change ...func(*server.Options)) (addr string) {
	o := server.Options{Addr: "127.0.0.1:0", Handler: e.a, Versions: Versions(), Logger: slog.New(slog.DiscardHandler)}
	for _, fn := range change {
		fn(&o)
	}
	s, err := server.New(o)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = s.Shutdown(ctx)
		<-served
	})
	return s.Addr().String()
}

// rawConn is a client that allocates nothing.
type rawConn struct {
	t   testing.TB
	c   net.Conn
	buf []byte
}

func dialRaw(t testing.TB, addr string) *rawConn {
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return &rawConn{t, c, make([]byte, 4<<20)}
}

func (c *rawConn) send(frame []byte) {
	if _, err := c.c.Write(frame); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads one answer and returns its body.
func (c *rawConn) answer() []byte {
	if _, err := io.ReadFull(c.c, c.buf[:4]); err != nil {
		c.t.Fatal(err)
	}
	b := c.buf[:binary.BigEndian.Uint32(c.buf)]
	if _, err := io.ReadFull(c.c, b); err != nil {
		c.t.Fatal(err)
	}
	return b[4:]
}

// accepted reads the answer to a produceFrame.
func (c *rawConn) accepted(topic string) {
	if b := c.answer(); binary.BigEndian.Uint16(b[1+1+1+len(topic)+1+4:]) != 0 {
		c.t.Fatalf("refused: %x", b)
	}
}

func frameOf(req kmsg.Request, version int16) []byte {
	req.SetVersion(version)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("hot")).AppendRequest(nil, req, 1)
}

// produceFrame is a Produce of a batch of n records of 1,000 bytes for each of so many partitions.
func produceFrame(topic string, partitions, n int) []byte {
	return frameOf(produceOf(topic, [16]byte{}, partitions, n), 9)
}

func produceOf(topic string, id [16]byte, partitions, n int) kmsg.Request {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 30_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, id
	for p := range partitions {
		b := record.NewBuilder(record.None)
		for range n {
			b.Append(1000, nil, make([]byte, 1000), nil)
		}
		t.Partitions = append(t.Partitions, kmsg.ProduceRequestTopicPartition{Partition: int32(p), Records: b.Build(0)})
	}
	req.Topics = append(req.Topics, t)
	return req
}

// idempotentFrame is a Produce of one record by an idempotent producer; next makes it that of the record that follows.
func idempotentFrame(topic string) (frame []byte, next func()) {
	const sequence, crc, checked = 53, 17, 21 // where they are in a batch
	batch := record.NewBuilder(record.None).Producer(7_000_000, 0, 0).Append(1000, nil, make([]byte, 1000), nil).Build(0)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 30_000
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 1, Records: batch}}}}
	frame = frameOf(req, 9)
	before, _, _ := bytes.Cut(frame, batch)
	in := frame[len(before):][:len(batch)]
	n := int32(-1)
	return frame, func() {
		n++
		binary.BigEndian.PutUint32(in[sequence:], uint32(n))
		binary.BigEndian.PutUint32(in[crc:], crc32.Checksum(in[checked:], castagnoli))
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// fetchFrame is a Fetch of both partitions of a topic from an offset on.
func fetchFrame(topic string, session, epoch int32, offset int64, wait time.Duration, maxBytes int32) []byte {
	return frameOf(fetchOf(topic, [16]byte{}, session, epoch, offset, wait, maxBytes), 12)
}

func fetchOf(topic string, id [16]byte, session, epoch int32, offset int64, wait time.Duration, maxBytes int32) kmsg.Request {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(wait.Milliseconds()), 1, maxBytes
	req.SessionID, req.SessionEpoch = session, epoch
	if epoch <= 0 {
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = topic, id
		for p := range int32(2) {
			q := kmsg.NewFetchRequestTopicPartition()
			q.Partition, q.FetchOffset, q.PartitionMaxBytes, q.CurrentLeaderEpoch = p, offset, maxBytes, -1
			t.Partitions = append(t.Partitions, q)
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

// noAllocations fails the test if fn allocates in steady state: more than once in ten runs, which is what the indexes of
// segments grow by.
func noAllocations(t *testing.T, name string, fn func()) {
	t.Helper()
	noAllocationsIn(t, 250, name, fn)
}

// noAllocationsIn is noAllocations with a number of runs.
func noAllocationsIn(t *testing.T, runs int, name string, fn func()) {
	t.Helper()
	fewAllocationsIn(t, runs, runs/10, name, fn)
}

// fewAllocationsIn fails the test if fn allocates more often in so many runs.
func fewAllocationsIn(t *testing.T, runs, most int, name string, fn func()) {
	t.Helper()
	n := 0.0
	for range 3 { // the least of a few: what else runs in the process is not asked about
		n = testing.AllocsPerRun(1, func() { // which has it run once before, to settle
			for range runs {
				fn()
			}
		})
		if n <= float64(most) {
			return
		}
	}
	t.Errorf("%s: %v allocations in %d runs", name, n, runs)
}

// A request of Produce or Fetch allocates nothing in steady state, from the socket to the file and back.
func TestHotPathAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random, so allocations can't be counted")
	}
	addr := hotEnv(t)
	check := func(name string, fn func()) {
		t.Helper()
		noAllocations(t, name, fn)
	}
	for _, topic := range []string{"cached", "flushed", "archived"} {
		c := dialRaw(t, addr)
		for _, partitions := range []int{1, 2} {
			frame := produceFrame(topic, partitions, 1)
			check("produce to "+topic, func() {
				c.send(frame)
				c.accepted(topic)
			})
		}
		many := produceFrame(topic, 1, 256)
		check("256 records to "+topic, func() {
			c.send(many)
			c.accepted(topic)
		})
		idempotent, next := idempotentFrame(topic)
		check("idempotent produce to "+topic, func() {
			next()
			c.send(idempotent)
			c.accepted(topic)
		})
		frame := produceFrame(topic, 1, 1)
		five := append(append(append(append(append([]byte(nil), frame...), frame...), frame...), frame...), frame...)
		check("five at once to "+topic, func() {
			c.send(five)
			for range 5 {
				c.answer()
			}
		})
	}
	c := dialRaw(t, addr)
	for _, size := range []int32{10_000, 1 << 20} { // copied, and by sendfile
		frame := fetchFrame("cached", 0, -1, 0, 0, size)
		check("fetch", func() {
			c.send(frame)
			if n := len(c.answer()); n < 2000 {
				t.Fatalf("an answer of %d bytes", n)
			}
		})
	}

	incrementalFetches(t, c, [16]byte{}, 12)

	w := newWaiting(t, addr)
	check("a fetch that waits", func() {
		w.ask()
		w.wake()
	})
}

// waiting is a consumer at the end of a partition of "cached", and a producer that brings it a record at a time.
type waiting struct {
	consumer, producer *rawConn
	fetch, produce     []byte
	at                 int   // where the offset stands in fetch
	end                int64 // of the partition
}

func newWaiting(t testing.TB, addr string) *waiting {
	w := &waiting{consumer: dialRaw(t, addr), producer: dialRaw(t, addr), produce: produceFrame("cached", 1, 1)}
	w.producer.send(w.produce)
	b := w.producer.answer()
	w.end = int64(binary.BigEndian.Uint64(b[1+1+1+len("cached")+1+4+2:])) + 1
	const offset = 0x7766554433221100
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = 60_000, 1, 1<<20, -1
	q := kmsg.NewFetchRequestTopicPartition()
	q.FetchOffset, q.PartitionMaxBytes, q.CurrentLeaderEpoch = offset, 1<<20, -1
	req.Topics = []kmsg.FetchRequestTopic{{Topic: "cached", Partitions: []kmsg.FetchRequestTopicPartition{q}}}
	w.fetch = frameOf(req, 12)
	w.at = bytes.Index(w.fetch, binary.BigEndian.AppendUint64(nil, offset))
	require.Positive(t, w.at)
	return w
}

// ask has the consumer ask for the next record, and gives it time to wait: mostly long enough, and right in any case.
func (w *waiting) ask() {
	binary.BigEndian.PutUint64(w.fetch[w.at:], uint64(w.end))
	w.end++
	w.consumer.send(w.fetch)
	time.Sleep(200 * time.Microsecond)
}

// wake has the record produced, and consumed.
func (w *waiting) wake() {
	w.producer.send(w.produce)
	w.producer.answer()
	if n := len(w.consumer.answer()); n < 1000 {
		w.consumer.t.Fatalf("an answer of %d bytes", n)
	}
}

// incrementalFetches checks the fetches of a session of the topic "flushed".
func incrementalFetches(t *testing.T, c *rawConn, topic [16]byte, version int16) {
	fetch := func(id, epoch int32) []byte { // its offsets stay: records come with each answer
		return frameOf(fetchOf("flushed", topic, id, epoch, 0, 0, 10_000), version)
	}
	c.send(fetch(0, 0))
	id := int32(binary.BigEndian.Uint32(c.answer()[1+4+2:]))
	require.NotZero(t, id)
	c.send(fetch(id, 1))
	c.answer()
	epoch, next := int32(2), fetch(id, 2)
	at := 0 // where the session's epoch stands, behind its id
	for i := range next {
		if i+8 <= len(next) && int32(binary.BigEndian.Uint32(next[i:])) == id {
			at = i + 4
		}
	}
	noAllocations(t, "incremental fetch", func() {
		binary.BigEndian.PutUint32(next[at:], uint32(epoch))
		epoch++
		c.send(next)
		if b := c.answer(); binary.BigEndian.Uint16(b[1+4:]) != 0 || len(b) < 2000 {
			t.Fatalf("refused, or no records: %x", b[:16])
		}
	})
}

// Nor does one of the versions that Kafka 4's clients use, which name topics by their ids.
func TestTopicIDAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random, so allocations can't be counted")
	}
	e, addr := newHotEnv(t)
	c := dialRaw(t, addr)
	for _, topic := range []string{"cached", "flushed", "archived"} {
		id := e.store.Image().TopicByName(topic).ID
		for _, partitions := range []int{1, 2} {
			frame := frameOf(produceOf("", id, partitions, 1), 13)
			noAllocations(t, "produce to the id of "+topic, func() {
				c.send(frame)
				if b := c.answer(); binary.BigEndian.Uint16(b[1+1+16+1+4:]) != 0 {
					t.Fatalf("refused: %x", b)
				}
			})
		}
		for _, version := range []int16{13, 17, 18} {
			frame := frameOf(fetchOf("", id, 0, -1, 0, 0, 10_000), version)
			noAllocations(t, "fetch of the id of "+topic, func() {
				c.send(frame)
				if n := len(c.answer()); n < 2000 {
					t.Fatalf("an answer of %d bytes", n)
				}
			})
		}
	}
	incrementalFetches(t, c, e.store.Image().TopicByName("flushed").ID, 18)
}
