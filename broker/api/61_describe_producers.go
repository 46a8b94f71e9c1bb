package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/partition"
	"github.com/firnlog/firn/broker/wire"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/hot/producer"
)

// DescribeProducers 0: the idempotent producers that a partition's log remembers.
//
// Deliberate gaps: without transactions there is no coordinator's epoch and no open transaction (-1). The last timestamp
// is when the producer last wrote by this broker's clock, not the newest timestamp that it gave to a record. A partition that
// is named more than once is answered once.
var describeProducersHandler = handler{61, 0, 0, (*API).describeProducers}

// describeProducers makes one answer at a time: how much it takes is known only when the logs were asked, and it may take as
// much as what they know of all producers (I-32). What may take long comes before: to open the logs, and to read who their
// producers are. It ends with its client.
func (a *API) describeProducers(ctx context.Context, req *wire.Request, reply *wire.Reply) {
	m, err := req.Decode()
	if err != nil {
		reply.Close(err)
		return
	}
	go func() {
		defer a.recovered(req.Key, reply)
		resp, known, err := a.learnProducers(ctx, m.(*kmsg.DescribeProducersRequest))
		if err != nil {
			reply.Close(err)
			return
		}
		select {
		case a.producers <- struct{}{}:
			defer func() { <-a.producers }()
			for _, k := range known {
				k.tell()
			}
			reply.Message(resp)
		case <-ctx.Done():
			reply.Close(ctx.Err())
		}
	}()
}

// learned is a partition whose log knows its producers, and its place in the answer.
type learned struct {
	p   *partition.Partition
	out *kmsg.DescribeProducersResponseTopicPartition
}

// learnProducers makes all of the answer but the producers, and has the logs find out who they are.
func (a *API) learnProducers(ctx context.Context, req *kmsg.DescribeProducersRequest) (*kmsg.DescribeProducersResponse, []learned, error) {
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
	var known []learned
	topics := merged(req.Topics, func(t *kmsg.DescribeProducersRequestTopic) string { return t.Topic },
		func(to, from *kmsg.DescribeProducersRequestTopic) {
			to.Partitions = append(to.Partitions, from.Partitions...)
		})
	for _, t := range topics {
		rt := kmsg.NewDescribeProducersResponseTopic()
		rt.Topic = t.Topic
		indexes := distinct(t.Partitions)
		rt.Partitions = make([]kmsg.DescribeProducersResponseTopicPartition, len(indexes))
		for i, index := range indexes {
			if err := ctx.Err(); err != nil {
				return nil, nil, err
			}
			out := &rt.Partitions[i]
			*out = kmsg.NewDescribeProducersResponseTopicPartition()
			out.Partition = index
			p, err := a.learn(t.Topic, index)
			if err != nil {
				out.ErrorCode, out.ErrorMessage = code(err), message(err)
				continue
			}
			known = append(known, learned{p, out})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, known, nil
}

func (a *API) learn(name string, index int32) (*partition.Partition, error) {
	if metadata.ValidateTopicName(name) != nil {
		return nil, kerr.InvalidTopicException // without the sentence, which would be repeated for each of its partitions
	}
	p, err := a.Partitions.ByName(name, index)
	if err != nil {
		return nil, err
	}
	return p, p.LearnProducers()
}

// tell puts the producers into the answer.
func (l *learned) tell() {
	entries, err := l.p.Producers()
	l.out.ErrorCode, l.out.ErrorMessage = code(err), message(err)
	l.out.ActiveProducers = make([]kmsg.DescribeProducersResponseTopicPartitionActiveProducer, len(entries))
	for i := range entries {
		l.out.ActiveProducers[i] = activeProducer(&entries[i])
	}
}

func activeProducer(e *producer.Entry) kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
	out := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
	out.ProducerID, out.ProducerEpoch, out.LastTimestamp = e.ID, int32(e.Epoch), e.LastTimestamp
	out.CoordinatorEpoch, out.CurrentTxnStartOffset, out.LastSequence = e.CoordinatorEpoch, e.CurrentTxnFirstOffset, producer.None
	if b := e.Batches(); len(b) > 0 {
		out.LastSequence = b[len(b)-1].LastSeq
	}
	return out
}
