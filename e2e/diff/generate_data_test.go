package diff

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func dataCalls() []call {
	return []call{
		{20, kmsg.Produce, (*generator).produce},
		{8, kmsg.InitProducerID, (*generator).initProducerID},
		{6, kmsg.Produce, (*generator).produceIdempotent},
		{12, kmsg.ListOffsets, (*generator).listOffsets},
		{5, kmsg.OffsetForLeaderEpoch, (*generator).offsetForLeaderEpoch},
		{8, kmsg.DeleteRecords, (*generator).deleteRecords},
		{6, kmsg.DescribeProducers, (*generator).describeProducers},
		{3, kmsg.DescribeLogDirs, (*generator).describeLogDirs},
	}
}

// produceRequest is one for a topic's partition with records as batchOf describes them.
func (g *generator) produceRequest(records string) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.TimeoutMillis = 30_000
	req.Acks = mostly(g, int16(-1), 1, 1, 2, -2)
	t := kmsg.NewProduceRequestTopic()
	t.Topic = g.topic()
	t.TopicID = g.idOf(t.Topic)
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = g.partition(), []byte(records)
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func (g *generator) doProduce(actor int, req *kmsg.ProduceRequest) {
	v := g.versions[req.Key()]
	req.SetVersion(max(3, v[0]) + int16(g.r.IntN(int(v[1]-max(3, v[0]))+1)))
	g.steps = append(g.steps, step{actor: actor, req: req})
}

func (g *generator) produce() {
	records := fmt.Sprintf("plain n=%d", 1+g.r.IntN(3)) + mostly(g, " keyed", "", "", " crc", " cut", " size keyed")
	g.doProduce(g.actor(), g.produceRequest(records))
}

// produceIdempotent sends some batches of the actor's producer, in order or not.
func (g *generator) produceIdempotent() {
	actor := g.actor()
	if g.chance(60) {
		g.initProducer(actor)
	}
	seq, first := 0, g.produceRequest("")
	for range 1 + g.r.IntN(4) {
		n := 1 + g.r.IntN(2)
		req := *first
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition = first.Topics[0].Partitions[0].Partition
		p.Records = fmt.Appendf(nil, "idem epoch=%d seq=%d n=%d keyed", mostly(g, 0, 1, -1), mostly(g, seq, 0, seq+1, -1), n)
		t := first.Topics[0]
		t.Partitions = []kmsg.ProduceRequestTopicPartition{p}
		req.Topics = []kmsg.ProduceRequestTopic{t}
		g.doProduce(actor, &req)
		seq += n
	}
}

func (g *generator) initProducer(actor int) {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = 60_000, -1, -1
	g.do(actor, req)
}

func (g *generator) initProducerID() {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionTimeoutMillis = mostly(g, int32(60_000), 0, -1)
	req.ProducerID, req.ProducerEpoch = mostly(g, int64(-1), lastProducer, 5, -2), mostly(g, int16(-1), 0, 5, -2)
	if g.chance(5) {
		req.TransactionalID = ptr("")
	}
	g.do(g.actor(), req)
}

func (g *generator) listOffsets() {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.TimeoutMillis, req.IsolationLevel = mostly(g, int32(-1), -2, 1), 30_000, mostly(g, int8(0), 1)
	for _, name := range g.topics() {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = name
		for _, index := range g.partitions() {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition = index
			p.Timestamp = one(g, int64(-1), -1, -2, -2, -3, -4, -5, -6, -7, 0, firstTime, firstTime+1, firstTime+100)
			p.CurrentLeaderEpoch = mostly(g, int32(-1), 0, 5)
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	g.do(g.actor(), req)
}

func (g *generator) offsetForLeaderEpoch() {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = mostly(g, int32(-1), -2)
	for _, name := range g.topics() {
		t := kmsg.NewOffsetForLeaderEpochRequestTopic()
		t.Topic = name
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = g.partition(), mostly(g, int32(-1), 0, 5), mostly(g, int32(0), -1, 1, 5)
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	g.do(g.actor(), req)
}

func (g *generator) deleteRecords() {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 30_000
	for _, name := range g.topics() {
		t := kmsg.NewDeleteRecordsRequestTopic()
		t.Topic = name
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition, p.Offset = g.partition(), g.offset()
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	g.do(g.actor(), req)
}

func (g *generator) describeProducers() {
	req := kmsg.NewPtrDescribeProducersRequest()
	for _, name := range g.topics() {
		t := kmsg.NewDescribeProducersRequestTopic()
		t.Topic = name
		t.Partitions = g.partitions()
		req.Topics = append(req.Topics, t)
	}
	g.do(g.actor(), req)
}
