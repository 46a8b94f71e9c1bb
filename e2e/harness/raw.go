package harness

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Raw speaks single requests to one broker, for tests that look at answers field by field.
type Raw struct {
	cl  *kgo.Client
	ids map[string][16]byte
}

// NewRaw connects; the client is closed with the test.
func NewRaw(t testing.TB, addr string) *Raw {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &Raw{cl: cl, ids: make(map[string][16]byte)}
}

// TopicID asks for a topic's id.
func (r *Raw) TopicID(ctx context.Context, topic string) ([16]byte, error) {
	if id, ok := r.ids[topic]; ok {
		return id, nil
	}
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	res, err := req.RequestWith(ctx, r.cl)
	if err != nil {
		return [16]byte{}, err
	}
	if err := kerr.ErrorForCode(res.Topics[0].ErrorCode); err != nil {
		return [16]byte{}, fmt.Errorf("metadata of %s: %w", topic, err)
	}
	r.ids[topic] = res.Topics[0].TopicID
	return res.Topics[0].TopicID, nil
}

// Fetch asks for one partition from an offset, with the byte limit for the partition, without waiting.
func (r *Raw) Fetch(ctx context.Context, topic string, partition int32, offset int64, maxBytes int32) (kmsg.FetchResponseTopicPartition, error) {
	var none kmsg.FetchResponseTopicPartition
	id, err := r.TopicID(ctx, topic)
	if err != nil {
		return none, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes = 64 << 20
	req.SessionEpoch = -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, maxBytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	res, err := r.broker(ctx, req)
	if err != nil {
		return none, err
	}
	f := res.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(f.ErrorCode); err != nil {
		return none, err
	}
	if len(f.Topics) != 1 || len(f.Topics[0].Partitions) != 1 {
		return none, fmt.Errorf("fetch of %s-%d: the answer does not have just that partition", topic, partition)
	}
	return f.Topics[0].Partitions[0], nil
}

// Produce sends bytes as the records of one partition with acks=all.
func (r *Raw) Produce(ctx context.Context, topic string, partition int32, records []byte) (kmsg.ProduceResponseTopicPartition, error) {
	var none kmsg.ProduceResponseTopicPartition
	id, err := r.TopicID(ctx, topic)
	if err != nil {
		return none, err
	}
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 30_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	res, err := r.broker(ctx, req)
	if err != nil {
		return none, err
	}
	return res.(*kmsg.ProduceResponse).Topics[0].Partitions[0], nil
}

// ListOffset asks for the offset of one timestamp (or special value) in one partition.
func (r *Raw) ListOffset(ctx context.Context, topic string, partition int32, timestamp int64) (kmsg.ListOffsetsResponseTopicPartition, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp, p.CurrentLeaderEpoch = partition, timestamp, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	res, err := r.broker(ctx, req)
	if err != nil {
		return kmsg.ListOffsetsResponseTopicPartition{}, err
	}
	return res.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0], nil
}

func (r *Raw) broker(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	return r.cl.SeedBrokers()[0].Request(ctx, req)
}
