package hostile

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// changed gives a batch's bytes after fn has changed some; the checksum stays as it was.
func changed(b []byte, fn func(b []byte)) []byte {
	fn(b)
	return b
}

func put32(at int, v uint32) func([]byte) {
	return func(b []byte) { binary.BigEndian.PutUint32(b[at:], v) }
}

// badBatches are records that must not be stored, and the code that says so. own marks those where Kafka 4.3.1 is no
// model: it never answers null, says UNKNOWN_SERVER_ERROR to an unknown codec, drops what follows a batch, and rewrites
// a timestamp type that firn, which keeps batches as sent, must refuse.
func badBatches() []struct {
	name  string
	bytes []byte
	want  *kerr.Error
	own   bool
} {
	with := func(fn func(b *batch)) []byte {
		b := values("a", "b", "c")
		fn(b)
		return b.bytes()
	}
	return []struct {
		name  string
		bytes []byte
		want  *kerr.Error
		own   bool
	}{
		{"a flipped bit", changed(values("a").bytes(), func(b []byte) { b[len(b)-2] ^= 4 }), kerr.CorruptMessage, false},
		{"a wrong checksum", changed(values("a").bytes(), put32(atCRC, 1)), kerr.CorruptMessage, false},
		{"a length that is too long", changed(values("a").bytes(), put32(atLength, 5000)), kerr.InvalidRecord, false},
		{"a length that is too short", changed(values("a").bytes(), put32(atLength, 40)), kerr.CorruptMessage, false},
		{"a length below any format's", changed(values("a").bytes(), put32(atLength, 3)), kerr.CorruptMessage, false},
		{"a negative length", changed(values("a").bytes(), put32(atLength, 0x80000000)), kerr.CorruptMessage, false},
		{"the length -1", changed(values("a").bytes(), put32(atLength, 0xffffffff)), kerr.CorruptMessage, false},
		{"a batch cut in its records", values("a", "b").bytes()[:66], kerr.InvalidRecord, false},
		{"a batch cut in its header", values("a").bytes()[:30], kerr.InvalidRecord, false},
		{"four bytes", []byte{0, 1, 2, 3}, kerr.InvalidRecord, false},
		{"no bytes", []byte{}, kerr.InvalidRecord, false},
		{"null", nil, kerr.InvalidRecord, true},
		{"garbage", []byte(strings.Repeat("garbage ", 20)), kerr.CorruptMessage, false},
		{"magic 0", messageSet(0, "old"), kerr.InvalidRecord, false},
		{"magic 1", messageSet(1, "old"), kerr.InvalidRecord, false},
		{"magic 3", with(func(b *batch) { b.magic = 3 }), kerr.CorruptMessage, false},
		{"magic -1", with(func(b *batch) { b.magic = -1 }), kerr.CorruptMessage, false},
		{"a count that is too small", with(func(b *batch) { b.count = 2 }), kerr.InvalidRecord, false},
		{"a count that is too large", with(func(b *batch) { b.count = 4 }), kerr.InvalidRecord, false},
		{"a negative count", with(func(b *batch) { b.count = -1 }), kerr.InvalidRecord, false},
		{"a count of 0 with records", with(func(b *batch) { b.count = 0 }), kerr.InvalidRecord, false},
		{"a negative last offset delta", with(func(b *batch) { b.lastDelta = -1 }), kerr.InvalidRecord, false},
		{"count and delta at the end of the numbers", with(func(b *batch) { b.count, b.lastDelta = -1<<31, 1<<31-1 }), kerr.InvalidRecord, false},
		{"no records at all", with(func(b *batch) { b.count, b.lastDelta, b.payload = 0, -1, nil }), kerr.InvalidRecord, false},
		{"codec 5", with(func(b *batch) { b.attributes = 5 }), kerr.UnsupportedCompressionType, true},
		{"codec 6", with(func(b *batch) { b.attributes = 6 }), kerr.UnsupportedCompressionType, true},
		{"codec 7", with(func(b *batch) { b.attributes = 7 }), kerr.UnsupportedCompressionType, true},
		{"two batches", append(values("a").bytes(), values("b").bytes()...), kerr.InvalidRecord, false},
		{"a byte after the batch", append(values("a").bytes(), 0), kerr.InvalidRecord, true},
		{"a control batch", with(func(b *batch) { b.attributes = 0x20 }), kerr.InvalidRecord, false},
		{"LogAppendTime, which is the broker's", with(func(b *batch) { b.attributes = 8 }), kerr.InvalidTimestamp, true},
		{"larger than max.message.bytes", values(strings.Repeat("x", 1<<20+100)).bytes(), kerr.MessageTooLarge, false},
		{"a producer id with a negative sequence", with(func(b *batch) { b.by(4711, 0, -1) }), kerr.InvalidRecord, false},
	}
}

// TestBadBatches: a batch that is wrong on its outside gets Kafka's code, stores nothing, and the connection goes on.
func TestBadBatches(t *testing.T) {
	s := start(t, harness.Options{})
	c := dial(t, s.addr)
	topic := c.create("bad", 1)
	next := c.mustProduce(topic, 0, values("first")) + 1
	for _, bad := range badBatches() {
		t.Run(bad.name, func(t *testing.T) {
			if bad.own && s.firn == nil {
				t.Skip("Kafka is no model here")
			}
			c := dial(t, s.addr)
			out := c.produce(topic, 0, bad.bytes)
			wantCode(t, bad.name, out.ErrorCode, bad.want)
			if out.BaseOffset != -1 {
				t.Errorf("base offset %d, want -1", out.BaseOffset)
			}
			if got := c.mustProduce(topic, 0, values("after")); got != next {
				t.Errorf("the next batch came to offset %d, want %d", got, next)
			}
			next++
		})
	}
}

func TestBadTimestamps(t *testing.T) {
	c := dial(t, start(t, harness.Options{}).addr)
	topic := c.create("times", 1, "message.timestamp.before.max.ms", "60000", "message.timestamp.after.max.ms", "60000")
	const hour = 3_600_000
	for _, at := range []struct {
		name string
		es   []entry
		bad  []int32
	}{
		{"late", []entry{{0, 0, nil, []byte("a")}, {1, hour, nil, []byte("b")}, {2, hour + 1, nil, []byte("c")}}, []int32{1, 2}},
		{"early", []entry{{0, -hour, nil, []byte("a")}, {1, 0, nil, []byte("b")}}, []int32{0}},
	} {
		t.Run(at.name, func(t *testing.T) {
			out := c.produce(topic, 0, entries(at.es...).bytes())
			wantCode(t, at.name, out.ErrorCode, kerr.InvalidTimestamp)
			wantRecords(t, out, at.bad)
		})
	}
	if got := c.mustProduce(topic, 0, values("x")); got != 0 {
		t.Errorf("stored at offset %d, want 0", got)
	}
}

// wantRecords compares which records of a batch the answer names.
func wantRecords(t *testing.T, out kmsg.ProduceResponseTopicPartition, want []int32) {
	t.Helper()
	var got []int32
	for _, r := range out.ErrorRecords {
		got = append(got, r.RelativeOffset)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the answer names the records %v, want %v", got, want)
	}
}

func TestCompactedTopicWantsKeys(t *testing.T) {
	c := dial(t, start(t, harness.Options{}).addr)
	topic := c.create("compacted", 1, "cleanup.policy", "compact")
	k := []byte("k")
	mixed := []entry{{0, 0, k, k}, {1, 0, nil, k}, {2, 0, k, k}, {3, 0, nil, k}}
	for _, b := range []*batch{entries(mixed...), entries(mixed...).gzipped()} {
		out := c.produce(topic, 0, b.bytes())
		wantCode(t, "records without keys", out.ErrorCode, kerr.InvalidRecord)
		wantRecords(t, out, []int32{1, 3})
	}
	if got := c.mustProduce(topic, 0, entries(mixed[0])); got != 0 {
		t.Errorf("stored at offset %d, want 0", got)
	}
}

// TestProduceAddress: what is wrong around the records: acks, topics, ids, partitions.
func TestProduceAddress(t *testing.T) {
	s := start(t, harness.Options{})
	c := dial(t, s.addr)
	topic := c.create("address", 2)
	id := c.topicID(topic)
	records := values("x").bytes()
	one := func(t *testing.T, req *kmsg.ProduceRequest, version int16, want *kerr.Error) {
		t.Helper()
		resp := do[*kmsg.ProduceResponse](c, req, version)
		p := resp.Topics[0].Partitions[0]
		wantCode(t, fmt.Sprintf("Produce version %d", version), p.ErrorCode, want)
	}
	for _, acks := range []int16{2, -2, 32767} {
		t.Run(fmt.Sprintf("acks=%d", acks), func(t *testing.T) {
			req := produceTo(topic, 0, records)
			req.Acks = acks
			one(t, req, produceV, kerr.InvalidRequiredAcks)
		})
	}
	for _, at := range []struct {
		name      string
		topic     string
		partition int32
		want      *kerr.Error
	}{
		{"unknown topic", "nobody-has-this", 0, kerr.UnknownTopicOrPartition},
		{"unknown partition", topic, 2, kerr.UnknownTopicOrPartition},
		{"negative partition", topic, -1, kerr.UnknownTopicOrPartition},
		{"no name", "", 0, kerr.UnknownTopicOrPartition},
		{"a name with a slash", "../../etc/passwd", 0, kerr.UnknownTopicOrPartition},
	} {
		t.Run(at.name, func(t *testing.T) { one(t, produceTo(at.topic, at.partition, records), produceV, at.want) })
	}
	byID := func(id [16]byte, partition int32) *kmsg.ProduceRequest {
		req := produceTo("", partition, records)
		req.Topics[0].TopicID = id
		return req
	}
	t.Run("by id", func(t *testing.T) {
		one(t, byID(id, 1), 13, nil)
		one(t, byID(id, 2), 13, kerr.UnknownTopicOrPartition)
		one(t, byID([16]byte{1, 2, 3}, 0), 13, kerr.UnknownTopicID)
		one(t, byID([16]byte{}, 0), 13, kerr.UnknownTopicID)
	})
	t.Run("one bad among good", func(t *testing.T) {
		req := produceTo(topic, 0, records)
		more := produceTo(topic, 1, []byte("garbage")).Topics[0]
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, more.Partitions...)
		resp := do[*kmsg.ProduceResponse](c, req, produceV)
		codes := map[int32]int16{}
		for _, p := range resp.Topics[0].Partitions {
			codes[p.Partition] = p.ErrorCode
		}
		wantCode(t, "the good one", codes[0], nil)
		wantCode(t, "the bad one", codes[1], kerr.InvalidRecord)
	})
	t.Run("acks=0", func(t *testing.T) {
		silent := dial(t, s.addr)
		req := produceTo(topic, 0, records)
		req.Acks = 0
		silent.send(req, produceV)
		if got := silent.listOffset(topic, 0, -1); got.Offset < 1 { // the next answer is to the next request
			t.Errorf("end offset %d", got.Offset)
		}
		req.Topics[0].Topic = "nobody-has-this"
		silent.send(req, produceV)
		silent.closed()
		wantCode(t, "others", c.produce(topic, 0, records).ErrorCode, nil)
	})
	t.Run("a transactional batch", func(t *testing.T) {
		if s.firn == nil {
			t.Skip("Kafka asks its coordinator first")
		}
		b := values("x").by(4711, 0, 0)
		b.attributes = 0x10
		req := produceTo(topic, 0, b.bytes())
		req.TransactionID = kmsg.StringPtr("nobody")
		one(t, req, produceV, kerr.InvalidTxnState)
		one(t, req, 11, kerr.InvalidTxnState)
	})
	t.Run("zstd before version 7", func(t *testing.T) {
		b := values("x")
		b.attributes = 4
		one(t, produceTo(topic, 0, b.bytes()), 6, kerr.UnsupportedCompressionType)
	})
}
