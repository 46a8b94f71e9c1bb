package main

import (
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/e2e/measure"
)

// shape is how many topics there are, of how many partitions each.
type shape struct{ topics, each int }

func (s shape) partitions() int { return s.topics * s.each }

func name(topic int) string { return fmt.Sprintf("topic-%03d", topic) }

// createTopics makes topics from to to in one request.
func (s shape) createTopics(c *measure.Conn, from, to int) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 60_000
	for i := from; i < to; i++ {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name(i), int32(s.each), 1
		req.Topics = append(req.Topics, t)
	}
	res, err := c.Ask(req, 7)
	if err != nil {
		return err
	}
	for _, t := range res.(*kmsg.CreateTopicsResponse).Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("create %s: %w", t.Topic, err)
		}
	}
	return nil
}

// deleteTopics deletes topics from to to in one request.
func (s shape) deleteTopics(c *measure.Conn, from, to int) error {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 60_000
	for i := from; i < to; i++ {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = kmsg.StringPtr(name(i))
		req.Topics = append(req.Topics, t)
	}
	res, err := c.Ask(req, 6)
	if err != nil {
		return err
	}
	for _, t := range res.(*kmsg.DeleteTopicsResponse).Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("delete %s: %w", *t.Topic, err)
		}
	}
	return nil
}

// leaders counts, in one Metadata answer, the partitions of each topic that have a leader.
func leaders(c *measure.Conn) (map[string]int, error) {
	res, err := c.Ask(kmsg.NewPtrMetadataRequest(), 12)
	if err != nil {
		return nil, err
	}
	led := map[string]int{}
	for _, t := range res.(*kmsg.MetadataResponse).Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return nil, fmt.Errorf("metadata of %s: %w", *t.Topic, err)
		}
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 && p.Leader >= 0 {
				led[*t.Topic]++
			}
		}
	}
	return led, nil
}

// ends asks for the end of every partition of topics from to to, one partition a request, pipelined.
func (s shape) ends(c *measure.Conn, from, to int) ([]int64, error) {
	sent := make(chan error, 1)
	room := make(chan struct{}, 64)
	go func() {
		for i := from * s.each; i < to*s.each; i++ {
			room <- struct{}{}
			req := kmsg.NewPtrListOffsetsRequest()
			req.Version, req.ReplicaID = 7, -1
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = name(i / s.each)
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp, p.CurrentLeaderEpoch = int32(i%s.each), -1, -1
			t.Partitions = append(t.Partitions, p)
			req.Topics = append(req.Topics, t)
			if err := c.Send(req); err != nil {
				sent <- err
				_ = c.Close() // who waits for answers need not wait any more
				return
			}
		}
		sent <- nil
	}()
	var out []int64
	for range (to - from) * s.each {
		res := kmsg.NewPtrListOffsetsResponse()
		res.Version = 7
		if err := c.Receive(res); err != nil {
			return nil, err
		}
		<-room
		p := res.Topics[0].Partitions[0]
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			return nil, fmt.Errorf("ListOffsets of %s-%d: %w", res.Topics[0].Topic, p.Partition, err)
		}
		out = append(out, p.Offset)
	}
	return out, <-sent
}

// produce writes a batch to some partitions of a topic in one request, acks=all.
func produce(c *measure.Conn, topic string, partitions []int32, batch []byte) error {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 60_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	for _, i := range partitions {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = i, batch
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	res, err := c.Ask(req, 11)
	if err != nil {
		return err
	}
	for _, p := range res.(*kmsg.ProduceResponse).Topics[0].Partitions {
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			return fmt.Errorf("produce to %s-%d: %w", topic, p.Partition, err)
		}
	}
	return nil
}

// produceAll writes a batch to every partition, a request for each topic, over some connections at once.
func (s shape) produceAll(addr string, conns int, batch []byte) error {
	all := make([]int32, s.each)
	for i := range all {
		all[i] = int32(i)
	}
	topics := make(chan int, s.topics)
	for i := range s.topics {
		topics <- i
	}
	close(topics)
	return together(conns, func() error {
		c, err := measure.Dial(addr)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		for i := range topics {
			if err := produce(c, name(i), all, batch); err != nil {
				return err
			}
		}
		return nil
	})
}

// together runs fn n times at once and joins what went wrong.
func together(n int, fn func() error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = fn() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// readAll reads every partition from its start to an end offset by one incremental fetch session, and gives the bytes.
func (s shape) readAll(c *measure.Conn, end int64) (int64, error) {
	next := make([]int64, s.partitions())
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = -1, 500, 1, 50<<20, 0
	var changed []int
	for i := range next {
		changed = append(changed, i)
	}
	left, bytes := len(next), int64(0)
	for left > 0 {
		req.Topics = s.fetchTopics(changed, next)
		res, err := c.Ask(req, 12)
		if err != nil {
			return bytes, err
		}
		r := res.(*kmsg.FetchResponse)
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return bytes, fmt.Errorf("fetch: %w", err)
		}
		changed = changed[:0]
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return bytes, fmt.Errorf("fetch of %s-%d: %w", t.Topic, p.Partition, err)
				}
				var i int
				if _, err := fmt.Sscanf(t.Topic, "topic-%d", &i); err != nil {
					return bytes, err
				}
				i = i*s.each + int(p.Partition)
				at := measure.After(p.RecordBatches, next[i])
				if at == next[i] {
					continue
				}
				bytes += int64(len(p.RecordBatches))
				if next[i] = at; at >= end {
					left--
				}
				changed = append(changed, i)
			}
		}
		if len(changed) == 0 {
			return bytes, fmt.Errorf("nothing more comes with %d of %d partitions not read to their end", left, len(next))
		}
		req.SessionID, req.SessionEpoch = r.SessionID, req.SessionEpoch+1
	}
	return bytes, nil
}

func (s shape) fetchTopics(partitions []int, next []int64) []kmsg.FetchRequestTopic {
	var topics []kmsg.FetchRequestTopic
	for _, i := range partitions {
		topic := name(i / s.each)
		if n := len(topics); n == 0 || topics[n-1].Topic != topic {
			t := kmsg.NewFetchRequestTopic()
			t.Topic = topic
			topics = append(topics, t)
		}
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.CurrentLeaderEpoch, p.PartitionMaxBytes = int32(i%s.each), next[i], -1, 1<<20
		t := &topics[len(topics)-1]
		t.Partitions = append(t.Partitions, p)
	}
	return topics
}
