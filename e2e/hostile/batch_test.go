package hostile

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func containsAny(s string, parts ...string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}

// Where the fields of a record batch (format 2) are.
const (
	atLength    = 8
	atMagic     = 16
	atCRC       = 17
	atLastDelta = 23
	batchHeader = 61
)

// batch is a record batch, honest or not: every field of its header can be set to anything.
type batch struct {
	base          int64
	magic         int8
	attributes    int16
	lastDelta     int32
	first, max    int64
	producer      int64
	producerEpoch int16
	sequence      int32
	count         int32
	payload       []byte
}

// entry is a record; its delta and timestamp may be lies.
type entry struct {
	delta      int32
	timestamp  int64 // relative to the batch's first
	key, value []byte
}

func (e entry) bytes() []byte {
	b := []byte{0}
	b = binary.AppendVarint(b, e.timestamp) // Kafka's varints are zigzag, as Go's signed ones
	b = binary.AppendVarint(b, int64(e.delta))
	b = appendBytes(b, e.key)
	b = appendBytes(b, e.value)
	b = binary.AppendVarint(b, 0)
	return append(binary.AppendVarint(nil, int64(len(b))), b...)
}

func appendBytes(b, v []byte) []byte {
	if v == nil {
		return binary.AppendVarint(b, -1)
	}
	return append(binary.AppendVarint(b, int64(len(v))), v...)
}

// values makes an honest batch without a producer id, stamped with the time of now.
func values(vs ...string) *batch {
	var es []entry
	for i, v := range vs {
		es = append(es, entry{delta: int32(i), value: []byte(v)})
	}
	return entries(es...)
}

func entries(es ...entry) *batch {
	now := time.Now().UnixMilli()
	b := &batch{magic: 2, lastDelta: int32(len(es) - 1), count: int32(len(es)), first: now, max: now, producer: -1, producerEpoch: -1, sequence: -1}
	for _, e := range es {
		b.payload = append(b.payload, e.bytes()...)
		b.max = max(b.max, now+e.timestamp)
	}
	return b
}

// by makes the batch an idempotent producer's.
func (b *batch) by(id int64, epoch int16, sequence int32) *batch {
	b.producer, b.producerEpoch, b.sequence = id, epoch, sequence
	return b
}

// gzipped compresses the records, whatever they are.
func (b *batch) gzipped() *batch {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, _ = w.Write(b.payload) // a Buffer takes everything
	_ = w.Close()
	b.payload, b.attributes = buf.Bytes(), b.attributes|1
	return b
}

// compressed is gzipped with any codec, as franz-go does it.
func (b *batch) compressed(t *testing.T, codec kgo.CompressionCodec) *batch {
	t.Helper()
	compressor, err := kgo.DefaultCompressor(codec)
	if err != nil {
		t.Fatal(err)
	}
	packed, kind := compressor.Compress(new(bytes.Buffer), b.payload)
	if kind == kgo.CodecNone {
		t.Fatal("it was not compressed")
	}
	b.payload, b.attributes = packed, b.attributes|int16(kind)
	return b
}

// bytes is the batch with the length and checksum that belong to it.
func (b *batch) bytes() []byte {
	var out []byte
	out = binary.BigEndian.AppendUint64(out, uint64(b.base))
	out = binary.BigEndian.AppendUint32(out, 0)
	out = binary.BigEndian.AppendUint32(out, 0xffffffff) // leader epoch: unknown
	out = append(out, byte(b.magic))
	out = binary.BigEndian.AppendUint32(out, 0)
	out = binary.BigEndian.AppendUint16(out, uint16(b.attributes))
	out = binary.BigEndian.AppendUint32(out, uint32(b.lastDelta))
	out = binary.BigEndian.AppendUint64(out, uint64(b.first))
	out = binary.BigEndian.AppendUint64(out, uint64(b.max))
	out = binary.BigEndian.AppendUint64(out, uint64(b.producer))
	out = binary.BigEndian.AppendUint16(out, uint16(b.producerEpoch))
	out = binary.BigEndian.AppendUint32(out, uint32(b.sequence))
	out = binary.BigEndian.AppendUint32(out, uint32(b.count))
	return seal(append(out, b.payload...))
}

// seal writes the length and the checksum that belong to the bytes.
func seal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[atLength:], uint32(len(b)-atLength-4))
	binary.BigEndian.PutUint32(b[atCRC:], crc32.Checksum(b[atCRC+4:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// messageSet is one message of the formats 0 and 1 that Kafka had before record batches.
func messageSet(magic byte, value string) []byte {
	m := []byte{magic, 0}
	if magic == 1 {
		m = binary.BigEndian.AppendUint64(m, uint64(time.Now().UnixMilli()))
	}
	m = binary.BigEndian.AppendUint32(m, 0xffffffff) // no key
	m = binary.BigEndian.AppendUint32(m, uint32(len(value)))
	m = append(m, value...)
	out := binary.BigEndian.AppendUint64(nil, 0)
	out = binary.BigEndian.AppendUint32(out, uint32(len(m)+4))
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(m))
	return append(out, m...)
}

// stored splits what a fetch brought into batches by their lengths and checks each checksum.
func stored(t *testing.T, b []byte) [][]byte {
	t.Helper()
	var out [][]byte
	for len(b) >= batchHeader {
		n := int(binary.BigEndian.Uint32(b[atLength:])) + atLength + 4
		if n > len(b) {
			break // Kafka's consumers know that the last batch may be cut
		}
		if crc32.Checksum(b[atCRC+4:n], crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(b[atCRC:]) {
			t.Errorf("the batch at offset %d has a wrong checksum", baseOf(b))
		}
		out = append(out, b[:n])
		b = b[n:]
	}
	return out
}

func baseOf(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }

// nextOf is the offset after a batch's last.
func nextOf(b []byte) int64 {
	return baseOf(b) + int64(int32(binary.BigEndian.Uint32(b[atLastDelta:]))) + 1
}

// sameBatch reports whether a stored batch is the one that was sent, but for the two header fields that a broker
// fills in (base offset and leader epoch).
func sameBatch(got, sent []byte) bool {
	return len(got) == len(sent) && bytes.Equal(got[atLength:atLength+4], sent[atLength:atLength+4]) && bytes.Equal(got[atMagic:], sent[atMagic:])
}
