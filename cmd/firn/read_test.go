package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/tier/record"
)

// A batch that cannot be read is reported by offset and passed over; one cut short is left for the next fetch.
func TestReaderGoesOnBehindBadBatches(t *testing.T) {
	batch := func(base int64, values ...string) []byte {
		b := record.NewBuilder(record.None)
		for _, v := range values {
			b.Append(1000, nil, []byte(v), nil)
		}
		return b.Build(base)
	}
	damaged := batch(2, "c", "d")
	damaged[len(damaged)-3] ^= 1
	cut := batch(5, "f")
	all := append(append(batch(0, "a", "b"), damaged...), batch(4, "e")...)
	var report bytes.Buffer
	r := reader{topic: "t", report: &report}
	next := map[int32]int64{0: 1}
	var got []string
	take := func(rec *kgo.Record) error { got = append(got, string(rec.Value)); return nil }
	p := &kmsg.FetchResponseTopicPartition{RecordBatches: append(all, cut[:len(cut)-1]...)}
	require.NoError(t, r.batches(p, next, take))
	require.Equal(t, []string{"b", "e"}, got)
	require.Equal(t, int64(5), next[0])
	require.Contains(t, report.String(), "t-0: the batch at the offsets 2 to 3 cannot be read")
	p.RecordBatches = cut[:len(cut)-1]
	require.ErrorIs(t, r.batches(p, next, take), record.ErrTruncated, "nothing whole came: asking again would bring the same")
}
