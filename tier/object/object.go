// Package object is the seam to object storage: what firn needs of S3, MinIO or a plain folder, and no more.
// Implementations live in one folder each; all pass the acceptance suite in objecttest.
package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Errors that implementations wrap so that callers can tell them apart with errors.Is.
var (
	ErrNotExist     = errors.New("no such object")
	ErrExists       = errors.New("object exists")              // a conditional Put lost
	ErrPrecondition = errors.New("object changed")             // IfMatch did not match
	ErrThrottled    = errors.New("object store throttles")     // back off and try again
	ErrDenied       = errors.New("access denied")              // wrong credentials or rights
	ErrNoBucket     = errors.New("no such bucket")             // the bucket (or folder) is missing
	ErrNoCondition  = errors.New("conditional put unknown")    // the store ignores or refuses If-None-Match
	ErrRange        = errors.New("range beyond the object")    // a Get that starts at or beyond the object's end
	ErrUnavailable  = errors.New("object store not available") // unreachable, timed out or failing (5xx): try again
	ErrChecksum     = errors.New("checksum differs")           // the body that arrived is not the one that was sent
)

// Info describes one object.
type Info struct {
	Key  string
	Size int64
	// ETag is an opaque tag of the content, to be given to IfMatch. Put and Head fill it, List need not.
	ETag         string
	LastModified time.Time // by the store's clock
	// CRC32C of the content, where the store keeps one (HasCRC32C): Put and Head fill it, List does not.
	CRC32C    uint32
	HasCRC32C bool
}

// PutOptions qualify a Put.
type PutOptions struct {
	// IfNoneMatch makes the Put fail with ErrExists when the key is taken.
	IfNoneMatch bool
	// IfMatch makes the Put fail with ErrPrecondition unless the object's ETag is this one.
	IfMatch string
	// CRC32C of the whole body (Castagnoli), checked by the store where it can. Zero value with
	// HasCRC32C false means none.
	CRC32C    uint32
	HasCRC32C bool
}

// Store is one bucket (and prefix) of an object store. All methods may be called concurrently, honour ctx
// and return wrapped errors that name the operation and key. Keys are slash-separated, relative to the
// store's prefix.
type Store interface {
	// Put stores size bytes read from body (large bodies go up in parts). When it returns nil the object is
	// complete and durable; on error it may or may not exist.
	Put(ctx context.Context, key string, body io.ReaderAt, size int64, o PutOptions) (Info, error)
	// Get opens length bytes from off; length -1 means to the end. The reader gives exactly length bytes (or all
	// to the end), or an error: io.ErrUnexpectedEOF when the store sends fewer bytes than asked or announced.
	// A range that starts at or beyond the end is ErrRange, but for (0, -1) of an empty object. Length 0 gives
	// an empty reader and may not ask the store at all. Not every store checks bytes: use a checksum of your own.
	Get(ctx context.Context, key string, off, length int64) (io.ReadCloser, error)
	Head(ctx context.Context, key string) (Info, error)
	// List calls fn for each object whose key begins with prefix and is greater than after, in key order,
	// until fn returns an error, which List returns (ErrStop ends it without one).
	List(ctx context.Context, prefix, after string, fn func(Info) error) error
	// Delete removes keys, any number of them; a key that is not there counts as removed. The error is a
	// *DeleteError when some keys remain.
	Delete(ctx context.Context, keys []string) error
	// Now is the store's clock, from a response header where there is one.
	Now(ctx context.Context) (time.Time, error)
	// URL names the store without credentials, for logs and sentences.
	URL() string
}

// ErrStop ends a List early without an error.
var ErrStop = errors.New("stop listing")

// DeleteError says which keys of a bulk delete remain, and why.
type DeleteError struct{ Failed map[string]error }

func (e *DeleteError) Error() string {
	if len(e.Failed) == 0 {
		return "delete: no key failed"
	}
	first := slices.Min(slices.Collect(maps.Keys(e.Failed)))
	text := e.Failed[first].Error()
	if !strings.Contains(text, first) {
		text = "delete " + first + ": " + text
	}
	if n := len(e.Failed) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more keys)", n)
	}
	return text
}

// Unwrap gives the causes, so that errors.Is(err, ErrThrottled) works.
func (e *DeleteError) Unwrap() []error {
	errs := make([]error, 0, len(e.Failed))
	for _, err := range e.Failed {
		errs = append(errs, err)
	}
	return errs
}
