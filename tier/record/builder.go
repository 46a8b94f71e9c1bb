package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Builder puts records together into one batch. For the command line, internal topics and tests: what clients send
// is never built anew. The setters may be called at any time before Build and return the Builder for chaining. Not for
// concurrent use. It panics on nothing; whoever builds more than 2^31-1 records or bytes gets nonsense.
type Builder struct {
	codec   Codec
	records []byte
	h       Header
	scratch []byte
}

// NewBuilder starts an empty batch: CreateTime, no producer, leader epoch -1. An unknown codec builds None.
func NewBuilder(codec Codec) *Builder {
	if !codec.Known() {
		codec = None
	}
	return &Builder{codec: codec, h: Header{
		LeaderEpoch: -1, Magic: Magic, LastOffsetDelta: -1, BaseTimestamp: NoTimestamp, MaxTimestamp: NoTimestamp,
		ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1,
	}}
}

// Append adds a record at the next offset. timestamp is in ms, -1 for none; a nil key or value is null.
func (b *Builder) Append(timestamp int64, key, value []byte, headers []RecordHeader) *Builder {
	return b.AppendAt(b.h.LastOffsetDelta+1, timestamp, key, value, headers)
}

// AppendAt is Append at an offset delta of one's choice, above the last one, as a cleaner needs that thins a batch.
func (b *Builder) AppendAt(delta int32, timestamp int64, key, value []byte, headers []RecordHeader) *Builder {
	if b.h.Count == 0 {
		b.h.BaseTimestamp = timestamp
	}
	b.h.Count++
	b.h.LastOffsetDelta = delta
	b.h.MaxTimestamp = max(b.h.MaxTimestamp, timestamp)
	b.scratch = appendRecord(b.scratch[:0], &Record{
		TimestampDelta: timestamp - b.h.BaseTimestamp, OffsetDelta: delta, Key: key, Value: value, Headers: headers,
	})
	b.records = appendVarint(b.records, int64(len(b.scratch)))
	b.records = append(b.records, b.scratch...)
	return b
}

// appendRecord writes a record's body, without the length before it.
func appendRecord(dst []byte, r *Record) []byte {
	dst = append(dst, byte(r.Attributes))
	dst = appendVarint(dst, r.TimestampDelta)
	dst = appendVarint(dst, int64(r.OffsetDelta))
	dst = appendBytes(dst, r.Key)
	dst = appendBytes(dst, r.Value)
	dst = appendVarint(dst, int64(len(r.Headers)))
	for _, h := range r.Headers {
		dst = appendVarint(dst, int64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendBytes(dst, h.Value)
	}
	return dst
}

func appendBytes(dst, v []byte) []byte {
	if v == nil {
		return appendVarint(dst, -1)
	}
	return append(appendVarint(dst, int64(len(v))), v...)
}

// Producer names the idempotent producer and the sequence of the first record.
func (b *Builder) Producer(id int64, epoch int16, baseSequence int32) *Builder {
	b.h.ProducerID, b.h.ProducerEpoch, b.h.BaseSequence = id, epoch, baseSequence
	return b
}

// Transactional marks the batch as part of a transaction; it needs a Producer.
func (b *Builder) Transactional() *Builder {
	b.h.Attributes |= attrTransactional
	return b
}

// Control marks the batch as one of control records; see EndTxnMarker.
func (b *Builder) Control() *Builder {
	b.h.Attributes |= attrControl
	return b
}

// LeaderEpoch sets the epoch that Stamp would.
func (b *Builder) LeaderEpoch(epoch int32) *Builder {
	b.h.LeaderEpoch = epoch
	return b
}

// LastOffsetDelta sets the last offset delta where a cleaner removed the last records.
func (b *Builder) LastOffsetDelta(delta int32) *Builder {
	b.h.LastOffsetDelta = delta
	return b
}

// Build returns the batch with the base offset given. The Builder may go on and build a longer one. Without a record it
// is the empty batch that a cleaner leaves (last offset delta 0 unless set).
func (b *Builder) Build(base int64) []byte {
	out := make([]byte, HeaderSize, HeaderSize+len(b.records))
	out, err := Compress(out, b.records, b.codec)
	must(err) // the codec is known
	h := b.h
	h.BaseOffset = base
	h.LastOffsetDelta = max(h.LastOffsetDelta, 0)
	h.Attributes |= int16(b.codec)
	h.Length = int32(len(out) - lengthEnd)
	putHeader(out, h)
	h.CRC = crc32.Checksum(out[posAttributes:], castagnoli)
	binary.BigEndian.PutUint32(out[posCRC:], h.CRC)
	return out
}

func putHeader(b []byte, h Header) {
	_ = b[HeaderSize-1]
	be := binary.BigEndian
	be.PutUint64(b, uint64(h.BaseOffset))
	be.PutUint32(b[posLength:], uint32(h.Length))
	be.PutUint32(b[posLeaderEpoch:], uint32(h.LeaderEpoch))
	b[posMagic] = byte(h.Magic)
	be.PutUint32(b[posCRC:], h.CRC)
	be.PutUint16(b[posAttributes:], uint16(h.Attributes))
	be.PutUint32(b[posLastOffsetDelta:], uint32(h.LastOffsetDelta))
	be.PutUint64(b[posBaseTimestamp:], uint64(h.BaseTimestamp))
	be.PutUint64(b[posMaxTimestamp:], uint64(h.MaxTimestamp))
	be.PutUint64(b[posProducerID:], uint64(h.ProducerID))
	be.PutUint16(b[posProducerEpoch:], uint16(h.ProducerEpoch))
	be.PutUint32(b[posBaseSequence:], uint32(h.BaseSequence))
	be.PutUint32(b[posCount:], uint32(h.Count))
}

// ControlType is what a control record means (Kafka's ControlRecordType).
type ControlType int16

// The control records that concern clients.
const (
	ControlAbort  ControlType = 0 // the producer's transaction was aborted
	ControlCommit ControlType = 1 // it was committed
)

// String gives the marker's name as Kafka's DumpLogSegments prints it.
func (t ControlType) String() string {
	switch t {
	case ControlAbort:
		return "ABORT"
	case ControlCommit:
		return "COMMIT"
	}
	return fmt.Sprintf("control type %d", int16(t))
}

// EndTxnMarker builds the control batch of one record that ends a transaction of the producer: timestamp in ms,
// coordinatorEpoch of the transaction coordinator that wrote it (Kafka's EndTransactionMarker).
func EndTxnMarker(base, timestamp, producerID int64, producerEpoch int16, t ControlType, coordinatorEpoch int32) []byte {
	key := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(t))
	value := binary.BigEndian.AppendUint32([]byte{0, 0}, uint32(coordinatorEpoch))
	return NewBuilder(None).Producer(producerID, producerEpoch, -1).Transactional().Control().
		Append(timestamp, key, value, nil).Build(base)
}

// ParseControl reads a record of a control batch: the type, which may be one that firn does not know, and for abort and
// commit the coordinator epoch (-1 otherwise).
func ParseControl(r *Record) (t ControlType, coordinatorEpoch int32, err error) {
	if len(r.Key) < 4 {
		return 0, -1, fmt.Errorf("%w: control key of %d bytes", ErrInvalid, len(r.Key))
	}
	t = ControlType(binary.BigEndian.Uint16(r.Key[2:]))
	if t != ControlAbort && t != ControlCommit {
		return t, -1, nil
	}
	if len(r.Value) < 6 {
		return t, -1, fmt.Errorf("%w: %s marker with a value of %d bytes", ErrInvalid, t, len(r.Value))
	}
	return t, int32(binary.BigEndian.Uint32(r.Value[2:])), nil
}
