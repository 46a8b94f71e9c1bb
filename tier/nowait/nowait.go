// Package nowait makes system calls that do not wait: of sockets that are non-blocking, and of what is in the page cache.
//
// They differ from those of packages syscall and unix in one thing: Go's scheduler is not told. A call that may block lets it
// give the processor to another goroutine meanwhile, for which its monitor has to be awake. The monitor sleeps whenever all
// processors are idle; so on a broker that waits for its clients between two of their steps, as any does that is not
// overloaded, each step began with waking a thread that looked for work every 20 µs, found none and went back to sleep. With
// sendfile to one consumer those were half of all switches between threads and an eighth of the CPU time (BenchmarkSendfile).
// Small requests gain little.
//
// What is called here must come back at once: for as long as it takes, its processor runs no other goroutine, and a garbage
// collection that is to begin waits for it. A file that may have to be read from a disk is not for this package, nor is any
// write to a file, which the kernel may hold back until others are on the disk. What is read from the page cache may come to
// wait all the same: where the kernel begins to read what is missing and the device's queue is full, takes a lock that a
// writer holds (XFS), or has a page still on its way from the disk when one behind it has come. A call of Sendfile or Pread that
// takes long has the next ones tell the scheduler, for a while.
//
// While the monitor sleeps there are no time slices: a goroutine that neither waits nor makes a call that is told keeps its
// processor until the next timer of the process.
package nowait

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Read reads from a non-blocking socket. It is made again where a signal interrupted it, as Send, Sendfile and Pread are; the error is
// unix.EAGAIN when there is nothing to be read, and n is 0 at the end of the stream.
func Read(socket int, p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	if race {
		return told(func() (int, error) { return unix.Read(socket, p) })
	}
	for {
		r, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(socket), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		if e != unix.EINTR {
			return result(r, e)
		}
	}
}

// Send writes to a non-blocking socket as send(2) does. It may take less than all of p; the error is unix.EAGAIN when it
// takes nothing.
func Send(socket int, p []byte, flags int) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		r, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(socket), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), uintptr(flags), 0, 0)
		if e != unix.EINTR {
			return result(r, e)
		}
	}
}

// Sendfile sends up to n bytes of a file, from *at on, which it advances, to a non-blocking socket. The caller has just seen
// that they are in the page cache. n of the answer is 0 at the end of the file.
func Sendfile(socket, file int, at *int64, n int) (sent int, err error) {
	began, waits := files.begin()
	if waits || race || wordSize == 32 { // where the offset of this call has 32 bits
		return told(func() (int, error) { return unix.Sendfile(socket, file, at, n) })
	}
	defer files.end(began)
	for {
		r, _, e := unix.RawSyscall6(unix.SYS_SENDFILE, uintptr(socket), uintptr(file), uintptr(unsafe.Pointer(at)), uintptr(n), 0, 0)
		if e != unix.EINTR {
			return result(r, e)
		}
	}
}

// Pread reads what is in the page cache of a file: preadv2(2) with RWF_NOWAIT. The error is unix.EAGAIN when the first byte is
// not there, which Linux then begins to read.
func Pread(file int, p []byte, at int64) (n int, err error) {
	if at < 0 { // where preadv2 would read at the file's own position
		return 0, unix.EINVAL
	}
	if len(p) == 0 {
		return 0, nil
	}
	began, waits := files.begin()
	if waits || race {
		return told(func() (int, error) { return unix.Preadv2(file, [][]byte{p}, at, unix.RWF_NOWAIT) })
	}
	defer files.end(began)
	iov := unix.Iovec{Base: &p[0]}
	iov.SetLen(len(p))
	for {
		// The offset goes in two halves, of which a 64-bit kernel takes all from the first.
		r, _, e := unix.RawSyscall6(unix.SYS_PREADV2, uintptr(file), uintptr(unsafe.Pointer(&iov)), 1, uintptr(at), uintptr(uint64(at)>>32), unix.RWF_NOWAIT)
		if e != unix.EINTR {
			runtime.KeepAlive(p)
			return result(r, e)
		}
	}
}

// Cachestat counts pages of a part of a file in the page cache (cachestat(2), Linux 6.5).
func Cachestat(file int, part *unix.CachestatRange, pages *unix.Cachestat_t) error {
	_, _, e := unix.RawSyscall6(unix.SYS_CACHESTAT, uintptr(file), uintptr(unsafe.Pointer(part)), uintptr(unsafe.Pointer(pages)), 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// told makes a call of package unix, of which the scheduler is told, and the race detector what it writes to.
func told(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0), err
		}
	}
}

func result(r uintptr, e unix.Errno) (int, error) {
	if e != 0 {
		return 0, e
	}
	return int(r), nil
}
