package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/tier/record"
)

// What one fetch asks for.
const (
	readBytes      = 32 << 20
	readPartBytes  = 8 << 20
	readWait       = 500 * time.Millisecond
	readMaxDecoded = 256 << 20 // of one batch
	readAgain      = 200 * time.Millisecond
)

// How long a partition that cannot be read is asked again and again before the reader says so, how long until it says so
// again, and how long until one that shall come to an end gives up.
const (
	tellAfter   = 5 * time.Second
	tellAgain   = 30 * time.Second
	giveUpAfter = 30 * time.Second
)

// reader reads partitions of a topic from their leaders. It is our own, because client libraries stop, or stand still
// for ever, at a batch whose records are not what its header says; such batches are legal in a log (a broker that
// keeps batches as sent does not look inside), and whoever looks for one must be able to read past it.
type reader struct {
	cl     *kgo.Client
	topic  string
	report io.Writer // one line for each batch that cannot be read, and for an offset that cannot be for a while
	// patience is how long an offset that cannot be read is asked for until poll fails; 0: for ever.
	patience time.Duration

	stuck   map[int32]*stuck // partitions whose last answer was an error
	id      [16]byte
	leaders map[int32]int32 // by partition
	round   int
}

// fetched is a record on its way to the caller; it is valid only during the call.
type fetched func(r *kgo.Record) error

// locate asks who leads the partitions.
func (r *reader) locate(ctx context.Context) error {
	md, err := kadm.NewClient(r.cl).Metadata(ctx, r.topic)
	if err != nil {
		return fmt.Errorf("look up the leaders of %s: %w", r.topic, err)
	}
	t := md.Topics[r.topic]
	if t.Err != nil {
		return kafkaError("read "+r.topic, t.Err, "")
	}
	if r.id != ([16]byte{}) && r.id != t.ID {
		return fmt.Errorf("read %s: the topic was deleted, and is another now", r.topic)
	}
	r.id, r.leaders = t.ID, make(map[int32]int32, len(t.Partitions))
	for _, p := range t.Partitions {
		r.leaders[p.Partition] = p.Leader
	}
	return nil
}

// poll fetches once from each leader whatever comes at the offsets in next, for those partitions that want accepts,
// gives the records to fn and moves next on.
func (r *reader) poll(ctx context.Context, next map[int32]int64, want func(partition int32) bool, fn fetched) error {
	if r.leaders == nil {
		if err := r.locate(ctx); err != nil {
			return err
		}
	}
	byLeader := map[int32][]int32{}
	for p := range next {
		if want(p) {
			byLeader[r.leaders[p]] = append(byLeader[r.leaders[p]], p)
		}
	}
	for leader, parts := range byLeader {
		slices.Sort(parts)
		var res kmsg.Response
		var err error = kerr.LeaderNotAvailable
		if leader >= 0 {
			res, err = r.cl.Broker(int(leader)).RetriableRequest(ctx, r.request(parts, next))
		}
		if err == nil {
			err = r.take(res.(*kmsg.FetchResponse), next, fn)
		}
		if again := (*kerr.Error)(nil); errors.As(err, &again) && again.Retriable {
			if err := r.failing(parts, next, err, time.Now()); err != nil {
				return err
			}
			r.leaders = nil
			return sleep(ctx, readAgain)
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", r.topic, err)
		}
	}
	return nil
}

// stuck is a partition that answers with an error that may pass.
type stuck struct {
	since, told time.Time
}

// partitionError is the error that one partition answered with.
type partitionError struct {
	partition int32
	offset    int64
	err       error
}

func (e *partitionError) Error() string {
	return fmt.Sprintf("partition %d at offset %d: %v", e.partition, e.offset, e.err)
}

func (e *partitionError) Unwrap() error { return e.err }

// failing takes note of an error that may pass. One that does not is told to whoever waits, and in the end returned.
func (r *reader) failing(parts []int32, next map[int32]int64, err error, now time.Time) error {
	p := parts[0] // all of them fail if it is no partition's own error
	if own := (*partitionError)(nil); errors.As(err, &own) {
		p, err = own.partition, own.err
	}
	if r.stuck == nil {
		r.stuck = map[int32]*stuck{}
	}
	s := r.stuck[p]
	if s == nil {
		s = &stuck{since: now}
		r.stuck[p] = s
	}
	lasted := now.Sub(s.since)
	code := err.Error()
	if own := (*kerr.Error)(nil); errors.As(err, &own) {
		code = own.Message // Kafka's description of a code is a guess at the cause; tier explain knows it
	}
	if r.patience > 0 && lasted >= r.patience {
		return fmt.Errorf("partition %d of %s cannot be read at offset %d: %s for %v (see firn tier explain %s %d %d)",
			p, r.topic, next[p], code, lasted.Round(time.Second), r.topic, p, next[p])
	}
	if lasted >= tellAfter && now.Sub(s.told) >= tellAgain {
		s.told = now
		_, _ = fmt.Fprintf(r.report, "partition %d of %s cannot be read at offset %d: %v; trying again (see firn tier explain %s %d %d)\n",
			p, r.topic, next[p], code, r.topic, p, next[p])
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// request asks for some partitions, in order; which comes first rotates, so that a full one starves nobody.
func (r *reader) request(parts []int32, next map[int32]int64) *kmsg.FetchRequest {
	r.round++
	at := r.round % len(parts)
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = r.topic, r.id
	for _, p := range append(slices.Clone(parts[at:]), parts[:at]...) {
		f := kmsg.NewFetchRequestTopicPartition()
		f.Partition, f.FetchOffset, f.PartitionMaxBytes = p, next[p], readPartBytes
		t.Partitions = append(t.Partitions, f)
	}
	req := kmsg.NewPtrFetchRequest()
	req.SessionEpoch, req.MaxBytes, req.MinBytes, req.MaxWaitMillis = -1, readBytes, 1, int32(readWait.Milliseconds())
	req.Topics = append(req.Topics, t)
	return req
}

// take gives out what came. One partition's error does not keep the records of the others back; the first is returned.
func (r *reader) take(res *kmsg.FetchResponse, next map[int32]int64, fn fetched) error {
	if err := kerr.ErrorForCode(res.ErrorCode); err != nil {
		return err
	}
	var first error
	for _, t := range res.Topics {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				if first == nil || !kerr.IsRetriable(err) {
					first = &partitionError{p.Partition, next[p.Partition], err}
				}
				continue
			}
			delete(r.stuck, p.Partition)
			if err := r.batches(p, next, fn); err != nil {
				return err
			}
		}
	}
	return first
}

// batches gives out the records of whole batches. One that cannot be read is reported and passed over.
func (r *reader) batches(p *kmsg.FetchResponseTopicPartition, next map[int32]int64, fn fetched) error {
	it := record.Batches(p.RecordBatches)
	whole := 0
	for it.Next() {
		whole++
		h := it.Header()
		from := next[p.Partition]
		if h.NextOffset() <= from {
			continue
		}
		var refused error
		_, err := record.CheckStored(it.Bytes())
		if err == nil && !h.IsControl() {
			err = record.Records(it.Bytes(), readMaxDecoded, func(_ int, rec *record.Record) error {
				if h.Offset(rec) < from {
					return nil
				}
				refused = fn(r.record(p.Partition, &h, rec))
				return refused
			})
		}
		if refused != nil {
			return refused
		}
		if err != nil {
			_, _ = fmt.Fprintf(r.report, "%s-%d: the batch at the offsets %d to %d cannot be read whole: %v; going on behind it\n",
				r.topic, p.Partition, h.BaseOffset, h.LastOffset(), err)
		}
		next[p.Partition] = h.NextOffset()
	}
	// A batch cut short at the end is what is left for the next fetch, but not if it is all that came.
	if err := it.Err(); err != nil && (whole == 0 || !errors.Is(err, record.ErrTruncated)) {
		return fmt.Errorf("partition %d at offset %d: %w", p.Partition, next[p.Partition], err)
	}
	return nil
}

func (r *reader) record(partition int32, h *record.Header, rec *record.Record) *kgo.Record {
	out := &kgo.Record{Topic: r.topic, Partition: partition, Offset: h.Offset(rec), Key: rec.Key, Value: rec.Value,
		Timestamp: time.UnixMilli(h.Timestamp(rec))}
	for _, x := range rec.Headers {
		out.Headers = append(out.Headers, kgo.RecordHeader{Key: x.Key, Value: x.Value})
	}
	return out
}
