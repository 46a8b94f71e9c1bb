package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/firnlog/firn/tier/nowait"
)

// iovMax is the most buffers that one pwritev(2) takes on Linux (UIO_MAXIOV).
const iovMax = 1024

// OS returns the real file system.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	o := &osFile{f: f}
	o.leaveTimes()
	return o, nil
}

// leaveTimes has reads leave the inode alone: to note their time goes through the file system's journal, which may be busy with
// a flush. Who does not own the file may not ask for that. To open with O_NOATIME could make a file and fail then.
func (o *osFile) leaveTimes() {
	_ = o.control("fcntl", func(fd int) {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err == nil {
			_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_NOATIME)
		}
	})
}

func (osFS) Rename(oldName, newName string) error         { return os.Rename(oldName, newName) }
func (osFS) Remove(name string) error                     { return os.Remove(name) }
func (osFS) RemoveAll(name string) error                  { return os.RemoveAll(name) }
func (osFS) MkdirAll(name string, perm fs.FileMode) error { return os.MkdirAll(name, perm) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (osFS) Stat(name string) (fs.FileInfo, error)        { return os.Stat(name) }

func (osFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// osFile is an os.File with the calls that package os lacks.
type osFile struct {
	f     *os.File
	waits atomic.Bool // its file system or the kernel cannot tell what is in the page cache: ReadNow waits
}

func (o *osFile) ReadAt(p []byte, off int64) (int, error)  { return o.f.ReadAt(p, off) }
func (o *osFile) WriteAt(p []byte, off int64) (int, error) { return o.f.WriteAt(p, off) }
func (o *osFile) Truncate(size int64) error                { return o.f.Truncate(size) }
func (o *osFile) Name() string                             { return o.f.Name() }
func (o *osFile) Close() error                             { return o.f.Close() }
func (o *osFile) OS() *os.File                             { return o.f }

// ReadNow implements File. It takes the descriptor as it is, because to have package os hold it costs two allocations.
func (o *osFile) ReadNow(p []byte, off int64) (int, error) {
	if len(p) == 0 || off < 0 || o.waits.Load() {
		return o.f.ReadAt(p, off)
	}
	n, err := preadNow(int(o.f.Fd()), p, off)
	runtime.KeepAlive(o.f)
	switch {
	case n == len(p):
		return n, nil
	case errors.Is(err, unix.EAGAIN), n > 0: // the rest may be on the disk, or beyond the end
		return n, ErrWait
	case Unsupported(err):
		o.waits.Store(true)
	}
	return o.f.ReadAt(p, off) // it knows the end of the file, and says what is wrong
}

// Waits implements File.
func (o *osFile) Waits() bool { return o.waits.Load() }

// preadNow reads what is in the page cache; a test replaces it.
var preadNow = nowait.Pread

func (o *osFile) Size() (int64, error) {
	st, err := o.f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (o *osFile) Datasync() error {
	var err error
	cerr := o.control("fdatasync", func(fd int) {
		for {
			if err = unix.Fdatasync(fd); err != unix.EINTR {
				return
			}
		}
	})
	if cerr != nil {
		return cerr
	}
	return o.wrap("fdatasync", err)
}

// WritevAt issues one pwritev(2) per iovMax buffers, and goes on after a short write.
func (o *osFile) WritevAt(bufs [][]byte, off int64) (int64, error) {
	return o.writev("pwritev", pwritev, bufs, off)
}

// WritevSync is WritevAt with RWF_DSYNC. A part of it that was written is durable whatever becomes of the rest.
func (o *osFile) WritevSync(bufs [][]byte, off int64) error {
	_, err := o.writev("pwritev2", pwritevDsync, bufs, off)
	return err
}

func pwritevDsync(fd int, iov [][]byte, off int64) (int, error) {
	return unix.Pwritev2(fd, iov, off, unix.RWF_DSYNC)
}

func (o *osFile) writev(op string, write func(fd int, iov [][]byte, off int64) (int, error), bufs [][]byte, off int64) (int64, error) {
	if off < 0 {
		return 0, &fs.PathError{Op: op, Path: o.Name(), Err: syscall.EINVAL}
	}
	var total int64
	w := vector{rest: bufs}
	for {
		iov := w.next()
		if len(iov) == 0 {
			return total, nil
		}
		var n int
		var err error
		if cerr := o.control(op, func(fd int) { n, err = write(fd, iov, off+total) }); cerr != nil {
			return total, cerr
		}
		if n > 0 {
			total += int64(n)
			w.advance(n)
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			err = io.ErrShortWrite // a write of more than nothing that neither writes nor fails
		}
		if err != nil {
			return total, o.wrap(op, err)
		}
	}
}

// pwritev is unix.Pwritev; a test replaces it to make short writes.
var pwritev = unix.Pwritev

// Writeback begins to write the range, and takes no error for one: the kernel says the same to the next Datasync.
func (o *osFile) Writeback(off, length int64) error {
	return o.control("sync_file_range", func(fd int) {
		_ = unix.SyncFileRange(fd, off, length, unix.SYNC_FILE_RANGE_WRITE)
	})
}

// Reserve implements File.
func (o *osFile) Reserve(off, length int64) error {
	var err error
	if cerr := o.control("fallocate", func(fd int) { err = unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, off, length) }); cerr != nil {
		return cerr
	}
	if err != nil {
		return &fs.PathError{Op: "fallocate", Path: o.Name(), Err: err}
	}
	return nil
}

// control runs fn with the descriptor, which stays open meanwhile. It fails only on a closed file.
func (o *osFile) control(op string, fn func(fd int)) error {
	c, err := o.f.SyscallConn()
	if err != nil {
		return err
	}
	if err := c.Control(func(fd uintptr) { fn(int(fd)) }); err != nil {
		return o.wrap(op, fs.ErrClosed) // package os keeps its own error for this to itself
	}
	return nil
}

func (o *osFile) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: o.Name(), Err: err}
}

// vector walks over the buffers of one WritevAt without changing the caller's slice.
type vector struct {
	rest [][]byte // buffers not yet written
	skip int      // bytes of rest[0] that are written
	iov  [][]byte // what next returned last; reused
}

// next returns at most iovMax non-empty buffers, or none at the end.
func (v *vector) next() [][]byte {
	if v.skip == 0 && len(v.rest) <= iovMax {
		for len(v.rest) > 0 && len(v.rest[0]) == 0 {
			v.rest = v.rest[1:]
		}
		return v.rest // the common case: no copy; an empty buffer inside does no harm
	}
	v.iov = v.iov[:0]
	skip := v.skip
	for _, b := range v.rest {
		if len(v.iov) == iovMax {
			break
		}
		if b = b[skip:]; len(b) > 0 {
			v.iov = append(v.iov, b)
		}
		skip = 0
	}
	return v.iov
}

// advance marks n more bytes as written.
func (v *vector) advance(n int) {
	n += v.skip
	for len(v.rest) > 0 && n >= len(v.rest[0]) {
		n -= len(v.rest[0])
		v.rest = v.rest[1:]
	}
	v.skip = n
}

// Free returns the size of the file system that holds path and the bytes on it that an unprivileged process
// may still use.
func Free(path string) (total, free uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	size := uint64(st.Bsize)
	return st.Blocks * size, st.Bavail * size, nil
}
