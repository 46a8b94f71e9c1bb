package diff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// patience is how long an answer may take that does not wait for other members.
const patience = 20 * time.Second

// conn is a connection on which one request is under way at a time.
type conn struct {
	net.Conn
	corr int32
}

func dial(addr string) (*conn, error) {
	nc, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: nc}, nil
}

var formatter = kmsg.NewRequestFormatter(kmsg.FormatterClientID("diff"))

// ask sends a request and reads the answer.
func (c *conn) ask(req kmsg.Request, limit time.Duration) (kmsg.Response, error) {
	c.corr++
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	if _, err := c.Write(formatter.AppendRequest(nil, req, c.corr)); err != nil {
		return nil, err
	}
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:4])
	if size < 4 || size > 64<<20 {
		return nil, fmt.Errorf("an answer of %d bytes", size)
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(c, body); err != nil {
		return nil, err
	}
	if corr := int32(binary.BigEndian.Uint32(head[4:])); corr != c.corr {
		return nil, fmt.Errorf("the answer is to request %d, not %d", corr, c.corr)
	}
	resp := req.ResponseKind()
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		if len(body) == 0 || body[0] != 0 {
			return nil, errors.New("the header of the answer has tags")
		}
		body = body[1:]
	}
	return resp, resp.ReadFrom(body)
}

// versionsOf asks a broker what it serves.
func versionsOf(addr string) (versionOf, error) {
	c, err := dial(addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	resp, err := c.ask(kmsg.NewPtrApiVersionsRequest(), patience)
	if err != nil {
		return nil, err
	}
	out := versionOf{}
	for _, k := range resp.(*kmsg.ApiVersionsResponse).ApiKeys {
		out[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
	}
	return out, nil
}
