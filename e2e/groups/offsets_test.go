package groups

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
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
