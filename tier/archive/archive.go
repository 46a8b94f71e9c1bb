// Package archive reads the small parts of archived objects, whole and verified: a segment's index and a fold.
// Uploader, cold reader and collector share it. It holds no state, caches nothing and does not read data.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/segment"
)

// ErrDamaged says that an object is there but is not what the ledger says. It names the object.
var ErrDamaged = errors.New("archived object is damaged")

// ErrMissing says that an object which the ledger names is not in the store. It names the object.
var ErrMissing = errors.New("archived object is missing from the store")

const (
	maxIndex = 256 << 20 // far beyond any index: a 64 GiB segment has 65,536 chunks of 60 bytes
	maxFold  = 256 << 20
	attempts = 3 // of a read whose bytes turn out bad: it may have been the network (I-25)
)

// Index fetches, with one ranged GET, and verifies the index of a segment that a ledger names.
func Index(ctx context.Context, s object.Store, seg ledger.Segment) (*segment.Index, error) {
	var ix *segment.Index
	err := verified(ctx, s, seg.Key, seg.Position+seg.Length-seg.IndexLength, seg.IndexLength, maxIndex, func(b []byte) (err error) {
		if ix, err = segment.ParseIndex(b, seg.Length); err != nil {
			return err
		}
		sum := ix.Summary()
		if sum.Base != seg.Base || sum.Next != seg.Next || sum.DataBytes != seg.DataBytes {
			return fmt.Errorf("it holds offsets %d to %d in %d bytes, the ledger says %d to %d in %d",
				sum.Base, sum.Next, sum.DataBytes, seg.Base, seg.Next, seg.DataBytes)
		}
		return nil
	})
	return ix, err
}

// Fold fetches and verifies the segments of a fold that a ledger names.
func Fold(ctx context.Context, s object.Store, ref ledger.FoldRef) ([]ledger.Segment, error) {
	var segs []ledger.Segment
	err := verified(ctx, s, ref.Key, 0, ref.Length, maxFold, func(b []byte) (err error) {
		segs, err = ledger.LoadFold(ref, b)
		return err
	})
	return segs, err
}

// verified reads a range and hands it to check, which may refuse it; then it is read again.
func verified(ctx context.Context, s object.Store, key string, off, length, limit int64, check func([]byte) error) error {
	if off < 0 || length <= 0 {
		return fmt.Errorf("%w: %s: the ledger names bytes %d to %d of it", ErrDamaged, key, off, off+length)
	}
	var last error
	for range attempts {
		b, err := object.ReadAll(ctx, s, key, off, length, limit)
		switch {
		case errors.Is(err, object.ErrNotExist):
			return fmt.Errorf("%w: %s", ErrMissing, key)
		case errors.Is(err, object.ErrRange):
			return fmt.Errorf("%w: %s is shorter than the ledger says: %w", ErrDamaged, key, err)
		case errors.Is(err, io.ErrUnexpectedEOF):
			last = err // the object may be shorter, or the store cut the body
			continue
		case err != nil:
			return err
		}
		if last = check(b); last == nil {
			return nil
		}
		if errors.Is(last, segment.ErrUnsupported) || errors.Is(last, ledger.ErrFoldVersion) {
			return fmt.Errorf("%s: %w", key, last)
		}
	}
	if errors.Is(last, io.ErrUnexpectedEOF) {
		if i, err := s.Head(ctx, key); err == nil && i.Size < off+length {
			return fmt.Errorf("%w: %s has %d bytes, the ledger names bytes up to %d", ErrDamaged, key, i.Size, off+length)
		}
		return last
	}
	return fmt.Errorf("%w: %s: %w", ErrDamaged, key, last)
}
