// Package measure is what the programs that measure a broker share: a Kafka connection that costs little, and what the
// kernel says of a process.
package measure

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Conn is a Kafka connection that neither builds nor decodes records: client and broker share the cores of a
// small machine, so the less the client does, the more the figures tell of the broker. One
// goroutine may send while another receives.
type Conn struct {
	net.Conn
	r   *bufio.Reader
	buf []byte
	id  int32
}

// Dial connects.
func Dial(addr string) (*Conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &Conn{Conn: c, r: bufio.NewReaderSize(c, 1<<20)}, nil
}

// Send writes a request; its answer comes in order.
func (c *Conn) Send(req kmsg.Request) error {
	c.id++
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("firn-bench"))
	c.buf = f.AppendRequest(c.buf[:0], req, c.id)
	if _, err := c.Write(c.buf); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// Head reads an answer's length and correlation id, and leaves the rest to be read or skipped.
func (c *Conn) Head() (left int, err error) {
	var h [8]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		return 0, fmt.Errorf("receive: %w", err)
	}
	return int(binary.BigEndian.Uint32(h[:4])) - 4, nil
}

// Receive reads a whole answer into res.
func (c *Conn) Receive(res kmsg.Response) error {
	n, err := c.Head()
	if err != nil {
		return err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	if res.IsFlexible() && len(b) > 0 {
		b = b[1:] // the header's empty tag section
	}
	return res.ReadFrom(b)
}

// Batch builds a record batch of n records with values of size random bytes, which no codec makes smaller: what is
// measured then is moving bytes.
func Batch(n, size int, rng *rand.ChaCha8) []byte {
	var records []byte
	for i := range n {
		value := make([]byte, size)
		_, _ = rng.Read(value)
		r := kmsg.Record{OffsetDelta: int32(i), Value: value}
		r.Length = int32(len(r.AppendTo(nil)) - 1) // the length field of an empty record is one byte
		records = r.AppendTo(records)
	}
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(n - 1), NumRecords: int32(n),
		FirstTimestamp: 1_700_000_000_000, MaxTimestamp: 1_700_000_000_000,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, Records: records,
	}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	out := b.AppendTo(nil)
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], crc32.MakeTable(crc32.Castagnoli)))
	return out
}

// After gives the offset after the last whole batch in b, next if there is none.
func After(b []byte, next int64) int64 {
	for len(b) >= 61 {
		size := 12 + int(int32(uint32(b[8])<<24|uint32(b[9])<<16|uint32(b[10])<<8|uint32(b[11])))
		if size > len(b) {
			break
		}
		base := int64(0)
		for _, x := range b[:8] {
			base = base<<8 | int64(x)
		}
		next = base + int64(uint32(b[23])<<24|uint32(b[24])<<16|uint32(b[25])<<8|uint32(b[26])) + 1
		b = b[size:]
	}
	return next
}
