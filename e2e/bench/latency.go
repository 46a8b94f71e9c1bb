package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/measure"
)

// fixedRate is how many records of 1 KiB a second case d brings: 10 MB.
const fixedRate = 10_000_000 / recordSize

// latencyCases: case d, single records at a fixed rate with a consumer that waits for them.
func latencyCases() []Case {
	var all []Case
	for _, n := range []int{1, 16} {
		var bars []Bar
		for _, m := range []Mode{Flush, PageCache} {
			for _, f := range []judge.Figure{judge.P50, judge.P99, judge.P999, judge.EndToEnd50, judge.EndToEnd99, judge.EndToEnd999} {
				bars = append(bars, Bar{Figure: f, Side: side("firn", m), Beside: side("kafka", m), AtMost: 1.0 / 3})
			}
		}
		all = append(all, Case{
			Name:   "d latency at 10 MB/s, " + partitionsOf(n),
			About:  "Single records of 1 KiB, acks=all, a connection for each partition, due at fixed times and timed from then until they are acknowledged, and until a tailing consumer of all partitions has them (e2e). The consumer sends full fetches of all partitions, no fetch session. A record that finds five requests of its connection unanswered goes with the others that wait. The sink, from which nobody can read, has the producers alone." + notArchived,
			Bars:   bars,
			Shared: true, Memory: roundMemory,
			Prepare: func(ctx context.Context, b *Bench) ([]Side, error) {
				batches := singles(recordSize - recordExtra)
				load := func(s *Server, topic string) measure.Paced {
					return measure.Paced{
						Addr: s.Addr, Topic: topic, Partitions: n, Conns: n, Every: time.Second * time.Duration(n) / fixedRate, InFlight: inFlight, Batches: batches,
					}
				}
				sides, err := b.brokerSides(ctx, n, func(ctx context.Context, s *Server, topic string, length time.Duration) (Figures, error) {
					return tailed(ctx, s, load(s, topic), length)
				})
				return append(sides, b.sinkSides(n, func(ctx context.Context, s *Server, topic string, length time.Duration) (Figures, error) {
					return paced(ctx, s, load(s, topic), length)
				})...), err
			},
		})
	}
	return all
}

// tailed runs a paced load whose connections have a partition each, with a consumer of all of them. Offset o of a
// partition is then record o of its connection, so when it was due is known.
func tailed(ctx context.Context, s *Server, l measure.Paced, length time.Duration) (Figures, error) {
	p, err := l.Start()
	if err != nil {
		return nil, err
	}
	tail, err := measure.NewTail(s.Addr, l.Topic, l.Partitions)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	m, err := s.meter()
	if err != nil {
		return nil, errors.Join(err, p.Close(), tail.Close())
	}
	var (
		begin  = time.Now().Add(soon)
		wg     sync.WaitGroup
		seen   measure.Latencies
		tailed error
	)
	ctx, cancel := context.WithDeadline(ctx, begin.Add(length+patience))
	defer cancel()
	wg.Go(func() {
		tailed = tail.Run(ctx, l.Records(length), func(partition int32, offset int64) {
			seen.Add(time.Since(begin) - l.Due(int(partition), offset))
		})
	})
	got, err := p.Run(ctx, begin, length, patience)
	if err != nil {
		cancel()
	}
	wg.Wait()
	cost, costErr := m.Stop()
	if err := errors.Join(err, tailed, costErr, p.Close(), tail.Close()); err != nil {
		return nil, err
	}
	if got.Records != int64(seen.Len()) {
		return nil, fmt.Errorf("%d records were acknowledged and %d reached the consumer", got.Records, seen.Len())
	}
	f := perRecord(cost, got)
	f[judge.EndToEnd50], f[judge.EndToEnd99], f[judge.EndToEnd999] = ms(seen.Quantile(0.5)), ms(seen.Quantile(0.99)), ms(seen.Quantile(0.999))
	return f, nil
}
