package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	segmentio "github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/e2e/javatools"
)

// source is a topic to be read whole: partition p ends at ends[p].
type source struct {
	addr, topic string
	ends        []int64
}

// reader reads a whole topic with one client library and returns each partition's lines.
type reader struct {
	name string
	read func(t *testing.T, s source) [][]byte
}

var readers = []reader{
	{"franz-go", readFranz},
	{"kcat", readKcat},
	{"sarama", readSarama},
	{"segmentio kafka-go", readSegmentio},
	{"java", readJava},
}

func readFranz(t *testing.T, s source) [][]byte {
	offsets := make(map[int32]kgo.Offset)
	for p := range s.ends {
		offsets[int32(p)] = kgo.NewOffset().At(0)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.topic: offsets}))
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	lines := make([][]byte, len(s.ends))
	next := make([]int64, len(s.ends))
	for left := total(s.ends); left > 0; {
		f := cl.PollFetches(ctx)
		require.NoError(t, f.Err())
		f.EachRecord(func(r *kgo.Record) {
			lines[r.Partition] = appendLine(lines[r.Partition], r.Partition, r.Offset, r.Timestamp.UnixMilli(), r.Key, r.Value)
			next[r.Partition] = r.Offset + 1
			left--
		})
	}
	return lines
}

func total(ends []int64) (sum int64) {
	for _, e := range ends {
		sum += e
	}
	return sum
}

func readKcat(t *testing.T, s source) [][]byte {
	kcat := harness.Need(t, "kcat")
	lines := make([][]byte, len(s.ends))
	for p := range s.ends {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		cmd := exec.CommandContext(ctx, kcat, "-C", "-q", "-b", s.addr, "-t", s.topic, "-p", fmt.Sprint(p), "-o", "beginning", "-e",
			"-f", "%p\t%o\t%T\t%k\t%s\n")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		cancel()
		require.NoError(t, err, stderr.String())
		lines[p] = out
	}
	return lines
}

func readSarama(t *testing.T, s source) [][]byte {
	cfg := sarama.NewConfig()
	cfg.Version = sarama.V4_0_0_0
	consumer, err := sarama.NewConsumer([]string{s.addr}, cfg)
	require.NoError(t, err)
	defer consumer.Close()
	lines := make([][]byte, len(s.ends))
	var wg sync.WaitGroup
	for p, end := range s.ends {
		pc, err := consumer.ConsumePartition(s.topic, int32(p), sarama.OffsetOldest)
		require.NoError(t, err)
		wg.Go(func() {
			defer pc.Close()
			for next := int64(0); next < end; {
				select {
				case m := <-pc.Messages():
					lines[p] = appendLine(lines[p], m.Partition, m.Offset, m.Timestamp.UnixMilli(), m.Key, m.Value)
					next = m.Offset + 1
				case <-time.After(time.Minute):
					t.Errorf("sarama: partition %d stands still at %d", p, next)
					return
				}
			}
		})
	}
	wg.Wait()
	return lines
}

func readSegmentio(t *testing.T, s source) [][]byte {
	lines := make([][]byte, len(s.ends))
	var wg sync.WaitGroup
	for p, end := range s.ends {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			r := segmentio.NewReader(segmentio.ReaderConfig{Brokers: []string{s.addr}, Topic: s.topic, Partition: p, MaxBytes: 10 << 20, MaxWait: 200 * time.Millisecond})
			defer r.Close()
			if err := r.SetOffset(segmentio.FirstOffset); err != nil {
				t.Errorf("segmentio: %v", err)
				return
			}
			for next := int64(0); next < end; {
				m, err := r.ReadMessage(ctx)
				if err != nil {
					t.Errorf("segmentio: partition %d at %d: %v", p, next, err)
					return
				}
				lines[p] = appendLine(lines[p], int32(m.Partition), m.Offset, m.Time.UnixMilli(), m.Key, m.Value)
				next = m.Offset + 1
			}
		})
	}
	wg.Wait()
	return lines
}

func readJava(t *testing.T, s source) [][]byte {
	out, err := javatools.Source(t, "Reader.java", s.addr, s.topic, fmt.Sprint(len(s.ends)))
	require.NoError(t, err)
	lines := make([][]byte, len(s.ends))
	for line := range bytes.Lines([]byte(out)) {
		var p int
		_, err := fmt.Sscanf(string(line[:min(len(line), 12)]), "%d\t", &p)
		require.NoError(t, err)
		require.Less(t, p, len(lines), errors.New("a partition that does not exist"))
		lines[p] = append(lines[p], line...)
	}
	return lines
}
