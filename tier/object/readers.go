package object

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
)

// castagnoli is the table of CRC-32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CRC32C of the first size bytes of r, for PutOptions.
func CRC32C(r io.ReaderAt, size int64) (uint32, error) {
	h := crc32.New(castagnoli)
	n, err := io.Copy(h, io.NewSectionReader(r, 0, size))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return h.Sum32(), err
}

// ReadAll gives length bytes of an object from off (-1: to its end, at most max bytes).
func ReadAll(ctx context.Context, s Store, key string, off, length, max int64) ([]byte, error) {
	if length > max {
		return nil, fmt.Errorf("read %s: %d bytes are more than the %d allowed", key, length, max)
	}
	r, err := s.Get(ctx, key, off, length)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if length >= 0 {
		b := make([]byte, length)
		if _, err := io.ReadFull(r, b); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("read %s: %w", key, err)
		}
		return b, nil
	}
	b, err := io.ReadAll(io.LimitReader(r, max+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if int64(len(b)) > max {
		return nil, fmt.Errorf("read %s: the object is longer than the %d bytes allowed", key, max)
	}
	return b, nil
}

// ExactReader gives exactly want bytes of r and then io.EOF; a body that ends earlier is io.ErrUnexpectedEOF.
// Stores wrap their bodies in it, so that a connection cut cleanly in the middle never passes for an end.
func ExactReader(r io.ReadCloser, want int64) io.ReadCloser { return &exactReader{r: r, left: want} }

type exactReader struct {
	r    io.ReadCloser
	left int64
}

func (e *exactReader) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > e.left {
		p = p[:e.left]
	}
	n, err := e.r.Read(p)
	e.left -= int64(n)
	switch {
	case e.left == 0 && n > 0:
		return n, nil
	case err == io.EOF:
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

func (e *exactReader) Close() error { return e.r.Close() }
