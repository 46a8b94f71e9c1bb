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

// The topics that are written to, with how many partitions they have: one is archived, and of the other one nothing but flushes is
// to be seen.
var topics = map[string]int32{"load": 4, "wide": 60}

// partition is one that is written to.
type partition struct {
	topic string
	index int32
}

func partitions() (all []partition) {
	for topic, n := range topics {
		for i := range n {
			all = append(all, partition{topic, i})
		}
	}
	return all
}

// ack is one acknowledged record: the number that its producer gave it, and where it went.
type ack struct{ number, offset int64 }

// load writes numbered records to every partition and remembers what was acknowledged.
type load struct {
	cl   *kgo.Client
	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	acked map[partition][]ack
	errs  []error
}

func startLoad(t *testing.T, addr string) *load {
	t.Helper()
	// Batches of which the few that are in flight together are the journal's, not so many bytes that a log is flushed itself.
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(8<<10), kgo.MaxBufferedRecords(2000),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }), kgo.MetadataMinAge(20*time.Millisecond),
		kgo.DialTimeout(time.Second), kgo.ProduceRequestTimeout(5*time.Second), kgo.RequestTimeoutOverhead(5*time.Second))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cl: cl, stop: cancel, acked: map[partition][]ack{}}
	for _, p := range partitions() {
		l.done.Go(func() { l.write(ctx, p) })
	}
	return l
}

func (l *load) write(ctx context.Context, p partition) {
	for n := int64(0); ctx.Err() == nil; n++ {
		value := fmt.Appendf(nil, "%s-%d/%d/%s", p.topic, p.index, n, strings.Repeat("x", 400))
		l.cl.Produce(context.Background(), &kgo.Record{Topic: p.topic, Partition: p.index, Value: value}, func(r *kgo.Record, err error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if err != nil {
				l.errs = append(l.errs, err)
				return
			}
			l.acked[p] = append(l.acked[p], ack{n, r.Offset})
		})
	}
}

// failed are the errors of records that were given up.
func (l *load) failed() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.errs
}

// finish stops writing, waits until the last record is acknowledged and returns what was.
func (l *load) finish(t *testing.T) map[partition][]ack {
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

// TestPowerCutUnderLoad (I-01, I-05): the same when what was not synced is gone, directory entries too. The files of that build's
// flush journal are small, and some lives last until they are full and used again.
func TestPowerCutUnderLoad(t *testing.T) { killUnderLoad(t, "faults", harness.Count(8, 200)) }

// Metrics of flushes.
const (
	rounds   = "firn_hot_journal_rounds_total"
	recycled = "firn_hot_journal_recycled_total"
	settled  = "firn_hot_journal_settled_total"
	direct   = "firn_hot_direct_syncs_total"
	replayed = "firn_hot_journal_replayed_bytes"
)

func killUnderLoad(t *testing.T, tags string, kills int) {
	rng := rand.New(rand.NewPCG(1, uint64(kills)))
	b := harness.Start(t, harness.Options{Tags: tags})
	b.MustRun("", "topic", "create", "load", "-p", strconv.Itoa(int(topics["load"])), "-c", "segment.bytes=1048576",
		"-c", "firn.remote.segment.bytes=1048576", "-c", "firn.remote.upload.max.lag.ms=500", "-c", "local.retention.ms=2000")
	b.MustRun("", "topic", "create", "wide", "-p", strconv.Itoa(int(topics["wide"])), "-c", "segment.bytes=1048576",
		"-c", "remote.storage.enable=false")
	l := startLoad(t, b.Kafka)
	sums := map[string]float64{}
	smallJournal, long := tags == "faults", harness.Count(4, 10) // every so many lives
	for life := range kills {
		if smallJournal && life%long == long-1 {
			harness.Eventually(t, time.Minute, "no file of the flush journal became full and was let go of",
				func() bool { return b.Metric(recycled) > 0 || l.failed() != nil })
			require.Empty(t, l.failed())
		}
		time.Sleep(time.Duration(100+rng.IntN(500)) * time.Millisecond) // the load's time, not a wait for a condition
		for _, name := range []string{rounds, recycled, settled, direct} {
			sums[name] += b.Metric(name)
		}
		b.Kill()
		b.Launch()
		b.WaitReady()
		sums[replayed] += b.Metric(replayed)
	}
	check(t, b.Kafka, l.finish(t))
	t.Logf("%d lives: %v", kills, sums)
	require.Greater(t, sums[rounds], float64(kills), "flushes went through the journal")
	require.Positive(t, sums[replayed], "starts replayed it")
	require.Positive(t, sums[direct], "logs were flushed themselves")
	if smallJournal {
		require.GreaterOrEqual(t, sums[recycled], float64(kills/long), "its files were used again")
		require.Positive(t, sums[settled], "logs were flushed for that")
	}
}

// check reads everything and compares it with what was acknowledged: each record at its offset, each number
// once, numbers in order.
func check(t *testing.T, addr string, acked map[partition][]ack) {
	t.Helper()
	written, read := 0, 0
	for _, p := range partitions() {
		require.NotEmpty(t, acked[p])
		numbers := readAll(t, addr, p, acked[p][len(acked[p])-1].offset+1)
		for offset, n := range numbers {
			if offset > 0 {
				require.Equal(t, numbers[offset-1]+1, n, "%v, offset %d: numbers follow each other, none twice and none missing", p, offset)
			}
		}
		require.Zero(t, numbers[0])
		for _, a := range acked[p] {
			require.Less(t, a.offset, int64(len(numbers)), "%v: acknowledged record %d at offset %d is gone", p, a.number, a.offset)
			require.Equal(t, a.number, numbers[a.offset], "%v, offset %d", p, a.offset)
		}
		written, read = written+len(acked[p]), read+len(numbers)
	}
	t.Logf("%d records acknowledged, %d read", written, read)
}

// readAll gives the numbers of a partition's records, by offset.
func readAll(t *testing.T, addr string, p partition, end int64) (numbers []int64) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: {p.index: kgo.NewOffset().At(0)}}))
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for int64(len(numbers)) < end {
		f := cl.PollFetches(ctx)
		require.NoError(t, f.Err())
		f.EachRecord(func(r *kgo.Record) {
			require.Equal(t, int64(len(numbers)), r.Offset, "no offset is missing or comes twice")
			parts := strings.SplitN(string(r.Value), "/", 3)
			require.Equal(t, fmt.Sprintf("%s-%d", p.topic, p.index), parts[0], "a record of another partition")
			n, err := strconv.ParseInt(parts[1], 10, 64)
			require.NoError(t, err)
			numbers = append(numbers, n)
		})
	}
	return numbers
}
