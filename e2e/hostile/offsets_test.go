package hostile

import (
	"fmt"
	"testing"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (c *conn) deleteRecords(topic string, partition int32, offset int64) kmsg.DeleteRecordsResponseTopicPartition {
	c.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 30_000
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewDeleteRecordsRequestTopicPartition()
	rp.Partition, rp.Offset = partition, offset
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return do[*kmsg.DeleteRecordsResponse](c, req, 2).Topics[0].Partitions[0]
}

func (c *conn) endOfEpoch(topic string, partition, current, epoch int32) kmsg.OffsetForLeaderEpochResponseTopicPartition {
	c.t.Helper()
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1
	rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	rp.Partition, rp.CurrentLeaderEpoch, rp.LeaderEpoch = partition, current, epoch
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return do[*kmsg.OffsetForLeaderEpochResponse](c, req, 4).Topics[0].Partitions[0]
}

// TestListOffsets: every special timestamp in every version, on a topic that is only local.
func TestListOffsets(t *testing.T) {
	c := dial(t, start(t, harness.Options{}).addr)
	topic := c.create("offsets", 1)
	b := entries(entry{0, 0, nil, []byte("a")}, entry{1, 5000, nil, []byte("b")}, entry{2, 3000, nil, []byte("c")})
	c.mustProduce(topic, 0, b)
	since := map[int64]int16{-1: 1, -2: 1, -3: 7, -4: 8, -5: 9, -6: 11}
	want := map[int64]int64{-1: 3, -2: 0, -3: 1, -4: 0, -5: -1, -6: -1}
	if c.listOffset(topic, 0, -6).Offset == 0 {
		want[-6] = 0 // firn's topics have an archive, and everything waits for it
	}
	for ts, from := range since {
		for v := int16(1); v <= 11; v++ {
			got := c.listOffsetAt(topic, 0, ts, v, -1)
			if v < from {
				wantCode(t, fmt.Sprintf("timestamp %d in version %d", ts, v), got.ErrorCode, kerr.UnsupportedVersion)
				continue
			}
			wantCode(t, fmt.Sprintf("timestamp %d in version %d", ts, v), got.ErrorCode, nil)
			if got.Offset != want[ts] {
				t.Errorf("timestamp %d in version %d: offset %d, want %d", ts, v, got.Offset, want[ts])
			}
		}
	}
	for _, at := range []struct{ ts, offset, found int64 }{
		{0, 0, b.first}, {b.first, 0, b.first}, {b.first + 1, 1, b.first + 5000}, {b.first + 3000, 1, b.first + 5000},
		{b.first + 5000, 1, b.first + 5000}, {b.first + 5001, -1, -1}, {1<<63 - 1, -1, -1},
	} {
		got := c.listOffset(topic, 0, at.ts)
		wantCode(t, fmt.Sprint("time ", at.ts), got.ErrorCode, nil)
		if got.Offset != at.offset || got.Timestamp != at.found {
			t.Errorf("time %d: offset %d at %d, want %d at %d", at.ts, got.Offset, got.Timestamp, at.offset, at.found)
		}
	}
	for _, ts := range []int64{-7, -100, -1 << 63} {
		wantCode(t, fmt.Sprintf("timestamp %d", ts), c.listOffset(topic, 0, ts).ErrorCode, kerr.UnsupportedVersion)
	}
	wantCode(t, "unknown topic", c.listOffset("nobody-has-this", 0, -1).ErrorCode, kerr.UnknownTopicOrPartition)
	wantCode(t, "unknown partition", c.listOffset(topic, 1, -1).ErrorCode, kerr.UnknownTopicOrPartition)
	wantCode(t, "negative partition", c.listOffset(topic, -1, -1).ErrorCode, kerr.UnknownTopicOrPartition)
	wantCode(t, "the right epoch", c.listOffsetAt(topic, 0, -1, 11, 0).ErrorCode, nil)
	wantCode(t, "an epoch to come", c.listOffsetAt(topic, 0, -1, 11, 7).ErrorCode, kerr.UnknownLeaderEpoch)
	empty := c.create("empty", 1)
	for ts, want := range map[int64]int64{-1: 0, -2: 0, -3: -1, -4: 0, 0: -1} {
		if got := c.listOffset(empty, 0, ts); got.ErrorCode != 0 || got.Offset != want {
			t.Errorf("timestamp %d of an empty log: %s, offset %d, want %d", ts, name(got.ErrorCode), got.Offset, want)
		}
	}
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	c := dial(t, start(t, harness.Options{}).addr)
	topic := c.create("epochs", 1)
	c.mustProduce(topic, 0, values("a", "b"))
	for _, at := range []struct {
		name           string
		current, epoch int32
		want           *kerr.Error
		gotEpoch       int32
		end            int64
	}{
		{"the one there is", 0, 0, nil, 0, 2},
		{"without the client's epoch", -1, 0, nil, 0, 2},
		{"one to come", 0, 3, nil, -1, -1},
		{"none", 0, -1, nil, -1, -1},
		{"a client from the future", 3, 0, kerr.UnknownLeaderEpoch, -1, -1},
	} {
		t.Run(at.name, func(t *testing.T) {
			got := c.endOfEpoch(topic, 0, at.current, at.epoch)
			wantCode(t, at.name, got.ErrorCode, at.want)
			if got.LeaderEpoch != at.gotEpoch || got.EndOffset != at.end {
				t.Errorf("epoch %d ends at %d, want %d and %d", got.LeaderEpoch, got.EndOffset, at.gotEpoch, at.end)
			}
		})
	}
	wantCode(t, "unknown topic", c.endOfEpoch("nobody-has-this", 0, -1, 0).ErrorCode, kerr.UnknownTopicOrPartition)
	wantCode(t, "unknown partition", c.endOfEpoch(topic, 4, -1, 0).ErrorCode, kerr.UnknownTopicOrPartition)
}

func TestDeleteRecords(t *testing.T) {
	c := dial(t, start(t, harness.Options{}).addr)
	topic := c.create("cut", 1)
	for range 5 {
		c.mustProduce(topic, 0, values("a", "b"))
	}
	for _, at := range []struct {
		name        string
		offset, low int64
		want        *kerr.Error
	}{
		{"in a batch", 3, 3, nil},
		{"again", 3, 3, nil},
		{"back", 1, 3, nil},
		{"beyond the end", 11, -1, kerr.OffsetOutOfRange},
		{"-2", -2, -1, kerr.OffsetOutOfRange},
		{"everything", -1, 10, nil},
		{"the end", 10, 10, nil},
	} {
		t.Run(at.name, func(t *testing.T) {
			got := c.deleteRecords(topic, 0, at.offset)
			wantCode(t, at.name, got.ErrorCode, at.want)
			if got.LowWatermark != at.low {
				t.Errorf("low watermark %d, want %d", got.LowWatermark, at.low)
			}
			if at.want == nil {
				if first := c.listOffset(topic, 0, -2).Offset; first != at.low {
					t.Errorf("the log starts at %d, want %d", first, at.low)
				}
				wantCode(t, "below", c.fetch(topic, 0, at.low-1).ErrorCode, kerr.OffsetOutOfRange)
				wantCode(t, "at", c.fetch(topic, 0, at.low).ErrorCode, nil)
			}
		})
	}
	if got := c.mustProduce(topic, 0, values("next")); got != 10 {
		t.Errorf("the next batch came to %d, want 10", got)
	}
	wantCode(t, "unknown topic", c.deleteRecords("nobody-has-this", 0, 0).ErrorCode, kerr.UnknownTopicOrPartition)
	wantCode(t, "unknown partition", c.deleteRecords(topic, 1, 0).ErrorCode, kerr.UnknownTopicOrPartition)
	compacted := c.create("compacted", 1, "cleanup.policy", "compact")
	wantCode(t, "a compacted topic", c.deleteRecords(compacted, 0, 0).ErrorCode, kerr.PolicyViolation)
}
