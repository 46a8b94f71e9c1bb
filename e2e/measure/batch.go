package measure

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Payload is a record batch that is ready to be sent.
type Payload struct {
	Bytes   []byte // the batch as it goes over the wire
	Records int
	Plain   int // length of the batch if no codec were used: what figures per GB count
}

// Values makes the value of record i of size bytes.
type Values func(i, size int) []byte

// Noise gives values that no codec makes smaller: what is measured then is moving bytes.
func Noise(seed uint64) Values {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	rng := rand.NewChaCha8(key)
	return func(_, size int) []byte {
		value := make([]byte, size)
		_, _ = rng.Read(value)
		return value
	}
}

// Events gives values that compress as events of a business do, to about a quarter by zstd: JSON with names that
// come again, numbers that grow, and identifiers and a signature that are all new.
func Events(seed uint64) Values {
	rng := rand.New(rand.NewPCG(seed, 1))
	kinds := []string{"order.created", "order.paid", "order.shipped", "cart.item.added", "session.started", "invoice.sent"}
	cities := []string{"Reykjavik", "Tromso", "Zermatt", "Ushuaia", "Anchorage", "Luleå", "Chamonix", "Longyearbyen"}
	return func(i, size int) []byte {
		b := make([]byte, 0, size+256)
		b = append(b, `{"id":"`...)
		b = strconv.AppendUint(b, rng.Uint64(), 16)
		b = append(b, `","kind":"`...)
		b = append(b, kinds[rng.IntN(len(kinds))]...)
		b = append(b, `","time":`...)
		b = strconv.AppendInt(b, 1_700_000_000_000+int64(i)*17, 10)
		b = append(b, `,"signature":"`...)
		for range 14 {
			b = strconv.AppendUint(b, rng.Uint64(), 16)
		}
		b = append(b, `","items":[`...)
		for len(b) < size-3 {
			b = append(b, `{"sku":"ICE-`...)
			b = strconv.AppendInt(b, int64(rng.IntN(5000)), 10)
			b = append(b, `","quantity":`...)
			b = strconv.AppendInt(b, int64(1+rng.IntN(9)), 10)
			b = append(b, `,"price":{"amount":`...)
			b = strconv.AppendInt(b, int64(rng.IntN(100_000)), 10)
			b = append(b, `,"currency":"EUR"},"warehouse":"`...)
			b = append(b, cities[rng.IntN(len(cities))]...)
			b = append(b, `"},`...)
		}
		return append(b[:size-3], `"]}`...)
	}
}

// Batch builds a record batch of n records with values of size random bytes, see Noise.
func Batch(n, size int, rng *rand.ChaCha8) []byte {
	return NewPayload(n, size, Noise(rng.Uint64())).Bytes
}

// NewPayload builds an uncompressed batch of n records with values of size bytes.
func NewPayload(n, size int, values Values) Payload {
	b := build(n, plainRecords(n, size, values), 0)
	return Payload{Bytes: b, Records: n, Plain: len(b)}
}

// NewZstdPayload builds a batch that zstd at its default level compressed.
func NewZstdPayload(n, size int, values Values) (Payload, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return Payload{}, fmt.Errorf("prepare a zstd batch: %w", err)
	}
	defer func() { _ = enc.Close() }()
	records := plainRecords(n, size, values)
	const codec = 4 // zstd, in the low bits of a batch's attributes
	b := build(n, enc.EncodeAll(records, nil), codec)
	return Payload{Bytes: b, Records: n, Plain: batchHeader + len(records)}, nil
}

// batchHeader is the length of what stands before the records in a batch of magic 2.
const batchHeader = 61

func plainRecords(n, size int, values Values) []byte {
	var records []byte
	for i := range n {
		r := kmsg.Record{OffsetDelta: int32(i), Value: values(i, size)}
		r.Length = int32(len(r.AppendTo(nil)) - 1) // the length field of an empty record is one byte
		records = r.AppendTo(records)
	}
	return records
}

func build(n int, records []byte, attributes int16) []byte {
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: attributes, LastOffsetDelta: int32(n - 1), NumRecords: int32(n),
		FirstTimestamp: 1_700_000_000_000, MaxTimestamp: 1_700_000_000_000,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, Records: records,
	}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	out := b.AppendTo(nil)
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], castagnoli))
	return out
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// After gives the offset after the last whole batch in b, next if there is none.
func After(b []byte, next int64) int64 {
	for len(b) >= batchHeader {
		size := 12 + int(int32(binary.BigEndian.Uint32(b[8:])))
		if size < batchHeader || size > len(b) {
			break
		}
		next = int64(binary.BigEndian.Uint64(b)) + int64(binary.BigEndian.Uint32(b[23:])) + 1
		b = b[size:]
	}
	return next
}
