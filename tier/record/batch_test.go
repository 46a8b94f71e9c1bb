package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// sample is a batch of n small records.
func sample(codec Codec, n int) []byte {
	b := NewBuilder(codec)
	for i := range n {
		b.Append(1_600_000_000_000+int64(i), []byte{'k', byte(i)}, bytes.Repeat([]byte{'v', byte(i)}, 20),
			[]RecordHeader{{Key: "h", Value: []byte{byte(i)}}, {Key: "null"}})
	}
	return b.Build(100)
}

// edit changes a copy of a batch and makes its CRC right again.
func edit(batch []byte, f func(b []byte)) []byte {
	b := slices.Clone(batch)
	f(b)
	if len(b) >= HeaderSize {
		reseal(b)
	}
	return b
}

func reseal(b []byte) {
	binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[posAttributes:], castagnoli))
}

func put16(pos int, v int16) func([]byte) {
	return func(b []byte) { binary.BigEndian.PutUint16(b[pos:], uint16(v)) }
}

func put32(pos int, v int32) func([]byte) {
	return func(b []byte) { binary.BigEndian.PutUint32(b[pos:], uint32(v)) }
}

func put64(pos int, v int64) func([]byte) {
	return func(b []byte) { binary.BigEndian.PutUint64(b[pos:], uint64(v)) }
}

func all(fs ...func([]byte)) func([]byte) {
	return func(b []byte) {
		for _, f := range fs {
			f(b)
		}
	}
}

// I-32: what Check must refuse, and by which of its errors.
func TestCheckRefuses(t *testing.T) {
	good := sample(None, 3)
	withProducer := NewBuilder(None).Producer(9, 0, 0).Append(1, nil, []byte("v"), nil).Build(0)
	tests := []struct {
		name   string
		batch  []byte
		want   error
		stored bool // CheckStored lets it pass
	}{
		{"nothing", nil, ErrTruncated, false},
		{"a piece of the header", good[:HeaderSize-1], ErrTruncated, false},
		{"last byte missing", good[:len(good)-1], ErrTruncated, false},
		{"length 48", edit(good, put32(posLength, 48)), ErrInvalid, false},
		{"length 0 in 12 bytes", edit(good[:12], put32(posLength, 0)), ErrInvalid, false},
		{"length negative", edit(good, put32(posLength, -1)), ErrInvalid, false},
		{"length least", edit(good, put32(posLength, math.MinInt32)), ErrInvalid, false},
		{"length greatest", edit(good, put32(posLength, math.MaxInt32)), ErrTruncated, false},
		{"magic 0, shorter than a header", append(make([]byte, 16), 0, 0, 0, 0, 0), ErrMagic, false},
		{"magic 1", edit(good, func(b []byte) { b[posMagic] = 1 }), ErrMagic, false},
		{"magic 3", edit(good, func(b []byte) { b[posMagic] = 3 }), ErrMagic, false},
		{"magic -1", edit(good, func(b []byte) { b[posMagic] = 255 }), ErrMagic, false},
		{"count too small", edit(good, put32(posCount, 2)), ErrInvalid, true},
		{"count 0", edit(good, put32(posCount, 0)), ErrInvalid, true},
		{"count too large", edit(good, put32(posCount, 4)), ErrInvalid, false},
		{"count negative", edit(good, put32(posCount, -1)), ErrInvalid, false},
		{"delta and count negative", edit(good, all(put32(posCount, -1), put32(posLastOffsetDelta, -2))), ErrInvalid, false},
		{"delta -1, count 0", edit(good, all(put32(posCount, 0), put32(posLastOffsetDelta, -1))), ErrInvalid, false},
		{"count wraps", edit(good, all(put32(posCount, math.MinInt32), put32(posLastOffsetDelta, math.MaxInt32))), ErrInvalid, false},
		{"offsets overflow", edit(good, put64(0, math.MaxInt64-2)), ErrInvalid, false},
		{"codec 5", edit(good, put16(posAttributes, 5)), ErrCodec, false},
		{"codec 6", edit(good, put16(posAttributes, 6)), ErrCodec, false},
		{"codec 7", edit(good, put16(posAttributes, 7)), ErrCodec, false},
		{"producer with epoch -1", edit(withProducer, put16(posProducerEpoch, -1)), ErrInvalid, false},
		{"producer with sequence -1", edit(withProducer, put32(posBaseSequence, -1)), ErrInvalid, true},
		{"transaction without producer", edit(good, put16(posAttributes, attrTransactional)), ErrInvalid, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Check(tt.batch)
			require.ErrorIs(t, err, tt.want)
			kinds := 0
			for _, k := range []error{ErrTruncated, ErrCorrupt, ErrMagic, ErrInvalid, ErrTooLarge} {
				if errors.Is(err, k) {
					kinds++
				}
			}
			require.Equal(t, 1, kinds, "exactly one kind: %v", err)
			if _, err = CheckStored(tt.batch); tt.stored {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, tt.want)
			}
		})
	}
	for _, b := range [][]byte{good, withProducer, EndTxnMarker(0, 1, 9, 0, ControlCommit, 3)} {
		_, err := Check(append(slices.Clone(b), "more"...))
		require.NoError(t, err)
	}
}

// Every bit that the CRC covers is guarded, and so are length and magic; the rest is the leader's to write.
func TestCheckFlippedBits(t *testing.T) {
	good := sample(Gzip, 3)
	for i := range len(good) * 8 {
		b := slices.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		_, err := Check(b)
		if pos := i / 8; pos < posLength || pos >= posLeaderEpoch && pos < posMagic {
			if pos > 0 { // the top bits of the offset may overflow
				require.NoError(t, err, "bit %d", i)
			}
			continue
		}
		require.Error(t, err, "bit %d", i)
	}
	b := slices.Clone(good)
	b[len(b)-1] ^= 1
	_, err := Check(b)
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestCheckCutEverywhere(t *testing.T) {
	good := sample(None, 3)
	for n := range len(good) {
		_, err := Check(good[:n])
		require.ErrorIs(t, err, ErrTruncated, "%d bytes", n)
		it := Batches(append(slices.Clone(good), good[:n]...))
		require.True(t, it.Next())
		require.False(t, it.Next())
		require.Equal(t, len(good), it.Consumed())
		if n > 0 {
			require.ErrorIs(t, it.Err(), ErrTruncated)
		} else {
			require.NoError(t, it.Err())
		}
	}
}

func TestHeader(t *testing.T) {
	b := NewBuilder(Zstd).Producer(7, 3, math.MaxInt32-1).Transactional().LeaderEpoch(5)
	for i := range 4 {
		b.Append(int64(1000-i), nil, nil, nil)
	}
	h, err := Check(b.Build(10))
	require.NoError(t, err)
	require.Equal(t, Zstd, h.Codec())
	require.EqualValues(t, 13, h.LastOffset())
	require.EqualValues(t, 14, h.NextOffset())
	require.EqualValues(t, 1, h.LastSequence(), "2^31-2, 2^31-1, 0, 1")
	require.True(t, h.IsTransactional())
	require.False(t, h.IsControl())
	require.True(t, h.HasProducer())
	require.EqualValues(t, 5, h.LeaderEpoch)
	require.Equal(t, CreateTime, h.TimestampType())
	require.EqualValues(t, 1000, h.MaxTimestamp)
	require.EqualValues(t, 1000, h.FirstTimestamp())
	_, ok := h.DeleteHorizon()
	require.False(t, ok)

	h, err = Check(edit(sample(None, 1), func(b []byte) { b[posAttributes+1] |= attrDeleteHorizon }))
	require.NoError(t, err)
	ms, ok := h.DeleteHorizon()
	require.True(t, ok)
	require.Equal(t, h.BaseTimestamp, ms)

	h, err = Check(sample(None, 1))
	require.NoError(t, err)
	require.EqualValues(t, -1, h.LastSequence())
	_, err = ParseHeader(make([]byte, HeaderSize-1))
	require.ErrorIs(t, err, ErrTruncated)
}

func TestStamp(t *testing.T) {
	b := append(sample(LZ4, 2), "next batch"...)
	Stamp(b, 1<<40, 77)
	h, err := Check(b)
	require.NoError(t, err, "the CRC does not cover what Stamp writes")
	require.EqualValues(t, 1<<40, h.BaseOffset)
	require.EqualValues(t, 77, h.LeaderEpoch)

	StampLogAppendTime(b, 4242)
	h, err = Check(b)
	require.NoError(t, err)
	require.Equal(t, LogAppendTime, h.TimestampType())
	require.EqualValues(t, 4242, h.FirstTimestamp())
	require.NoError(t, Records(b, DefaultMaxDecoded, func(_ int, r *Record) error {
		require.EqualValues(t, 4242, h.Timestamp(r))
		return nil
	}))
	require.Equal(t, "next batch", string(b[h.Size():]))
}

func TestIteratorAndFind(t *testing.T) {
	var log []byte
	for base := int64(10); base < 40; base += 10 { // 10-12, 20-22, 30-32: a cleaner was here
		b := sample(Snappy, 3)
		Stamp(b, base, 1)
		log = append(log, b...)
	}
	var bases []int64
	it := Batches(log)
	for it.Next() {
		bases = append(bases, it.Header().BaseOffset)
		h, err := Check(it.Bytes())
		require.NoError(t, err)
		require.Equal(t, h, it.Header())
		require.Len(t, it.Bytes(), h.Size())
		require.Equal(t, it.Position()+h.Size(), it.Consumed())
	}
	require.NoError(t, it.Err())
	require.Equal(t, []int64{10, 20, 30}, bases)
	require.False(t, it.Next())

	size := len(log) / 3
	// I-17: an offset that compaction removed is answered with the next batch that exists.
	for offset, want := range map[int64]int{0: 0, 10: 0, 12: 0, 13: size, 20: size, 22: size, 29: 2 * size, 32: 2 * size} {
		pos, ok := Find(log, offset)
		require.True(t, ok)
		require.Equal(t, want, pos, "offset %d", offset)
	}
	_, ok := Find(log, 33)
	require.False(t, ok)

	for name, fault := range map[string]struct {
		f    func([]byte)
		want error
	}{
		"magic":    {func(b []byte) { b[posMagic] = 1 }, ErrMagic},
		"length":   {put32(posLength, 5), ErrInvalid},
		"backward": {put32(posLastOffsetDelta, -5), ErrInvalid},
		"overflow": {put64(0, math.MaxInt64), ErrInvalid},
	} {
		bad := slices.Clone(log)
		fault.f(bad[size:])
		it := Batches(bad)
		require.True(t, it.Next(), name)
		require.False(t, it.Next(), name)
		require.ErrorIs(t, it.Err(), fault.want, name)
		require.Equal(t, size, it.Consumed(), name)
		require.False(t, it.Next(), name)
	}
}

// The hot path must not allocate.
func TestNoAllocations(t *testing.T) {
	b := sample(None, 50)
	log := slices.Concat(b, b, b)
	for name, f := range map[string]func(){
		"Check":              func() { _, _ = Check(b) },
		"CheckStored":        func() { _, _ = CheckStored(b) },
		"ParseHeader":        func() { _, _ = ParseHeader(b) },
		"Stamp":              func() { Stamp(b, 5, 6) },
		"StampLogAppendTime": func() { StampLogAppendTime(b, 7) },
		"Find":               func() { _, _ = Find(log, 1000) },
		"ValidateRecords":    func() { _ = ValidateRecords(b, 1<<20) },
		"Batches": func() {
			it := Batches(log)
			for it.Next() {
				_, _ = it.Header(), it.Bytes()
			}
			if it.Err() != nil {
				panic(it.Err())
			}
		},
	} {
		require.Zero(t, testing.AllocsPerRun(100, f), name)
	}
}
