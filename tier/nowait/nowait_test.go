package nowait_test

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/firnlog/firn/tier/nowait"
)

// pair is two ends of a connection, non-blocking.
func pair(t testing.TB) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, fd := range fds {
			_ = unix.Close(fd) // one that a test has closed is not another's yet
		}
	})
	return fds[0], fds[1]
}

func newFile(t testing.TB, content []byte) int {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	_, err = f.Write(content)
	require.NoError(t, err)
	return int(f.Fd())
}

func TestSockets(t *testing.T) {
	a, b := pair(t)
	p := make([]byte, 10)
	_, err := nowait.Read(b, p)
	require.Equal(t, unix.EAGAIN, err, "nothing is there")
	n, err := nowait.Send(a, []byte("hello"), 0)
	require.NoError(t, err)
	require.Equal(t, 5, n)
	n, err = nowait.Read(b, p)
	require.NoError(t, err)
	require.Equal(t, "hello", string(p[:n]))

	for _, empty := range []func(int, []byte) (int, error){nowait.Read, func(s int, p []byte) (int, error) { return nowait.Send(s, p, 0) }} {
		n, err = empty(a, nil)
		require.NoError(t, err)
		require.Zero(t, n)
	}

	sent, much := 0, make([]byte, 1<<20)
	for err == nil {
		n, err = nowait.Send(a, much, 0)
		sent += n
	}
	require.Equal(t, unix.EAGAIN, err, "it is full")
	require.Positive(t, sent)

	require.NoError(t, unix.Shutdown(b, unix.SHUT_RDWR))
	_, err = nowait.Send(a, much, unix.MSG_NOSIGNAL)
	require.Equal(t, unix.EPIPE, err)
	for n = 1; n > 0; {
		n, err = nowait.Read(b, much)
		require.NoError(t, err, "its end is no error")
	}
	_, err = nowait.Read(-1, p)
	require.Equal(t, unix.EBADF, err)
}

func TestSendfile(t *testing.T) {
	a, b := pair(t)
	f := newFile(t, []byte("0123456789"))
	at := int64(2)
	n, err := nowait.Sendfile(a, f, &at, 5)
	require.NoError(t, err)
	require.Equal(t, 5, n)
	require.EqualValues(t, 7, at)
	n, err = nowait.Sendfile(a, f, &at, 100)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	n, err = nowait.Sendfile(a, f, &at, 100)
	require.NoError(t, err)
	require.Zero(t, n, "the file is at its end")
	p := make([]byte, 100)
	n, err = nowait.Read(b, p)
	require.NoError(t, err)
	require.Equal(t, "23456789", string(p[:n]))
	_, err = nowait.Sendfile(-1, f, &at, 1)
	require.Equal(t, unix.EBADF, err)
}

// Offsets beyond 4 GiB reach the kernel whole.
func TestPread(t *testing.T) {
	f := newFile(t, []byte("0123456789"))
	const far = 5 << 30
	_, err := unix.Pwrite(f, []byte("far"), far)
	require.NoError(t, err)
	p := make([]byte, 4)
	if _, err := nowait.Pread(f, p, 0); errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("the file system of temporary files does not know RWF_NOWAIT")
	}
	for at, want := range map[int64]string{0: "0123", 8: "89\x00\x00", far: "far", far + 2: "r", far + 3: ""} {
		n, err := nowait.Pread(f, p, at)
		require.NoError(t, err)
		require.Equal(t, want, string(p[:n]), "at %d", at)
	}
	n, err := nowait.Pread(f, nil, 0)
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = nowait.Pread(f, p, -1)
	require.Equal(t, unix.EINVAL, err)
}

func TestCachestat(t *testing.T) {
	page := os.Getpagesize()
	f := newFile(t, make([]byte, 3*page))
	var pages unix.Cachestat_t
	err := nowait.Cachestat(f, &unix.CachestatRange{Off: uint64(page), Len: uint64(page) + 1}, &pages)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		t.Skipf("there is no cachestat here: %v", err)
	}
	require.NoError(t, err)
	require.EqualValues(t, 2, pages.Cache)
	require.Equal(t, unix.EBADF, nowait.Cachestat(-1, &unix.CachestatRange{}, &pages))
}

// Each is called for every answer, some several times.
func TestNothingIsAllocated(t *testing.T) {
	a, b := pair(t)
	f := newFile(t, make([]byte, 100))
	p := make([]byte, 100)
	var part unix.CachestatRange
	var pages unix.Cachestat_t
	require.Zero(t, testing.AllocsPerRun(100, func() {
		at := int64(0)
		_, _ = nowait.Send(a, p, 0)
		_, _ = nowait.Sendfile(a, f, &at, 100)
		for n, err := 1, error(nil); n > 0 && err == nil; {
			n, err = nowait.Read(b, p)
		}
		_, _ = nowait.Pread(f, p, 0)
		_ = nowait.Cachestat(f, &part, &pages)
	}))
}

// BenchmarkSendfile sends a MiB, of which the socket takes a part at a time, to a client that asks for the next when it has
// read it, so that all processors are idle now and then: with calls of which the scheduler is told, and with these.
func BenchmarkSendfile(b *testing.B) {
	file := newFile(b, make([]byte, mib))
	for _, how := range []struct {
		name     string
		sendfile func(int, int, *int64, int) (int, error)
	}{{"told", unix.Sendfile}, {"nowait", nowait.Sendfile}} {
		b.Run(how.name, func(b *testing.B) {
			c := connect(b)
			var at int64
			send := func(fd uintptr) bool {
				for at < mib {
					if _, err := how.sendfile(int(fd), file, &at, int(mib-at)); err != nil {
						return !errors.Is(err, unix.EAGAIN)
					}
				}
				return true
			}
			p := make([]byte, 1)
			asked := func(fd uintptr) bool {
				_, err := nowait.Read(int(fd), p)
				return !errors.Is(err, unix.EAGAIN)
			}
			b.SetBytes(mib)
			var before, after unix.Rusage
			require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &before))
			for b.Loop() {
				at = 0
				if err := c.Read(asked); err != nil {
					b.Fatal(err)
				}
				if err := c.Write(send); err != nil || at < mib {
					b.Fatal(err, at)
				}
			}
			require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &after))
			b.ReportMetric(float64(after.Nvcsw-before.Nvcsw)/float64(b.N), "switches/op")
			b.ReportMetric(float64(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano())/float64(b.N), "cpu-ns/op")
		})
	}
}

const mib = 1 << 20

// connect gives a connection to a client, which is this binary as another process: one that is idle between its steps.
func connect(b *testing.B) syscall.RawConn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer l.Close()
	client := exec.Command(os.Args[0])
	client.Env = append(os.Environ(), clientOf+"="+l.Addr().String())
	require.NoError(b, client.Start())
	conn, err := l.Accept()
	require.NoError(b, err)
	b.Cleanup(func() {
		_ = conn.Close()
		_ = client.Wait()
	})
	require.NoError(b, conn.(*net.TCPConn).SetWriteBuffer(100<<10))
	raw, err := conn.(*net.TCPConn).SyscallConn()
	require.NoError(b, err)
	return raw
}

const clientOf = "NOWAIT_TEST_CLIENT_OF"

func TestMain(m *testing.M) {
	if addr := os.Getenv(clientOf); addr != "" {
		client(addr)
		return
	}
	os.Exit(m.Run())
}

func client(addr string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		panic(err)
	}
	p := make([]byte, mib)
	for err == nil {
		if _, err = c.Write(p[:1]); err == nil {
			_, err = io.ReadFull(c, p)
		}
	}
}
