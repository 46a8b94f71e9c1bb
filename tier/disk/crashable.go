package disk

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Crashable is a file system in memory that knows what a power cut would leave of it. It follows the strictest
// reading of POSIX: a write, or a change of length, is there after a crash only if Datasync of that file
// followed it; a name (made, renamed, removed) only if SyncDir of its folder followed; a rename between two
// folders is two such changes. The root folder is always there.
//
// It reads no clock: modification times come from Now. Paths are slash separated; relative ones start at the
// root. All methods may be called concurrently.
type Crashable struct {
	// Now gives modification times. It may be set before the first use; the default counts milliseconds, one
	// for each change, from a fixed day.
	Now func() time.Time

	mu      sync.Mutex
	rng     *rand.Rand
	root    *memNode
	entries []entryChange // changes of folders since they were last synced, in order
	group   int           // number of the last operation in entries
	ticks   int64
}

// memNode is a file or a folder. Guarded by Crashable.mu.
type memNode struct {
	perm     fs.FileMode
	modified time.Time

	// A file:
	live    []byte       // what readers see
	durable []byte       // what the last Datasync left
	pending []fileChange // what happened to live since, in order

	// A folder (names is nil for a file):
	names  map[string]*memNode
	synced map[string]*memNode // names as of the last SyncDir
}

func (n *memNode) isDir() bool { return n.names != nil }

// fileChange is one write (data) or, with data nil, one change of length to size.
type fileChange struct {
	off  int64
	data []byte
	size int64
}

// entryChange says that name in the folder dir came to mean child, or nothing.
type entryChange struct {
	group int // changes of one operation share it: they happen together
	dir   *memNode
	name  string
	child *memNode
}

// NewCrashable returns an empty file system. The seed decides what CrashTorn keeps.
func NewCrashable(seed uint64) *Crashable {
	return &Crashable{
		rng:  rand.New(rand.NewPCG(seed, 0x6669726e)),
		root: newMemDir(0o755, time.Time{}),
	}
}

func newMemDir(perm fs.FileMode, at time.Time) *memNode {
	return &memNode{perm: perm | fs.ModeDir, modified: at, names: map[string]*memNode{}, synced: map[string]*memNode{}}
}

// Crash returns a file system that holds exactly what was synced, as after a power cut now. The old one is
// not changed and shares nothing with the new one, so it may be crashed again at a later moment.
func (c *Crashable) Crash() *Crashable {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.survivor(nil, func(*memNode) []byte { return nil })
}

// CrashTorn is Crash on a disk that had written back some of what was not synced, as disks and kernels do in
// any order: of each file's unsynced writes a random set of 512-byte sectors, of the unsynced names a random
// prefix or a random set (the names that one rename changes go together). The choice comes from the seed.
func (c *Crashable) CrashTorn() *Crashable {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.survivor(c.tornEntries(), func(n *memNode) []byte { return c.tornContent(n) })
}

// survivor copies the durable tree, with the given folder changes and what content returns for a file (nil:
// its durable content).
func (c *Crashable) survivor(changes []entryChange, content func(*memNode) []byte) *Crashable {
	kept := map[*memNode]map[string]*memNode{}
	names := func(dir *memNode) map[string]*memNode {
		if kept[dir] == nil {
			kept[dir] = maps.Clone(dir.synced)
		}
		return kept[dir]
	}
	for _, ch := range changes {
		if ch.child == nil {
			delete(names(ch.dir), ch.name)
		} else {
			names(ch.dir)[ch.name] = ch.child
		}
	}
	done := map[*memNode]*memNode{} // one node may have got two names by a torn rename
	var clone func(*memNode) *memNode
	clone = func(n *memNode) *memNode {
		if d := done[n]; d != nil {
			return d
		}
		out := &memNode{perm: n.perm, modified: n.modified}
		done[n] = out
		if !n.isDir() {
			b := content(n)
			if b == nil {
				b = slices.Clone(n.durable)
			}
			out.live, out.durable = b, slices.Clone(b)
			return out
		}
		out.names = map[string]*memNode{}
		dir := names(n)
		for _, name := range slices.Sorted(maps.Keys(dir)) { // sorted: the seed decides, not the map
			out.names[name] = clone(dir[name])
		}
		out.synced = maps.Clone(out.names)
		return out
	}
	next := NewCrashable(c.rng.Uint64())
	next.Now, next.ticks = c.Now, c.ticks
	next.root = clone(c.root)
	return next
}

// tornEntries draws which unsynced changes of names survive.
func (c *Crashable) tornEntries() []entryChange {
	if c.rng.IntN(2) == 0 { // a journal that was written up to some point
		n := c.rng.IntN(len(c.entries) + 1)
		for n > 0 && n < len(c.entries) && c.entries[n].group == c.entries[n-1].group {
			n++ // do not part what one rename did
		}
		return c.entries[:n]
	}
	var out []entryChange
	keep, group := false, -1
	for _, ch := range c.entries {
		if ch.group != group {
			keep, group = c.rng.IntN(2) == 0, ch.group
		}
		if keep {
			out = append(out, ch)
		}
	}
	return out
}

const sector = 512 // what a disk writes as a whole

// tornContent draws which unsynced writes of a file survive, by sectors of the file.
func (c *Crashable) tornContent(n *memNode) []byte {
	b := slices.Clone(n.durable)
	style := c.rng.IntN(4) // 0: nothing, 1: everything, 2: a prefix, 3: any set
	left := c.rng.IntN(sectors(n.pending) + 1)
	keep := func() bool {
		switch style {
		case 0:
			return false
		case 1:
			return true
		case 2:
			left--
			return left >= 0
		default:
			return c.rng.IntN(2) == 0
		}
	}
	for _, ch := range n.pending {
		if ch.data == nil {
			if keep() {
				b = resize(b, ch.size)
			}
			continue
		}
		for at := int64(0); at < int64(len(ch.data)); {
			end := min(int64(len(ch.data)), (ch.off+at)/sector*sector+sector-ch.off)
			if keep() {
				b = writeInto(b, ch.data[at:end], ch.off+at)
			}
			at = end
		}
	}
	if b == nil {
		b = []byte{}
	}
	return b
}

// sectors bounds the number of pieces that the changes consist of.
func sectors(pending []fileChange) int {
	n := 0
	for _, ch := range pending {
		n += len(ch.data)/sector + 2
	}
	return n
}

// resize cuts b to size or extends it with zeros.
func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

func writeInto(b, data []byte, off int64) []byte {
	if len(data) == 0 {
		return b
	}
	if end := off + int64(len(data)); end > int64(len(b)) {
		b = resize(b, end)
	}
	copy(b[off:], data)
	return b
}

func (c *Crashable) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	c.ticks++
	return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(c.ticks) * time.Millisecond)
}

func split(name string) []string {
	name = strings.Trim(filepath.ToSlash(filepath.Clean("/"+name)), "/")
	if name == "" {
		return nil
	}
	return strings.Split(name, "/")
}

// find returns the node of name, or an error for op.
func (c *Crashable) find(op, name string) (*memNode, error) {
	n := c.root
	for _, part := range split(name) {
		if !n.isDir() {
			return nil, pathError(op, name, syscall.ENOTDIR)
		}
		if n = n.names[part]; n == nil {
			return nil, pathError(op, name, syscall.ENOENT)
		}
	}
	return n, nil
}

// parent returns the folder of name and the last part of name.
func (c *Crashable) parent(op, name string) (*memNode, string, error) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, "", pathError(op, name, syscall.EBUSY)
	}
	dir, err := c.find(op, strings.Join(parts[:len(parts)-1], "/"))
	if err != nil {
		return nil, "", pathError(op, name, unwrapErrno(err))
	}
	if !dir.isDir() {
		return nil, "", pathError(op, name, syscall.ENOTDIR)
	}
	return dir, parts[len(parts)-1], nil
}

// link makes name in dir mean child (nil: nothing) and notes that this is not durable yet.
func (c *Crashable) link(dir *memNode, name string, child *memNode) {
	if child == nil {
		delete(dir.names, name)
	} else {
		dir.names[name] = child
	}
	dir.modified = c.now()
	c.entries = append(c.entries, entryChange{c.group, dir, name, child})
}

// OpenFile implements FS.
func (c *Crashable) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir, base, err := c.parent("open", name)
	if err != nil {
		return nil, err
	}
	n := dir.names[base]
	switch {
	case n == nil && flag&os.O_CREATE == 0:
		return nil, pathError("open", name, syscall.ENOENT)
	case n == nil:
		n = &memNode{perm: perm.Perm(), modified: c.now()}
		c.group++
		c.link(dir, base, n)
	case flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, pathError("open", name, syscall.EEXIST)
	case n.isDir():
		return nil, pathError("open", name, syscall.EISDIR)
	}
	write := flag&(os.O_WRONLY|os.O_RDWR) != 0
	if flag&os.O_TRUNC != 0 && write && len(n.live) > 0 {
		n.truncate(0, c.now())
	}
	return &memFile{fs: c, node: n, name: name, read: flag&os.O_WRONLY == 0, write: write}, nil
}

// Rename implements FS.
func (c *Crashable) Rename(oldName, newName string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fail := func(err error) error { return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: err} }
	from, oldBase, err := c.parent("rename", oldName)
	if err != nil {
		return fail(unwrapErrno(err))
	}
	to, newBase, err := c.parent("rename", newName)
	if err != nil {
		return fail(unwrapErrno(err))
	}
	n, old := from.names[oldBase], to.names[newBase]
	switch {
	case n == nil:
		return fail(syscall.ENOENT)
	case n == old:
		return nil
	case n.isDir() && contains(n, to):
		return fail(syscall.EINVAL)
	case old != nil && old.isDir() && (!n.isDir() || len(old.names) > 0):
		return fail(syscall.EEXIST) // as package os reports a folder in the way
	case old != nil && !old.isDir() && n.isDir():
		return fail(syscall.ENOTDIR)
	}
	c.group++
	c.link(from, oldBase, nil)
	c.link(to, newBase, n)
	return nil
}

func contains(dir, n *memNode) bool {
	if dir == n {
		return true
	}
	for _, child := range dir.names {
		if child.isDir() && contains(child, n) {
			return true
		}
	}
	return false
}

// Remove implements FS.
func (c *Crashable) Remove(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir, base, err := c.parent("remove", name)
	if err != nil {
		return err
	}
	n := dir.names[base]
	if n == nil {
		return pathError("remove", name, syscall.ENOENT)
	}
	if len(n.names) > 0 {
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	c.group++
	c.link(dir, base, nil)
	return nil
}

// RemoveAll implements FS.
func (c *Crashable) RemoveAll(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir, base, err := c.parent("removeall", name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if n := dir.names[base]; n != nil {
		c.removeTree(n)
		c.group++
		c.link(dir, base, nil)
	}
	return nil
}

func (c *Crashable) removeTree(n *memNode) {
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		c.removeTree(n.names[name])
		c.group++
		c.link(n, name, nil)
	}
}

// MkdirAll implements FS.
func (c *Crashable) MkdirAll(name string, perm fs.FileMode) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.root
	for _, part := range split(name) {
		child := n.names[part]
		if child == nil {
			child = newMemDir(perm.Perm(), c.now())
			c.group++
			c.link(n, part, child)
		}
		if !child.isDir() {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		n = child
	}
	return nil
}

// ReadDir implements FS.
func (c *Crashable) ReadDir(name string) ([]fs.DirEntry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.find("open", name)
	if err != nil {
		return nil, err
	}
	if !n.isDir() {
		return nil, pathError("readdir", name, syscall.ENOTDIR)
	}
	var out []fs.DirEntry
	for _, base := range slices.Sorted(maps.Keys(n.names)) {
		out = append(out, fs.FileInfoToDirEntry(n.names[base].info(base)))
	}
	return out, nil
}

// Stat implements FS.
func (c *Crashable) Stat(name string) (fs.FileInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.find("stat", name)
	if err != nil {
		return nil, err
	}
	return n.info(filepath.Base(name)), nil
}

// SyncDir implements FS.
func (c *Crashable) SyncDir(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.find("open", name)
	if err != nil {
		return err
	}
	if !n.isDir() {
		return pathError("fsync", name, syscall.ENOTDIR)
	}
	n.synced = maps.Clone(n.names)
	c.entries = slices.DeleteFunc(c.entries, func(ch entryChange) bool { return ch.dir == n })
	return nil
}

// memInfo is the fs.FileInfo of a node at the moment of the call.
type memInfo struct {
	name     string
	size     int64
	mode     fs.FileMode
	modified time.Time
}

func (n *memNode) info(name string) memInfo {
	return memInfo{name, int64(len(n.live)), n.perm, n.modified}
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return i.mode }
func (i memInfo) ModTime() time.Time { return i.modified }
func (i memInfo) IsDir() bool        { return i.mode.IsDir() }
func (i memInfo) Sys() any           { return nil }

func (n *memNode) truncate(size int64, at time.Time) {
	n.live = resize(n.live, size)
	n.pending = append(n.pending, fileChange{size: size})
	n.modified = at
}

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

func unwrapErrno(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
