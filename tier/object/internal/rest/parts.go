package rest

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firnlog/firn/tier/object"
)

// Parts says how large bodies go up. Zero fields mean defaults.
type Parts struct {
	// Bodies larger than Above go up in parts; 0: 96 MiB, so that an archived segment of the usual size is one request
	// instead of seven, and its bytes are not read once more for the checksums of parts.
	Above    int64
	Size     int64 // of a part, at least 5 MiB for S3; 0: 16 MiB
	Parallel int   // parts at a time; 0: 4
}

// WithDefaults fills in what is zero.
func (p Parts) WithDefaults() Parts {
	if p.Above <= 0 {
		p.Above = 96 << 20
	}
	if p.Size <= 0 {
		p.Size = 16 << 20
	}
	if p.Parallel <= 0 {
		p.Parallel = 4
	}
	return p
}

// maxParts is S3's limit.
const maxParts = 10_000

// Part is a piece of a body.
type Part struct {
	Number int // from 1
	Offset int64
	Size   int64
	CRC32C uint32
}

// Split cuts size bytes into at most 10,000 parts, all but the last of one size.
func (p Parts) Split(size int64) []Part {
	each := max(p.Size, (size+maxParts-1)/maxParts)
	parts := make([]Part, 0, (size+each-1)/each)
	for off := int64(0); off < size; off += each {
		parts = append(parts, Part{Number: len(parts) + 1, Offset: off, Size: min(each, size-off)})
	}
	return parts
}

// Upload is a multipart upload that has begun.
type Upload[T any] struct {
	// Send puts one part up and gives what completing needs of it. It may be called in parallel.
	Send func(ctx context.Context, p Part, body *io.SectionReader) (T, error)
	// Complete makes the object of the parts, in order.
	Complete func(ctx context.Context, parts []T) (object.Info, error)
	// Abort frees what was stored.
	Abort func(ctx context.Context) error
}

// abortTimeout bounds the clean-up of an upload that failed; parts that stay are for the bucket's lifecycle rule.
const abortTimeout = 30 * time.Second

// Run sends the parts, a few in parallel, straight from body: no part is held in memory. When anything fails, or
// ctx ends, the upload is aborted.
func (u Upload[T]) Run(ctx context.Context, p Parts, body io.ReaderAt, size int64) (object.Info, error) {
	parts := p.Split(size)
	sent := make([]T, len(parts))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(p.Parallel)
	for i, part := range parts {
		g.Go(func() error {
			crc, err := object.CRC32C(io.NewSectionReader(body, part.Offset, part.Size), part.Size)
			if err != nil {
				return fmt.Errorf("read the body: %w", err)
			}
			part.CRC32C = crc
			sent[i], err = u.Send(gctx, part, io.NewSectionReader(body, part.Offset, part.Size))
			return err
		})
	}
	err := g.Wait()
	var info object.Info
	if err == nil {
		info, err = u.Complete(ctx, sent)
	}
	if err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
		defer cancel()
		if aborted := u.Abort(clean); aborted != nil && !errors.Is(aborted, ErrNoUpload) {
			err = fmt.Errorf("%w (and its parts could not be removed: %s)", err, aborted.Error())
		}
		return object.Info{}, err
	}
	return info, nil
}

// Checksum is a CRC-32C as S3 writes it: base64 of the big-endian bytes.
func Checksum(crc uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}

// ParseChecksum is the inverse of Checksum. A composite one, of a multipart object, is not the body's: ok is false.
func ParseChecksum(s string) (crc uint32, ok bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b), true
}

// deleteBatch is S3's limit of keys in one bulk delete.
const deleteBatch = 1000

// Delete removes any number of keys in batches. send removes one batch and gives the errors of keys that remain, or
// an error for the whole batch. A batch that is throttled, wholly or for one key, ends the run: sending the
// next would be the opposite of what the store asks for (I-20). What was not tried is reported as throttled, so that
// the caller comes back for it later.
func Delete(ctx context.Context, keys []string, send func(ctx context.Context, batch []string) (map[string]error, error)) error {
	failed := map[string]error{}
	for len(keys) > 0 {
		batch := keys[:min(deleteBatch, len(keys))]
		keys = keys[len(batch):]
		some, err := send(ctx, batch)
		if err != nil {
			some = make(map[string]error, len(batch))
			for _, k := range batch {
				some[k] = err
			}
		}
		var stop error
		for k, e := range some {
			failed[k] = e
			if object.Retriable(e) || ctx.Err() != nil {
				stop = e
			}
		}
		if stop != nil {
			for _, k := range keys {
				failed[k] = fmt.Errorf("delete %s: not tried: %w", k, stop)
			}
			break
		}
	}
	if len(failed) > 0 {
		return &object.DeleteError{Failed: failed}
	}
	return nil
}

// DeleteAnswer collects what a service says about the keys of one bulk delete.
type DeleteAnswer struct {
	open   map[string]bool
	failed map[string]error
}

// NewDeleteAnswer waits for word about each of keys.
func NewDeleteAnswer(keys []string) *DeleteAnswer {
	a := &DeleteAnswer{open: make(map[string]bool, len(keys)), failed: map[string]error{}}
	for _, k := range keys {
		a.open[k] = true
	}
	return a
}

// Deleted notes that key is gone.
func (a *DeleteAnswer) Deleted(key string) { delete(a.open, key) }

// Failed notes the error of one key. One that was not there counts as removed.
func (a *DeleteAnswer) Failed(ctx context.Context, key, code, message string) {
	delete(a.open, key)
	err := Failure(ctx, "delete", key, Unconditional, Answer{Code: code, Message: message, Err: fmt.Errorf("%s: %s", code, message)})
	if !errors.Is(err, object.ErrNotExist) {
		a.failed[key] = err
	}
}

// Remaining gives the keys that may still be there: those that failed, and those of which nothing was said.
func (a *DeleteAnswer) Remaining() map[string]error {
	for k := range a.open {
		a.failed[k] = fmt.Errorf("delete %s: %w: the answer does not mention it", k, object.ErrUnavailable)
	}
	return a.failed
}
