package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

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
// much as what they know of all producers (I-32).
func (a *API) describeProducers(ctx context.Context, req *wire.Request, reply *wire.Reply) {
	m, err := req.Decode()
	if err != nil {
		reply.Close(err)
		return
	}
	go func() {
		defer a.recovered(req.Key, reply)
		select {
		case a.producers <- struct{}{}:
			defer func() { <-a.producers }()
			reply.Message(a.producersOfAll(m.(*kmsg.DescribeProducersRequest)))
		case <-ctx.Done():
			reply.Close(ctx.Err())
		}
	}()
}

func (a *API) producersOfAll(req *kmsg.DescribeProducersRequest) *kmsg.DescribeProducersResponse {
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
	topics := merged(req.Topics, func(t *kmsg.DescribeProducersRequestTopic) string { return t.Topic },
		func(to, from *kmsg.DescribeProducersRequestTopic) {
			to.Partitions = append(to.Partitions, from.Partitions...)
		})
	for _, t := range topics {
		rt := kmsg.NewDescribeProducersResponseTopic()
		rt.Topic = t.Topic
		for _, index := range distinct(t.Partitions) {
			p := kmsg.NewDescribeProducersResponseTopicPartition()
			p.Partition = index
			entries, err := a.producersOf(t.Topic, index)
			p.ErrorCode, p.ErrorMessage = code(err), message(err)
			p.ActiveProducers = make([]kmsg.DescribeProducersResponseTopicPartitionActiveProducer, len(entries))
			for i := range entries {
				p.ActiveProducers[i] = activeProducer(&entries[i])
			}
			rt.Partitions = append(rt.Partitions, p)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

func (a *API) producersOf(name string, index int32) ([]producer.Entry, error) {
	if metadata.ValidateTopicName(name) != nil {
		return nil, kerr.InvalidTopicException // without the sentence, which would be repeated for each of its partitions
	}
	p, err := a.Partitions.ByName(name, index)
	if err != nil {
		return nil, err
	}
	return p.Producers()
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
