package api

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/broker/partition"
	"github.com/firnlog/firn/broker/wire"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/record"
)

// Produce 3-13. Versions 0-2 are advertised and refused, as in Kafka 4 (see package server).
//
// Batches are kept as they were sent, unless compression.type asks for another codec: records are decoded only for
// firn.validate.records and for topics with compaction, whose records need keys.
//
// Deliberate gaps: transactional batches are refused with INVALID_TXN_STATE, as Kafka does for a transaction that its
// coordinator does not know. Message formats 0 and 1 are refused, as in Kafka 4.
var produceHandler = handler{0, 3, 13, (*API).produce}

// produceCall is one Produce request that waits for its partitions.
type produceCall struct {
	reply *wire.Reply
	resp  wire.ProduceResponse

	mu      sync.Mutex
	left    int           // partitions whose outcome is open, and one for the handler itself; guarded by mu
	parked  []parkedBatch // guarded by mu
	timer   *time.Timer   // guarded by mu
	replied bool          // guarded by mu
}

// parkedBatch is a batch that is written and waits for the high watermark.
type parkedBatch struct {
	ticket       *partition.Ticket
	topic, index int // its place in the response
}

func (a *API) produce(_ context.Context, req *wire.Request, reply *wire.Reply) {
	p, err := req.Produce()
	if err != nil {
		reply.Close(err)
		return
	}
	c := &produceCall{reply: reply, left: 1}
	c.resp.Topics = make([]wire.ProduceTopicResponse, len(p.Topics))
	var failed error
	a.prepare(req, p)
	for i := range p.Topics {
		t := &p.Topics[i]
		out := &c.resp.Topics[i]
		out.Name, out.ID = t.Name, t.ID
		out.Partitions = make([]wire.ProducePartitionResponse, len(t.Partitions))
		for j := range t.Partitions {
			if err := a.produceOne(c, req, p, i, j); err != nil {
				out.Partitions[j] = a.produceError(&c.resp, t, t.Partitions[j].Index, err)
				failed = fmt.Errorf("partition %d of %s%s: %w", t.Partitions[j].Index, t.Name, idText(t), err)
			}
		}
	}
	if p.Acks == 0 {
		if failed != nil {
			reply.Close(failed) // the only way to tell a producer that does not listen, as in Kafka
			return
		}
		reply.None()
		return
	}
	c.arm(time.Duration(p.TimeoutMs) * time.Millisecond)
	c.settle(1)
}

// prepare gets what is not ready for an append ready together, where that is more than one partition's log. A request for
// one partition, the most common, has nothing to look up here.
func (a *API) prepare(req *wire.Request, p *wire.ProduceRequest) {
	if len(p.Topics) == 1 && len(p.Topics[0].Partitions) == 1 {
		return
	}
	var ps []*partition.Partition
	for i := range p.Topics {
		t := &p.Topics[i]
		for j := range t.Partitions {
			if pt, err := a.partition(t.Name, t.ID, t.Partitions[j].Index, req.Version >= 13); err == nil && !pt.Ready() {
				ps = append(ps, pt)
			}
		}
	}
	if len(ps) > 1 {
		a.Partitions.Prepare(ps)
	}
}

func idText(t *wire.ProduceTopic) string {
	if t.Name != "" {
		return ""
	}
	return "topic id " + t.ID.String()
}

// produceOne checks and appends the records of one partition, and parks their part of the answer.
func (a *API) produceOne(c *produceCall, req *wire.Request, p *wire.ProduceRequest, i, j int) error {
	t, part := &p.Topics[i], &p.Topics[i].Partitions[j]
	pt, err := a.partition(t.Name, t.ID, part.Index, req.Version >= 13)
	if err != nil {
		return err
	}
	if metadata.IsInternal(pt.ID().Topic) && req.ClientID != adminClient {
		return refuse(kerr.InvalidTopicException, pt.ID().Topic+" is an internal topic")
	}
	h, err := checkBatch(req.Version, part.Records)
	if err != nil {
		return err
	}
	if p.Acks < -1 || p.Acks > 1 {
		return refuse(kerr.InvalidRequiredAcks, fmt.Sprintf("acks=%d; allowed are -1, 0 and 1", p.Acks))
	}
	if pt.Settings().Compacted {
		if err := a.checkKeys(h.Codec(), part.Records); err != nil {
			return err
		}
	}
	done, err := pt.Append(part.Records, h, p.Acks == -1)
	if err != nil {
		return err
	}
	out := &c.resp.Topics[i].Partitions[j]
	*out = wire.ProducePartitionResponse{Index: part.Index, BaseOffset: done.Base, LogAppendTimeMs: done.LogAppendTime, LogStartOffset: done.LogStart}
	// In flush mode no acknowledgement goes out before the flush, whatever acks says. With an ISR of one the high
	// watermark is what is flushed (flush mode) or written (page-cache mode), so acks=1 and acks=all wait for the same.
	if p.Acks == -1 || p.Acks == 1 && pt.FlushMode() {
		a.parkBatch(c, pt, done.Next, i, j)
	}
	return nil
}

// adminClient is the client id that Kafka lets write to internal topics.
const adminClient = "__admin_client"

// parkBatch lets a batch's part of the answer wait for the high watermark.
func (a *API) parkBatch(c *produceCall, pt *partition.Partition, next int64, i, j int) {
	c.mu.Lock()
	c.left++
	c.mu.Unlock()
	ticket := pt.Await(next, func(code int16) {
		if code != 0 {
			c.fail(i, j, code)
		}
		c.settle(1)
	})
	c.mu.Lock()
	c.parked = append(c.parked, parkedBatch{ticket, i, j})
	c.mu.Unlock()
}

// fail turns one partition's outcome into an error. The answer is not out yet: it waits for this partition.
func (c *produceCall) fail(i, j int, code int16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := &c.resp.Topics[i].Partitions[j]
	*out = wire.NewProducePartitionError(out.Index, code, "")
}

// arm limits the wait, once everything is appended.
func (c *produceCall) arm(timeout time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left > 1 {
		c.timer = time.AfterFunc(max(timeout, 0), c.expire)
	}
}

// expire gives REQUEST_TIMED_OUT to what still waits. The records stay: the producer finds out by retrying.
func (c *produceCall) expire() {
	c.mu.Lock()
	parked := c.parked
	c.mu.Unlock()
	n := 0
	for _, b := range parked {
		if b.ticket.Cancel() {
			c.fail(b.topic, b.index, kerr.RequestTimedOut.Code)
			n++
		}
	}
	c.settle(n)
}

// settle counts off n outcomes and answers after the last.
func (c *produceCall) settle(n int) {
	c.mu.Lock()
	c.left -= n
	last := c.left == 0 && !c.replied
	if last {
		c.replied = true
		if c.timer != nil {
			c.timer.Stop()
		}
	}
	c.mu.Unlock()
	if last {
		c.reply.Produce(&c.resp)
	}
}

// checkBatch holds the records of one partition against Kafka's rules for a producer (ProduceRequest.validateRecords,
// LogValidator.validateBatch): exactly one batch of format 2, undamaged, with what its version may carry.
func checkBatch(version int16, b []byte) (record.Header, error) {
	if len(b) == 0 {
		return record.Header{}, refuse(kerr.InvalidRecord, "there must be a record batch for each partition")
	}
	h, err := record.Check(b)
	switch {
	case err != nil && unreadable(b):
		return h, refuse(kerr.CorruptMessage, err.Error())
	case err != nil:
		return h, err
	case h.Size() != len(b):
		return h, refuse(kerr.InvalidRecord, "there must be exactly one record batch for each partition")
	case h.Codec() == record.Zstd && version < 7:
		return h, refuse(kerr.UnsupportedCompressionType, "zstd needs Produce version 7 or later")
	case h.IsControl():
		return h, refuse(kerr.InvalidRecord, "clients must not write control records")
	case h.IsTransactional():
		return h, refuse(kerr.InvalidTxnState, "this broker has no transaction coordinator yet")
	}
	return h, nil
}

// unreadable reports bytes that no message format begins with: an impossible length or an unknown magic. Kafka calls
// them corrupt before it looks at anything else (ByteBufferLogInputStream.nextBatchSize), whereas what is only cut
// short, or of an old format, is an invalid record.
func unreadable(b []byte) bool {
	const lengthAt, magicAt, minLegacy = 8, 16, 14 // in all formats
	if len(b) <= magicAt {
		return false
	}
	length := int32(binary.BigEndian.Uint32(b[lengthAt:]))
	switch b[magicAt] {
	case 0, 1:
		return length < minLegacy
	case 2:
		return length < record.HeaderSize-lengthAt-4
	}
	return true
}

// keyless is a record without key on a topic with compaction.
var errKeyless = errors.New("a compacted topic's record needs a key")

// checkKeys refuses a batch with records that have no key, naming each (KIP-467).
func (a *API) checkKeys(c record.Codec, batch []byte) error {
	var bad []wire.RecordError
	err := a.Unpack.Do(c, func(most int) error {
		return record.Records(batch, most, func(i int, r *record.Record) error {
			if r.Key == nil {
				bad = append(bad, wire.RecordError{BatchIndex: int32(i), Message: errKeyless.Error()})
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	if len(bad) > 0 {
		return &badRecords{kerr.InvalidRecord, errKeyless.Error(), bad}
	}
	return nil
}

// badRecords is a refusal that names records.
type badRecords struct {
	code    *kerr.Error
	text    string
	records []wire.RecordError
}

func (e *badRecords) Error() string { return e.text }
func (e *badRecords) Unwrap() error { return e.code }

// produceError is the answer for a partition whose batch was refused.
func (a *API) produceError(resp *wire.ProduceResponse, t *wire.ProduceTopic, index int32, err error) wire.ProducePartitionResponse {
	out := wire.NewProducePartitionError(index, code(err), "")
	var ke *kerr.Error
	if !errors.As(err, &ke) || err.Error() != ke.Error() { // more than the code itself says
		out.ErrorMessage = err.Error()
	}
	var many *badRecords
	var some hot.BadRecords
	var one *record.RecordError
	switch {
	case errors.As(err, &many):
		out.RecordErrors = many.records
	case errors.As(err, &some):
		for _, r := range some {
			out.RecordErrors = append(out.RecordErrors, wire.RecordError{BatchIndex: int32(r.Index), Message: r.Err.Error()})
		}
	case errors.As(err, &one):
		out.RecordErrors = []wire.RecordError{{BatchIndex: int32(one.Index), Message: one.Err.Error()}}
	}
	if out.ErrorCode == kerr.NotLeaderForPartition.Code {
		out.CurrentLeader, resp.Endpoints = a.newLeader(t.Name, t.ID, index, resp.Endpoints)
	}
	if out.ErrorCode == kerr.UnknownServerError.Code {
		a.Logger.Error("produce failed", "topic", t.Name, "id", t.ID, "partition", index, "error", err)
	}
	return out
}
