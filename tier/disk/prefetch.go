package disk

import "golang.org/x/sys/unix"

// Prefetch asks the kernel to read a range of a file ahead (posix_fadvise), for who is going to read it in steps too far
// apart for the kernel to see where that is going. It is a hint: where there is no such call, or it fails, reads take
// longer and nothing else is different.
func Prefetch(f File, off, length int64) {
	of := f.OS()
	if of == nil {
		return
	}
	if c, err := of.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), off, length, unix.FADV_WILLNEED) })
	}
}
