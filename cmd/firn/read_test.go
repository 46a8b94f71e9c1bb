package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
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

// One partition's error does not keep the records of the others back.
func TestReaderReadsBesideAFailingPartition(t *testing.T) {
	b := record.NewBuilder(record.None)
	b.Append(1000, nil, []byte("a"), nil)
	res := kmsg.NewPtrFetchResponse()
	res.Topics = []kmsg.FetchResponseTopic{{Partitions: []kmsg.FetchResponseTopicPartition{
		{Partition: 0, ErrorCode: kerr.KafkaStorageError.Code},
		{Partition: 1, RecordBatches: b.Build(0)},
	}}}
	r := reader{topic: "t", stuck: map[int32]*stuck{1: {}}}
	next := map[int32]int64{0: 7, 1: 0}
	got := 0
	err := r.take(res, next, func(*kgo.Record) error { got++; return nil })
	require.ErrorIs(t, err, kerr.KafkaStorageError)
	require.ErrorContains(t, err, "partition 0 at offset 7")
	require.Equal(t, 1, got)
	require.Equal(t, int64(1), next[1])
	require.NotContains(t, r.stuck, int32(1), "what answers is not stuck")
}

// An offset that cannot be read is not asked for in silence: the reader says which, why, and where to look; one that
// shall come to an end gives up.
func TestReaderTellsOfAnOffsetThatCannotBeRead(t *testing.T) {
	var report bytes.Buffer
	r := reader{topic: "t", report: &report}
	next, start := map[int32]int64{3: 7}, time.UnixMilli(0)
	err := error(&partitionError{3, 7, kerr.KafkaStorageError})
	at := func(after time.Duration) error { return r.failing([]int32{0, 3}, next, err, start.Add(after)) }
	require.NoError(t, at(0))
	require.NoError(t, at(tellAfter-1))
	require.Empty(t, report.String(), "a moment's trouble is nobody's business")
	require.NoError(t, at(tellAfter))
	require.Contains(t, report.String(), "partition 3 of t cannot be read at offset 7: KAFKA_STORAGE_ERROR")
	require.Contains(t, report.String(), "firn tier explain t 3 7")
	require.NoError(t, at(tellAfter+tellAgain-1))
	require.Equal(t, 1, strings.Count(report.String(), "\n"))
	require.NoError(t, at(tellAfter+tellAgain))
	require.Equal(t, 2, strings.Count(report.String(), "\n"))
	require.NoError(t, at(24*time.Hour), "without an end it goes on")

	r = reader{topic: "t", report: &report, patience: giveUpAfter}
	require.NoError(t, at(0))
	require.NoError(t, at(giveUpAfter-1))
	err2 := at(giveUpAfter)
	require.ErrorContains(t, err2, "KAFKA_STORAGE_ERROR for 30s (see firn tier explain t 3 7)")
}
