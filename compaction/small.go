package compaction

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/firnlog/firn/tier/object"
)

// Owner, markers and recorded reasons are small objects that a person can read: a line of JSON with a format number,
// and a line with the CRC-32C of the first, because what decides over deletion is not taken from a body that a
// network may have bent (I-25).

const (
	formatNumber = 1
	maxSmall     = 64 << 20
	smallReads   = 5 // before bad content is believed
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// EncodeSmall gives the body of a small object.
func EncodeSmall(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	return fmt.Appendf(b, "crc32c %08x\n", crc32.Checksum(b, castagnoli)), nil
}

// DecodeSmall reads what EncodeSmall wrote. The error is the second half of a sentence.
func DecodeSmall(b []byte, v any) error {
	end := bytes.IndexByte(b, '\n') + 1
	if string(b[end:]) != fmt.Sprintf("crc32c %08x\n", crc32.Checksum(b[:end], castagnoli)) {
		return errors.New("is damaged: its checksum is wrong")
	}
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b[:end], &head); err != nil {
		return fmt.Errorf("cannot be understood: %w", err)
	}
	if head.Format != formatNumber {
		return fmt.Errorf("has format %d, this firn knows %d", head.Format, formatNumber)
	}
	if err := json.Unmarshal(b[:end], v); err != nil {
		return fmt.Errorf("cannot be understood: %w", err)
	}
	return nil
}

// putSmall stores a small object.
func (c *Collector) putSmall(ctx context.Context, key string, v any, o object.PutOptions) error {
	b, err := EncodeSmall(v)
	if err != nil {
		return err
	}
	o.CRC32C, o.HasCRC32C = crc32.Checksum(b, castagnoli), true
	_, err = c.o.Store.Put(ctx, key, bytes.NewReader(b), int64(len(b)), o)
	return err
}

// getSmall reads a small object, several times if what comes is bad; bad is set when it stays so.
func (c *Collector) getSmall(ctx context.Context, key string, v any, bad *string) (found bool, err error) {
	for range smallReads {
		b, err := object.ReadAll(ctx, c.o.Store, key, 0, -1, maxSmall)
		switch {
		case errors.Is(err, object.ErrNotExist):
			return false, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			continue
		case err != nil:
			return false, err
		}
		if err := DecodeSmall(b, v); err != nil {
			*bad = fmt.Sprintf("%s in it %v", key, err)
			continue
		}
		*bad = ""
		return true, nil
	}
	if *bad == "" {
		return false, fmt.Errorf("read %s: %w", key, io.ErrUnexpectedEOF)
	}
	return true, nil
}
