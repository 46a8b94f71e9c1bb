package record

import (
	"errors"
	"fmt"
	"sync"
)

// DefaultMaxDecoded bounds in bytes what one batch may decompress to where nothing else is configured.
const DefaultMaxDecoded = 128 << 20

// RecordHeader is one header of a record (KIP-82). Keys may repeat. A nil Value is null.
type RecordHeader struct {
	Key   string
	Value []byte
}

// Record is one record of a batch. Offsets and timestamps are relative to the batch: see Header.Offset and
// Header.Timestamp. A nil Key or Value is null, which differs from empty.
type Record struct {
	Attributes     int8 // unused by Kafka
	TimestampDelta int64
	OffsetDelta    int32
	Key, Value     []byte
	Headers        []RecordHeader
}

// RecordError is the fault of one record of a batch. It wraps ErrInvalid.
type RecordError struct {
	Index int // the record's place in its batch, from 0
	Err   error
}

func (e *RecordError) Error() string { return fmt.Sprintf("record %d: %v", e.Index, e.Err) }

// Unwrap gives the fault itself.
func (e *RecordError) Unwrap() error { return e.Err }

// Records decodes the batch at batch[0:], which may have more bytes after it, and calls fn for each record with its
// place i, from 0. The *Record and all that it points to are valid only during the call. An error of fn ends the walk
// and is returned as it is.
//
// The header is held against what is inside: the number of records, offset deltas that rise and stay within the last
// offset delta, lengths that are consumed exactly. Records that a cleaner removed are no fault. The CRC is not
// verified here. Errors: those of the header's framing, ErrCodec, ErrCorrupt and ErrTooLarge of the decompression
// (beyond maxDecoded bytes), ErrInvalid, and *RecordError (an ErrInvalid) for the record at which it was seen.
func Records(batch []byte, maxDecoded int, fn func(i int, r *Record) error) error {
	return decode(batch, maxDecoded, false, fn)
}

// ValidateRecords decodes the batch at batch[0:] as Records does and in addition wants what a producer must send:
// offset deltas 0, 1, 2 … without a gap.
func ValidateRecords(batch []byte, maxDecoded int) error {
	return decode(batch, maxDecoded, true, nil)
}

// errStop ends a walk that found what it sought.
var errStop = errors.New("stop")

// FindTimestamp returns offset and timestamp of the first record in the batch with a timestamp >= ts (ms); ok is
// false if there is none. Errors are those of Records. With LogAppendTime nothing is decoded unless a cleaner thinned
// the batch.
func FindTimestamp(batch []byte, ts int64, maxDecoded int) (offset, timestamp int64, ok bool, err error) {
	h, err := frame(batch)
	if err != nil {
		return 0, 0, false, err
	}
	if h.TimestampType() == LogAppendTime {
		if h.MaxTimestamp < ts {
			return 0, 0, false, nil
		}
		if int64(h.Count) == int64(h.LastOffsetDelta)+1 {
			return h.BaseOffset, h.MaxTimestamp, true, nil
		}
	}
	err = Records(batch, maxDecoded, func(_ int, r *Record) error {
		if t := h.Timestamp(r); t >= ts {
			offset, timestamp, ok = h.Offset(r), t, true
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return offset, timestamp, ok, err
}

// MaxTimestampOffset returns the offset of the first record that carries the batch's MaxTimestamp. A batch that lies
// about its greatest timestamp, or cannot be decoded, is answered with its base offset: every reader, hot or cold, must
// give the same answer (I-18), and nobody can know better.
func MaxTimestampOffset(batch []byte, maxDecoded int) int64 {
	h, err := frame(batch)
	if err != nil {
		return -1
	}
	if off, _, ok, err := FindTimestamp(batch, h.MaxTimestamp, maxDecoded); ok && err == nil {
		return off
	}
	return h.BaseOffset
}

// decoder is what decoding one batch needs besides the batch; it is pooled so that decoding does not allocate.
type decoder struct {
	buf []byte // decompressed records
	r   Record
}

var decoders = sync.Pool{New: func() any { return new(decoder) }}

// maxPooled is the largest buffer that is kept for reuse; a rare giant must not stay for ever.
const maxPooled = 4 << 20

// decode is Records and, without fn, ValidateRecords.
func decode(batch []byte, maxDecoded int, strict bool, fn func(int, *Record) error) error {
	h, err := frame(batch)
	if err != nil {
		return err
	}
	if h.Count < 0 || h.LastOffsetDelta < 0 {
		return fmt.Errorf("%w: count %d, last offset delta %d", ErrInvalid, h.Count, h.LastOffsetDelta)
	}
	body := batch[HeaderSize:h.Size()]
	if h.Count == 0 && len(body) == 0 {
		return nil // a cleaner left the header only, and no frame of a codec
	}
	d := decoders.Get().(*decoder)
	defer d.release()
	if h.Codec() != None {
		if d.buf, err = Decompress(d.buf[:0], body, h.Codec(), maxDecoded); err != nil {
			return err
		}
		body = d.buf
	}
	return d.records(h, body, strict, fn)
}

func (d *decoder) release() {
	if cap(d.buf) > maxPooled {
		d.buf = nil
	}
	clear(d.r.Headers[:cap(d.r.Headers)]) // they point into the caller's batch
	d.r = Record{Headers: d.r.Headers[:0]}
	decoders.Put(d)
}

// records walks the uncompressed records of a batch with header h.
func (d *decoder) records(h Header, b []byte, strict bool, fn func(int, *Record) error) error {
	r := &d.r
	last := int32(-1)
	for i := range int(h.Count) {
		size, rest, ok := readVarint(b)
		if !ok || size < 0 || int(size) > len(rest) {
			return recordError(i, "length %d, %d bytes are left", size, len(rest))
		}
		if fault := r.parse(rest[:size], fn != nil); fault != "" {
			return recordError(i, "%s", fault)
		}
		b = rest[size:]
		switch {
		case strict && r.OffsetDelta != int32(i):
			return recordError(i, "offset delta %d", r.OffsetDelta)
		case r.OffsetDelta <= last:
			return recordError(i, "offset delta %d after %d", r.OffsetDelta, last)
		case r.OffsetDelta > h.LastOffsetDelta:
			return recordError(i, "offset delta %d, the batch's last is %d", r.OffsetDelta, h.LastOffsetDelta)
		}
		last = r.OffsetDelta
		if fn == nil {
			continue
		}
		if err := fn(i, r); err != nil {
			return err
		}
	}
	if len(b) > 0 {
		return fmt.Errorf("%w: %d bytes after the last of %d records", ErrInvalid, len(b), h.Count)
	}
	return nil
}

func recordError(i int, format string, args ...any) error {
	return &RecordError{Index: i, Err: fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)}
}

// parse decodes a record's body, which must be consumed exactly, and returns what is wrong, if anything. Headers are
// checked, and kept if asked for: a key costs an allocation.
func (r *Record) parse(b []byte, keepHeaders bool) (fault string) {
	if len(b) == 0 {
		return "no attributes"
	}
	r.Attributes = int8(b[0])
	var ok bool
	if r.TimestampDelta, b, ok = readVarlong(b[1:]); !ok {
		return "bad timestamp delta"
	}
	if r.OffsetDelta, b, ok = readVarint(b); !ok {
		return "bad offset delta"
	}
	if r.Key, b, ok = readBytes(b); !ok {
		return "key does not fit"
	}
	if r.Value, b, ok = readBytes(b); !ok {
		return "value does not fit"
	}
	n, b, ok := readVarint(b)
	// A header has at least two bytes: a count that cannot fit is refused before it is walked.
	if !ok || n < 0 || int(n) > len(b)/2 {
		return "bad number of headers"
	}
	r.Headers = r.Headers[:0]
	for range n {
		var key, value []byte
		if key, b, ok = readBytes(b); !ok || key == nil {
			return "header key does not fit"
		}
		if value, b, ok = readBytes(b); !ok {
			return "header value does not fit"
		}
		if keepHeaders {
			r.Headers = append(r.Headers, RecordHeader{Key: string(key), Value: value})
		}
	}
	if len(b) > 0 {
		return fmt.Sprintf("%d bytes too long", len(b))
	}
	return ""
}

// readBytes reads a length and that many bytes; length -1 is null.
func readBytes(b []byte) (v, rest []byte, ok bool) {
	n, b, ok := readVarint(b)
	switch {
	case !ok || n < -1 || int(n) > len(b):
		return nil, b, false
	case n == -1:
		return nil, b, true
	}
	return b[:n:n], b[n:], true
}
