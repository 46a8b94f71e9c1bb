package disk

import (
	"io/fs"
	"sync"
	"syscall"
)

// Op is a kind of operation that a Faulty counts and may fail.
type Op string

// The operations, each named after the method of FS or File.
const (
	OpOpen      Op = "open"
	OpRename    Op = "rename"
	OpRemove    Op = "remove" // RemoveAll too
	OpMkdir     Op = "mkdir"
	OpReadDir   Op = "readdir"
	OpStat      Op = "stat" // Size too
	OpSyncDir   Op = "syncdir"
	OpRead      Op = "read"
	OpReadNow   Op = "readnow"
	OpWrite     Op = "write" // WritevAt too
	OpWriteSync Op = "writesync"
	OpTruncate  Op = "truncate"
	OpDatasync  Op = "datasync"
	OpCloseFile Op = "close"
)

// Call describes one operation before it happens.
type Call struct {
	Op    Op
	Name  string // of the file or folder; for a rename, the old name
	N     int    // how many calls of this Op there were, this one included: 1, 2, …
	Total int    // how many calls of any Op
	Bytes int    // how many a write, synced or not, means to write
}

// Fault is what becomes of a call. With a nil Err the call goes through.
type Fault struct {
	Err   error // returned, wrapped in a fs.PathError
	Short int   // a write writes that many bytes before it fails
}

// Hook decides about each call. It may be called concurrently.
type Hook func(Call) Fault

// FailNth fails the n-th call (from 1) of op with err; later ones go through.
func FailNth(op Op, n int, err error) Hook {
	return func(c Call) Fault {
		if c.Op == op && c.N == n {
			return Fault{Err: err}
		}
		return Fault{}
	}
}

// FailFrom fails the n-th call (from 1) of op and all later ones with err.
func FailFrom(op Op, n int, err error) Hook {
	return func(c Call) Fault {
		if c.Op == op && c.N >= n {
			return Fault{Err: err}
		}
		return Fault{}
	}
}

// FullAfter lets writes through until budget bytes are written; then they write what is left and fail with
// ENOSPC.
func FullAfter(budget int) Hook {
	var mu sync.Mutex
	return func(c Call) Fault {
		if c.Op != OpWrite {
			return Fault{}
		}
		mu.Lock()
		defer mu.Unlock()
		if c.Bytes <= budget {
			budget -= c.Bytes
			return Fault{}
		}
		left := budget
		budget = 0
		return Fault{Err: syscall.ENOSPC, Short: left}
	}
}

// Faulty wraps a file system and fails the calls that its hook says. A failed Datasync on a Crashable loses
// the unsynced writes for good, as on Linux, where a second fsync succeeds without them. All methods may be
// called concurrently.
type Faulty struct {
	fs FS

	mu    sync.Mutex
	hook  Hook       // guarded by mu
	n     map[Op]int // guarded by mu
	total int        // guarded by mu
}

// NewFaulty wraps fsys. The hook may be nil: then calls are only counted.
func NewFaulty(fsys FS, hook Hook) *Faulty { return &Faulty{fs: fsys, hook: hook, n: map[Op]int{}} }

// SetHook replaces the hook; the counts go on.
func (f *Faulty) SetHook(hook Hook) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

// Count returns how many calls of op there were; of all kinds for "".
func (f *Faulty) Count(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if op == "" {
		return f.total
	}
	return f.n[op]
}

func (f *Faulty) ask(op Op, name string, bytes int) (Fault, error) {
	f.mu.Lock()
	f.n[op]++
	f.total++
	c, hook := Call{op, name, f.n[op], f.total, bytes}, f.hook
	f.mu.Unlock()
	if hook == nil {
		return Fault{}, nil
	}
	fault := hook(c)
	if fault.Err == nil {
		return Fault{}, nil
	}
	return fault, &fs.PathError{Op: string(op), Path: name, Err: fault.Err}
}

// OpenFile implements FS.
func (f *Faulty) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if _, err := f.ask(OpOpen, name, 0); err != nil {
		return nil, err
	}
	file, err := f.fs.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultyFile{file, f}, nil
}

// Rename implements FS.
func (f *Faulty) Rename(oldName, newName string) error {
	if _, err := f.ask(OpRename, oldName, 0); err != nil {
		return err
	}
	return f.fs.Rename(oldName, newName)
}

// Remove implements FS.
func (f *Faulty) Remove(name string) error {
	if _, err := f.ask(OpRemove, name, 0); err != nil {
		return err
	}
	return f.fs.Remove(name)
}

// RemoveAll implements FS.
func (f *Faulty) RemoveAll(name string) error {
	if _, err := f.ask(OpRemove, name, 0); err != nil {
		return err
	}
	return f.fs.RemoveAll(name)
}

// MkdirAll implements FS.
func (f *Faulty) MkdirAll(name string, perm fs.FileMode) error {
	if _, err := f.ask(OpMkdir, name, 0); err != nil {
		return err
	}
	return f.fs.MkdirAll(name, perm)
}

// ReadDir implements FS.
func (f *Faulty) ReadDir(name string) ([]fs.DirEntry, error) {
	if _, err := f.ask(OpReadDir, name, 0); err != nil {
		return nil, err
	}
	return f.fs.ReadDir(name)
}

// Stat implements FS.
func (f *Faulty) Stat(name string) (fs.FileInfo, error) {
	if _, err := f.ask(OpStat, name, 0); err != nil {
		return nil, err
	}
	return f.fs.Stat(name)
}

// SyncDir implements FS.
func (f *Faulty) SyncDir(name string) error {
	if _, err := f.ask(OpSyncDir, name, 0); err != nil {
		return err
	}
	return f.fs.SyncDir(name)
}

// faultyFile is an open file of a Faulty; what it does not mention goes through.
type faultyFile struct {
	File
	fs *Faulty
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if _, err := f.fs.ask(OpRead, f.Name(), len(p)); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultyFile) ReadNow(p []byte, off int64) (int, error) {
	if _, err := f.fs.ask(OpReadNow, f.Name(), len(p)); err != nil {
		return 0, err
	}
	return f.File.ReadNow(p, off)
}

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.WritevAt([][]byte{p}, off)
	return int(n), err
}

func (f *faultyFile) WritevAt(bufs [][]byte, off int64) (int64, error) {
	fault, err := f.fs.ask(OpWrite, f.Name(), total(bufs))
	if err == nil {
		return f.File.WritevAt(bufs, off)
	}
	return f.short(bufs, off, fault.Short), err
}

func (f *faultyFile) WritevSync(bufs [][]byte, off int64) error {
	fault, err := f.fs.ask(OpWriteSync, f.Name(), total(bufs))
	if err == nil {
		return f.File.WritevSync(bufs, off)
	}
	f.short(bufs, off, fault.Short)
	return err
}

func total(bufs [][]byte) (n int) {
	for _, b := range bufs {
		n += len(b)
	}
	return n
}

// short writes the first left bytes of the buffers, not synced, and returns how many it did.
func (f *faultyFile) short(bufs [][]byte, off int64, left int) (done int64) {
	for _, b := range bufs {
		b = b[:min(len(b), left)]
		n, err := f.File.WriteAt(b, off+done)
		done += int64(n)
		if left -= n; err != nil || left <= 0 {
			break
		}
	}
	return done
}

func (f *faultyFile) Truncate(size int64) error {
	if _, err := f.fs.ask(OpTruncate, f.Name(), 0); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultyFile) Datasync() error {
	if _, err := f.fs.ask(OpDatasync, f.Name(), 0); err != nil {
		if m, ok := f.File.(interface{ loseDirty() }); ok {
			m.loseDirty()
		}
		return err
	}
	return f.File.Datasync()
}

func (f *faultyFile) Size() (int64, error) {
	if _, err := f.fs.ask(OpStat, f.Name(), 0); err != nil {
		return 0, err
	}
	return f.File.Size()
}

func (f *faultyFile) Close() error {
	_, err := f.fs.ask(OpCloseFile, f.Name(), 0)
	cerr := f.File.Close() // the descriptor is gone either way, as with close(2)
	if err != nil {
		return err
	}
	return cerr
}

var _ FS = (*Faulty)(nil)
var _ FS = (*Crashable)(nil)
var _ File = (*faultyFile)(nil)
var _ File = (*memFile)(nil)
