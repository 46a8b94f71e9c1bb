// Package cleaner looks at log compaction from the outside: what a consumer finds in a topic that keeps the last value
// of each key.
package cleaner

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firnlog/firn/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestCompactedTopic (I-17): the last value of each key stays, at its offset, across a clean stop and a kill; readers
// pass over the gaps.
func TestCompactedTopic(t *testing.T) {
	const keys, rounds = 50, 100
	b := harness.Start(t, harness.Options{})
	b.MustRun("", "topic", "create", "latest", "-p", "1", "-c", "cleanup.policy=compact", "-c", "segment.bytes=1048576",
		"-c", "min.cleanable.dirty.ratio=0.01")
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Kafka), kgo.DefaultProduceTopic("latest"), kgo.ProducerBatchMaxBytes(64<<10),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	require.NoError(t, err)
	defer cl.Close()
	want := map[string]string{}
	lastOffset := map[string]int64{}
	for round := range rounds {
		for k := range keys {
			key, value := fmt.Sprint("key", k), fmt.Sprintf("%d %s", round, strings.Repeat("x", 1000))
			want[key] = value
			cl.Produce(context.Background(), &kgo.Record{Key: []byte(key), Value: []byte(value)}, func(r *kgo.Record, err error) {
				if err != nil {
					t.Errorf("produce: %v", err)
					return
				}
				lastOffset[string(r.Key)] = r.Offset
			})
		}
	}
	require.NoError(t, cl.Flush(context.Background()))

	harness.Eventually(t, 90*time.Second, "the topic is not compacted", func() bool { return len(read(t, b.Kafka)) < keys*rounds/2 })
	for _, restart := range []func(){func() {}, func() { b.Stop() }, func() { b.Kill() }} {
		restart()
		select {
		case <-b.Ended():
			b.Launch()
			b.WaitReady()
		default:
		}
		got := map[string]string{}
		previous := int64(-1)
		for _, r := range read(t, b.Kafka) {
			require.Greater(t, r.Offset, previous)
			previous = r.Offset
			got[string(r.Key)] = string(r.Value)
			if r.Offset == lastOffset[string(r.Key)] {
				require.Equal(t, want[string(r.Key)], string(r.Value))
			}
		}
		require.Equal(t, want, got)
		require.Equal(t, int64(keys*rounds-1), previous, "offsets stay")
	}
}

// read reads the topic from its first offset to its end.
func read(t *testing.T, addr string) []*kgo.Record {
	t.Helper()
	end, err := harness.NewRaw(t, addr).ListOffset(context.Background(), "latest", 0, -1)
	require.NoError(t, err)
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"latest": {0: kgo.NewOffset().AtStart()}}))
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var all []*kgo.Record
	for len(all) == 0 || all[len(all)-1].Offset < end.Offset-1 {
		f := cl.PollFetches(ctx)
		require.NoError(t, f.Err())
		all = append(all, f.Records()...)
	}
	return all
}
