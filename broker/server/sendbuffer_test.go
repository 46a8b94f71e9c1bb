package server

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestSendBufferOf(t *testing.T) {
	at := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 9092} }
	for _, c := range []struct {
		set           int
		local, remote string
		want          int
	}{
		{0, "127.0.0.1", "127.0.0.1", localSendBuffer},
		{0, "127.0.0.1", "127.0.0.2", localSendBuffer},
		{0, "::1", "::1", localSendBuffer},
		{0, "10.0.0.7", "10.0.0.7", localSendBuffer},
		{0, "::ffff:10.0.0.7", "10.0.0.7", localSendBuffer},
		{0, "10.0.0.7", "10.0.0.8", 0},
		{0, "fd00::7", "fd00::8", 0},
		{64 << 10, "10.0.0.7", "10.0.0.8", 64 << 10},
		{64 << 10, "127.0.0.1", "127.0.0.1", 64 << 10},
		{-1, "127.0.0.1", "127.0.0.1", -1},
	} {
		l := Limits{SendBuffer: c.set}
		require.Equal(t, c.want, l.sendBufferOf(at(c.local), at(c.remote)), "%+v", c)
	}
	l := Limits{}
	require.Zero(t, l.sendBufferOf(&net.UnixAddr{Name: "a"}, &net.UnixAddr{Name: "a"}))
}

// TestSendBuffer has connections before and after changes of the limit.
func TestSendBuffer(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &settledListener{Listener: inner, settled: make(chan *net.TCPConn, 1)}
	s := start(t, echo, Limits{}, func(o *Options) { o.Listener = l })
	connect := func() *net.TCPConn {
		c, err := net.Dial("tcp", s.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return <-l.settled
	}
	first := connect()
	s.SetLimits(Limits{SendBuffer: 32 << 10})
	second := connect()
	s.SetLimits(Limits{SendBuffer: -1})
	third := connect()
	require.Equal(t, 2*localSendBuffer, sendBuffer(t, first), "of which the kernel takes half for itself")
	require.Equal(t, 2*32<<10, sendBuffer(t, second))
	require.NotContains(t, []int{2 * localSendBuffer, 2 * 32 << 10}, sendBuffer(t, third))
}

// settledListener tells of a connection once the server has dealt with it, which is when it asks for the next.
type settledListener struct {
	net.Listener
	last    *net.TCPConn
	settled chan *net.TCPConn
}

func (l *settledListener) Accept() (net.Conn, error) {
	if l.last != nil {
		l.settled <- l.last
		l.last = nil
	}
	c, err := l.Listener.Accept()
	l.last, _ = c.(*net.TCPConn)
	return c, err
}

// sendBuffer is SO_SNDBUF.
func sendBuffer(t *testing.T, c *net.TCPConn) int {
	t.Helper()
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	var n int
	var failed error
	require.NoError(t, raw.Control(func(fd uintptr) { n, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF) }))
	require.NoError(t, failed)
	return n
}
