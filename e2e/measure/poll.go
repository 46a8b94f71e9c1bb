package measure

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller waits for many connections, or for a moment, on one thread: what the runtime would do with a goroutine for
// each costs as much as the server that is measured, and its timers are up to a millisecond late.
type poller struct {
	fd     int
	fds    []int // of the connections, by their number
	events []unix.EpollEvent
	buf    []byte
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("wait for connections: %w", err)
	}
	return &poller{fd: fd, events: make([]unix.EpollEvent, 256), buf: make([]byte, 64<<10)}, nil
}

// add has the poller wait for one more connection, whose number is how many were added before it. It gives the
// descriptor, which is valid while the connection is open.
func (p *poller) add(c net.Conn) (fd int, err error) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return 0, errors.New("wait for connections: not TCP")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	var addErr error
	err = raw.Control(func(f uintptr) {
		fd = int(f)
		addErr = unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(len(p.fds))})
	})
	p.fds = append(p.fds, fd)
	return fd, errors.Join(err, addErr)
}

// own keeps the calling goroutine on its thread, which the kernel wakes exactly, until end is called.
func (p *poller) own() (end func(), err error) {
	runtime.LockOSThread()
	const slack = 1 // ns
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, slack, 0, 0, 0); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("ask for exact timers: %w", err)
	}
	return runtime.UnlockOSThread, nil
}

// wait waits until something comes or the time is over, at most a second, and gives what came on each connection to take.
func (p *poller) wait(limit time.Duration, take func(index int, b []byte) error) error {
	ts := unix.NsecToTimespec(int64(min(max(limit, 0), time.Second)))
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno == unix.EINTR {
		return nil
	}
	if errno != 0 {
		return fmt.Errorf("wait for connections: %w", os.NewSyscallError("epoll_pwait2", errno))
	}
	for _, e := range p.events[:n] {
		index := int(e.Fd) // add put the connection's number where the descriptor's would stand
		n, err := unix.Read(p.fds[index], p.buf)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("receive: %w", os.NewSyscallError("read", err))
		}
		if n == 0 {
			return fmt.Errorf("receive: %w", io.ErrUnexpectedEOF)
		}
		if err := take(index, p.buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

func (p *poller) close() error {
	if p.fd < 0 {
		return nil
	}
	fd := p.fd
	p.fd = -1
	return unix.Close(fd)
}

// writeAll writes to a connection by its descriptor, and by the runtime's ways where that would block.
func writeAll(fd int, c net.Conn, b []byte) error {
	n, err := unix.Write(fd, b)
	if n == len(b) {
		return nil
	}
	if err != nil && !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR) {
		return fmt.Errorf("send a Produce request: %w", os.NewSyscallError("write", err))
	}
	if _, err := c.Write(b[max(n, 0):]); err != nil {
		return fmt.Errorf("send a Produce request: %w", err)
	}
	return nil
}
