package groups

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/firnlog/firn/e2e/harness"
)

const offsetsTopic = "__consumer_offsets"

// offsetsRecord is a record of the offsets topic.
type offsetsRecord struct {
	*kgo.Record
	gap    int64                // offsets missing between it and the record before
	commit kmsg.OffsetCommitKey // empty for the record of a group
}

// readOffsetsTopic reads all that the offsets topic holds, each partition in order.
func readOffsetsTopic(t *testing.T, addr string) []offsetsRecord {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(offsetsTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, offsetsTopic)
	require.NoError(t, err)
	require.NoError(t, ends.Error())
	next, missing := map[int32]int64{}, 0
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			missing++
		}
	})
	var all []offsetsRecord
	for missing > 0 {
		fetches := cl.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			at := offsetsRecord{Record: r, gap: r.Offset - next[r.Partition]}
			// Versions 0 and 1 of the key are of an offset, 2 of a group (Kafka: CoordinatorRecordType).
			if binary.BigEndian.Uint16(r.Key) < 2 {
				require.NoError(t, at.commit.ReadFrom(r.Key))
			}
			all = append(all, at)
			end, _ := ends.Lookup(offsetsTopic, r.Partition)
			if next[r.Partition] < end.Offset && r.Offset+1 >= end.Offset {
				missing--
			}
			next[r.Partition] = r.Offset + 1
		})
	}
	return all
}

// TestOffsetsTopicIsCompacted: what many commits of a few offsets leave behind is compacted away while groups go on, a
// kill in between loses no offset, and groups that were deleted or have expired do not come back (I-17).
func TestOffsetsTopicIsCompacted(t *testing.T) {
	const partitions, topic = 50, "work"
	args := []string{}
	for _, c := range []string{
		"offsets.topic.num.partitions=1", "offsets.topic.segment.bytes=1048576", "offsets.retention.check.interval.ms=100",
		"log.cleaner.backoff.ms=20", "log.cleaner.min.cleanable.ratio=0.01", "log.cleaner.delete.retention.ms=1",
	} {
		args = append(args, "--set", c)
	}
	b := harness.Start(t, harness.Options{Args: args})
	b.MustRun("", "topic", "create", topic, "-p", fmt.Sprint(partitions), "-c", "remote.storage.enable=false")
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Kafka))
	require.NoError(t, err)
	defer cl.Close()
	adm := kadm.NewClient(cl)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()

	at, committed := int64(0), 0
	commit := func(group string) {
		t.Helper()
		at++
		offsets := kadm.Offsets{}
		for p := range int32(partitions) {
			offsets.Add(kadm.Offset{Topic: topic, Partition: p, At: at + int64(p), LeaderEpoch: -1, Metadata: strings.Repeat("m", 200)})
		}
		require.NoError(t, adm.CommitAllOffsets(ctx, group, offsets))
		committed += partitions
	}
	commit("deleted")
	b.MustRun("", "group", "delete", "deleted")
	commitFor(ctx, t, cl, "expired", topic, time.Millisecond)
	harness.Eventually(t, time.Minute, "a group does not expire", func() bool { return !listed(ctx, t, adm)["expired"] })

	// compacted commits on until the segments behind are clean, and nothing is left of the groups that are gone.
	compacted := func() {
		t.Helper()
		harness.Eventually(t, time.Minute, "the offsets topic is not compacted", func() bool {
			for range 20 {
				commit("stays")
			}
			records, gone := readOffsetsTopic(t, b.Kafka), 0
			for _, r := range records {
				if g := r.commit.Group; g == "deleted" || g == "expired" {
					gone++
				}
			}
			return b.Metric("firn_clean_freed_bytes_total") > 2<<20 && len(records) < committed/2 && gone == 0
		})
	}
	right := func() {
		t.Helper()
		harness.Eventually(t, time.Minute, "the coordinator does not come back", func() bool {
			groups, err := adm.ListGroups(ctx)
			return err == nil && len(groups) > 0
		})
		require.Equal(t, map[string]bool{"stays": true}, listed(ctx, t, adm))
		for _, gone := range []string{"deleted", "expired"} {
			offsets, err := adm.FetchOffsets(ctx, gone)
			require.NoError(t, err)
			require.Empty(t, offsets[topic], gone)
		}
		offsets, err := adm.FetchOffsets(ctx, "stays")
		require.NoError(t, err)
		require.Len(t, offsets[topic], partitions)
		for p, o := range offsets[topic] {
			require.Equal(t, at+int64(p), o.At, "partition %d", p)
			require.Len(t, o.Metadata, 200)
		}
	}
	compacted()
	b.Kill()
	b.Launch()
	b.WaitReady()
	right()
	compacted() // and on from the checkpoint
	b.Stop()
	b.Launch()
	b.WaitReady()
	right()
}

// commitFor commits an offset that is kept for so long only, as clients could once ask for (versions 2 to 4).
func commitFor(ctx context.Context, t *testing.T, cl *kgo.Client, group, topic string, keep time.Duration) {
	t.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation, req.RetentionTimeMillis = group, -1, keep.Milliseconds()
	rt, rp := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	rt.Topic, rp.Offset = topic, 1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(req.Key(), 2)
	old, err := kgo.NewClient(append(cl.Opts(), kgo.MaxVersions(versions))...)
	require.NoError(t, err)
	defer old.Close()
	resp, err := req.RequestWith(ctx, old)
	require.NoError(t, err)
	require.NoError(t, kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode))
}

// listed returns the names of the groups that there are.
func listed(ctx context.Context, t *testing.T, adm *kadm.Client) map[string]bool {
	t.Helper()
	groups, err := adm.ListGroups(ctx)
	require.NoError(t, err)
	names := map[string]bool{}
	for name := range groups {
		names[name] = true
	}
	return names
}
