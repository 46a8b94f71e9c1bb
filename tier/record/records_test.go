package record

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var allCodecs = []Codec{None, Gzip, Snappy, LZ4, Zstd}

// collect decodes a batch into copies of its records.
func collect(t testing.TB, batch []byte) []Record {
	var out []Record
	require.NoError(t, Records(batch, DefaultMaxDecoded, func(i int, r *Record) error {
		require.Equal(t, len(out), i)
		c := *r
		c.Key, c.Value, c.Headers = slices.Clone(r.Key), slices.Clone(r.Value), slices.Clone(r.Headers)
		out = append(out, c)
		return nil
	}))
	return out
}

func TestRecordsRoundTrip(t *testing.T) {
	for _, codec := range allCodecs {
		b := NewBuilder(codec).
			Append(1000, []byte("k"), []byte("v"), []RecordHeader{{"a", []byte("1")}, {"a", nil}, {"", []byte{}}}).
			Append(500, nil, []byte{}, nil).
			Append(math.MaxInt64/2, []byte{}, nil, nil)
		batch := b.Build(7)
		require.NoError(t, ValidateRecords(batch, DefaultMaxDecoded), codec)
		h, err := Check(batch)
		require.NoError(t, err)
		require.Equal(t, codec, h.Codec())
		rs := collect(t, append(batch, "next"...))
		require.Len(t, rs, 3)
		require.Equal(t, []byte("k"), rs[0].Key)
		require.Equal(t, []RecordHeader{{"a", []byte("1")}, {"a", nil}, {"", []byte{}}}, rs[0].Headers)
		require.Nil(t, rs[1].Key)
		require.NotNil(t, rs[1].Value, "empty is not null")
		require.NotNil(t, rs[2].Key)
		require.Nil(t, rs[2].Value)
		for i, ts := range []int64{1000, 500, math.MaxInt64 / 2} {
			require.Equal(t, ts, h.Timestamp(&rs[i]))
			require.EqualValues(t, 7+i, h.Offset(&rs[i]))
		}
	}
}

// body builds a batch with count records of the raw bytes given.
func body(codec Codec, count, lastDelta int32, records []byte) []byte {
	b := NewBuilder(codec)
	b.h.Count, b.h.LastOffsetDelta, b.records = count, lastDelta, records
	return b.Build(0)
}

// rec writes one record with its length, as it should be unless f says otherwise.
func rec(delta int64, f func(body []byte) (length int64, out []byte)) []byte {
	b := appendRecord(nil, &Record{OffsetDelta: int32(delta), Key: []byte("key"), Value: []byte("value"),
		Headers: []RecordHeader{{"h", []byte("x")}}})
	n := int64(len(b))
	if f != nil {
		n, b = f(b)
	}
	return append(appendVarint(nil, n), b...)
}

// I-32: a batch whose header is right and whose inside lies is an error, whatever the codec.
func TestRecordsThatLie(t *testing.T) {
	ok := rec(0, nil)
	two := slices.Concat(ok, rec(1, nil))
	raw := func(s string) []byte { return []byte(s) }
	tests := []struct {
		name             string
		count, lastDelta int32
		records          []byte
		index            int  // of the RecordError; -1 if the batch as a whole is at fault
		lenient          bool // Records lets it pass
	}{
		{"too few", 3, 2, two, 2, false},
		{"too many", 1, 0, two, -1, false},
		{"trailing byte", 2, 1, append(slices.Clone(two), 0), -1, false},
		{"none at all", 1, 0, nil, 0, false},
		{"many claimed", math.MaxInt32, math.MaxInt32 - 1, two, 2, false},
		{"first delta 1", 2, 2, slices.Concat(rec(1, nil), rec(2, nil)), 0, true},
		{"delta skips", 2, 2, slices.Concat(ok, rec(2, nil)), 1, true},
		{"delta repeats", 2, 1, slices.Concat(ok, ok), 1, false},
		{"delta goes back", 2, 5, slices.Concat(rec(3, nil), rec(2, nil)), 0, false},
		{"delta negative", 1, 0, rec(-1, nil), 0, false},
		{"delta beyond the batch", 2, 1, slices.Concat(ok, rec(2, nil)), 1, false},
		{"delta of 40 bits", 1, 0, rec(0, func(b []byte) (int64, []byte) {
			b = slices.Concat(b[:2], []byte{0xff, 0xff, 0xff, 0xff, 0x1f}, b[3:])
			return int64(len(b)), b
		}), 0, false},
		{"length negative", 1, 0, rec(0, func(b []byte) (int64, []byte) { return -1, b }), 0, false},
		{"length 0", 1, 0, rec(0, func(b []byte) (int64, []byte) { return 0, b }), 0, false},
		{"length too long", 1, 0, rec(0, func(b []byte) (int64, []byte) { return int64(len(b)) + 1, b }), 0, false},
		{"length too short", 1, 0, rec(0, func(b []byte) (int64, []byte) { return int64(len(b)) - 1, b }), 0, false},
		{"length greatest", 1, 0, rec(0, func(b []byte) (int64, []byte) { return math.MaxInt32, b }), 0, false},
		{"byte after the headers", 1, 0, rec(0, func(b []byte) (int64, []byte) { return int64(len(b)) + 1, append(b, 7) }), 0, false},
		{"key length -2", 1, 0, raw("\x08\x00\x00\x00\x03"), 0, false},
		{"key length greatest", 1, 0, raw("\x14\x00\x00\x00\xfe\xff\xff\xff\x0f\x00\x00"), 0, false},
		{"value missing", 1, 0, raw("\x08\x00\x00\x00\x01"), 0, false},
		{"header count missing", 1, 0, raw("\x0a\x00\x00\x00\x01\x01"), 0, false},
		{"header count negative", 1, 0, raw("\x0c\x00\x00\x00\x01\x01\x01"), 0, false},
		{"header count greatest", 1, 0, raw("\x14\x00\x00\x00\x01\x01\xfe\xff\xff\xff\x0f"), 0, false},
		{"header key null", 1, 0, raw("\x10\x00\x00\x00\x01\x01\x02\x01\x00"), 0, false},
		{"header value missing", 1, 0, raw("\x10\x00\x00\x00\x01\x01\x02\x02a"), 0, false},
		{"timestamp of 11 bytes", 1, 0, append([]byte{30, 0}, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x01\x01\x00"...), 0, false},
	}
	for _, tt := range tests {
		for _, codec := range allCodecs {
			t.Run(tt.name+" "+codec.String(), func(t *testing.T) {
				batch := body(codec, tt.count, tt.lastDelta, tt.records)
				_, err := CheckStored(batch)
				require.NoError(t, err, "the header says nothing of it")
				err = ValidateRecords(batch, DefaultMaxDecoded)
				require.ErrorIs(t, err, ErrInvalid)
				var re *RecordError
				if errors.As(err, &re) {
					require.Equal(t, tt.index, re.Index, "%v", err)
				} else {
					require.Equal(t, -1, tt.index, "%v", err)
				}
				err = Records(batch, DefaultMaxDecoded, func(int, *Record) error { return nil })
				if tt.lenient {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, ErrInvalid)
				}
			})
		}
	}
}

func TestRecordsCompressedLies(t *testing.T) {
	for _, codec := range allCodecs[1:] {
		good := sample(codec, 20)
		for name, bad := range map[string][]byte{
			"cut":     edit(good[:len(good)-3], put32(posLength, int32(len(good)-3-lengthEnd))),
			"garbage": edit(good, func(b []byte) { copy(b[HeaderSize:], strings.Repeat("garbage ", 20)) }),
			"nothing": edit(good[:HeaderSize], put32(posLength, minLength)),
		} {
			_, err := Check(bad)
			require.NoError(t, err)
			err = ValidateRecords(bad, DefaultMaxDecoded)
			require.Error(t, err, "%s %s", codec, name)
			require.True(t, errors.Is(err, ErrCorrupt) || errors.Is(err, ErrInvalid), "%s %s: %v", codec, name, err)
		}
		err := ValidateRecords(edit(good, put16(posAttributes, 5)), DefaultMaxDecoded)
		require.ErrorIs(t, err, ErrCodec)
	}
	require.ErrorIs(t, ValidateRecords(sample(None, 1)[:70], 1), ErrTruncated)
	require.ErrorIs(t, ValidateRecords(edit(sample(None, 1), put32(posCount, -1)), 1), ErrInvalid)
}

// An error of the callback ends the walk and comes back as it is.
func TestRecordsStop(t *testing.T) {
	stop, n := errors.New("enough"), 0
	err := Records(sample(Gzip, 5), DefaultMaxDecoded, func(int, *Record) error { n++; return stop })
	require.Equal(t, stop, err)
	require.Equal(t, 1, n)
}

func TestThinnedBatch(t *testing.T) {
	for _, codec := range allCodecs {
		batch := NewBuilder(codec).AppendAt(2, 10, []byte("a"), nil, nil).AppendAt(7, 12, []byte("b"), nil, nil).
			LastOffsetDelta(9).Build(100)
		_, err := Check(batch)
		require.ErrorIs(t, err, ErrInvalid)
		h, err := CheckStored(batch)
		require.NoError(t, err)
		require.EqualValues(t, 110, h.NextOffset())
		rs := collect(t, batch)
		require.EqualValues(t, 102, h.Offset(&rs[0]))
		require.EqualValues(t, 107, h.Offset(&rs[1]))

		empty := NewBuilder(codec).LastOffsetDelta(9).Build(100)
		_, err = CheckStored(empty)
		require.NoError(t, err)
		require.Empty(t, collect(t, empty))
		bare := edit(empty[:HeaderSize], put32(posLength, minLength))
		_, err = CheckStored(bare)
		require.NoError(t, err)
		require.Empty(t, collect(t, bare), "a codec without a frame, as Kafka's cleaner leaves it")
	}
}

func TestFindTimestamp(t *testing.T) {
	for _, codec := range allCodecs {
		batch := NewBuilder(codec).Append(100, nil, nil, nil).Append(50, nil, nil, nil).Append(200, nil, nil, nil).
			Append(200, nil, nil, nil).Append(120, nil, nil, nil).Build(10)
		for ts, want := range map[int64][2]int64{0: {10, 100}, 60: {10, 100}, 100: {10, 100}, 101: {12, 200}, 200: {12, 200}} {
			off, at, ok, err := FindTimestamp(batch, ts, DefaultMaxDecoded)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, want, [2]int64{off, at}, "time %d", ts)
		}
		_, _, ok, err := FindTimestamp(batch, 201, DefaultMaxDecoded)
		require.NoError(t, err)
		require.False(t, ok)
		require.EqualValues(t, 12, MaxTimestampOffset(batch, DefaultMaxDecoded))

		lying := edit(batch, put64(posMaxTimestamp, 999))
		require.EqualValues(t, 10, MaxTimestampOffset(lying, DefaultMaxDecoded), "nobody knows better")

		StampLogAppendTime(batch, 70)
		off, at, ok, err := FindTimestamp(batch, 60, DefaultMaxDecoded)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, [2]int64{10, 70}, [2]int64{off, at})
		_, _, ok, _ = FindTimestamp(batch, 71, DefaultMaxDecoded)
		require.False(t, ok)
	}
	thinned := NewBuilder(None).AppendAt(3, 10, nil, nil, nil).Build(100)
	StampLogAppendTime(thinned, 70)
	off, _, ok, err := FindTimestamp(thinned, 60, DefaultMaxDecoded)
	require.NoError(t, err)
	require.True(t, ok)
	require.EqualValues(t, 103, off, "the first record that is left")
	require.EqualValues(t, -1, MaxTimestampOffset(nil, 1))
}

func TestControl(t *testing.T) {
	for _, kind := range []ControlType{ControlAbort, ControlCommit} {
		batch := EndTxnMarker(5, 1000, 42, 3, kind, 17)
		h, err := Check(batch)
		require.NoError(t, err)
		require.True(t, h.IsControl())
		require.True(t, h.IsTransactional())
		require.EqualValues(t, -1, h.LastSequence())
		rs := collect(t, batch)
		require.Len(t, rs, 1)
		got, epoch, err := ParseControl(&rs[0])
		require.NoError(t, err)
		require.Equal(t, kind, got)
		require.EqualValues(t, 17, epoch)
	}
	_, _, err := ParseControl(&Record{Key: []byte{0, 0, 0}})
	require.ErrorIs(t, err, ErrInvalid)
	_, _, err = ParseControl(&Record{Key: []byte{0, 0, 0, 1}, Value: []byte{0, 0, 0, 0, 0}})
	require.ErrorIs(t, err, ErrInvalid)
	kind, _, err := ParseControl(&Record{Key: []byte{0, 0, 0, 2}})
	require.NoError(t, err)
	require.Equal(t, "control type 2", kind.String())
}

func TestVarints(t *testing.T) {
	for _, v := range []int64{0, -1, 1, 63, 64, -64, -65, 1 << 20, math.MaxInt32, math.MinInt32, math.MaxInt32 + 1,
		math.MinInt32 - 1, 1 << 33, math.MaxInt64, math.MinInt64} {
		b := appendVarint(nil, v)
		require.Len(t, b, sizeVarint(v))
		require.Equal(t, binary.AppendVarint(nil, v), b)
		got, rest, ok := readVarlong(append(b, 9))
		require.True(t, ok)
		require.Equal(t, v, got)
		require.Equal(t, []byte{9}, rest)
		got32, _, ok := readVarint(b)
		require.Equal(t, v >= math.MinInt32 && v <= math.MaxInt32, ok, v)
		if ok {
			require.EqualValues(t, v, got32)
		}
		for n := range b {
			_, _, ok = readVarlong(b[:n])
			require.False(t, ok)
			_, _, ok = readVarint(b[:n])
			require.False(t, ok)
		}
	}
}

func TestSequenceWraps(t *testing.T) {
	require.EqualValues(t, 0, NextSequence(math.MaxInt32, 1))
	require.EqualValues(t, math.MaxInt32, NextSequence(math.MaxInt32, 0))
	require.EqualValues(t, math.MaxInt32-1, NextSequence(math.MaxInt32, math.MaxInt32))
}
