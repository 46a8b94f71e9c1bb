package record

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	kgzip "github.com/segmentio/kafka-go/compress/gzip"
	klz4 "github.com/segmentio/kafka-go/compress/lz4"
	ksnappy "github.com/segmentio/kafka-go/compress/snappy"
	kzstd "github.com/segmentio/kafka-go/compress/zstd"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What franz-go reads of our batches, field by field.
func TestFranzReadsOurs(t *testing.T) {
	batch := NewBuilder(None).Producer(7, 3, 11).Transactional().LeaderEpoch(5).
		Append(1000, []byte("k0"), []byte("v0"), []RecordHeader{{"h", []byte("x")}, {"n", nil}}).
		Append(990, nil, []byte("v1"), nil).Build(42)
	h, err := Check(batch)
	require.NoError(t, err)
	var kb kmsg.RecordBatch
	require.NoError(t, kb.ReadFrom(batch))
	require.Equal(t, Header{
		BaseOffset: kb.FirstOffset, Length: kb.Length, LeaderEpoch: kb.PartitionLeaderEpoch, Magic: kb.Magic,
		CRC: uint32(kb.CRC), Attributes: kb.Attributes, LastOffsetDelta: kb.LastOffsetDelta,
		BaseTimestamp: kb.FirstTimestamp, MaxTimestamp: kb.MaxTimestamp, ProducerID: kb.ProducerID,
		ProducerEpoch: kb.ProducerEpoch, BaseSequence: kb.FirstSequence, Count: kb.NumRecords,
	}, h)
	rest := kb.Records
	for i, want := range collect(t, batch) {
		n, tail, ok := readVarint(rest)
		require.True(t, ok)
		var kr kmsg.Record
		require.NoError(t, kr.ReadFrom(rest[:len(rest)-len(tail)+int(n)]))
		rest = tail[n:]
		require.Equal(t, want.Key, kr.Key)
		require.Equal(t, want.Value, kr.Value)
		require.Equal(t, want.TimestampDelta, kr.TimestampDelta64)
		require.EqualValues(t, i, kr.OffsetDelta)
		require.Len(t, kr.Headers, len(want.Headers))
		for j, x := range want.Headers {
			require.Equal(t, x, RecordHeader{kr.Headers[j].Key, kr.Headers[j].Value})
		}
	}
	require.Empty(t, rest)
}

// What we read of franz-go's batches, in each codec as its own compressor writes it.
func TestOursReadFranz(t *testing.T) {
	for _, kc := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(),
		kgo.Lz4Compression(), kgo.ZstdCompression()} {
		var records []byte
		for i := range 200 {
			kr := kmsg.Record{TimestampDelta64: int64(-i), OffsetDelta: int32(i), Key: fmt.Appendf(nil, "key %d", i),
				Value: bytes.Repeat([]byte("value "), 40), Headers: []kmsg.Header{{Key: "h", Value: []byte("x")}}}
			kr.Length = int32(len(kr.AppendTo(nil)) - 1) // a length of 0 takes one byte
			records = kr.AppendTo(records)
		}
		compressor, err := kgo.DefaultCompressor(kc)
		require.NoError(t, err)
		codec := kgo.CodecNone
		if compressor != nil {
			records, codec = compressor.Compress(new(bytes.Buffer), records)
		}
		kb := kmsg.RecordBatch{FirstOffset: 0, Length: int32(minLength + len(records)), PartitionLeaderEpoch: -1, Magic: 2,
			Attributes: int16(codec), LastOffsetDelta: 199, FirstTimestamp: 5000, MaxTimestamp: 5000, ProducerID: -1,
			ProducerEpoch: -1, FirstSequence: -1, NumRecords: 200, Records: records}
		batch := kb.AppendTo(nil)
		reseal(batch)
		h, err := Check(batch)
		require.NoError(t, err)
		require.Equal(t, Codec(codec), h.Codec())
		require.NoError(t, ValidateRecords(batch, DefaultMaxDecoded))
		rs := collect(t, batch)
		require.Len(t, rs, 200)
		require.Equal(t, "key 199", string(rs[199].Key))
		require.EqualValues(t, 4801, h.Timestamp(&rs[199]))
	}
}

// Each codec against two other client libraries, both ways.
func TestCodecsOfOtherClients(t *testing.T) {
	type stream interface {
		NewReader(io.Reader) io.ReadCloser
		NewWriter(io.Writer) io.WriteCloser
	}
	kafkaGo := map[Codec][]stream{
		Gzip:   {&kgzip.Codec{}},
		Snappy: {&ksnappy.Codec{}, &ksnappy.Codec{Framing: ksnappy.Unframed}},
		LZ4:    {&klz4.Codec{}},
		Zstd:   {&kzstd.Codec{}},
	}
	franzOut := kgo.DefaultDecompressor()
	for codec, streams := range kafkaGo {
		for name, in := range payloads() {
			if len(in) == 0 {
				continue
			}
			ours, err := Compress(nil, in, codec)
			require.NoError(t, err)
			out, err := franzOut.Decompress(ours, kgo.CompressionCodecType(codec))
			require.NoError(t, err, "franz-go %s %s", codec, name)
			require.True(t, bytes.Equal(in, out))
			out, err = io.ReadAll(streams[0].NewReader(bytes.NewReader(ours)))
			require.NoError(t, err, "kafka-go %s %s", codec, name)
			require.True(t, bytes.Equal(in, out))
			for _, s := range streams {
				var theirs bytes.Buffer
				w := s.NewWriter(&theirs)
				_, err = w.Write(in)
				require.NoError(t, err)
				require.NoError(t, w.Close())
				out, err = Decompress(nil, theirs.Bytes(), codec, len(in))
				require.NoError(t, err, "from kafka-go %s %s", codec, name)
				require.True(t, bytes.Equal(in, out))
			}
		}
	}
}
