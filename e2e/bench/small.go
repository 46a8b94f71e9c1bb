package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/measure"
)

const (
	smallRecords    = 16 // records of 1 KiB in a small batch
	crowd           = 200
	crowdEvery      = 10 * time.Millisecond
	crowdGrid       = time.Millisecond
	crowdPartitions = 16
	crowdRecord     = 100
	together        = 64               // records that wait and go in one batch at most
	patience        = 60 * time.Second // for what is unanswered at the end of a round
)

// smallCases: case b, many small requests.
func smallCases() []Case {
	return []Case{
		{
			Name:   "b small batches in flight",
			About:  "Batches of 16 records of 1 KiB, acks=all, one connection with five requests in flight, one partition." + notArchived,
			Shared: true, Memory: roundMemory,
			Bars: []Bar{
				{Figure: judge.CPUPerRequest, Side: side("firn", PageCache), Beside: side("sink", PageCache), AtMost: 1.6},
				{Figure: judge.CPUPerRequest, Side: side("firn", PageCache), Beside: side("kafka", PageCache), AtMost: 0.4},
			},
			Prepare: func(ctx context.Context, b *Bench) ([]Side, error) {
				batches := make([]measure.Payload, variety)
				for i := range batches {
					batches[i] = measure.NewPayload(smallRecords, recordSize-recordExtra, measure.Noise(uint64(i)))
				}
				return b.produceSides(ctx, 1, func(ctx context.Context, s *Server, topic string, length time.Duration) (Figures, error) {
					load := measure.Pipelined{Addr: s.Addr, Topic: topic, Partitions: 1, Conns: 1, InFlight: inFlight, Batches: batches}
					got, cost, err := pipelined(ctx, s, load, length)
					if err != nil {
						return nil, err
					}
					return perRequest(cost, got.Requests, got.Plain).Add(latencies(&got.Latencies)), nil
				})
			},
		},
		{
			Name:   "b 200 producers of single records",
			About:  fmt.Sprintf("%d connections, each with a record of 100 bytes every 10 ms, twenty of them due at each millisecond and timed from then, acks=all, 16 partitions. A record that finds five requests of its connection unanswered goes with the others that wait.", crowd) + notArchived,
			Shared: true, Memory: roundMemory,
			Bars: []Bar{
				{Figure: judge.CPUPerMillion, Side: side("firn", PageCache), Beside: side("sink", PageCache), AtMost: 1.8},
				{Figure: judge.P50, Side: side("firn", PageCache), Beside: side("kafka", PageCache), AtMost: 0.2},
				{Figure: judge.P99, Side: side("firn", PageCache), Beside: side("kafka", PageCache), AtMost: 0.2},
			},
			Prepare: func(ctx context.Context, b *Bench) ([]Side, error) {
				batches := singles(crowdRecord)
				return b.produceSides(ctx, crowdPartitions, func(ctx context.Context, s *Server, topic string, length time.Duration) (Figures, error) {
					return paced(ctx, s, measure.Paced{
						Addr: s.Addr, Topic: topic, Partitions: crowdPartitions, Conns: crowd, Every: crowdEvery, Grid: crowdGrid, InFlight: inFlight, Batches: batches,
					}, length)
				})
			},
		},
	}
}

// singles builds the batches of a paced load: of one record, of two, and so on.
func singles(size int) []measure.Payload {
	all := make([]measure.Payload, together)
	for i := range all {
		all[i] = measure.NewPayload(i+1, size, measure.Noise(uint64(i)))
	}
	return all
}

// soon is when a paced load begins: late enough for its goroutines to be there.
const soon = 20 * time.Millisecond

// paced runs a load at a fixed rate and gives its figures.
func paced(ctx context.Context, s *Server, l measure.Paced, length time.Duration) (Figures, error) {
	p, err := l.Start()
	if err != nil {
		return nil, err
	}
	m, err := s.meter()
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	got, err := p.Run(ctx, time.Now().Add(soon), length, patience)
	cost, costErr := m.Stop()
	if err := errors.Join(err, costErr, p.Close()); err != nil {
		return nil, err
	}
	return perRecord(cost, got), nil
}

// perRecord turns what records at a fixed rate took into figures. Of rates it has that of records alone.
func perRecord(c measure.Cost, got measure.Produced) Figures {
	f := perRequest(c, got.Requests, got.Plain)
	delete(f, judge.RequestsPerSecond)
	delete(f, judge.MBPerSecond)
	millions := float64(got.Records) / 1e6
	f[judge.RecordsPerSecond] = float64(got.Records) / c.Took.Seconds()
	f[judge.CPUPerMillion] = c.CPU.Seconds() / millions
	f[judge.ClientCPUPerMillion] = c.ClientCPU.Seconds() / millions
	f[judge.RecordsPerBatch] = float64(got.Records) / float64(got.Requests)
	return f.Add(latencies(&got.Latencies))
}
