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
// Logs are opened, and written to, on the goroutine that reads the connection: ARCHITECTURE.md ("Not obvious") says why. Answers
// to the requests before don't wait for that.
//
// Deliberate gaps: transactional batches are refused with INVALID_TXN_STATE, as Kafka does for a transaction that its
// coordinator does not know. Message formats 0 and 1 are refused, as in Kafka 4.
var produceHandler = handler{0, 3, 13, (*API).produce}

// produceCall is one Produce request that waits for its partitions. It is used again once it has answered.
type produceCall struct {
	reply *wire.Reply
	resp  wire.ProduceResponse
	told  int // records that resp names as bad

	mu       sync.Mutex
	left     int           // partitions whose outcome is open, and one for the handler itself; guarded by mu
	parked   []parkedBatch // never grown beyond its capacity, as tickets stay where they are; guarded by mu
	timer    *time.Timer   // calls expire; guarded by mu
	deadline time.Time     // before that expire is a call's that answered before; zero = none; guarded by mu
}

// parkedBatch is a batch that is written and waits for the high watermark.
type parkedBatch struct {
	ticket       partition.Ticket
	call         *produceCall
	topic, index int // its place in the response
}

// Wake implements partition.Waker.
func (b *parkedBatch) Wake(code int16) {
	c := b.call
	if code != 0 {
		c.mu.Lock()
		c.fail(b, code)
		c.mu.Unlock()
	}
	c.settle(1)
}

var produceCalls = sync.Pool{New: func() any { return new(produceCall) }}

// newProduceCall has a place in the answer for each partition of the request.
func newProduceCall(p *wire.ProduceRequest, reply *wire.Reply) *produceCall {
	c := produceCalls.Get().(*produceCall)
	c.reply, c.left = reply, 1
	n := 0
	c.resp.Topics = wire.Resize(c.resp.Topics, len(p.Topics))
	for i := range p.Topics {
		t, out := &p.Topics[i], &c.resp.Topics[i]
		out.Name, out.ID = t.Name, t.ID
		out.Partitions = wire.Resize(out.Partitions, len(t.Partitions))
		n += len(t.Partitions)
	}
	if cap(c.parked) < n {
		c.parked = make([]parkedBatch, 0, n)
	}
	return c
}

// free lets the call be used again, with a bounded amount of memory.
func (c *produceCall) free() {
	c.reply, c.told, c.deadline = nil, 0, time.Time{}
	c.resp.ThrottleMs, c.resp.Endpoints = 0, nil
	if cap(c.parked) > wire.KeepPartitions {
		c.parked = nil
	}
	clear(c.parked)
	c.parked = c.parked[:0]
	for i := range c.resp.Topics {
		clear(c.resp.Topics[i].Partitions) // what errors hold
	}
	c.resp.Topics = wire.Recycle(c.resp.Topics, func(t *wire.ProduceTopicResponse) *[]wire.ProducePartitionResponse { return &t.Partitions })
	produceCalls.Put(c)
}

func (a *API) produce(_ context.Context, req *wire.Request, reply *wire.Reply) {
	p, err := req.Produce()
	if err != nil {
		reply.Close(err)
		return
	}
	c := newProduceCall(p, reply)
	var failed error
	a.prepare(req, p)
	for i := range p.Topics {
		t := &p.Topics[i]
		for j := range t.Partitions {
			err := a.produceOne(c, req, p, i, j)
			if err == nil {
				continue
			}
			index := t.Partitions[j].Index
			if code(err) == kerr.UnknownServerError.Code {
				a.Logger.Error("produce failed", "topic", t.Name, "id", t.ID, "partition", index, "error", err)
			}
			if p.Acks != 0 {
				c.resp.Topics[i].Partitions[j] = a.produceError(c, req.Version, t, index, err)
			} else if failed == nil {
				failed = fmt.Errorf("partition %d of %s%s: %w", index, t.Name, idText(t), err)
			}
		}
	}
	if p.Acks == 0 {
		c.free()
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
		req.SendHeld()
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
	if !pt.Ready() {
		req.SendHeld()
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
		c.parkBatch(pt, done.Next, i, j)
	}
	return nil
}

// adminClient is the client id that Kafka lets write to internal topics.
const adminClient = "__admin_client"

// parkBatch lets a batch's part of the answer wait for the high watermark.
func (c *produceCall) parkBatch(pt *partition.Partition, next int64, i, j int) {
	if next <= pt.HighWatermark() {
		return
	}
	c.mu.Lock()
	c.left++
	c.parked = append(c.parked, parkedBatch{call: c, topic: i, index: j})
	b := &c.parked[len(c.parked)-1]
	c.mu.Unlock()
	pt.AwaitWith(&b.ticket, next, b)
}

// fail turns one partition's outcome into an error. The answer is not out yet: it waits for this partition. The caller
// holds mu.
func (c *produceCall) fail(b *parkedBatch, code int16) {
	out := &c.resp.Topics[b.topic].Partitions[b.index]
	*out = wire.NewProducePartitionError(out.Index, code, "")
}

// arm limits the wait, once everything is appended.
func (c *produceCall) arm(timeout time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left <= 1 {
		return
	}
	timeout = max(timeout, 0)
	c.deadline = time.Now().Add(timeout)
	if c.timer == nil {
		c.timer = time.AfterFunc(timeout, c.expire)
	} else {
		c.timer.Reset(timeout)
	}
}

// expire gives REQUEST_TIMED_OUT to what still waits. The records stay: the producer finds out by retrying.
func (c *produceCall) expire() {
	c.mu.Lock()
	if c.deadline.IsZero() || time.Now().Before(c.deadline) {
		c.mu.Unlock()
		return
	}
	n := 0
	for i := range c.parked { // under mu, which the answer needs: until then the call is not another's
		if b := &c.parked[i]; b.ticket.Cancel() {
			c.fail(b, kerr.RequestTimedOut.Code)
			n++
		}
	}
	c.mu.Unlock()
	if n > 0 {
		c.settle(n)
	}
}

// settle counts off n outcomes and answers after the last.
func (c *produceCall) settle(n int) {
	c.mu.Lock()
	c.left -= n
	last := c.left == 0
	if last && !c.deadline.IsZero() {
		c.deadline = time.Time{}
		c.timer.Stop()
	}
	c.mu.Unlock()
	if last {
		c.reply.Produce(&c.resp)
		c.free()
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

// checkKeys refuses a batch with records that have no key, naming the first hot.MaxBadRecords of them (KIP-467).
func (a *API) checkKeys(c record.Codec, batch []byte) error {
	var bad []wire.RecordError
	err := a.Unpack.Do(c, func(most int) error {
		return record.Records(batch, most, func(i int, r *record.Record) error {
			if r.Key == nil && len(bad) < hot.MaxBadRecords {
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

// tellsWhy is the first version whose answer has room for more than a code (KIP-467).
const tellsWhy = 8

// produceError is the answer for a partition whose batch was refused: no more of it than the version has room for.
func (a *API) produceError(c *produceCall, version int16, t *wire.ProduceTopic, index int32, err error) wire.ProducePartitionResponse {
	out := wire.NewProducePartitionError(index, code(err), "")
	if version >= tellsWhy {
		var ke *kerr.Error
		if !errors.As(err, &ke) || err.Error() != ke.Error() { // more than the code itself says
			out.ErrorMessage = err.Error()
		}
		// All partitions together name as many records as one batch may: parsing has counted none of them (I-32).
		out.RecordErrors = recordErrors(err, hot.MaxBadRecords-c.told)
		c.told += len(out.RecordErrors)
	}
	if out.ErrorCode == kerr.NotLeaderForPartition.Code {
		out.CurrentLeader, c.resp.Endpoints = a.newLeader(t.Name, t.ID, index, c.resp.Endpoints)
	}
	return out
}

// recordErrors are the records that made a batch be refused, the first of them up to most.
func recordErrors(err error, most int) []wire.RecordError {
	var many *badRecords
	var some hot.BadRecords
	var one *record.RecordError
	switch {
	case most <= 0:
		return nil
	case errors.As(err, &many):
		return many.records[:min(len(many.records), most)]
	case errors.As(err, &some):
		out := make([]wire.RecordError, min(len(some), most))
		for i := range out {
			out[i] = wire.RecordError{BatchIndex: int32(some[i].Index), Message: some[i].Err.Error()}
		}
		return out
	case errors.As(err, &one):
		return []wire.RecordError{{BatchIndex: int32(one.Index), Message: one.Err.Error()}}
	}
	return nil
}
