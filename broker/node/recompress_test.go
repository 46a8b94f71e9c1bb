package node

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firnlog/firn/tier/record"
)

// The broker's default of compression.type, which is dynamic, counts for batches that come later; a client reads them
// all.
func TestCompressionTypeOfTheBroker(t *testing.T) {
	l := startLive(t, nil)
	want := []record.Codec{record.None}
	require.NoError(t, l.produce("t", 1000))
	for _, codec := range []record.Codec{record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
		l.set("compression.type", codec.String())
		require.NoError(t, l.produce("t", 1000))
		want = append(want, codec)
	}
	l.topic("u", conf{"compression.type": "uncompressed"})
	require.NoError(t, l.produce("u", 1000), "the topic's own goes first")
	l.unset("compression.type")
	require.NoError(t, l.produce("t", 1000))
	want = append(want, record.None)

	cl, err := kgo.NewClient(kgo.SeedBrokers(l.n.KafkaAddr()), kgo.ConsumeTopics("t", "u"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer cl.Close()
	var got []record.Codec
	for u := 0; len(got) < len(want) || u < 1; {
		f := cl.PollFetches(t.Context())
		require.NoError(t, f.Err())
		f.EachRecord(func(r *kgo.Record) {
			require.True(t, bytes.Equal(make([]byte, 1000), r.Value))
			codec := record.Codec(r.Attrs.CompressionType())
			if r.Topic == "u" {
				require.Equal(t, record.None, codec)
				u++
				return
			}
			require.EqualValues(t, len(got), r.Offset)
			got = append(got, codec)
		})
	}
	require.Equal(t, want, got)
}
