package faults

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firnlog/firn/e2e/harness"
)

// tmpfs mounts a small file system for the test.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		harness.Missing(t, "mounting a small tmpfs to fill needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		harness.Missing(t, "a tmpfs cannot be mounted here: "+err.Error())
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// TestDiskFullLogFolder: the log folder is on a small disk of its own, metadata elsewhere.
func TestDiskFullLogFolder(t *testing.T) {
	diskFull(t, "96m", "--metadata-dir", filepath.Join(t.TempDir(), "metadata"), "--store", "dir://"+t.TempDir())
}

// TestDiskFullTogether: log and metadata share a small disk, and produce alone must not fill it up to where
// etcd cannot write.
func TestDiskFullTogether(t *testing.T) { diskFull(t, "512m", "--store", "dir://"+t.TempDir()) }

func diskFull(t *testing.T, size string, args ...string) {
	disk := tmpfs(t, size)
	b := harness.Start(t, harness.Options{Data: filepath.Join(disk, "data"), Args: args})
	for _, topic := range []string{"filler", "other"} {
		b.MustRun("", "topic", "create", topic, "-p", "1", "-c", "remote.storage.enable=false", "-c", "segment.bytes=4194304", "-c", "file.delete.delay.ms=0")
	}
	b.MustRun("before\n", "produce", "other")

	raw := harness.NewRaw(t, b.Kafka)
	ctx := context.Background()
	batch := oneBatch(t, b.Kafka, strings.Repeat("0123456789abcdef", 40_000))
	accepted := int64(0)
	var code int16
	for code == 0 {
		res, err := raw.Produce(ctx, "filler", 0, batch)
		require.NoError(t, err)
		if code = res.ErrorCode; code == 0 {
			require.Equal(t, accepted, res.BaseOffset)
			accepted++
		}
		require.Less(t, accepted, int64(2000), "a full disk refuses produce")
	}
	require.Equal(t, kerr.KafkaStorageError.Code, code)
	require.Positive(t, accepted)

	// Everything acknowledged is there, other clients read on, and metadata can still be changed.
	require.Equal(t, "before\n", b.MustRun("", "consume", "other", "--from", "earliest", "--to", "latest"))
	require.Equal(t, "before", readInGroup(t, b.Kafka), "groups go on, too")
	last, err := raw.Fetch(ctx, "filler", 0, accepted-1, 1)
	require.NoError(t, err)
	require.Zero(t, last.ErrorCode)
	require.Equal(t, accepted, last.HighWatermark)
	b.MustRun("", "topic", "create", "made-while-full")

	// It recovers by itself when there is space.
	b.MustRun("", "topic", "delete", "filler")
	harness.Eventually(t, time.Minute, "produce is still refused after space was freed", func() bool {
		res, err := raw.Produce(ctx, "other", 0, batch)
		return err == nil && res.ErrorCode == 0
	})
	select {
	case <-b.Ended():
		t.Fatal("the broker ended")
	default:
	}
}

// readInGroup reads the first record of "other" as a new consumer group, and commits.
func readInGroup(t *testing.T, addr string) string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumerGroup("readers"), kgo.ConsumeTopics("other"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	fetches := cl.PollRecords(ctx, 1)
	require.NoError(t, fetches.Err())
	require.NoError(t, cl.CommitRecords(ctx, fetches.Records()...))
	return string(fetches.Records()[0].Value)
}

// oneBatch makes the bytes of a one-record batch by way of the broker: produced and fetched back.
func oneBatch(t *testing.T, addr, value string) []byte {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.AllowAutoTopicCreation(), kgo.DisableIdempotentWrite(), kgo.ProducerBatchCompression(kgo.NoCompression()))
	require.NoError(t, err)
	defer cl.Close()
	require.NoError(t, cl.ProduceSync(context.Background(), &kgo.Record{Topic: "template", Value: []byte(value)}).FirstErr())
	f, err := harness.NewRaw(t, addr).Fetch(context.Background(), "template", 0, 0, 1)
	require.NoError(t, err)
	require.NotEmpty(t, f.RecordBatches)
	return f.RecordBatches
}
