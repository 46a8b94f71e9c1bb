package diff

import (
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// settle waits until what a step made or deleted is so for all who read and write: Kafka answers before its brokers know
// of it and before its logs are open or gone. That is when both brokers know the same topics and serve all their
// partitions; where they never do, the next steps tell of it.
func (r *run) settle(st step) {
	switch q := st.req.(type) {
	case *kmsg.CreateTopicsRequest, *kmsg.CreatePartitionsRequest, *kmsg.DeleteTopicsRequest:
	case *kmsg.MetadataRequest:
		if q.Version >= 4 && !q.AllowAutoTopicCreation {
			return
		}
	case *kmsg.AlterConfigsRequest, *kmsg.IncrementalAlterConfigsRequest:
		time.Sleep(3 * r.pace.settle) // nothing tells when what writes has taken them in
		return
	default:
		return
	}
	k, err := dial(r.kafka.addr)
	if err != nil {
		return
	}
	defer k.Close()
	f, err := dial(r.firn.addr)
	if err != nil {
		return
	}
	defer f.Close()
	for end := time.Now().Add(r.pace.made); time.Now().Before(end); time.Sleep(4 * time.Millisecond) {
		kt, kServed := served(k, r.kafka.names.prefix)
		ft, fServed := served(f, r.firn.names.prefix)
		if kServed && fServed && maps.Equal(kt, ft) {
			return
		}
	}
}

// served gives how many partitions each of the program's topics has, and tells whether all are served.
func served(c *conn, prefix string) (map[string]int, bool) {
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range []string{"t0", "t1", "t2", "t3"} {
		t := kmsg.NewMetadataRequestTopic()
		name = prefix + name
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	req.SetVersion(12)
	resp, err := c.ask(req, patience)
	if err != nil {
		return nil, false
	}
	topics := map[string]int{}
	offsets := kmsg.NewPtrListOffsetsRequest()
	offsets.ReplicaID = -1
	for _, t := range resp.(*kmsg.MetadataResponse).Topics {
		if t.ErrorCode != 0 {
			continue
		}
		ot := kmsg.NewListOffsetsRequestTopic()
		ot.Topic = *t.Topic
		for _, p := range t.Partitions {
			op := kmsg.NewListOffsetsRequestTopicPartition()
			op.Partition, op.CurrentLeaderEpoch, op.Timestamp = p.Partition, -1, -1
			ot.Partitions = append(ot.Partitions, op)
		}
		topics[*t.Topic] = len(t.Partitions)
		offsets.Topics = append(offsets.Topics, ot)
	}
	offsets.SetVersion(5)
	answer, err := c.ask(offsets, patience)
	if err != nil {
		return nil, false
	}
	for _, t := range answer.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == kerr.NotLeaderForPartition.Code || p.ErrorCode == kerr.UnknownTopicOrPartition.Code {
				return topics, false
			}
		}
	}
	return topics, true
}
