package hot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/firnlog/firn/tier/disk"
)

// Suffixes of the files in a partition's folder.
const (
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	deletedSuffix   = ".deleted"
)

// errGone is what opening a trimmed segment's file gives. Readers look again.
var errGone = errors.New("segment was trimmed")

// fileName gives Kafka's name of a segment's file: the base offset in 20 digits and the suffix.
func fileName(base int64, suffix string) string {
	b := make([]byte, 0, 40)
	digits := strconv.AppendInt(nil, base, 10)
	for i := len(digits); i < 20; i++ {
		b = append(b, '0')
	}
	b = append(b, digits...)
	return string(append(b, suffix...))
}

// parseFileName reads what fileName writes.
func parseFileName(name, suffix string) (base int64, ok bool) {
	if len(name) != 20+len(suffix) || name[20:] != suffix {
		return 0, false
	}
	for _, c := range name[:20] {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	base, err := strconv.ParseInt(name[:20], 10, 64)
	return base, err == nil
}

// file is one of a segment's files. It is opened when it is first needed and closed by the Dir's sweep once
// nobody used it for a while, so an idle log holds no descriptor.
type file struct {
	log    *Log
	base   int64
	suffix string

	dirty   atomic.Bool // written since the last fdatasync: not closed by the sweep
	writing atomic.Bool // an append is writing to it: likewise, for a flush meanwhile may say that it is clean

	openMu sync.Mutex // one opening at a time; taken before mu, which is never held while the disk is waited for

	mu   sync.Mutex
	h    *handle // nil: not open, and not in the Dir's set of open files
	gone bool    // trimmed: never opened again; changed under openMu, too
}

// handle is an open file with the number of its users, the file's own reference included. The last one to let
// go closes it, so a reader that pinned a trimmed segment can finish.
type handle struct {
	disk.File
	dir    *Dir
	refs   atomic.Int32
	used   atomic.Int64 // the Dir's sweep count at the last use
	opened int64        // which of the Dir's openings it was
}

func (f *file) path() string { return filepath.Join(f.log.folder(), fileName(f.base, f.suffix)) }

// acquire opens the file if need be and pins it; release the handle after use. A missing file is made when
// create is set.
func (f *file) acquire(create bool) (*handle, error) {
	if h := f.pin(); h != nil {
		return h, nil
	}
	h, err := f.open(create)
	if d := f.log.dir; err == nil && d.files.len() > d.o.MaxOpenFiles {
		d.closeOne()
	}
	return h, err
}

// acquireAs is acquire of a file that is there. To open it may mean to wait for the disk.
func (f *file) acquireAs(as patience) (*handle, error) {
	if as == mayWait {
		return f.acquire(false)
	}
	if h := f.pin(); h != nil {
		return h, nil
	}
	return nil, disk.ErrWait
}

// pin pins the file if it is open, else it gives nil.
func (f *file) pin() *handle {
	f.mu.Lock()
	h := f.h
	if h != nil {
		h.refs.Add(1)
	}
	f.mu.Unlock()
	if h != nil {
		h.used.Store(f.log.dir.sweeps.Load())
	}
	return h
}

// open opens the file, unless somebody else has meanwhile, and pins it.
func (f *file) open(create bool) (*handle, error) {
	f.openMu.Lock()
	defer f.openMu.Unlock()
	if h := f.pin(); h != nil {
		return h, nil
	}
	d := f.log.dir
	f.mu.Lock()
	gone, name := f.gone, f.path()
	f.mu.Unlock()
	if gone {
		return nil, errGone
	}
	flag := os.O_RDWR
	if create {
		flag |= os.O_CREATE
	}
	of, err := d.fs.OpenFile(name, flag, 0o644)
	if err != nil {
		return nil, err
	}
	h := &handle{File: of, dir: d, opened: d.files.opened.Add(1)}
	h.refs.Store(2)
	h.used.Store(d.sweeps.Load())
	f.mu.Lock()
	f.h = h
	d.files.add(f)
	f.mu.Unlock()
	return h, nil
}

// bar keeps the file from being opened again and tells its name.
func (f *file) bar() (name string) {
	f.openMu.Lock()
	defer f.openMu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = true
	return f.path()
}

func (h *handle) release() {
	if h.refs.Add(-1) == 0 {
		if err := h.Close(); err != nil {
			h.dir.logger.Warn("closing a segment's file failed", "file", h.Name(), "error", err)
		}
	}
}

// shut closes the file as soon as its last user is done.
func (f *file) shut() {
	f.mu.Lock()
	h := f.h
	f.h = nil
	if h != nil {
		f.log.dir.files.drop(f)
	}
	f.mu.Unlock()
	if h != nil {
		h.release()
	}
}

// shutClean is shut of a file that nobody needs open: with bytes that are not flushed, it stays.
func (f *file) shutClean() {
	f.mu.Lock()
	h := f.h
	if h == nil || f.writing.Load() || f.dirty.Load() { // who is about to write says so before it pins the file, under mu
		f.mu.Unlock()
		return
	}
	f.h = nil
	f.log.dir.files.drop(f)
	f.mu.Unlock()
	h.release()
}

// retire makes the file one that is no longer part of the log: who holds it may finish, nobody opens it anew.
// The file gets the suffix .deleted, or is removed at once.
func (f *file) retire(now bool) error {
	d := f.log.dir
	name := f.bar()
	f.shut()
	var err error
	if now {
		err = d.fs.Remove(name)
	} else {
		err = d.fs.Rename(name, name+deletedSuffix)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // an index that was never needed
	}
	return err
}

// openFiles is the set of a Dir's open files.
type openFiles struct {
	opened atomic.Int64 // files opened so far

	mu  sync.Mutex
	set map[*file]struct{}
}

func (o *openFiles) add(f *file) {
	o.mu.Lock()
	o.set[f] = struct{}{}
	o.mu.Unlock()
}

func (o *openFiles) drop(f *file) {
	o.mu.Lock()
	delete(o.set, f)
	o.mu.Unlock()
}

func (o *openFiles) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.set)
}

// sample returns a few of the open files, at random.
func (o *openFiles) sample() []*file {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := make([]*file, 0, 8)
	for f := range o.set { // in no order
		if out = append(out, f); len(out) == cap(out) {
			break
		}
	}
	return out
}

// closeOne makes room for a file that was just opened above the limit: of a few picked at random the one goes that was
// not used for longest, as far as the sweeps know, and of those used alike the one opened first. A file with bytes that
// are not flushed stays, as in sweep, so that there may be more than the limit for a moment.
func (d *Dir) closeOne() {
	var worst *file
	var used, opened int64
	for _, f := range d.files.sample() {
		f.mu.Lock()
		h := f.h
		f.mu.Unlock()
		if h == nil || f.dirty.Load() {
			continue
		}
		if u := h.used.Load(); worst == nil || u < used || u == used && h.opened < opened {
			worst, used, opened = f, u, h.opened
		}
	}
	if worst != nil {
		worst.shutClean()
	}
}

// list returns the open files with the sweep at which each was last used.
func (o *openFiles) list() []usedFile {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := make([]usedFile, 0, len(o.set))
	for f := range o.set {
		out = append(out, usedFile{file: f})
	}
	return out
}

// shutAll closes the files of a log that nobody is going to use.
func (o *openFiles) shutAll(l *Log) {
	for _, u := range o.list() {
		if u.file.log == l {
			u.file.shut()
		}
	}
}

type usedFile struct {
	file *file
	used int64
}

// patience says whether a lookup may wait for the disk. One that may not ends with disk.ErrWait where it would have to.
type patience uint8

const (
	mayWait patience = iota
	noWait
)

// readFull reads exactly len(p) bytes; a file that ends before is ErrCorruptLog, any other failure ErrUnreadable. Recovery
// cuts what is corrupt, but not what the disk did not give (I-01).
func readFull(f disk.File, p []byte, off int64) error { return readFullAs(f, p, off, mayWait) }

func readFullAs(f disk.File, p []byte, off int64, as patience) error {
	var n int
	var err error
	if as == mayWait {
		n, err = f.ReadAt(p, off)
	} else if n, err = f.ReadNow(p, off); errors.Is(err, disk.ErrWait) {
		return disk.ErrWait
	}
	if n == len(p) {
		return nil
	}
	kind := ErrUnreadable
	if errors.Is(err, io.EOF) {
		kind = ErrCorruptLog
	}
	return fmt.Errorf("%s: %d of %d bytes at %d: %w: %w", f.Name(), n, len(p), off, kind, err)
}
