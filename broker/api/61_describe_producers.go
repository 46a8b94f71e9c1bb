package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/hot/producer"
)

// DescribeProducers 0: the idempotent producers that a partition's log remembers.
//
// Deliberate gaps: without transactions there is no coordinator's epoch and no open transaction (-1). The last timestamp
// is when the producer last wrote by this broker's clock, not the newest timestamp that it gave to a record.
var describeProducersHandler = handler{61, 0, 0, blocking((*API).describeProducers)}

func (a *API) describeProducers(_ context.Context, req *kmsg.DescribeProducersRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewDescribeProducersResponseTopic()
		rt.Topic = t.Topic
		for _, index := range t.Partitions {
			p := kmsg.NewDescribeProducersResponseTopicPartition()
			p.Partition = index
			entries, err := a.producersOf(t.Topic, index)
			p.ErrorCode, p.ErrorMessage = code(err), message(err)
			for i := range entries {
				p.ActiveProducers = append(p.ActiveProducers, activeProducer(&entries[i]))
			}
			rt.Partitions = append(rt.Partitions, p)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

func (a *API) producersOf(name string, index int32) ([]producer.Entry, error) {
	if err := metadata.ValidateTopicName(name); err != nil {
		return nil, err
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
