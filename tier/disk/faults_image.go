//go:build faults

package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// open locks the image and restores the root from it, or makes the image.
func (d *faultsFS) open() error {
	for _, dir := range []string{d.root, filepath.Join(d.image, "inodes"), filepath.Join(d.image, "dirs")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := d.lockImage(); err != nil {
		return err
	}
	d.top = d.newNode(true) // id 1
	d.top.refs = 1
	_, err := os.Stat(d.table(d.top.id))
	if errors.Is(err, fs.ErrNotExist) {
		return d.adopt(d.top, d.root)
	}
	if err != nil {
		return err
	}
	if err := d.countIDs(); err != nil {
		return err
	}
	if err := removeBelow(d.root); err != nil {
		return err
	}
	if err := d.restore(d.top, d.top.id, d.root, map[uint64]bool{}); err != nil {
		return err
	}
	return d.sweep()
}

// adopt takes the folder as it lies there for synced. The root's table, which makes the image valid, is
// written last.
func (d *faultsFS) adopt(n *faultsNode, path string) error {
	list, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range list {
		child, name := d.newNode(e.IsDir()), filepath.Join(path, e.Name())
		n.names[e.Name()] = child
		if e.IsDir() {
			err = d.adopt(child, name)
		} else {
			err = copyFile(d.inode(child.id), name)
		}
		if err != nil {
			return err
		}
	}
	return d.syncDir(n)
}

// countIDs finds the largest id in the image, so that new nodes get others.
func (d *faultsFS) countIDs() error {
	for _, folder := range []string{"inodes", "dirs"} {
		list, err := os.ReadDir(filepath.Join(d.image, folder))
		if err != nil {
			return err
		}
		for _, e := range list {
			if id, err := strconv.ParseUint(e.Name(), 10, 64); err == nil {
				d.lastID = max(d.lastID, id)
			}
		}
	}
	return nil
}

// restore makes the folder n and all below it as table says. A node that two tables name, because only the new
// folder of a rename was synced, is there twice from now on; seen holds the ids that have their node already.
func (d *faultsFS) restore(n *faultsNode, table uint64, path string, seen map[uint64]bool) error {
	entries, err := d.readTable(table)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its name was synced, what was in it never
	}
	if err != nil {
		return err
	}
	changed := n.id != table
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		e, at := entries[name], filepath.Join(path, name)
		child := &faultsNode{id: e.id, linked: true, refs: 1, cut: -1}
		if seen[e.id] {
			d.lastID++
			child.id, changed = d.lastID, true
		}
		seen[e.id] = true
		n.names[name], n.synced[name] = child, child
		if e.dir {
			child.names, child.synced = map[string]*faultsNode{}, map[string]*faultsNode{}
			if err = os.Mkdir(at, 0o755); err == nil {
				err = d.restore(child, e.id, at, seen)
			}
		} else {
			err = d.restoreFile(child.id, e.id, at)
		}
		if err != nil {
			return err
		}
	}
	if changed {
		return d.writeTable(n)
	}
	return nil
}

// restoreFile makes the file at from the image from, which becomes that of the node id, too.
func (d *faultsFS) restoreFile(id, from uint64, at string) error {
	err := copyFile(at, d.inode(from))
	if errors.Is(err, fs.ErrNotExist) {
		return os.WriteFile(at, nil, 0o644) // its name was synced, its content never
	}
	if err == nil && id != from {
		err = copyFile(d.inode(id), at)
	}
	return err
}

// sweep deletes what the image holds of nodes that no table names.
func (d *faultsFS) sweep() error {
	files, dirs := map[string]bool{}, map[string]bool{}
	var mark func(n *faultsNode)
	mark = func(n *faultsNode) {
		if n.names == nil {
			files[fmt.Sprint(n.id)] = true
			return
		}
		dirs[fmt.Sprint(n.id)] = true
		for _, child := range n.names {
			mark(child)
		}
	}
	mark(d.top)
	for folder, known := range map[string]map[string]bool{"inodes": files, "dirs": dirs} {
		list, err := os.ReadDir(filepath.Join(d.image, folder))
		if err != nil {
			return err
		}
		for _, e := range list {
			if known[e.Name()] {
				continue
			}
			if err := os.Remove(filepath.Join(d.image, folder, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

type tableEntry struct {
	id  uint64
	dir bool
}

// writeTable writes a folder's names, one a line: "d" or "f", the id, the quoted name.
func (d *faultsFS) writeTable(n *faultsNode) error {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		child, kind := n.names[name], "f"
		if child.names != nil {
			kind = "d"
		}
		fmt.Fprintf(&b, "%s %d %q\n", kind, child.id, name)
	}
	tmp := d.table(n.id) + ".tmp"
	if err := os.WriteFile(tmp, b.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, d.table(n.id))
}

func (d *faultsFS) readTable(id uint64) (map[string]tableEntry, error) {
	b, err := os.ReadFile(d.table(id))
	if err != nil {
		return nil, err
	}
	out := map[string]tableEntry{}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		if len(f) != 3 {
			return nil, fmt.Errorf("%s: bad line %q", d.table(id), line)
		}
		child, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: bad line %q: %w", d.table(id), line, err)
		}
		name, err := strconv.Unquote(f[2])
		if err != nil {
			return nil, fmt.Errorf("%s: bad line %q: %w", d.table(id), line, err)
		}
		out[name] = tableEntry{child, f[0] == "d"}
	}
	return out, nil
}

func removeBelow(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies content, holes as holes, and modification time.
func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	if err := out.Truncate(st.Size()); err != nil {
		return err
	}
	for at := int64(0); at < st.Size(); {
		from, err := in.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // only a hole is left
		}
		if err != nil {
			return err
		}
		if at, err = in.Seek(from, unix.SEEK_HOLE); err != nil {
			return err
		}
		if err := copyRange(out, in, from, at); err != nil {
			return err
		}
	}
	return os.Chtimes(to, st.ModTime(), st.ModTime())
}

// copyRange copies the bytes [from, to), or as many of them as there are.
func copyRange(out, in *os.File, from, to int64) error {
	buf := make([]byte, min(max(0, to-from), 1<<20))
	for from < to {
		n, err := in.ReadAt(buf[:min(int64(len(buf)), to-from)], from)
		if n > 0 {
			if _, werr := out.WriteAt(buf[:n], from); werr != nil {
				return werr
			}
			from += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return nil // cut meanwhile; the cut is in the next Datasync
		}
		if err != nil {
			return err
		}
	}
	return nil
}
