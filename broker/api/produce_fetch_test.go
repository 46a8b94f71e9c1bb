package api

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
)

func TestProduceEveryVersion(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	id := e.store.Image().TopicByName("t").ID
	for v := produceHandler.min; v <= produceHandler.max; v++ {
		req := produceRequest("t", 0, -1, batchOf(2))
		req.Topics[0].TopicID = id
		p := e.produce(req, v)
		require.Zero(t, p.ErrorCode, "version %d", v)
		require.EqualValues(t, 2*int64(v-produceHandler.min), p.BaseOffset)
		require.EqualValues(t, -1, p.LogAppendTime)
	}
}

func TestProduceRefusals(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1, "max.message.bytes", "300")
	e.create("keys", 1, "cleanup.policy", "compact")
	e.create("now", 1, "message.timestamp.before.max.ms", "1000")
	flip := func(b []byte, at int, to byte) []byte { b[at] = to; return b }
	build := func(f func(b *record.Builder)) []byte {
		b := record.NewBuilder(record.None)
		f(b)
		return b.Build(0)
	}
	good := batchOf(1)
	zstd := record.NewBuilder(record.Zstd).Append(1, nil, []byte("v"), nil).Build(0)
	for name, c := range map[string]struct {
		topic   string
		part    int32
		acks    int16
		version int16
		records []byte
		want    *kerr.Error
	}{
		"unknown topic":       {"nope", 0, -1, 9, batchOf(1), kerr.UnknownTopicOrPartition},
		"unknown partition":   {"t", 1, -1, 9, batchOf(1), kerr.UnknownTopicOrPartition},
		"negative partition":  {"t", -1, -1, 9, batchOf(1), kerr.UnknownTopicOrPartition},
		"unknown id":          {"", 0, -1, 13, batchOf(1), kerr.UnknownTopicID},
		"acks 2":              {"t", 0, 2, 9, batchOf(1), kerr.InvalidRequiredAcks},
		"no records":          {"t", 0, -1, 9, []byte{}, kerr.InvalidRecord},
		"null records":        {"t", 0, -1, 9, nil, kerr.InvalidRecord},
		"crc":                 {"t", 0, -1, 9, flip(batchOf(1), len(good)-1, 'x'), kerr.CorruptMessage},
		"magic 1":             {"t", 0, -1, 9, flip(batchOf(1), 16, 1), kerr.InvalidRecord},
		"cut short":           {"t", 0, -1, 9, batchOf(1)[:len(good)-1], kerr.InvalidRecord},
		"two batches":         {"t", 0, -1, 9, append(batchOf(1), batchOf(1)...), kerr.InvalidRecord},
		"count":               {"t", 0, -1, 9, build(func(b *record.Builder) { b.Append(1, nil, nil, nil).LastOffsetDelta(4) }), kerr.InvalidRecord},
		"zstd too early":      {"t", 0, -1, 6, zstd, kerr.UnsupportedCompressionType},
		"control":             {"t", 0, -1, 9, build(func(b *record.Builder) { b.Append(1, nil, nil, nil).Control().Producer(1, 0, -1) }), kerr.InvalidRecord},
		"transactional":       {"t", 0, -1, 9, build(func(b *record.Builder) { b.Append(1, nil, nil, nil).Producer(1, 0, 0).Transactional() }), kerr.InvalidTxnState},
		"too large":           {"t", 0, -1, 9, build(func(b *record.Builder) { b.Append(1, nil, make([]byte, 400), nil) }), kerr.MessageTooLarge},
		"sequence gap":        {"t", 0, -1, 9, build(func(b *record.Builder) { b.Append(1, nil, nil, nil).Producer(5, 0, 7) }), kerr.OutOfOrderSequenceNumber},
		"no key":              {"keys", 0, -1, 9, build(func(b *record.Builder) { b.Append(1, []byte("k"), nil, nil).Append(1, nil, []byte("v"), nil) }), kerr.InvalidRecord},
		"timestamp":           {"now", 0, -1, 9, build(func(b *record.Builder) { b.Append(1, nil, nil, nil) }), kerr.InvalidTimestamp},
		"no key, old version": {"keys", 0, 1, 3, build(func(b *record.Builder) { b.Append(1, nil, []byte("v"), nil) }), kerr.InvalidRecord},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "sequence gap" {
				first := record.NewBuilder(record.None).Append(1, nil, nil, nil).Producer(5, 0, 0).Build(0)
				require.Zero(t, e.produce(produceRequest("t", 0, -1, first), 9).ErrorCode)
			}
			p := e.produce(produceRequest(c.topic, c.part, c.acks, c.records), c.version)
			text := ""
			if p.ErrorMessage != nil {
				text = *p.ErrorMessage
			}
			require.Equal(t, c.want.Code, p.ErrorCode, text)
			require.EqualValues(t, -1, p.BaseOffset)
			if name == "no key" {
				require.Len(t, p.ErrorRecords, 1)
				require.EqualValues(t, 1, p.ErrorRecords[0].RelativeOffset)
			}
		})
	}
}

// I-05: a retried batch is stored once, and answered with its first offset.
func TestProduceDuplicate(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	b := func(seq int32) []byte {
		return record.NewBuilder(record.None).Append(1, nil, []byte("v"), nil).Append(2, nil, nil, nil).Producer(9, 0, seq).Build(0)
	}
	require.EqualValues(t, 0, e.produce(produceRequest("t", 0, -1, b(0)), 9).BaseOffset)
	require.EqualValues(t, 2, e.produce(produceRequest("t", 0, -1, b(2)), 9).BaseOffset)
	again := e.produce(produceRequest("t", 0, -1, b(0)), 9)
	require.Zero(t, again.ErrorCode)
	require.EqualValues(t, 0, again.BaseOffset)
	require.EqualValues(t, 4, e.produce(produceRequest("t", 0, 1, b(4)), 9).BaseOffset)
}

func TestProduceWithoutAcks(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	var got []outcome
	e.send(produceRequest("t", 0, 0, batchOf(1)), 9, func(o outcome) { got = append(got, o) })
	e.send(produceRequest("nope", 0, 0, batchOf(1)), 9, func(o outcome) { got = append(got, o) })
	require.Equal(t, outcome{}, got[0], "no answer")
	require.Error(t, got[1].err, "an error closes the connection")
}

func TestProduceToInternalTopicIsRefused(t *testing.T) {
	e := newEnv(t)
	e.create("__consumer_offsets", 1)
	require.Equal(t, kerr.InvalidTopicException.Code, e.produce(produceRequest("__consumer_offsets", 0, -1, batchOf(1)), 9).ErrorCode)
}

func TestLogAppendTime(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1, "message.timestamp.type", "LogAppendTime")
	p := e.produce(produceRequest("t", 0, -1, batchOf(1)), 9)
	require.Greater(t, p.LogAppendTime, int64(1000))
	f := call[*kmsg.FetchResponse](e, fetchRequest("t", 0, 0), 12)
	h, err := record.Check(f.Topics[0].Partitions[0].RecordBatches)
	require.NoError(t, err)
	require.Equal(t, p.LogAppendTime, h.MaxTimestamp)
}

func TestFetchEveryVersion(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	id := e.store.Image().TopicByName("t").ID
	e.produce(produceRequest("t", 0, -1, batchOf(3)), 9)
	want := batchOf(3)
	for v := fetchHandler.min; v <= fetchHandler.max; v++ {
		req := fetchRequest("t", 0, 0)
		req.Topics[0].TopicID = id
		resp := call[*kmsg.FetchResponse](e, req, v)
		require.Len(t, resp.Topics, 1, "version %d", v)
		p := resp.Topics[0].Partitions[0]
		require.Zero(t, p.ErrorCode)
		require.EqualValues(t, 3, p.HighWatermark)
		require.Len(t, p.RecordBatches, len(want))
		require.Equal(t, want[61:], p.RecordBatches[61:], "records are as they were sent")
	}
}

func TestFetchErrors(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	e.produce(produceRequest("t", 0, -1, batchOf(3)), 9)
	one := func(req *kmsg.FetchRequest, version int16) kmsg.FetchResponseTopicPartition {
		return call[*kmsg.FetchResponse](e, req, version).Topics[0].Partitions[0]
	}
	p := one(fetchRequest("t", 0, 4), 12)
	require.Equal(t, kerr.OffsetOutOfRange.Code, p.ErrorCode)
	require.EqualValues(t, 3, p.HighWatermark)
	require.EqualValues(t, 0, p.LogStartOffset)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, one(fetchRequest("t", 5, 0), 12).ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, one(fetchRequest("nope", 0, 0), 12).ErrorCode)
	req := fetchRequest("", 0, 0)
	req.Topics[0].TopicID = topic.NewID()
	require.Equal(t, kerr.UnknownTopicID.Code, one(req, 13).ErrorCode)
	req = fetchRequest("t", 0, 0)
	req.Topics[0].Partitions[0].CurrentLeaderEpoch = 99
	require.Equal(t, kerr.UnknownLeaderEpoch.Code, one(req, 12).ErrorCode)
	req = fetchRequest("t", 0, 0)
	req.ReplicaID = 2
	require.Equal(t, kerr.NotLeaderForPartition.Code, one(req, 12).ErrorCode)
	req = fetchRequest("t", 0, 3)
	req.Topics[0].Partitions[0].LastFetchedEpoch = 50
	require.Empty(t, one(req, 12).RecordBatches)
}

func TestFetchSession(t *testing.T) {
	e := newEnv(t)
	e.create("t", 2)
	req := fetchRequest("t", 0, 0)
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, req.Topics[0].Partitions[0])
	req.Topics[0].Partitions[1].Partition = 1
	req.SessionEpoch = 0
	resp := call[*kmsg.FetchResponse](e, req, 12)
	require.NotZero(t, resp.SessionID)
	require.Len(t, resp.Topics[0].Partitions, 2)

	e.produce(produceRequest("t", 1, -1, batchOf(1)), 9)
	next := func(epoch int32) *kmsg.FetchResponse {
		r := kmsg.NewPtrFetchRequest()
		r.ReplicaID, r.MaxBytes, r.SessionID, r.SessionEpoch = -1, 1<<20, resp.SessionID, epoch
		return call[*kmsg.FetchResponse](e, r, 12)
	}
	inc := next(1)
	require.Len(t, inc.Topics, 1)
	require.Len(t, inc.Topics[0].Partitions, 1, "only what changed is answered")
	require.EqualValues(t, 1, inc.Topics[0].Partitions[0].Partition)
	require.Equal(t, kerr.InvalidFetchSessionEpoch.Code, next(1).ErrorCode)
	r := kmsg.NewPtrFetchRequest()
	r.SessionID, r.SessionEpoch = resp.SessionID+1, 1
	require.Equal(t, kerr.FetchSessionIDNotFound.Code, call[*kmsg.FetchResponse](e, r, 12).ErrorCode)
}
