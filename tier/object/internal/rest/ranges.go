package rest

import (
	"bytes"
	"fmt"
	"io"
)

// CheckRange refuses ranges that make no sense.
func CheckRange(key string, off, length int64) error {
	if off < 0 || length < -1 {
		return fmt.Errorf("get %s: range %d, %d is negative", key, off, length)
	}
	return nil
}

// RangeHeader is the Range of a GET, "" for the whole object. Length 0 has none: see Empty.
func RangeHeader(off, length int64) string {
	switch {
	case length == -1 && off == 0:
		return ""
	case length == -1:
		return fmt.Sprintf("bytes=%d-", off)
	}
	return fmt.Sprintf("bytes=%d-%d", off, off+length-1)
}

// Empty is the body of a range of length 0, which HTTP cannot express.
func Empty() io.ReadCloser { return io.NopCloser(bytes.NewReader(nil)) }
