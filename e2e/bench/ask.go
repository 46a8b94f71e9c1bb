package main

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/e2e/measure"
)

// produceOne has a batch acknowledged by all, on a connection of its own.
func produceOne(addr, topic string, partition int32, batch []byte) error {
	c, err := measure.Dial(addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 60_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, batch
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	res, err := c.Ask(req, measure.ProduceVersion)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(res.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
}

// produceEach has a batch acknowledged by every partition of some topics, one after the other. The topics come with how many
// partitions they have.
func produceEach(addr string, topics map[string]int, batch []byte) error {
	for name, n := range topics {
		for i := range n {
			if err := produceOne(addr, name, int32(i), batch); err != nil {
				return fmt.Errorf("produce to %s-%d: %w", name, i, err)
			}
		}
	}
	return nil
}

// fetchOne reads from the start of a partition, on a connection of its own.
func fetchOne(addr, topic string, partition int32) error {
	c, err := measure.Dial(addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxBytes, req.MinBytes, req.SessionEpoch = -1, 1<<20, 1, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.CurrentLeaderEpoch, p.PartitionMaxBytes = partition, -1, 1<<20
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	res, err := c.Ask(req, measure.FetchVersion)
	if err != nil {
		return err
	}
	got := res.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return err
	}
	if len(got.RecordBatches) == 0 {
		return fmt.Errorf("nothing comes from the start of %s-%d", topic, partition)
	}
	return nil
}

// endsOf asks every partition of some topics where it ends, on a connection of its own: each has to tell, as its leader. The
// topics come with how many partitions they have.
func endsOf(addr string, topics map[string]int) error {
	c, err := measure.Dial(addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	for name, n := range topics {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = name
		for i := range n {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.CurrentLeaderEpoch, p.Timestamp = int32(i), -1, -1
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	const version = 5
	res, err := c.Ask(req, version)
	if err != nil {
		return err
	}
	answered := map[string]int{}
	for _, t := range res.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("where %s-%d ends: %w", t.Topic, p.Partition, err)
			}
			answered[t.Topic]++
		}
	}
	if !maps.Equal(answered, topics) {
		return fmt.Errorf("of partitions by topic %v were asked where they end, and %v answered", topics, answered)
	}
	return nil
}

// firstAnswer starts a server and tells how long after that do first succeeded.
func (s *Server) firstAnswer(do func() error) (time.Duration, error) {
	began, profile, err := s.begin()
	if err != nil {
		return 0, err
	}
	took, err := s.until(began, do)
	return took, errors.Join(err, profile.stop())
}

// begin starts a server, tells when, and begins a profile of it if one is to be taken, which the caller stops. That misses the
// first moments, until perf is there.
func (s *Server) begin() (time.Time, *recording, error) {
	began := time.Now()
	if err := s.launch(); err != nil {
		return began, nil, err
	}
	r, err := s.record()
	return began, r, err
}

// until tries again and again, a millisecond apart, and tells how long after began do succeeded.
func (s *Server) until(began time.Time, do func() error) (time.Duration, error) {
	for {
		err := do()
		took := time.Since(began)
		if err == nil {
			return took, nil
		}
		if !s.Running() || took > readyIn {
			return took, fmt.Errorf("%s does not answer after %v: %w\n%s", s.Name, took, err, s.lastWords())
		}
		time.Sleep(time.Millisecond)
	}
}
