package dir

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cespare/xxhash/v2"

	"github.com/firnlog/firn/tier/object"
)

var (
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
	errNotFolder = syscall.ENOTDIR
)

// sum identifies content. Two hashes and the length, so that IfMatch does not mistake one content for another;
// neither is meant to stand against somebody who tries.
type sum struct {
	size int64
	crc  uint32
	xx   uint64
}

func (s sum) etag() string { return fmt.Sprintf("%x-%08x-%016x", s.size, s.crc, s.xx) }

const copyBuffer = 256 << 10

// copySum copies size bytes of src to dst (or only hashes them, with dst nil).
func copySum(ctx context.Context, dst io.Writer, src io.ReaderAt, size int64) (sum, error) {
	crc, xx := uint32(0), xxhash.New()
	buf := make([]byte, min(copyBuffer, max(size, 1)))
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return sum{}, err
		}
		p := buf[:min(int64(len(buf)), size-off)]
		n, err := src.ReadAt(p, off)
		if n < len(p) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return sum{}, fmt.Errorf("body ends at %d of %d bytes: %w", off+int64(n), size, err)
		}
		crc = crc32.Update(crc, castagnoli, p)
		_, _ = xx.Write(p) // never fails
		if dst != nil {
			if _, err := dst.Write(p); err != nil {
				return sum{}, err
			}
		}
		off += int64(n)
	}
	return sum{size: size, crc: crc, xx: xx.Sum64()}, nil
}

func hashFile(ctx context.Context, f *os.File, size int64) (sum, error) {
	return copySum(ctx, nil, f, size)
}

// Put writes a temporary file, syncs it, gives it its name in one step and syncs the folder.
func (s *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o object.PutOptions) (object.Info, error) {
	if err := object.CheckKey(key); err != nil {
		return object.Info{}, fmt.Errorf("put: %w", err)
	}
	if o.IfNoneMatch && o.IfMatch != "" {
		return object.Info{}, fmt.Errorf("put %s: IfNoneMatch and IfMatch exclude each other", key)
	}
	if err := s.writable("put " + key); err != nil {
		return object.Info{}, err
	}
	info, err := s.put(ctx, key, body, size, o)
	if err != nil {
		return object.Info{}, s.failed("put", key, err)
	}
	return info, nil
}

func (s *Store) put(ctx context.Context, key string, body io.ReaderAt, size int64, o object.PutOptions) (object.Info, error) {
	// The temporary file keeps its lock until it is closed: so a process that starts tells a file that is being
	// written from one that a killed process left.
	tmp, err := os.CreateTemp(filepath.Join(s.root, privateName, tempName), "put-")
	if err != nil {
		return object.Info{}, err
	}
	defer tmp.Close()
	defer os.Remove(tmp.Name()) // after a rename there is nothing left to remove
	if err := flock(tmp, syscall.LOCK_EX); err != nil {
		return object.Info{}, err
	}
	got, err := copySum(ctx, tmp, body, size)
	if err != nil {
		return object.Info{}, err
	}
	if o.HasCRC32C && got.crc != o.CRC32C {
		return object.Info{}, fmt.Errorf("%w: the body has CRC-32C %08x, announced was %08x", object.ErrChecksum, got.crc, o.CRC32C)
	}
	if err := tmp.Chmod(0o644); err != nil {
		return object.Info{}, err
	}
	if err := s.sync.file(tmp); err != nil {
		return object.Info{}, fmt.Errorf("sync: %w", err)
	}
	fi, err := tmp.Stat()
	if err != nil {
		return object.Info{}, err
	}
	path := s.path(key)
	if err := s.locked(func() error { return s.name(ctx, key, tmp.Name(), path, o) }); err != nil {
		return object.Info{}, err
	}
	if err := s.sync.folder(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return object.Info{}, err // not there: a Delete has already removed object and folder
	}
	return object.Info{Key: key, Size: size, ETag: got.etag(), LastModified: fi.ModTime(), CRC32C: got.crc, HasCRC32C: true}, nil
}

// name gives the written file its final name if the conditions hold. The store is locked.
func (s *Store) name(ctx context.Context, key, tmp, path string, o object.PutOptions) error {
	if _, err := os.Stat(s.anchor()); err != nil {
		return err // the folder is gone, or an unmounted disk's mount point: do not make it anew
	}
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		return fmt.Errorf("other keys begin with this one and a slash; a folder cannot hold both")
	}
	if o.IfMatch != "" {
		info, err := s.stat(ctx, key)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
			return object.ErrPrecondition
		case err != nil:
			return err
		case info.ETag != o.IfMatch:
			return object.ErrPrecondition
		}
	}
	if err := s.makeFolders(filepath.Dir(path)); err != nil {
		return err
	}
	if !o.IfNoneMatch {
		return os.Rename(tmp, path)
	}
	// Not rename: link fails when the name is taken, whoever took it.
	err := os.Link(tmp, path)
	if errors.Is(err, fs.ErrExist) {
		return object.ErrExists
	}
	return err
}

// removeLeftovers removes temporary files that nobody holds locked.
func (s *Store) removeLeftovers() error {
	folder := filepath.Join(s.root, privateName, tempName)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := removeUnlessHeld(filepath.Join(folder, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func removeUnlessHeld(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil
		}
		return err
	}
	return os.Remove(path)
}
