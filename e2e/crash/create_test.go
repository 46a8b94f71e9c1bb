package crash

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firnlog/firn/e2e/harness"
)

// TestPowerCutAfterCreate (I-01, I-03, I-38): a topic survives a power cut after its creation was answered, although
// nothing of it is on the log's disk yet; so does the first record of each partition; and a topic that was made again
// under the same name shows nothing of its former self, whenever the power goes.
func TestPowerCutAfterCreate(t *testing.T) {
	const n = 20
	b := harness.Start(t, harness.Options{Tags: "faults"})
	cut := func() {
		b.Kill()
		b.Launch()
		b.WaitReady()
	}
	ends := func(want int64) {
		t.Helper()
		raw := harness.NewRaw(t, b.Kafka)
		for p := range int32(n) {
			res, err := raw.ListOffset(context.Background(), "made", p, -1)
			require.NoError(t, err)
			require.Zero(t, res.ErrorCode)
			require.Equal(t, want, res.Offset)
		}
	}
	folders := func() (count int) {
		entries, err := os.ReadDir(filepath.Join(b.Options.Data, "log"))
		require.NoError(t, err)
		for _, e := range entries {
			if e.IsDir() && strings.HasPrefix(e.Name(), "made-") {
				count++
			}
		}
		return count
	}
	for life := range 2 {
		b.MustRun("", "topic", "create", "made", "-p", "20")
		cut()
		ends(0)
		require.LessOrEqual(t, folders(), life*n, "a partition that was never written to has no folder of its own")
		writeToEach(t, b.Kafka, n)
		cut()
		ends(1)
		writeToEach(t, b.Kafka, n)
		ends(2)
		b.MustRun("", "topic", "delete", "made")
	}
}

func writeToEach(t *testing.T, addr string, n int32) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("made"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var records []*kgo.Record
	for p := range n {
		records = append(records, &kgo.Record{Partition: p, Value: []byte("x")})
	}
	require.NoError(t, cl.ProduceSync(ctx, records...).FirstErr())
}
