// Package disk is the seam between firn and the file system: the hot log does all its I/O through FS and
// File, so that tests can put a disk underneath that loses what was not synced. It owns no policy: what is
// written where and when it is synced is the caller's business.
package disk

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// FS is a file system. All methods may be called concurrently. Errors are those of package os and satisfy
// errors.Is with fs.ErrNotExist and the like.
type FS interface {
	// OpenFile is os.OpenFile. A file that it creates survives a power cut only after SyncDir of its folder.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Rename replaces newName atomically; durable after SyncDir of both folders.
	Rename(oldName, newName string) error
	Remove(name string) error
	RemoveAll(name string) error
	MkdirAll(name string, perm fs.FileMode) error
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the folder's entries (files made, renamed, removed in it) survive a power cut.
	SyncDir(name string) error
}

// File is an open file. ReadAt and WriteAt may be called concurrently.
type File interface {
	ReadAt(p []byte, off int64) (int, error)
	// ReadNow is ReadAt that does not wait for the disk: the error is ErrWait, and p may be filled in part, where what it
	// reads is not in the page cache (preadv2 with RWF_NOWAIT). Linux begins to read it then. ErrWait may be the answer,
	// too, where the file ends within p. Where there is no such call it is ReadAt. The file must not be closed meanwhile.
	ReadNow(p []byte, off int64) (int, error)
	// Waits reports that ReadNow is known to be ReadAt, which its first call finds out.
	Waits() bool
	WriteAt(p []byte, off int64) (int, error)
	// WritevAt writes the buffers one after another from off with as few system calls as possible.
	WritevAt(bufs [][]byte, off int64) (int64, error)
	Truncate(size int64) error
	// Datasync makes content and length survive a power cut (fdatasync). After an error the state of the
	// content on disk is unknown: the caller must not retry and count on it.
	Datasync() error
	// WritevSync is WritevAt that returns when these bytes survive a power cut, and syncs nothing else of the file
	// (pwritev2 with RWF_DSYNC). The range must lie within a length that Datasync made durable: only content becomes
	// so. After an error some of the bytes may be written; the caller must not retry and count on them. Where there is no
	// such call the error is EOPNOTSUPP, ENOSYS or EINVAL, or what a filter of system calls says, mostly EPERM.
	WritevSync(bufs [][]byte, off int64) error
	// Writeback asks the disk to begin writing a range that Datasync is going to need, and does not wait
	// (sync_file_range). It makes nothing durable, and where there is no such call it does nothing.
	Writeback(off, length int64) error
	// Reserve takes room on the disk for a range that is going to be written, beyond the end of the file, too, whose length
	// stays (fallocate with FALLOC_FL_KEEP_SIZE). Truncate gives back what is beyond the end. Where there is no such call
	// it fails.
	Reserve(off, length int64) error
	Size() (int64, error)
	Name() string
	Close() error
	// OS returns the descriptor to send from with sendfile(2), or nil where there is none (an in-memory disk);
	// a caller then copies with ReadAt.
	OS() *os.File
}

// ErrWait says that a read would have to wait for the disk.
var ErrWait = errors.New("not in the page cache")

// Full reports whether an error says that the disk, or a quota on it, has no room.
func Full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// Unsupported reports whether a call failed because there is no such call here: in this kernel, on this file system, or
// past this sandbox's filter of system calls. Only where nothing else can be wrong with the call.
func Unsupported(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EPERM)
}

// Region is a byte range of an open file, to be sent to a client. Exactly one of File and Bytes is set.
type Region struct {
	File     File
	Position int64
	Length   int64
	Bytes    []byte
}
