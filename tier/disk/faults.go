//go:build faults

package disk

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Faults reports whether this is a build with the tag "faults", in which Root returns a file system that
// forgets what was not synced when the process is killed.
const Faults = true

// In this build a kill -9 is a power cut. The files lie below the root as usual, so that sendfile works. Beside
// them, in <root>.durable, lies the image of what a disk would hold after a power cut:
//
//	inodes/<id>  a file's content as of its last Datasync
//	dirs/<id>    a folder's names as of its last SyncDir; the root is folder 1
//	lock         held by the process that uses the root
//
// Datasync copies the ranges that were written since the last one into the image, SyncDir writes the folder's
// table and renames it into place. The image itself is not synced: it has to survive a kill, not a power cut.
// A kill in the middle of a copy leaves some of the unsynced bytes, which a disk may do as well; a table is old
// or new as a whole. Root, when a process first opens the folder, throws away all that lies below it and puts
// there what the image holds.
//
// Paths outside the root are plain files.

// BootID returns an id of this process: to the log, every start is one after a power cut.
func BootID() (string, error) { return processID, nil }

var processID = func() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}()

var (
	rootsMu sync.Mutex
	roots   = map[string]*faultsFS{} // by absolute path; guarded by rootsMu
)

// Root returns the file system for the folder path and everything below it. The first call of a process
// restores what was synced and makes the folder if need be; a folder without an image is taken as wholly
// synced. Nobody else may write below path: what the FS does not know of is deleted. The folder stays locked
// until the process ends; further calls return the same FS.
func Root(path string) (FS, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	rootsMu.Lock()
	defer rootsMu.Unlock()
	if d := roots[abs]; d != nil {
		return d, nil
	}
	d := &faultsFS{root: abs, image: abs + ".durable"}
	if err := d.open(); err != nil {
		return nil, fmt.Errorf("faults build: %s: %w", abs, err)
	}
	roots[abs] = d
	return d, nil
}

// faultsFS is the FS of one root.
type faultsFS struct {
	osFS
	root, image string
	lock        *os.File

	mu     sync.Mutex // held over every change of names, on disk and below, so that both stay alike
	top    *faultsNode
	lastID uint64
}

// faultsNode is a file or a folder below the root.
type faultsNode struct {
	id     uint64
	names  map[string]*faultsNode // a folder's, now; nil for a file. Guarded by faultsFS.mu
	synced map[string]*faultsNode // a folder's, in the image. Guarded by faultsFS.mu
	linked bool                   // has a name now. Guarded by faultsFS.mu
	refs   int                    // names in the image. Guarded by faultsFS.mu
	dead   atomic.Bool            // neither linked nor in the image, for ever

	syncing sync.Mutex // held over a whole Datasync: a second one must not return before the first

	mu    sync.Mutex // held over each change of the content and its note below
	dirty []span     // written since the last Datasync
	cut   int64      // least length since the last Datasync, -1 if it was never cut
}

type span struct{ from, to int64 }

func (d *faultsFS) inode(id uint64) string { return filepath.Join(d.image, "inodes", fmt.Sprint(id)) }
func (d *faultsFS) table(id uint64) string { return filepath.Join(d.image, "dirs", fmt.Sprint(id)) }

func (d *faultsFS) newNode(dir bool) *faultsNode {
	d.lastID++
	n := &faultsNode{id: d.lastID, linked: true, cut: -1}
	if dir {
		n.names, n.synced = map[string]*faultsNode{}, map[string]*faultsNode{}
	}
	return n
}

// parts returns the path below the root; false when name lies elsewhere.
func (d *faultsFS) parts(name string) ([]string, bool) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, false
	}
	rel, err := filepath.Rel(d.root, abs)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return nil, false
	}
	if rel == "." {
		return nil, true
	}
	return strings.Split(rel, "/"), true
}

// find returns the node of the path below the root, nil if there is none.
func (d *faultsFS) find(parts []string) *faultsNode {
	n := d.top
	for _, part := range parts {
		if n == nil || n.names == nil {
			return nil
		}
		n = n.names[part]
	}
	return n
}

// place returns the folder and the last name of a path below the root.
func (d *faultsFS) place(parts []string) (*faultsNode, string) {
	return d.find(parts[:len(parts)-1]), parts[len(parts)-1]
}

// OpenFile implements FS.
func (d *faultsFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	parts, inside := d.parts(name)
	if !inside || len(parts) == 0 {
		return d.osFS.OpenFile(name, flag, perm)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	open := flag &^ os.O_TRUNC
	if open&os.O_WRONLY != 0 {
		open = open&^os.O_WRONLY | os.O_RDWR // Datasync has to read
	}
	f, err := os.OpenFile(name, open, perm)
	if err != nil {
		return nil, err
	}
	dir, base := d.place(parts)
	n := dir.names[base]
	if n == nil {
		n = d.newNode(false)
		dir.names[base] = n
	}
	file := &faultsFile{osFile{f: f}, d, n}
	if flag&os.O_TRUNC != 0 {
		if err := file.Truncate(0); err != nil {
			_ = f.Close()
			return nil, err
		}
	}
	return file, nil
}

// Rename implements FS. Both names must lie below the root, or neither.
func (d *faultsFS) Rename(oldName, newName string) error {
	from, a := d.parts(oldName)
	to, b := d.parts(newName)
	if !a && !b {
		return os.Rename(oldName, newName)
	}
	if a != b || len(from) == 0 || len(to) == 0 {
		return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: errors.ErrUnsupported}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := os.Rename(oldName, newName); err != nil {
		return err
	}
	oldDir, oldBase := d.place(from)
	newDir, newBase := d.place(to)
	n, replaced := oldDir.names[oldBase], newDir.names[newBase]
	if n == replaced {
		return nil
	}
	delete(oldDir.names, oldBase)
	newDir.names[newBase] = n
	d.unlink(replaced)
	return nil
}

// Remove implements FS.
func (d *faultsFS) Remove(name string) error { return d.remove(name, os.Remove) }

// RemoveAll implements FS.
func (d *faultsFS) RemoveAll(name string) error { return d.remove(name, os.RemoveAll) }

func (d *faultsFS) remove(name string, remove func(string) error) error {
	parts, inside := d.parts(name)
	if !inside {
		return remove(name)
	}
	if len(parts) == 0 {
		return &fs.PathError{Op: "remove", Path: name, Err: errors.ErrUnsupported}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := remove(name); err != nil {
		return err
	}
	if dir, base := d.place(parts); dir != nil && dir.names != nil {
		n := dir.names[base]
		delete(dir.names, base)
		d.unlink(n)
	}
	return nil
}

// MkdirAll implements FS.
func (d *faultsFS) MkdirAll(name string, perm fs.FileMode) error {
	parts, inside := d.parts(name)
	if !inside {
		return os.MkdirAll(name, perm)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := os.MkdirAll(name, perm); err != nil {
		return err
	}
	n := d.top
	for _, part := range parts {
		if n.names[part] == nil {
			n.names[part] = d.newNode(true)
		}
		n = n.names[part]
	}
	return nil
}

// SyncDir implements FS.
func (d *faultsFS) SyncDir(name string) error {
	parts, inside := d.parts(name)
	if !inside {
		return d.osFS.SyncDir(name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.find(parts)
	if n == nil || n.names == nil {
		return d.osFS.SyncDir(name) // which says what is wrong
	}
	return d.syncDir(n)
}

// syncDir writes the folder's names into the image.
func (d *faultsFS) syncDir(n *faultsNode) error {
	if n.dead.Load() {
		return nil
	}
	if err := d.writeTable(n); err != nil {
		return err
	}
	old := n.synced
	n.synced = maps.Clone(n.names)
	for _, child := range n.synced {
		child.refs++
	}
	for _, child := range old {
		child.refs--
		d.bury(child)
	}
	return nil
}

// unlink notes that a node lost its name, and all below it theirs. It may be nil.
func (d *faultsFS) unlink(n *faultsNode) {
	if n == nil {
		return
	}
	n.linked = false
	for _, child := range n.names {
		d.unlink(child)
	}
	clear(n.names)
	d.bury(n)
}

// bury deletes the image of a node that can neither be reached nor come back.
func (d *faultsFS) bury(n *faultsNode) {
	if n.linked || n.refs > 0 || n.dead.Swap(true) {
		return
	}
	// A leftover does no harm: the next start sweeps it.
	if n.names == nil {
		_ = os.Remove(d.inode(n.id))
		return
	}
	_ = os.Remove(d.table(n.id))
	for _, child := range n.synced {
		child.refs--
		d.bury(child)
	}
}

// faultsFile is an open file below the root.
type faultsFile struct {
	osFile
	fs   *faultsFS
	node *faultsNode
}

func (f *faultsFile) WriteAt(p []byte, off int64) (int, error) {
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	n, err := f.osFile.WriteAt(p, off)
	f.node.wrote(off, int64(n))
	return n, err
}

func (f *faultsFile) WritevAt(bufs [][]byte, off int64) (int64, error) {
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	n, err := f.osFile.WritevAt(bufs, off)
	f.node.wrote(off, n)
	return n, err
}

// WritevSync copies the bytes into the image, but none beyond the length that Datasync put there.
func (f *faultsFile) WritevSync(bufs [][]byte, off int64) error {
	n := f.node
	n.syncing.Lock()
	defer n.syncing.Unlock()
	written, err := f.WritevAt(bufs, off)
	if err != nil || n.dead.Load() {
		return err
	}
	if err := f.copyWithin(f.fs.inode(n.id), off, off+written); err != nil {
		return fmt.Errorf("faults build: image of %s: %w", f.Name(), err)
	}
	return nil
}

func (f *faultsFile) copyWithin(image string, from, to int64) error {
	out, err := os.OpenFile(image, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	st, err := out.Stat()
	if err != nil {
		return err
	}
	return copyRange(out, f.f, from, min(to, st.Size()))
}

func (f *faultsFile) Truncate(size int64) error {
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	if err := f.osFile.Truncate(size); err != nil {
		return err
	}
	if f.node.cut < 0 || size < f.node.cut {
		f.node.cut = size
	}
	return nil
}

// wrote notes a write; the caller holds n.mu.
func (n *faultsNode) wrote(off, length int64) {
	if length <= 0 {
		return
	}
	if k := len(n.dirty); k > 0 && n.dirty[k-1].to == off {
		n.dirty[k-1].to += length
		return
	}
	n.dirty = append(n.dirty, span{off, off + length})
}

func (f *faultsFile) Datasync() error {
	n := f.node
	n.syncing.Lock()
	defer n.syncing.Unlock()
	n.mu.Lock()
	size, err := f.Size()
	if err != nil {
		n.mu.Unlock()
		return err
	}
	dirty, cut := n.dirty, n.cut
	n.dirty, n.cut = nil, -1
	n.mu.Unlock()
	if n.dead.Load() {
		return nil
	}
	if err := f.copyTo(f.fs.inode(n.id), dirty, cut, size); err != nil {
		return fmt.Errorf("faults build: image of %s: %w", f.Name(), err)
	}
	return nil
}

// copyTo brings the image of a file up to date.
func (f *faultsFile) copyTo(image string, dirty []span, cut, size int64) error {
	out, err := os.OpenFile(image, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	if st, err := out.Stat(); err != nil {
		return err
	} else if cut >= 0 && cut < st.Size() {
		if err := out.Truncate(cut); err != nil {
			return err
		}
	}
	if err := out.Truncate(size); err != nil {
		return err
	}
	for _, s := range dirty {
		if err := copyRange(out, f.f, s.from, min(s.to, size)); err != nil {
			return err
		}
	}
	return nil
}

// lockImage makes sure that one process uses the root.
func (d *faultsFS) lockImage() error {
	f, err := os.OpenFile(filepath.Join(d.image, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return fmt.Errorf("in use by another process: %w", err)
	}
	d.lock = f // held until the process ends
	return nil
}
