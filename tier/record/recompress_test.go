package record

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// rich is a batch in which every field of the header says something.
func rich(codec Codec, n int) []byte {
	b := NewBuilder(codec).Producer(77, 5, 1<<31-2).Transactional().LeaderEpoch(9)
	for i := range n {
		b.Append(1_600_000_000_000-int64(i%7), fmt.Appendf(nil, "key %d", i), bytes.Repeat([]byte("value "), i%40),
			[]RecordHeader{{Key: "h", Value: []byte{byte(i)}}, {Key: "null"}})
	}
	return edit(b.Build(1<<40), func(b []byte) {
		put16(posAttributes, int16(codec)|attrTransactional|attrDeleteHorizon|attrLogAppendTime|0x100)(b)
	})
}

// Every codec into every other: header and records stay, and what was compressed twice is the same records again.
func TestRecompress(t *testing.T) {
	franz := kgo.DefaultDecompressor()
	for _, from := range allCodecs {
		for _, to := range allCodecs {
			name := from.String() + " to " + to.String()
			batch := rich(from, 500)
			was := slices.Clone(batch)
			h, err := Check(batch)
			require.NoError(t, err)
			out, got, err := Recompress([]byte("before"), append(slices.Clone(batch), "after"...), Compression{Codec: to}, DefaultMaxDecoded)
			require.NoError(t, err, name)
			require.Equal(t, was, batch)
			require.Equal(t, "before", string(out[:6]))
			out = out[6:]
			checked, err := Check(out)
			require.NoError(t, err, name)
			require.Equal(t, checked, got)
			require.Equal(t, len(out), got.Size(), name)
			require.Equal(t, to, got.Codec())
			require.NoError(t, ValidateRecords(out, DefaultMaxDecoded), name)
			want := h
			want.Attributes = h.Attributes&^attrCodec | int16(to)
			want.Length, want.CRC = got.Length, got.CRC
			require.Equal(t, want, got, name)
			require.Equal(t, collect(t, batch), collect(t, out), name)

			var kb kmsg.RecordBatch
			require.NoError(t, kb.ReadFrom(out))
			plain, err := franz.Decompress(kb.Records, kgo.CompressionCodecType(to))
			require.NoError(t, err, name)
			require.Equal(t, rich(None, 500)[HeaderSize:], plain, name)

			back, _, err := Recompress(nil, out, Compression{Codec: None}, DefaultMaxDecoded)
			require.NoError(t, err, name)
			require.Equal(t, rich(None, 500), back, name)
		}
	}
}

// Each level of Kafka's, and what is beyond, gives what other clients read; those that try harder give less.
func TestCompressionLevels(t *testing.T) {
	in := rich(None, 2000)[HeaderSize:]
	franz := kgo.DefaultDecompressor()
	size := func(codec Codec, level int) int {
		c := Compression{Codec: codec, Level: level}
		out, err := c.Compress(nil, in)
		require.NoError(t, err, c)
		again, err := c.Compress([]byte("x"), in)
		require.NoError(t, err, c)
		require.Equal(t, out, again[1:], "%v: a writer that was used before", c)
		plain, err := franz.Decompress(out, kgo.CompressionCodecType(codec))
		require.NoError(t, err, c)
		require.True(t, bytes.Equal(in, plain), c)
		return len(out)
	}
	for codec, levels := range map[Codec][]int{
		Gzip: {-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, LZ4: {-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 18}, Snappy: {0, 5},
		Zstd: {-131073, -131072, -1, 0, 1, 2, 3, 5, 6, 9, 10, 22, 23},
	} {
		for _, level := range levels {
			size(codec, level)
		}
	}
	require.Less(t, size(Gzip, 9), size(Gzip, 1))
	require.Less(t, size(LZ4, 17), size(LZ4, 9), "9 is the fast one, as in Kafka")
	require.Less(t, size(Zstd, 19), size(Zstd, -5))
	for codec, level := range map[Codec]int{Gzip: -1, LZ4: 9, Zstd: 3, Snappy: 1} {
		require.Equal(t, size(codec, 0), size(codec, level), "the default of %s", codec)
	}
}

// I-32: what cannot be decompressed is refused, and a bomb before it takes the memory that it claims.
func TestRecompressRefuses(t *testing.T) {
	const limit = 1 << 20
	for _, from := range allCodecs[1:] {
		bomb := NewBuilder(from).Append(1, nil, make([]byte, 64<<20), nil).Build(0)
		for _, to := range allCodecs {
			if from == to {
				continue
			}
			dst := []byte("dst")
			var out []byte
			var err error
			refuse := func() { out, _, err = Recompress(dst, bomb, Compression{Codec: to}, limit) }
			refuse() // fills the pools
			require.Less(t, allocated(refuse), uint64(16*limit+len(bomb)), "%s to %s", from, to)
			require.ErrorIs(t, err, ErrTooLarge, "%s to %s", from, to)
			require.Equal(t, "dst", string(out))

			bad := body(from, 1, 0, rec(0, nil))
			bad = edit(bad, func(b []byte) { clear(b[HeaderSize:]) })
			_, _, err = Recompress(nil, bad, Compression{Codec: to}, limit)
			require.ErrorIs(t, err, ErrCorrupt, "%s to %s", from, to)
		}
	}
	good := sample(Gzip, 3)
	_, _, err := Recompress(nil, good, Compression{Codec: 6}, limit)
	require.ErrorIs(t, err, ErrCodec)
	_, _, err = Recompress(nil, good[:len(good)-1], Compression{Codec: Zstd}, limit)
	require.ErrorIs(t, err, ErrTruncated)
	_, _, err = Recompress(nil, edit(good, put16(posAttributes, 6)), Compression{Codec: Zstd}, limit)
	require.ErrorIs(t, err, ErrCodec)
}

func BenchmarkRecompress(b *testing.B) {
	batch := rich(None, 500)
	for _, to := range allCodecs[1:] {
		b.Run(to.String(), func(b *testing.B) {
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			var out []byte
			var err error
			for b.Loop() {
				if out, _, err = Recompress(out[:0], batch, Compression{Codec: to}, DefaultMaxDecoded); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
