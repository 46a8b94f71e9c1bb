package disk

import (
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// memFile is an open file of a Crashable.
type memFile struct {
	fs          *Crashable
	node        *memNode
	name        string
	read, write bool
	closed      bool // guarded by fs.mu
}

func (f *memFile) Name() string { return f.name }
func (f *memFile) OS() *os.File { return nil }

// enter checks that the file may be used and takes the lock; the caller unlocks it if there is no error.
func (f *memFile) enter(op string, allowed bool, off int64) error {
	f.fs.mu.Lock()
	err := error(nil)
	switch {
	case f.closed:
		err = fs.ErrClosed
	case !allowed:
		err = syscall.EBADF
	case off < 0:
		err = syscall.EINVAL
	}
	if err != nil {
		f.fs.mu.Unlock()
		return pathError(op, f.name, err)
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.enter("read", f.read, off); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	if off >= int64(len(f.node.live)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, f.node.live[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// ReadNow implements File: all of it is in memory.
func (f *memFile) ReadNow(p []byte, off int64) (int, error) { return f.ReadAt(p, off) }

// Waits implements File.
func (f *memFile) Waits() bool { return false }

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.WritevAt([][]byte{p}, off)
	return int(n), err
}

func (f *memFile) WritevAt(bufs [][]byte, off int64) (int64, error) {
	if err := f.enter("write", f.write, off); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	data := slices.Concat(bufs...)
	if len(data) == 0 {
		return 0, nil
	}
	f.node.live = writeInto(f.node.live, data, off)
	f.node.pending = append(f.node.pending, fileChange{off: off, data: data})
	f.node.modified = f.fs.now()
	return int64(len(data)), nil
}

func (f *memFile) Truncate(size int64) error {
	if err := f.enter("truncate", f.write, size); err != nil {
		return err
	}
	defer f.fs.mu.Unlock()
	f.node.truncate(size, f.fs.now())
	return nil
}

func (f *memFile) Datasync() error {
	if err := f.enter("fdatasync", true, 0); err != nil {
		return err
	}
	defer f.fs.mu.Unlock()
	n := f.node
	for _, ch := range n.pending {
		if ch.data == nil {
			n.durable = resize(n.durable, ch.size)
		} else {
			n.durable = writeInto(n.durable, ch.data, ch.off)
		}
	}
	n.pending = nil
	return nil
}

// WritevSync makes the bytes durable, and nothing else: as far as they lie beyond the durable length, not them either.
func (f *memFile) WritevSync(bufs [][]byte, off int64) error {
	data := slices.Concat(bufs...)
	if _, err := f.WriteAt(data, off); err != nil || len(data) == 0 {
		return err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n := f.node
	within := min(int64(len(data)), int64(len(n.durable))-off)
	if within <= 0 {
		return nil
	}
	n.durable = writeInto(n.durable, data[:within], off)
	if len(n.pending) == 1 && within == int64(len(data)) {
		n.pending = nil // else what was written here before, and is not durable, comes first
	}
	return nil
}

func (f *memFile) Writeback(int64, int64) error { return f.enterOnly("sync_file_range") }

func (f *memFile) Reserve(int64, int64) error { return f.enterOnly("fallocate") }

// enterOnly is all that a call does which changes nothing that a power cut would leave.
func (f *memFile) enterOnly(op string) error {
	err := f.enter(op, true, 0)
	if err == nil {
		f.fs.mu.Unlock()
	}
	return err
}

// loseDirty makes the unsynced writes impossible to sync, as Linux does when fsync fails: readers go on
// seeing them, but the kernel holds them for clean and a later fsync succeeds without them.
func (f *memFile) loseDirty() {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.node.pending = nil
}

func (f *memFile) Size() (int64, error) {
	if err := f.enter("stat", true, 0); err != nil {
		return 0, err
	}
	defer f.fs.mu.Unlock()
	return int64(len(f.node.live)), nil
}

func (f *memFile) Close() error {
	if err := f.enter("close", true, 0); err != nil {
		return err
	}
	defer f.fs.mu.Unlock()
	f.closed = true
	return nil
}
