package hostile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestMain(m *testing.M) { harness.Main(m) }

// patience is how long any single answer may take before a test gives up.
const patience = 30 * time.Second

// target is the broker under test: a fresh firn, or the peer that the environment names.
type target struct {
	addr string
	firn *harness.Broker // nil for a peer
}

func start(t *testing.T, o harness.Options) target {
	t.Helper()
	if peer := os.Getenv("FIRN_HOSTILE_PEER"); peer != "" {
		return target{addr: peer}
	}
	b := harness.Start(t, o)
	t.Cleanup(func() { alive(t, b) }) // runs before the broker is ended
	return target{addr: b.Kafka, firn: b}
}

// onlyFirn starts a firn, and skips the test where a peer is asked for.
func onlyFirn(t *testing.T, o harness.Options) target {
	t.Helper()
	onlyFirnHere(t)
	return start(t, o)
}

func onlyFirnHere(t *testing.T) {
	t.Helper()
	if os.Getenv("FIRN_HOSTILE_PEER") != "" {
		t.Skip("this is about what only firn has")
	}
}

// alive fails the test if the broker ended or a handler panicked.
func alive(t *testing.T, b *harness.Broker) {
	t.Helper()
	select {
	case <-b.Ended():
		t.Errorf("the broker ended: %v", b.Exit())
	default:
	}
	if log := b.Log(); containsAny(log, "panicked", "panic:", "goroutine ") {
		t.Error("something panicked")
	}
}

// conn is one raw connection.
type conn struct {
	net.Conn
	t    *testing.T
	corr int32
}

func dial(t *testing.T, addr string) *conn {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &conn{Conn: nc, t: t}
}

// frame is a request as it goes over the wire, length first.
func frame(req kmsg.Request, version int16, corr int32) []byte {
	req.SetVersion(version)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("hostile")).AppendRequest(nil, req, corr)
}

// send writes a request; recv reads its answer.
func (c *conn) send(req kmsg.Request, version int16) {
	c.t.Helper()
	c.corr++
	c.write(frame(req, version, c.corr))
}

func (c *conn) write(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// tryRecv reads one answer into resp, whose version is that of the request.
func (c *conn) tryRecv(resp kmsg.Response) error {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:4])-4)
	if _, err := io.ReadFull(c, body); err != nil {
		return err
	}
	if corr := int32(binary.BigEndian.Uint32(head[4:])); corr != c.corr {
		return fmt.Errorf("the answer is to request %d, not %d", corr, c.corr)
	}
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		if len(body) == 0 || body[0] != 0 {
			return errors.New("the header of the answer has tags")
		}
		body = body[1:]
	}
	return resp.ReadFrom(body)
}

// do sends a request and returns its answer.
func do[R kmsg.Response](c *conn, req kmsg.Request, version int16) R {
	c.t.Helper()
	c.send(req, version)
	resp := req.ResponseKind()
	if err := c.tryRecv(resp); err != nil {
		c.t.Fatalf("%s version %d: %v", kmsg.NameForKey(req.Key()), version, err)
	}
	return resp.(R)
}

// closed waits until the broker closes the connection without another byte.
func (c *conn) closed() {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	n, err := c.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		c.t.Errorf("the connection stays open: read %d bytes, %v", n, err)
	}
}

// name gives a code as Kafka spells it.
func name(code int16) string {
	if code == 0 {
		return "NONE"
	}
	if e := kerr.TypedErrorForCode(code); e != nil {
		return e.Message
	}
	return fmt.Sprint(code)
}

// wantCode compares an error code with the one expected, nil for none.
func wantCode(t *testing.T, what string, got int16, want *kerr.Error) {
	t.Helper()
	var code int16
	if want != nil {
		code = want.Code
	}
	if got != code {
		t.Errorf("%s: answered %s, want %s", what, name(got), name(code))
	}
}
