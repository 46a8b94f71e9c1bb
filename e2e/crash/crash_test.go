// Package crash kills the broker again and again under load, and holds it to everything that it acknowledged.
package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firnlog/firn/e2e/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const partitions = 4

// ack is one acknowledged record: the number that its producer gave it, and where it went.
type ack struct{ number, offset int64 }

// load writes numbered records to every partition and remembers what was acknowledged.
type load struct {
	cl   *kgo.Client
	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	acked [partitions][]ack
	errs  []error
}

func startLoad(t *testing.T, addr, topic string) *load {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(16<<10), kgo.MaxBufferedRecords(2000),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.MetadataMinAge(20*time.Millisecond),
		kgo.DialTimeout(time.Second), kgo.ProduceRequestTimeout(5*time.Second), kgo.RequestTimeoutOverhead(5*time.Second))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cl: cl, stop: cancel}
	for p := range partitions {
		l.done.Go(func() { l.write(ctx, int32(p)) })
	}
	return l
}

func (l *load) write(ctx context.Context, partition int32) {
	for n := int64(0); ctx.Err() == nil; n++ {
		value := fmt.Appendf(nil, "%d/%d/%s", partition, n, strings.Repeat("x", 100))
		l.cl.Produce(context.Background(), &kgo.Record{Partition: partition, Value: value}, func(r *kgo.Record, err error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if err != nil {
				l.errs = append(l.errs, err)
				return
			}
			l.acked[partition] = append(l.acked[partition], ack{n, r.Offset})
		})
	}
}

// finish stops writing, waits until the last record is acknowledged and returns what was.
func (l *load) finish(t *testing.T) [partitions][]ack {
	t.Helper()
	l.stop()
	l.done.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, l.cl.Flush(ctx))
	l.cl.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Empty(t, l.errs, "an idempotent producer with unlimited retries never gives up")
	return l.acked
}

// TestKillUnderLoad (I-01, I-05): a process that is killed loses nothing that it acknowledged.
func TestKillUnderLoad(t *testing.T) { killUnderLoad(t, "", harness.Count(8, 200)) }

// TestPowerCutUnderLoad (I-01, I-05): the same when what was not synced is gone, directory entries too.
func TestPowerCutUnderLoad(t *testing.T) { killUnderLoad(t, "faults", harness.Count(8, 200)) }

func killUnderLoad(t *testing.T, tags string, kills int) {
	rng := rand.New(rand.NewPCG(1, uint64(kills)))
	b := harness.Start(t, harness.Options{Tags: tags})
	b.MustRun("", "topic", "create", "load", "-p", strconv.Itoa(partitions), "-c", "segment.bytes=1048576",
		"-c", "firn.remote.segment.bytes=1048576", "-c", "firn.remote.upload.max.lag.ms=500", "-c", "local.retention.ms=2000")
	l := startLoad(t, b.Kafka, "load")
	journaled, replayed := 0.0, 0.0
	for range kills {
		time.Sleep(time.Duration(100+rng.IntN(500)) * time.Millisecond) // the load's time, not a wait for a condition
		journaled += b.Metric("firn_hot_journal_rounds_total")
		b.Kill()
		b.Launch()
		b.WaitReady()
		replayed += b.Metric("firn_hot_journal_replayed_bytes")
	}
	acked := l.finish(t)
	check(t, b.Kafka, acked)
	require.Greater(t, journaled, float64(kills), "flushes went through the journal")
	require.Positive(t, replayed, "starts replayed it")
	t.Logf("%.0f flushes went through the journal, %.0f bytes were replayed", journaled, replayed)
}

// check reads everything and compares it with what was acknowledged: each record at its offset, each number
// once, numbers in order.
func check(t *testing.T, addr string, acked [partitions][]ack) {
	t.Helper()
	for p := range int32(partitions) {
		require.NotEmpty(t, acked[p])
		records := readAll(t, addr, p, acked[p][len(acked[p])-1].offset+1)
		numberAt := make(map[int64]int64, len(records))
		last := int64(-1)
		for _, r := range records {
			parts := strings.SplitN(string(r.Value), "/", 3)
			require.Equal(t, strconv.Itoa(int(p)), parts[0], "a record of another partition")
			n, err := strconv.ParseInt(parts[1], 10, 64)
			require.NoError(t, err)
			require.Equal(t, last+1, n, "partition %d, offset %d: numbers follow each other, none twice and none missing", p, r.Offset)
			last = n
			numberAt[r.Offset] = n
		}
		for _, a := range acked[p] {
			n, ok := numberAt[a.offset]
			require.True(t, ok, "partition %d: acknowledged record %d at offset %d is gone", p, a.number, a.offset)
			require.Equal(t, a.number, n, "partition %d, offset %d", p, a.offset)
		}
		t.Logf("partition %d: %d records acknowledged, %d read", p, len(acked[p]), len(records))
	}
}

func readAll(t *testing.T, addr string, partition int32, end int64) []*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"load": {partition: kgo.NewOffset().At(0)}}))
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var all []*kgo.Record
	next := int64(0)
	for next < end {
		f := cl.PollFetches(ctx)
		require.NoError(t, f.Err())
		f.EachRecord(func(r *kgo.Record) {
			require.Equal(t, next, r.Offset, "no offset is missing or comes twice")
			next++
			all = append(all, r)
		})
	}
	return all
}
