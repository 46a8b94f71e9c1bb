package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/measure"
)

const (
	recordSize   = 1 << 10   // bytes that a record takes in a batch, about
	recordExtra  = 10        // of them that are not its value
	largeRecords = 256       // records of a large batch: a quarter of a MiB
	variety      = 32        // different batches of a producer, so that nothing profits from having seen one just now
	inFlight     = 5         // requests that a producer leaves unanswered, as producers do by default
	producers    = 16        // connections, where there are as many partitions: what four Java producers leave unanswered, 5 requests of 1 MiB each
	fastest      = 1_600_000 // bytes that a round fills of the page cache in a millisecond, at most, about
)

// largeBatches builds the batches of a codec, "plain" or "zstd".
func largeBatches(codec string, n int) ([]measure.Payload, error) {
	all := make([]measure.Payload, n)
	for i := range all {
		var err error
		if codec == "zstd" {
			all[i], err = measure.NewZstdPayload(largeRecords, recordSize-recordExtra, measure.Events(uint64(i)))
		} else {
			all[i] = measure.NewPayload(largeRecords, recordSize-recordExtra, measure.Noise(uint64(i)))
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// produceCases: case a, as many bytes as the servers take.
func produceCases() []Case {
	var all []Case
	for _, codec := range []string{"plain", "zstd"} {
		for _, n := range []int{1, 16, 256} {
			all = append(all, Case{
				Name:   fmt.Sprintf("a produce, %s, %s", partitionsOf(n), codec),
				About:  fmt.Sprintf("Records of 1 KiB, acks=all, in batches of 256 (%s), one partition a request, %d producers with five requests in flight each. GB are of uncompressed batches.", codec, min(n, producers)) + notArchived,
				Bars:   produceBars(n, codec),
				Shared: true, Memory: roundMemory,
				Prepare: func(ctx context.Context, b *Bench) ([]Side, error) {
					batches, err := largeBatches(codec, variety)
					if err != nil {
						return nil, err
					}
					return b.produceSides(ctx, n, func(ctx context.Context, s *Server, topic string, length time.Duration) (Figures, error) {
						load := measure.Pipelined{Addr: s.Addr, Topic: topic, Partitions: n, Conns: min(n, producers), InFlight: inFlight, Batches: batches}
						got, cost, err := pipelined(ctx, s, load, length)
						if err != nil {
							return nil, err
						}
						return perGB(cost, got.Plain).Add(onWire(got)).Add(latencies(&got.Latencies)), nil
					})
				},
			})
		}
	}
	return all
}

// onWire tells what compressed batches are as they are sent, and nothing of others.
func onWire(got measure.Produced) Figures {
	if got.Bytes == got.Plain {
		return nil
	}
	return Figures{judge.WirePerByte: float64(got.Bytes) / float64(got.Plain)}
}

// produceBars: plain batches are judged beside Kafka and the sink. Compressed ones are judged beside Kafka, which looks into
// them; the sink, which does not, as firn does not, has no bar there. A run may leave it out (-side), and then the report
// says so.
func produceBars(n int, codec string) []Bar {
	var bars []Bar
	for _, m := range []Mode{Flush, PageCache} {
		firn, kafka, sink := side("firn", m), side("kafka", m), side("sink", m)
		if codec == "zstd" {
			bars = append(bars, Bar{Figure: judge.CPUPerGB, Side: firn, Beside: kafka, AtMost: 1.0 / 3})
		} else {
			bars = append(bars,
				Bar{Figure: judge.CPUPerGB, Side: firn, Beside: kafka, AtMost: 0.6},
				Bar{Figure: judge.CPUPerGB, Side: firn, Beside: sink, AtMost: 1.4},
				Bar{Figure: judge.MBPerSecond, Side: firn, Beside: sink, AtLeast: 0.8},
			)
		}
		bars = append(bars, Bar{Figure: judge.MBPerSecond, Side: firn, Beside: kafka, AtLeast: 1})
	}
	if n > 1 {
		bars = append(bars, Bar{Figure: judge.MBPerSecond, Side: side("firn", Flush), Beside: side("kafka", Flush), AtLeast: 1.5, Device: true})
	}
	return append(bars, Bar{Figure: judge.MBPerSecond, Side: side("firn", Flush), Beside: side("kafka", PageCache), AtLeast: 1, Device: true})
}

func side(system string, m Mode) string { return system + " " + string(m) }

func partitionsOf(n int) string {
	if n == 1 {
		return "1 partition"
	}
	return strconv.Itoa(n) + " partitions"
}

// roundMemory is what a round of writing as fast as can be leaves in the page cache.
func roundMemory(b *Bench) int64 { return b.Round.Milliseconds() * fastest }

// load is what a round does to a topic that is new.
type load func(ctx context.Context, s *Server, topic string, length time.Duration) (Figures, error)

// produceSides are firn, Kafka and the sink in both modes, each round on a topic of its own that is gone afterwards.
func (b *Bench) produceSides(ctx context.Context, partitions int, do load) ([]Side, error) {
	sides, err := b.brokerSides(ctx, partitions, do)
	return append(sides, b.sinkSides(partitions, do)...), err
}

// sinkSides are the sink in both modes.
func (b *Bench) sinkSides(partitions int, do load) []Side {
	var sides []Side
	for _, m := range []Mode{Flush, PageCache} {
		sides = append(sides, Side{Name: side("sink", m), Round: func(ctx context.Context, length time.Duration) (Figures, error) {
			return b.sinkRound(ctx, m, partitions, length, do)
		}})
	}
	return sides
}

// brokerSides are firn and Kafka in both modes.
func (b *Bench) brokerSides(ctx context.Context, partitions int, do load) ([]Side, error) {
	var sides []Side
	for _, system := range []struct {
		name string
		get  func(context.Context) (*Server, error)
	}{{"firn", b.Firn}, {"kafka", b.Kafka}} {
		if !b.Wants(side(system.name, Flush)) && !b.Wants(side(system.name, PageCache)) {
			continue
		}
		s, err := system.get(ctx)
		if errors.Is(err, ErrSkip) {
			b.say("%v", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, m := range []Mode{Flush, PageCache} {
			sides = append(sides, Side{Name: side(system.name, m), Round: func(ctx context.Context, length time.Duration) (Figures, error) {
				return b.topicRound(ctx, s, m, partitions, length, do)
			}})
		}
	}
	return sides, nil
}

// topicRound runs a load on a topic that is made for it and deleted after it.
func (b *Bench) topicRound(ctx context.Context, s *Server, m Mode, partitions int, length time.Duration, do load) (Figures, error) {
	b.topics++
	topic := fmt.Sprintf("bench-%05d", b.topics)
	if err := s.CreateTopic(ctx, topic, partitions, m.configs(s)); err != nil {
		return nil, err
	}
	f, err := do(ctx, s, topic, length)
	return f, errors.Join(err, s.DeleteTopic(ctx, topic), b.settle())
}

// sinkRound runs a load on a sink that is started for it, with empty files. They are written once, as a log's are, not
// round and round: pages and blocks that are there already cost less than anything could do with that keeps what it is
// given.
func (b *Bench) sinkRound(ctx context.Context, m Mode, partitions int, length time.Duration, do load) (Figures, error) {
	dir := filepath.Join(b.dir, "sink-data")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	room := 512<<20 + length.Milliseconds()*fastest
	args := []string{"-dir", dir, "-partitions", strconv.Itoa(partitions), "-bytes", strconv.FormatInt(room, 10)}
	if m == Flush {
		args = append(args, "-flush")
	}
	s, err := b.startLimit(ctx, "sink", args...)
	if err != nil {
		return nil, err
	}
	f, err := do(ctx, s, "bench-00000", length)
	return f, errors.Join(err, s.Stop(), os.RemoveAll(dir), b.settle())
}

// pipelined runs a load and tells what it cost the server.
func pipelined(ctx context.Context, s *Server, l measure.Pipelined, length time.Duration) (measure.Produced, measure.Cost, error) {
	p, err := l.Start()
	if err != nil {
		return measure.Produced{}, measure.Cost{}, err
	}
	m, err := s.meter()
	if err != nil {
		return measure.Produced{}, measure.Cost{}, errors.Join(err, p.Close())
	}
	got, err := p.Run(ctx, length)
	cost, costErr := m.Stop()
	return got, cost, errors.Join(err, costErr, p.Close())
}

func latencies(l *measure.Latencies) Figures {
	return Figures{judge.P50: ms(l.Quantile(0.5)), judge.P99: ms(l.Quantile(0.99)), judge.P999: ms(l.Quantile(0.999))}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
