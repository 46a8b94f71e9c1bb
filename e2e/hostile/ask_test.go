package hostile

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The versions that the tests speak where they have no reason for another: the newest that name topics, so that the
// answers say what they are about, and the newest of all for those of admin requests.
const (
	produceV = 12
	fetchV   = 12
)

// topicName makes a name that no other test has.
func topicName(prefix string) string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%s-%x", prefix, b)
}

// create makes a topic and waits until it is served (Kafka answers before its logs are open).
func (c *conn) create(prefix string, partitions int32, configs ...string) string {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 30_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = topicName(prefix), partitions, 1
	for i := 0; i < len(configs); i += 2 {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = configs[i], &configs[i+1]
		topic.Configs = append(topic.Configs, config)
	}
	req.Topics = append(req.Topics, topic)
	resp := do[*kmsg.CreateTopicsResponse](c, req, 7)
	if code := resp.Topics[0].ErrorCode; code != 0 {
		c.t.Fatalf("create %s: %s (%v)", topic.Topic, name(code), str(resp.Topics[0].ErrorMessage))
	}
	for p := range partitions {
		deadline := time.Now().Add(patience)
		for c.listOffset(topic.Topic, p, -1).ErrorCode != 0 {
			if time.Now().After(deadline) {
				c.t.Fatalf("%s-%d is not served", topic.Topic, p)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return topic.Topic
}

func str(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (c *conn) topicID(topic string) [16]byte {
	c.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &topic
	req.Topics = append(req.Topics, rt)
	resp := do[*kmsg.MetadataResponse](c, req, 12)
	wantCode(c.t, "metadata of "+topic, resp.Topics[0].ErrorCode, nil)
	return resp.Topics[0].TopicID
}

// produceTo is a Produce request for one partition, acks=all.
func produceTo(topic string, partition int32, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 30_000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = partition, records
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

func (c *conn) produce(topic string, partition int32, records []byte) kmsg.ProduceResponseTopicPartition {
	c.t.Helper()
	resp := do[*kmsg.ProduceResponse](c, produceTo(topic, partition, records), produceV)
	return resp.Topics[0].Partitions[0]
}

// mustProduce stores records and returns their first offset.
func (c *conn) mustProduce(topic string, partition int32, b *batch) int64 {
	c.t.Helper()
	out := c.produce(topic, partition, b.bytes())
	if out.ErrorCode != 0 {
		c.t.Fatalf("produce to %s-%d: %s (%s)", topic, partition, name(out.ErrorCode), str(out.ErrorMessage))
	}
	return out.BaseOffset
}

// fetchFrom is a Fetch request without session for one partition.
func fetchFrom(topic string, partition int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionEpoch = 50<<20, -1
	req.Topics = append(req.Topics, fetchTopic(topic, partition, offset))
	return req
}

func fetchTopic(topic string, partition int32, offset int64) kmsg.FetchRequestTopic {
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = partition, offset, 1<<20, -1
	rt.Partitions = append(rt.Partitions, rp)
	return rt
}

func (c *conn) fetch(topic string, partition int32, offset int64) kmsg.FetchResponseTopicPartition {
	c.t.Helper()
	resp := do[*kmsg.FetchResponse](c, fetchFrom(topic, partition, offset), fetchV)
	if resp.ErrorCode != 0 || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		c.t.Fatalf("fetch of %s-%d at %d: %+v", topic, partition, offset, resp)
	}
	return resp.Topics[0].Partitions[0]
}

func (c *conn) listOffset(topic string, partition int32, timestamp int64) kmsg.ListOffsetsResponseTopicPartition {
	c.t.Helper()
	return c.listOffsetAt(topic, partition, timestamp, 11, -1)
}

func (c *conn) listOffsetAt(topic string, partition int32, timestamp int64, version int16, epoch int32) kmsg.ListOffsetsResponseTopicPartition {
	c.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.TimeoutMillis = -1, 30_000
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = partition, timestamp, epoch
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return do[*kmsg.ListOffsetsResponse](c, req, version).Topics[0].Partitions[0]
}

func (c *conn) producerID() (int64, int16) {
	c.t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = 60_000, -1, -1
	resp := do[*kmsg.InitProducerIDResponse](c, req, 5)
	for deadline := time.Now().Add(patience); resp.ErrorCode == kerr.CoordinatorLoadInProgress.Code && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond) // Kafka's first block of ids is not there yet
		resp = do[*kmsg.InitProducerIDResponse](c, req, 5)
	}
	wantCode(c.t, "InitProducerId", resp.ErrorCode, nil)
	return resp.ProducerID, resp.ProducerEpoch
}
