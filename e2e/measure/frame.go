package measure

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Versions of the requests that frames are built of: topics go by name, and all servers of the bench know them.
const (
	ProduceVersion = 11
	FetchVersion   = 12
)

// Frame is a Produce request of one batch for one partition of a topic, built once. Only the correlation id and the
// partition are patched in when it is sent, so that sending costs one writev. Not for concurrent use; the batch may be
// shared by many.
type Frame struct {
	head, records, tail []byte
	partition           int // where in head the partition stands
	vec                 [3][]byte
	Batch               Payload
}

// NewFrame builds the request for a batch, acks=all. The topic's name is shorter than 120 bytes.
func NewFrame(topic string, b Payload) (*Frame, error) {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = ProduceVersion, -1, 60_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = b.Bytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	all := format(req)
	// After the records stand three empty tag sections, before them their length and the partition.
	at := len(all) - 3 - len(b.Bytes)
	if len(topic) >= 120 || at < 0 || !bytes.Equal(all[at:len(all)-3], b.Bytes) {
		return nil, errors.New("a Produce request is not laid out as this client expects")
	}
	f := &Frame{head: append([]byte(nil), all[:at]...), records: b.Bytes, tail: []byte{0, 0, 0}, Batch: b}
	f.partition = at - uvarintSize(uint64(len(b.Bytes))+1) - 4
	return f, nil
}

// send writes the request for a partition.
func (f *Frame) send(c net.Conn, id, partition int32) error {
	binary.BigEndian.PutUint32(f.head[8:], uint32(id))
	binary.BigEndian.PutUint32(f.head[f.partition:], uint32(partition))
	f.vec = [3][]byte{f.head, f.records, f.tail}
	vec := net.Buffers(f.vec[:])
	if _, err := vec.WriteTo(c); err != nil {
		return fmt.Errorf("send a Produce request: %w", err)
	}
	return nil
}

// whole is the request in one piece.
func (f *Frame) whole() []byte {
	return slices.Concat(f.head, f.records, f.tail)
}

// produced reads the answer to a Frame: it must be the one to request id, without an error. It gives the batch's base
// offset.
func (c *Conn) produced(topic string, id int32) (base int64, err error) {
	h, err := c.r.Peek(4)
	if err != nil {
		return 0, fmt.Errorf("receive: %w", err)
	}
	n := 4 + int(binary.BigEndian.Uint32(h))
	b, err := c.r.Peek(n)
	if err != nil {
		return 0, fmt.Errorf("receive an answer of %d bytes: %w", n, err)
	}
	if base, err = parseProduced(b, topic, id); err != nil {
		return 0, err
	}
	_, err = c.r.Discard(n)
	return base, err
}

// parseProduced looks at a whole answer of ProduceVersion, length and all, at the places where things must stand.
func parseProduced(b []byte, topic string, id int32) (base int64, err error) {
	// Length, correlation id and tags; one topic, its name; one partition: index, error, base offset.
	at := 4 + 4 + 1 + 1 + 1 + len(topic) + 1 + 4
	if len(b) < at+10 {
		return 0, fmt.Errorf("an answer of %d bytes to a Produce request is too short", len(b))
	}
	if got := int32(binary.BigEndian.Uint32(b[4:])); got != id {
		return 0, fmt.Errorf("the answer to request %d came where that to %d is due", got, id)
	}
	if code := int16(binary.BigEndian.Uint16(b[at:])); code != 0 {
		return 0, fmt.Errorf("produce to %s-%d: error code %d", topic, int32(binary.BigEndian.Uint32(b[at-4:])), code)
	}
	return int64(binary.BigEndian.Uint64(b[at+2:])), nil
}

// fetchFrame is a Fetch request without a session for some partitions of a topic, built once; the offsets are patched
// in.
type fetchFrame struct {
	bytes   []byte
	offsets []int // where each partition's offset stands
}

// newFetchFrame builds the request. An answer holds at most partitionMax bytes of each partition, and one batch where
// that is larger.
func newFetchFrame(topic string, partitions []int32, minBytes, partitionMax int32) (*fetchFrame, error) {
	const marker = 0x7f5a_a5f7_0000_0000
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = FetchVersion, -1, 500, minBytes, 50<<20
	req.SessionEpoch = -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topic
	for i, n := range partitions {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.CurrentLeaderEpoch, p.PartitionMaxBytes = n, marker+int64(i), -1, partitionMax
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	f := &fetchFrame{bytes: format(req)}
	for i := range partitions {
		at := bytes.Index(f.bytes, binary.BigEndian.AppendUint64(nil, marker+uint64(i)))
		if at < 0 {
			return nil, errors.New("a Fetch request is not laid out as this client expects")
		}
		f.offsets = append(f.offsets, at)
	}
	return f, nil
}

func (f *fetchFrame) set(i int, offset int64) {
	binary.BigEndian.PutUint64(f.bytes[f.offsets[i]:], uint64(offset))
}

// fetched is what one partition's part of an answer says; records alias the connection's buffer.
type fetched struct {
	partition int32
	records   []byte
}

// fetch sends the request and reads its answer. Buffer is reused for the next.
func (f *fetchFrame) fetch(c *Conn, buffer *[]byte, each func(fetched)) error {
	c.id++
	binary.BigEndian.PutUint32(f.bytes[8:], uint32(c.id))
	if _, err := c.Write(f.bytes); err != nil {
		return fmt.Errorf("send a Fetch request: %w", err)
	}
	b, err := c.whole(buffer)
	if err != nil {
		return err
	}
	return parseFetch(b, c.id, each)
}

// whole reads one answer, without its length, straight into the buffer: nothing else is on its way on this connection.
func (c *Conn) whole(buffer *[]byte) ([]byte, error) {
	b := *buffer
	if len(b) < 1<<16 {
		b = make([]byte, 1<<16)
	}
	have, need := 0, 4
	for have < need {
		n, err := c.Read(b[have:])
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("receive: %w", err)
		}
		if have += n; need == 4 && have >= 4 {
			need = 4 + int(binary.BigEndian.Uint32(b))
			if need > len(b) {
				b = append(b, make([]byte, need-len(b))...)
			}
		}
	}
	*buffer = b
	return b[4:have], nil
}

// parseFetch calls each for the partitions of an answer of FetchVersion that hold records.
func parseFetch(b []byte, id int32, each func(fetched)) error {
	c := cursor{kbin.Reader{Src: b}}
	if got := c.Int32(); got != id {
		return fmt.Errorf("the answer to request %d came where that to %d is due", got, id)
	}
	c.tags()
	c.Int32() // throttle
	if code := c.Int16(); code != 0 {
		return fmt.Errorf("fetch: error code %d", code)
	}
	c.Int32() // session
	for range c.count() {
		topic := string(c.bytes())
		for range c.count() {
			p := fetched{partition: c.Int32()}
			if code := c.Int16(); code != 0 {
				return fmt.Errorf("fetch of %s-%d: error code %d", topic, p.partition, code)
			}
			c.Span(8 + 8 + 8) // high watermark, last stable offset, log start
			for range c.count() {
				c.Span(8 + 8) // an aborted transaction
				c.tags()
			}
			c.Int32() // preferred replica
			p.records = c.bytes()
			c.tags()
			if !c.Ok() {
				break
			}
			if len(p.records) > 0 {
				each(p)
			}
		}
		c.tags()
	}
	if !c.Ok() {
		return errors.New("an answer to a Fetch request is cut short")
	}
	return nil
}

// cursor takes an answer apart; once it ends too early it is not Ok, and everything is zero from then on.
type cursor struct{ kbin.Reader }

// count is the length of a compact array, which may be null.
func (c *cursor) count() int { return max(0, int(min(c.Uvarint(), 1<<20))-1) }

// bytes are compact bytes or a compact string, which may be null.
func (c *cursor) bytes() []byte { return c.Span(max(0, int(c.Uvarint())-1)) }

func (c *cursor) tags() {
	for range min(c.Uvarint(), 1<<10) {
		c.Uvarint()
		c.Span(int(c.Uvarint()))
	}
}

func format(req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("firn-bench")).AppendRequest(nil, req, 0)
}

func uvarintSize(v uint64) int {
	return len(binary.AppendUvarint(nil, v))
}
