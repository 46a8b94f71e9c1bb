package hostile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// partitionsOf lists which partitions an answer carries, with their codes and bytes.
func partitionsOf(resp *kmsg.FetchResponse) map[string]kmsg.FetchResponseTopicPartition {
	out := map[string]kmsg.FetchResponseTopicPartition{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			out[fmt.Sprintf("%s-%d", t.Topic, p.Partition)] = p
		}
	}
	return out
}

func wantPartitions(t *testing.T, resp *kmsg.FetchResponse, want ...string) map[string]kmsg.FetchResponseTopicPartition {
	t.Helper()
	wantCode(t, "Fetch", resp.ErrorCode, nil)
	got := partitionsOf(resp)
	for _, w := range want {
		if _, ok := got[w]; !ok {
			t.Errorf("the answer lacks %s", w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("the answer has %d partitions, want %v", len(got), want)
	}
	return got
}

// TestFetchSessions: KIP-227, from creating one to closing it.
func TestFetchSessions(t *testing.T) {
	s := start(t, harness.Options{})
	c := dial(t, s.addr)
	topic := c.create("session", 3)
	part := func(i int) string { return fmt.Sprintf("%s-%d", topic, i) }
	for i := range int32(3) {
		c.mustProduce(topic, i, values("a"))
	}
	fetch := func(id, epoch int32, topics ...kmsg.FetchRequestTopic) *kmsg.FetchResponse {
		t.Helper()
		req := kmsg.NewPtrFetchRequest()
		req.MaxBytes, req.SessionID, req.SessionEpoch, req.Topics = 1<<20, id, epoch, topics
		return do[*kmsg.FetchResponse](c, req, fetchV)
	}
	at := func(partition int32, offset int64) kmsg.FetchRequestTopic {
		return fetchTopic(topic, partition, offset)
	}

	made := fetch(0, 0, at(0, 0), at(1, 0))
	wantPartitions(t, made, part(0), part(1))
	id := made.SessionID
	if id == 0 {
		t.Fatal("no session was made")
	}
	wantPartitions(t, fetch(id, 1, at(0, 1), at(1, 1))) // nothing new
	c.mustProduce(topic, 1, values("b"))
	got := wantPartitions(t, fetch(id, 2), part(1))
	if n := len(stored(t, got[part(1)].RecordBatches)); n != 1 {
		t.Errorf("%d batches, want 1", n)
	}
	wantPartitions(t, fetch(id, 3, at(1, 2), at(2, 0)), part(2)) // one moved on, one added
	forget := kmsg.NewPtrFetchRequest()
	forget.MaxBytes, forget.SessionID, forget.SessionEpoch = 1<<20, id, 4
	gone := kmsg.NewFetchRequestForgottenTopic()
	gone.Topic, gone.Partitions = topic, []int32{2}
	forget.ForgottenTopics = append(forget.ForgottenTopics, gone)
	wantPartitions(t, do[*kmsg.FetchResponse](c, forget, fetchV))

	for _, epoch := range []int32{4, 6, 1, -2, 1<<31 - 1} {
		wantCode(t, fmt.Sprintf("epoch %d", epoch), fetch(id, epoch).ErrorCode, kerr.InvalidFetchSessionEpoch)
	}
	wantCode(t, "an unknown session", fetch(id+1, 5).ErrorCode, kerr.FetchSessionIDNotFound)
	wantCode(t, "session 0 with an epoch", fetch(0, 5).ErrorCode, kerr.FetchSessionIDNotFound)
	byID := kmsg.NewPtrFetchRequest()
	byID.MaxBytes, byID.SessionID, byID.SessionEpoch = 1<<20, id, 5
	wantCode(t, "ids in a session of names", do[*kmsg.FetchResponse](c, byID, 13).ErrorCode, kerr.FetchSessionTopicIDError)
	wantPartitions(t, fetch(id, 5)) // none of that counted

	// An error is told again until it is over.
	for epoch := int32(6); epoch < 8; epoch++ {
		bad := wantPartitions(t, fetch(id, epoch, at(0, 99)), part(0))
		wantCode(t, "offset 99", bad[part(0)].ErrorCode, kerr.OffsetOutOfRange)
	}
	again := fetch(id, 0, at(0, 0)) // a new session in its place
	wantPartitions(t, again, part(0))
	wantCode(t, "the session of before", fetch(id, 8).ErrorCode, kerr.FetchSessionIDNotFound)
	last := fetch(again.SessionID, -1, at(0, 0)) // closes it
	wantPartitions(t, last, part(0))
	if last.SessionID != 0 {
		t.Errorf("the final fetch is answered with session %d", last.SessionID)
	}
	wantCode(t, "the session that was closed", fetch(again.SessionID, 1).ErrorCode, kerr.FetchSessionIDNotFound)
}

// TestFetchPlaces: offsets, epochs, partitions and ids that do not exist.
func TestFetchPlaces(t *testing.T) {
	c := dial(t, start(t, harness.Options{}).addr)
	topic := c.create("places", 1)
	id := c.topicID(topic)
	c.mustProduce(topic, 0, values("a", "b", "c"))
	for _, at := range []struct {
		name      string
		topic     string
		partition int32
		offset    int64
		epoch     int32
		want      *kerr.Error
	}{
		{"the start", topic, 0, 0, -1, nil},
		{"the end", topic, 0, 3, -1, nil},
		{"beyond the end", topic, 0, 4, -1, kerr.OffsetOutOfRange},
		{"far beyond the end", topic, 0, 1<<63 - 1, -1, kerr.OffsetOutOfRange},
		{"before the start", topic, 0, -1, -1, kerr.OffsetOutOfRange},
		{"the least offset", topic, 0, -1 << 63, -1, kerr.OffsetOutOfRange},
		{"the right epoch", topic, 0, 0, 0, nil},
		{"an epoch to come", topic, 0, 0, 5, kerr.UnknownLeaderEpoch},
		{"an epoch that is none", topic, 0, 0, -5, nil},
		{"unknown partition", topic, 1, 0, -1, kerr.UnknownTopicOrPartition},
		{"negative partition", topic, -1, 0, -1, kerr.UnknownTopicOrPartition},
		{"unknown topic", "nobody-has-this", 0, 0, -1, kerr.UnknownTopicOrPartition},
	} {
		t.Run(at.name, func(t *testing.T) {
			req := fetchFrom(at.topic, at.partition, at.offset)
			req.Topics[0].Partitions[0].CurrentLeaderEpoch = at.epoch
			for v := int16(9); v <= 12; v++ {
				p := do[*kmsg.FetchResponse](c, req, v).Topics[0].Partitions[0]
				wantCode(t, fmt.Sprintf("version %d", v), p.ErrorCode, at.want)
				if at.want == nil && p.HighWatermark != 3 {
					t.Errorf("high watermark %d, want 3", p.HighWatermark)
				}
			}
		})
	}
	for v := int16(13); v <= 18; v++ {
		t.Run(fmt.Sprintf("ids, version %d", v), func(t *testing.T) {
			req := fetchFrom("", 0, 0)
			req.Topics[0].TopicID = id
			wantCode(t, "the topic's id", do[*kmsg.FetchResponse](c, req, v).Topics[0].Partitions[0].ErrorCode, nil)
			req.Topics[0].TopicID = [16]byte{1, 2}
			wantCode(t, "an unknown id", do[*kmsg.FetchResponse](c, req, v).Topics[0].Partitions[0].ErrorCode, kerr.UnknownTopicID)
		})
	}
	t.Run("in the middle of a batch", func(t *testing.T) {
		batches := stored(t, c.fetch(topic, 0, 2).RecordBatches)
		if len(batches) != 1 || baseOf(batches[0]) != 0 {
			t.Errorf("%d batches", len(batches))
		}
	})
}

// TestFetchLimits: at most what is asked for, but always one batch (I-21).
func TestFetchLimits(t *testing.T) {
	s := start(t, harness.Options{})
	c := dial(t, s.addr)
	topic := c.create("limits", 3)
	kb := strings.Repeat("x", 1024)
	batch := len(values(kb).bytes())
	for p := range int32(3) {
		for range 10 {
			c.mustProduce(topic, p, values(kb))
		}
	}
	for _, at := range []struct {
		name           string
		max, perPart   int32
		most           int // bytes in all partitions together
		atLeast        int // batches
		everyPartition bool
	}{
		{"all", 1 << 20, 1 << 20, 30 * batch, 30, true},
		{"a partition's limit", 1 << 20, int32(3 * batch), 9 * batch, 9, true},
		{"the whole limit", int32(5 * batch), 1 << 20, 5 * batch, 5, false},
		{"less than a batch", 100, 1 << 20, batch, 1, false},
		{"less than a batch of each", 1 << 20, 100, batch, 1, false},
		{"nothing", 0, 0, batch, 0, false},
		{"negative", -5, -5, batch, 0, false},
	} {
		t.Run(at.name, func(t *testing.T) {
			if at.max < 0 && s.firn == nil {
				t.Skip("Kafka says UNKNOWN_SERVER_ERROR")
			}
			req := kmsg.NewPtrFetchRequest()
			req.MaxBytes, req.SessionEpoch = at.max, -1
			for p := range int32(3) {
				rt := fetchTopic(topic, p, 0)
				rt.Partitions[0].PartitionMaxBytes = at.perPart
				req.Topics = append(req.Topics, rt)
			}
			total, whole := 0, 0
			for name, p := range partitionsOf(do[*kmsg.FetchResponse](c, req, fetchV)) {
				wantCode(t, name, p.ErrorCode, nil)
				total += len(p.RecordBatches)
				n := len(stored(t, p.RecordBatches))
				whole += n
				if at.everyPartition && n == 0 {
					t.Errorf("nothing of %s", name)
				}
			}
			if total > at.most || whole < at.atLeast {
				t.Errorf("%d bytes with %d whole batches, want at most %d and at least %d", total, whole, at.most, at.atLeast)
			}
		})
	}
}

// TestFetchWaits: min.bytes is waited for until max.wait is over; what comes meanwhile ends the wait.
func TestFetchWaits(t *testing.T) {
	s := start(t, harness.Options{})
	c, other := dial(t, s.addr), dial(t, s.addr)
	topic := c.create("waits", 1)
	wait := func(minBytes, ms int32, offset int64) *kmsg.FetchRequest {
		req := fetchFrom(topic, 0, offset)
		req.MinBytes, req.MaxWaitMillis = minBytes, ms
		return req
	}
	resp := do[*kmsg.FetchResponse](c, wait(1, 50, 0), fetchV) // the wait ends without records
	wantCode(t, "an empty log", resp.Topics[0].Partitions[0].ErrorCode, nil)
	c.send(wait(1, 60_000, 0), fetchV)
	other.mustProduce(topic, 0, values("news"))
	resp.SetVersion(fetchV)
	if err := c.tryRecv(resp); err != nil {
		t.Fatalf("the wait did not end with the news: %v", err)
	}
	if n := len(stored(t, resp.Topics[0].Partitions[0].RecordBatches)); n != 1 {
		t.Errorf("%d batches", n)
	}
	c.send(wait(500, 60_000, 1), fetchV) // more than one batch of this size
	for range 12 {
		other.mustProduce(topic, 0, values("news"))
	}
	if err := c.tryRecv(resp); err != nil {
		t.Fatalf("the wait did not end when there was enough: %v", err)
	}
	if n := len(resp.Topics[0].Partitions[0].RecordBatches); n < 500 {
		t.Errorf("%d bytes, want 500 at least", n)
	}
	// A waiter that hangs up and one that waits for ever harm nobody.
	gone := dial(t, s.addr)
	gone.send(wait(1, 1<<31-1, 13), fetchV)
	_ = gone.Close()
	dial(t, s.addr).send(wait(1<<31-1, 1<<31-1, 0), fetchV)
	other.mustProduce(topic, 0, values("after"))
}
