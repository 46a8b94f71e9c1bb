package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// HeaderSize is the length in bytes of a batch's header; records follow it.
const HeaderSize = 61

const (
	// lengthEnd is where the length field ends: a batch's size is its length plus this.
	lengthEnd = 12
	// minLength is the least length field that a batch can have: a header and no record.
	minLength = HeaderSize - lengthEnd

	posLength          = 8
	posLeaderEpoch     = 12
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21 // the CRC covers everything from here to the end
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posCount           = 57
)

// Bits of Header.Attributes.
const (
	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
	attrDeleteHorizon = 0x40
)

// Magic is the only version of the format that firn reads and writes.
const Magic = 2

// NoTimestamp is the timestamp of a record that has none.
const NoTimestamp = -1

// The kinds of fault that a batch can have. Returned errors wrap exactly one of them and say more in their text.
var (
	// ErrTruncated means that the bytes end before the batch does.
	ErrTruncated = errors.New("record batch is cut short")
	// ErrCorrupt means that the CRC-32C does not match, or that compressed bytes do not decompress.
	ErrCorrupt = errors.New("record batch is corrupt")
	// ErrMagic means that the batch is not of magic 2 (0 and 1 are the formats before Kafka 0.11).
	ErrMagic = errors.New("record batch has an unsupported magic")
	// ErrInvalid means that the bytes arrived as they were sent, and that they contradict themselves.
	ErrInvalid = errors.New("record batch is invalid")
	// ErrCodec means an unknown compression codec (5, 6 or 7). It is an ErrInvalid too.
	ErrCodec = fmt.Errorf("%w: unknown compression codec", ErrInvalid)
	// ErrTooLarge means that the records decompress to more than the caller allows.
	ErrTooLarge = errors.New("record batch decompresses to more than is allowed")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// TimestampType says whose clock a batch's timestamps are.
type TimestampType int8

// The timestamp types, numbered as in a batch's attributes.
const (
	CreateTime    TimestampType = 0 // the producer's clock
	LogAppendTime TimestampType = 1 // the broker's clock at the append
)

// String gives Kafka's name of the type, as in the topic config message.timestamp.type.
func (t TimestampType) String() string {
	if t == LogAppendTime {
		return "LogAppendTime"
	}
	return "CreateTime"
}

// Header is a batch's header, decoded. Times are milliseconds since 1970, -1 for none.
type Header struct {
	BaseOffset      int64
	Length          int32 // as on the wire: the bytes that follow this field; see Size
	LeaderEpoch     int32 // -1 until a leader stamped it
	Magic           int8
	CRC             uint32 // CRC-32C of everything from the attributes on
	Attributes      int16
	LastOffsetDelta int32
	BaseTimestamp   int64 // first record's timestamp, or the delete horizon (see DeleteHorizon)
	MaxTimestamp    int64 // greatest record timestamp, or the append time with LogAppendTime
	ProducerID      int64 // -1 for none
	ProducerEpoch   int16
	BaseSequence    int32 // first record's sequence, -1 for none
	Count           int32 // records in the batch; less than LastOffsetDelta+1 once a cleaner thinned it
}

// ParseHeader decodes the header at b[0:] and judges nothing. It needs HeaderSize bytes, else ErrTruncated.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("%w: %d bytes, a header has %d", ErrTruncated, len(b), HeaderSize)
	}
	return parseHeader(b), nil
}

// parseHeader needs HeaderSize bytes.
func parseHeader(b []byte) Header {
	_ = b[HeaderSize-1]
	be := binary.BigEndian
	return Header{
		BaseOffset:      int64(be.Uint64(b)),
		Length:          int32(be.Uint32(b[posLength:])),
		LeaderEpoch:     int32(be.Uint32(b[posLeaderEpoch:])),
		Magic:           int8(b[posMagic]),
		CRC:             be.Uint32(b[posCRC:]),
		Attributes:      int16(be.Uint16(b[posAttributes:])),
		LastOffsetDelta: int32(be.Uint32(b[posLastOffsetDelta:])),
		BaseTimestamp:   int64(be.Uint64(b[posBaseTimestamp:])),
		MaxTimestamp:    int64(be.Uint64(b[posMaxTimestamp:])),
		ProducerID:      int64(be.Uint64(b[posProducerID:])),
		ProducerEpoch:   int16(be.Uint16(b[posProducerEpoch:])),
		BaseSequence:    int32(be.Uint32(b[posBaseSequence:])),
		Count:           int32(be.Uint32(b[posCount:])),
	}
}

// Size is the batch's length in bytes, header included.
func (h Header) Size() int { return lengthEnd + int(h.Length) }

// LastOffset is the offset of the batch's last record (of the last that it had, if a cleaner thinned it).
func (h Header) LastOffset() int64 { return h.BaseOffset + int64(h.LastOffsetDelta) }

// NextOffset is the offset after the batch.
func (h Header) NextOffset() int64 { return h.LastOffset() + 1 }

// Codec is the compression of the records; it may be unknown (see Codec.Known).
func (h Header) Codec() Codec { return Codec(h.Attributes & attrCodec) }

// IsTransactional reports whether the batch belongs to a transaction, markers included.
func (h Header) IsTransactional() bool { return h.Attributes&attrTransactional != 0 }

// IsControl reports whether the batch holds a control record, which consumers never see.
func (h Header) IsControl() bool { return h.Attributes&attrControl != 0 }

// TimestampType says whose clock MaxTimestamp is.
func (h Header) TimestampType() TimestampType {
	if h.Attributes&attrLogAppendTime != 0 {
		return LogAppendTime
	}
	return CreateTime
}

// HasProducer reports whether an idempotent or transactional producer sent the batch.
func (h Header) HasProducer() bool { return h.ProducerID >= 0 }

// LastSequence is the sequence of the last record, -1 if there is none. Sequences go from 2^31-1 to 0.
func (h Header) LastSequence() int32 {
	if h.BaseSequence < 0 {
		return -1
	}
	return NextSequence(h.BaseSequence, h.LastOffsetDelta)
}

// NextSequence is the sequence n records after seq, with n >= 0; it wraps from 2^31-1 to 0.
func NextSequence(seq, n int32) int32 { return int32((int64(seq) + int64(n)) & math.MaxInt32) }

// DeleteHorizon is the time after which a cleaner may drop the batch's tombstones or marker, if one set it
// (KIP-534). It is kept in the field of the base timestamp.
func (h Header) DeleteHorizon() (ms int64, ok bool) {
	if h.Attributes&attrDeleteHorizon == 0 {
		return NoTimestamp, false
	}
	return h.BaseTimestamp, true
}

// FirstTimestamp is the timestamp of the first record as far as the header tells: with LogAppendTime that of
// all, with a delete horizon the greatest. Records need not be in order of time, so it is no lower bound.
func (h Header) FirstTimestamp() int64 {
	if h.Attributes&(attrLogAppendTime|attrDeleteHorizon) != 0 {
		return h.MaxTimestamp
	}
	return h.BaseTimestamp
}

// Timestamp is the timestamp of a record of the batch in ms.
func (h Header) Timestamp(r *Record) int64 {
	if h.TimestampType() == LogAppendTime {
		return h.MaxTimestamp
	}
	return h.BaseTimestamp + r.TimestampDelta
}

// Offset is the offset of a record of the batch.
func (h Header) Offset(r *Record) int64 { return h.BaseOffset + int64(r.OffsetDelta) }

// Check verifies the batch at b[0:] as a producer may send it, and returns its header. Bytes after the batch
// are not looked at. It checks, in this order: magic 2 (ErrMagic), that the whole batch is there (ErrTruncated,
// or ErrInvalid for a length that no batch can have), the CRC-32C (ErrCorrupt), then the header's fields
// (ErrInvalid, ErrCodec): at least one record, count = last offset delta + 1, a known codec, producer epoch and
// sequence not negative where there is a producer id, a producer id where there is a transaction.
// Records are not decoded. It does not allocate when the batch is good.
func Check(b []byte) (Header, error) {
	h, err := checkBytes(b)
	if err != nil {
		return h, err
	}
	if h.Count < 1 || int64(h.Count) != int64(h.LastOffsetDelta)+1 {
		return h, fmt.Errorf("%w: count %d with last offset delta %d", ErrInvalid, h.Count, h.LastOffsetDelta)
	}
	if h.HasProducer() && h.BaseSequence < 0 && !h.IsControl() {
		return h, fmt.Errorf("%w: producer id %d with sequence %d", ErrInvalid, h.ProducerID, h.BaseSequence)
	}
	return h, checkFields(h)
}

// CheckStored is Check for a batch that lies in a log: a cleaner may have removed records, all of them even, so
// that 0 <= count <= last offset delta + 1, and control batches have no sequence.
func CheckStored(b []byte) (Header, error) {
	h, err := checkBytes(b)
	if err != nil {
		return h, err
	}
	if h.Count < 0 || int64(h.Count) > int64(h.LastOffsetDelta)+1 {
		return h, fmt.Errorf("%w: count %d with last offset delta %d", ErrInvalid, h.Count, h.LastOffsetDelta)
	}
	return h, checkFields(h)
}

// checkBytes verifies that one whole batch is there and that its CRC holds.
func checkBytes(b []byte) (Header, error) {
	h, err := frame(b)
	if err != nil {
		return h, err
	}
	if crc := crc32.Checksum(b[posAttributes:h.Size()], castagnoli); crc != h.CRC {
		return h, fmt.Errorf("%w: CRC-32C is %08x, the header says %08x", ErrCorrupt, crc, h.CRC)
	}
	return h, nil
}

// frame parses the header at b[0:] and verifies that the whole batch follows. The magic is looked at first,
// because old message sets have it in the same place but may be shorter than our header.
func frame(b []byte) (Header, error) {
	if len(b) > posMagic && b[posMagic] != Magic {
		return Header{}, fmt.Errorf("%w: %d", ErrMagic, int8(b[posMagic]))
	}
	if len(b) >= lengthEnd {
		if n := int32(binary.BigEndian.Uint32(b[posLength:])); n < minLength {
			return Header{}, fmt.Errorf("%w: length %d, at least %d is needed", ErrInvalid, n, minLength)
		}
	}
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("%w: %d bytes, a header has %d", ErrTruncated, len(b), HeaderSize)
	}
	h := parseHeader(b)
	if h.Size() > len(b) {
		return h, fmt.Errorf("%w: %d bytes, the header says %d", ErrTruncated, len(b), h.Size())
	}
	return h, nil
}

// checkFields holds what is true of every batch whose CRC is good.
func checkFields(h Header) error {
	switch {
	case !h.Codec().Known():
		return fmt.Errorf("%w: %d", ErrCodec, h.Codec())
	case h.LastOffsetDelta < 0:
		return fmt.Errorf("%w: last offset delta %d", ErrInvalid, h.LastOffsetDelta)
	case h.BaseOffset > math.MaxInt64-1-int64(h.LastOffsetDelta):
		return fmt.Errorf("%w: base offset %d with last offset delta %d", ErrInvalid, h.BaseOffset, h.LastOffsetDelta)
	case h.HasProducer() && h.ProducerEpoch < 0:
		return fmt.Errorf("%w: producer id %d with epoch %d", ErrInvalid, h.ProducerID, h.ProducerEpoch)
	case h.IsTransactional() && !h.HasProducer():
		return fmt.Errorf("%w: transactional without a producer id", ErrInvalid)
	}
	return nil
}

// Stamp writes the base offset and the leader epoch into the batch at b[0:], which must have a whole header.
// The CRC does not cover them.
func Stamp(b []byte, base int64, epoch int32) {
	_ = b[HeaderSize-1]
	binary.BigEndian.PutUint64(b, uint64(base))
	binary.BigEndian.PutUint32(b[posLeaderEpoch:], uint32(epoch))
}

// StampLogAppendTime turns the batch at b[0:], which must be whole (see Check), into one whose records all have
// the broker's time ms, and computes its CRC anew.
func StampLogAppendTime(b []byte, ms int64) {
	size := parseHeader(b).Size()
	b[posAttributes+1] |= attrLogAppendTime
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(ms))
	binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[posAttributes:size], castagnoli))
}
