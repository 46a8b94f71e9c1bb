package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/e2e/measure"
)

const (
	recordSize = 1 << 10
	batchSize  = 256 << 10 // bytes of records in one produce request's batch
	inFlight   = 5
	variety    = 64 // different batches, so that the archive cannot find one in the other
	mib        = 1 << 20
)

// produce writes size bytes in batches of 1 KiB records with acks=all, spread over the partitions, with five
// requests in flight on one connection.
func produce(addr, topic string, id [16]byte, partitions int, size int64) error {
	c, err := measure.Dial(addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	rng := rand.NewChaCha8([32]byte{1})
	batches := make([][]byte, variety)
	for i := range batches {
		batches[i] = measure.Batch(batchSize/recordSize, recordSize-70, rng)
	}
	requests := int(size / int64(batchSize))
	slots := make(chan struct{}, inFlight)
	failed := make(chan error, 1)
	go func() {
		for i := range requests {
			slots <- struct{}{}
			if err := c.Send(produceRequest(topic, id, int32(i%partitions), batches[i%variety])); err != nil {
				failed <- err
				return
			}
		}
	}()
	for range requests {
		res := kmsg.NewPtrProduceResponse()
		res.Version = produceVersion
		if err := c.Receive(res); err != nil {
			select {
			case sendErr := <-failed:
				return errors.Join(err, sendErr)
			default:
				return err
			}
		}
		p := res.Topics[0].Partitions[0]
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			return fmt.Errorf("produce to %s-%d: %w", topic, p.Partition, err)
		}
		<-slots
	}
	return nil
}

const (
	produceVersion = 11
	fetchVersion   = 12
)

func produceRequest(topic string, id [16]byte, partition int32, records []byte) kmsg.Request {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = produceVersion, -1, 60_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic, id
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// fetchAll reads partitions from their first offset to end without decoding a record; it looks only at each
// answer's last batch header, to know where to go on.
func fetchAll(addr, topic string, ends []int64) (int64, error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		total int64
		errs  []error
	)
	for p, end := range ends {
		wg.Go(func() {
			n, err := fetchPartition(addr, topic, int32(p), end)
			mu.Lock()
			defer mu.Unlock()
			total += n
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return total, errors.Join(errs...)
}

func fetchPartition(addr, topic string, partition int32, end int64) (int64, error) {
	c, err := measure.Dial(addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	var bytes int64
	for next := int64(0); next < end; {
		if err := c.Send(fetchRequest(topic, partition, next)); err != nil {
			return bytes, err
		}
		res := kmsg.NewPtrFetchResponse()
		res.Version = fetchVersion
		if err := c.Receive(res); err != nil {
			return bytes, err
		}
		p := res.Topics[0].Partitions[0]
		if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
			return bytes, fmt.Errorf("fetch %s-%d at %d: %w", topic, partition, next, err)
		}
		bytes += int64(len(p.RecordBatches))
		next = measure.After(p.RecordBatches, next)
	}
	return bytes, nil
}

func fetchRequest(topic string, partition int32, offset int64) kmsg.Request {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = fetchVersion, -1, 500, 1, 50*mib
	req.SessionEpoch = -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.CurrentLeaderEpoch, p.PartitionMaxBytes = partition, offset, -1, 8*mib
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// measure runs fn and reports its figures for size bytes.
func (b *bench) measure(name string, size int64, fn func(ctx context.Context) error) error {
	before, err := measure.ProcessUsage(b.pid)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := fn(context.Background()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	took := time.Since(start)
	after, err := measure.ProcessUsage(b.pid)
	if err != nil {
		return err
	}
	gb := float64(size) / 1e9
	b.results = append(b.results, result{
		Case: name, Bytes: size, Seconds: took.Seconds(),
		MBPerSecond:    float64(size) / 1e6 / took.Seconds(),
		CPUPerGB:       (after.CPU - before.CPU).Seconds() / gb,
		WrittenPerByte: float64(after.Written-before.Written) / float64(size),
	})
	return nil
}
