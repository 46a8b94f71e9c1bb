package record

import "fmt"

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

// RecordError is the fault of one record of a batch.
type RecordError struct {
	Index int // the record's place in its batch, from 0
	Err   error
}

func (e *RecordError) Error() string { return fmt.Sprintf("record %d: %v", e.Index, e.Err) }

// Unwrap gives the fault itself.
func (e *RecordError) Unwrap() error { return e.Err }
