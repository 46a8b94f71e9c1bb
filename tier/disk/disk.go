// Package disk is the seam between firn and the file system: the hot log does all its I/O through FS and
// File, so that tests can put a disk underneath that loses what was not synced. It owns no policy: what is
// written where and when it is synced is the caller's business.
package disk

import (
	"io/fs"
	"os"
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
	WriteAt(p []byte, off int64) (int, error)
	// WritevAt writes the buffers one after another from off with as few system calls as possible.
	WritevAt(bufs [][]byte, off int64) (int64, error)
	Truncate(size int64) error
	// Datasync makes content and length survive a power cut (fdatasync). After an error the state of the
	// content on disk is unknown: the caller must not retry and count on it.
	Datasync() error
	Size() (int64, error)
	Name() string
	Close() error
	// OS returns the descriptor to send from with sendfile(2), or nil where there is none (an in-memory disk);
	// a caller then copies with ReadAt.
	OS() *os.File
}

// Region is a byte range of an open file, to be sent to a client. Exactly one of File and Bytes is set.
type Region struct {
	File     File
	Position int64
	Length   int64
	Bytes    []byte
}
