package history

import (
	"bytes"
	"context"
	"hash/fnv"
	"io"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// eventCount is what git-events.tsv.zst holds: the events of two long-lived repositories, 2011 to 2024.
const eventCount = 193_827

type historyEvent struct {
	key, value []byte
	ms         int64
}

// loadEvents reads the real history: key TAB epoch-ms TAB JSON, one a line, zstd-compressed.
func loadEvents(t *testing.T) []historyEvent {
	t.Helper()
	f, err := os.Open("../testdata/git-events.tsv.zst")
	require.NoError(t, err)
	defer f.Close()
	d, err := zstd.NewReader(f)
	require.NoError(t, err)
	defer d.Close()
	all, err := io.ReadAll(d)
	require.NoError(t, err)
	var events []historyEvent
	for line := range bytes.Lines(all) {
		key, rest, ok := bytes.Cut(bytes.TrimSuffix(line, []byte{'\n'}), []byte{'\t'})
		require.True(t, ok)
		ms, value, ok := bytes.Cut(rest, []byte{'\t'})
		require.True(t, ok)
		n, err := strconv.ParseInt(string(ms), 10, 64)
		require.NoError(t, err)
		events = append(events, historyEvent{key: key, value: value, ms: n})
	}
	require.Len(t, events, eventCount)
	return events
}

// produceEvents writes the events with their own times, each key to one partition, and returns what every
// reader must then see: per partition the lines of `partition offset time key value`.
func produceEvents(t *testing.T, addr, topic string, partitions int, events []historyEvent) [][]byte {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.ZstdCompression()),
		kgo.ProducerBatchMaxBytes(64<<10), kgo.ProducerLinger(2*time.Millisecond))
	require.NoError(t, err)
	defer cl.Close()
	records := make([]*kgo.Record, len(events))
	for i, e := range events {
		h := fnv.New32a()
		h.Write(e.key)
		records[i] = &kgo.Record{Key: e.key, Value: e.value, Timestamp: time.UnixMilli(e.ms), Partition: int32(h.Sum32() % uint32(partitions))}
		cl.Produce(context.Background(), records[i], func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("produce: %v", err)
			}
		})
	}
	require.NoError(t, cl.Flush(context.Background()))
	want := make([][]byte, partitions)
	next := make([]int64, partitions)
	for i, r := range records {
		require.Equal(t, next[r.Partition], r.Offset, "records of one partition get offsets in order")
		next[r.Partition]++
		want[r.Partition] = appendLine(want[r.Partition], r.Partition, r.Offset, events[i].ms, events[i].key, events[i].value)
	}
	return want
}

func appendLine(to []byte, partition int32, offset, ms int64, key, value []byte) []byte {
	to = strconv.AppendInt(to, int64(partition), 10)
	to = strconv.AppendInt(append(to, '\t'), offset, 10)
	to = strconv.AppendInt(append(to, '\t'), ms, 10)
	to = append(append(to, '\t'), key...)
	to = append(append(to, '\t'), value...)
	return append(to, '\n')
}
