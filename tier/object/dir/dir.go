// Package dir is the object store in a plain folder: the default of a single machine, and what tests use. It owns
// the folder that it is given: objects are files of the same names, byte for byte, so that a person can look at
// them and copy them; what starts with a dot belongs to the store (".firn": its lock, its clock, and files that are
// being written).
//
// Invariants: a file under its final name is whole and durable before Put returns, whatever is killed when; a
// conditional Put has one winner, also between processes; no key reaches outside the folder.
//
// It deliberately does not cache, verify what it reads back (callers have checksums of their own), or share the
// folder with anything that writes to it by other means.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/firnlog/firn/tier/object"
)

const (
	privateName = ".firn" // escape never gives a name that starts with a dot
	lockName    = "lock"
	clockName   = "clock"
	tempName    = "tmp"
)

// Store is a folder as an object.Store.
type Store struct {
	root string
	sync syncer

	// mu, together with a flock on lock for other processes, is held while names change (link, rename, unlink,
	// mkdir, rmdir) and never while a body is written or synced.
	mu   sync.Mutex
	lock *os.File
	// durable are folders that are known to survive a power cut; guarded by mu.
	durable map[string]bool

	clockMu sync.Mutex // one touch of the clock file at a time

	readOnly bool // nothing in the folder is made, changed or locked
}

var _ object.Store = (*Store)(nil)

// syncer is what makes things durable; tests put one here that counts.
type syncer struct {
	file   func(f *os.File) error
	folder func(path string) error
}

// Open gives the store in the folder root, making it if need be, and removes what a killed process left half
// written. Several stores and processes may use one folder at a time.
func Open(root string) (*Store, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("store folder: %w", err)
	}
	s := &Store{root: root, sync: syncer{file: (*os.File).Sync, folder: syncFolder}, durable: map[string]bool{}}
	if err := s.makeFolders(filepath.Join(root, privateName, tempName)); err != nil {
		return nil, openError(root, err)
	}
	s.lock, err = os.OpenFile(filepath.Join(root, privateName, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, openError(root, err)
	}
	if err := s.removeLeftovers(); err != nil {
		s.lock.Close()
		return nil, openError(root, err)
	}
	return s, nil
}

// OpenReadOnly gives the store in a folder that is there already, for looking at it: nothing is made, locked or
// touched, so it serves any part of a store's folder too, such as that of one partition. Put, Delete and Now are
// refused with ErrDenied. The error is ErrNoBucket when there is no such folder.
func OpenReadOnly(root string) (*Store, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("store folder: %w", err)
	}
	switch fi, err := os.Stat(root); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("store folder %s: %w: no such folder", root, object.ErrNoBucket)
	case err != nil:
		return nil, readError(root, err)
	case !fi.IsDir():
		return nil, readError(root, errNotFolder)
	}
	return &Store{root: root, readOnly: true}, nil
}

func readError(root string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("store folder %s: %w: let this user read there (%w)", root, object.ErrDenied, err)
	}
	return openError(root, err)
}

// writable refuses what a store that was opened for reading only does not do.
func (s *Store) writable(op string) error {
	if s.readOnly {
		return fmt.Errorf("%s: %w: %s was opened for reading only", op, object.ErrDenied, s.root)
	}
	return nil
}

// anchor is what is there for as long as the store is: its private folder, which an unmounted disk's mount point
// lacks, or, for a store that is only read, the folder itself.
func (s *Store) anchor() string {
	if s.readOnly {
		return s.root
	}
	return filepath.Join(s.root, privateName)
}

func openError(root string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("store folder %s: %w: let this user write there (%w)", root, object.ErrDenied, err)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("store folder %s: %w: a file stands where the folder should be (%w)", root, object.ErrNoBucket, err)
	}
	return fmt.Errorf("store folder %s: %w", root, err)
}

// Close lets go of the lock file; the store must not be in use.
func (s *Store) Close() error {
	if s.readOnly {
		return nil
	}
	return s.lock.Close()
}

// URL is dir:// and the folder.
func (s *Store) URL() string { return (&url.URL{Scheme: "dir", Path: s.root}).String() }

// locked runs fn while no other Put or Delete changes names, in this process or another.
func (s *Store) locked(fn func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := flock(s.lock, syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	err := fn()
	if unlocked := flock(s.lock, syscall.LOCK_UN); err == nil && unlocked != nil {
		err = fmt.Errorf("unlock: %w", unlocked)
	}
	return err
}

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); err != syscall.EINTR {
			return err
		}
	}
}

// Head reads the whole object to make its ETag, which is a hash of the content.
func (s *Store) Head(ctx context.Context, key string) (object.Info, error) {
	if err := object.CheckKey(key); err != nil {
		return object.Info{}, fmt.Errorf("head: %w", err)
	}
	info, err := s.stat(ctx, key)
	if err != nil {
		return object.Info{}, s.failed("head", key, err)
	}
	return info, nil
}

func (s *Store) stat(ctx context.Context, key string) (object.Info, error) {
	f, fi, err := s.openKey(key)
	if err != nil {
		return object.Info{}, err
	}
	defer f.Close()
	sum, err := hashFile(ctx, f, fi.Size())
	if err != nil {
		return object.Info{}, err
	}
	return object.Info{Key: key, Size: fi.Size(), ETag: sum.etag(), LastModified: fi.ModTime(), CRC32C: sum.crc, HasCRC32C: true}, nil
}

// Get opens a range; the bytes come from the file as it was, even if it is replaced or deleted meanwhile.
func (s *Store) Get(ctx context.Context, key string, off, length int64) (io.ReadCloser, error) {
	if err := object.CheckKey(key); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	if off < 0 || length < -1 {
		return nil, fmt.Errorf("get %s: range %d, %d is negative", key, off, length)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	f, fi, err := s.openKey(key)
	if err != nil {
		return nil, s.failed("get", key, err)
	}
	size := fi.Size()
	if length != 0 && off >= size && !(off == 0 && length == -1) {
		f.Close()
		return nil, fmt.Errorf("get %s from %d: %w of %d bytes", key, off, object.ErrRange, size)
	}
	if length == -1 {
		length = size - off
	}
	return object.ExactReader(&section{ctx: ctx, Reader: io.NewSectionReader(f, off, length), f: f}, length), nil
}

type section struct {
	ctx context.Context
	io.Reader
	f *os.File
}

func (r *section) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

func (r *section) Close() error { return r.f.Close() }

// openKey opens the file of a key; a folder is no object.
func (s *Store) openKey(key string) (*os.File, fs.FileInfo, error) {
	f, err := os.Open(s.path(key))
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, fi, nil
}

// Now is the clock of the file system, which may be another machine's: a file is touched and looked at.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	if err := s.writable("read the clock"); err != nil {
		return time.Time{}, err
	}
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	f, err := os.OpenFile(filepath.Join(s.root, privateName, clockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return time.Time{}, s.failed("read the clock of", s.root, err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{'\n'}, 0); err != nil {
		return time.Time{}, s.failed("read the clock of", s.root, err)
	}
	fi, err := f.Stat()
	if err != nil {
		return time.Time{}, s.failed("read the clock of", s.root, err)
	}
	return fi.ModTime(), nil
}

// failed puts the error of an operation into the words of the seam.
func (s *Store) failed(op, key string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		if _, gone := os.Stat(s.anchor()); gone != nil {
			return fmt.Errorf("%s %s: %w: the folder %s is gone", op, key, object.ErrNoBucket, s.root)
		}
		return fmt.Errorf("%s %s: %w", op, key, object.ErrNotExist)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s %s: %w: %w", op, key, object.ErrDenied, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EIO):
		// Somebody makes room or mends the disk, and the same call succeeds.
		return fmt.Errorf("%s %s: %w: %w", op, key, object.ErrUnavailable, err)
	}
	return fmt.Errorf("%s %s: %w", op, key, err)
}
