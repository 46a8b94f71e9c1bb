// Package measure is what the programs that measure a broker share: a Kafka connection that costs little, and what the
// kernel says of a process.
package measure

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
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
func Dial(addr string) (*Conn, error) { return dial(addr, 1<<20) }

// dial connects, with a buffer for answers of so many bytes.
func dial(addr string, buffer int) (*Conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &Conn{Conn: c, r: bufio.NewReaderSize(c, buffer)}, nil
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

// Ask sends a request in a version and waits for its answer.
func (c *Conn) Ask(req kmsg.Request, version int16) (kmsg.Response, error) {
	req.SetVersion(version)
	if err := c.Send(req); err != nil {
		return nil, err
	}
	res := req.ResponseKind()
	return res, c.Receive(res)
}
