package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/measure"
)

// fetchCases: case c, what is in the page cache is read as fast as can be.
func fetchCases() []Case {
	var all []Case
	for _, n := range []int{1, 16} {
		for _, consumers := range []int{1, 10} {
			many := "1 consumer"
			if consumers > 1 {
				many = fmt.Sprintf("%d consumers", consumers)
			}
			all = append(all, Case{
				Name:   fmt.Sprintf("c hot fetch, %s, %s", partitionsOf(n), many),
				About:  "What was just written is read from start to end, again and again, by consumers that do not decode: a connection each, one partition a request, at most 1 MiB an answer. The source sends firn's own files." + notArchived,
				Shared: true, Memory: func(b *Bench) int64 { return 2 * b.Bytes },
				Bars: []Bar{
					{Figure: judge.CPUPerGB, Side: "firn", Beside: "source", AtMost: 1.2},
					{Figure: judge.CPUPerGB, Side: "firn", Beside: "kafka", AtMost: 1},
					{Figure: judge.MBPerSecond, Side: "firn", Beside: "source", AtLeast: 0.9},
					{Figure: judge.MBPerSecond, Side: "firn", Beside: "kafka", AtLeast: 1},
				},
				Prepare: func(ctx context.Context, b *Bench) ([]Side, error) { return b.fetchSides(ctx, n, consumers) },
			})
		}
	}
	return all
}

// fetchSides fills a topic on each broker, and starts a source on firn's files.
func (b *Bench) fetchSides(ctx context.Context, partitions, consumers int) ([]Side, error) {
	var sides []Side
	add := func(name string, s *Server, topic string, ends []int64) {
		sides = append(sides, Side{Name: name, Round: func(ctx context.Context, length time.Duration) (Figures, error) {
			return fetched(ctx, s, measure.Reading{Addr: s.Addr, Topic: topic, Ends: ends, Consumers: consumers}, length)
		}})
	}
	if b.Wants("firn") || b.Wants("source") {
		firn, err := b.Firn(ctx)
		if err != nil {
			return nil, err
		}
		topic, ends, err := b.fill(ctx, firn, partitions)
		if err != nil {
			return nil, err
		}
		add("firn", firn, topic, ends)
		if b.Wants("source") {
			source, err := b.sourceOf(ctx, firn, topic)
			if err != nil {
				return nil, err
			}
			add("source", source, topic, ends)
		}
	}
	if !b.Wants("kafka") {
		return sides, nil
	}
	kafka, err := b.Kafka(ctx)
	if errors.Is(err, ErrSkip) {
		b.say("%v", err)
		return sides, nil
	}
	if err != nil {
		return nil, err
	}
	topic, ends, err := b.fill(ctx, kafka, partitions)
	if err != nil {
		return nil, err
	}
	add("kafka", kafka, topic, ends)
	return sides, nil
}

// fill writes Bytes of large batches to a new topic, which is deleted at the end of the case, and gives its ends.
func (b *Bench) fill(ctx context.Context, s *Server, partitions int) (topic string, ends []int64, err error) {
	b.topics++
	topic = fmt.Sprintf("bench-%05d", b.topics)
	if err := s.CreateTopic(ctx, topic, partitions, PageCache.configs(s)); err != nil {
		return "", nil, err
	}
	b.Cleanup(func() error { return s.DeleteTopic(context.WithoutCancel(ctx), topic) })
	batches, err := largeBatches("plain", variety)
	if err != nil {
		return "", nil, err
	}
	p, err := measure.Pipelined{Addr: s.Addr, Topic: topic, Partitions: partitions, Conns: 1, InFlight: inFlight, Batches: batches}.Start()
	if err != nil {
		return "", nil, err
	}
	_, err = p.RunBytes(ctx, b.Bytes)
	if err := errors.Join(err, p.Close(), b.settle()); err != nil {
		return "", nil, err
	}
	ends, err = s.Ends(ctx, topic)
	return topic, ends, err
}

// sourceOf starts a reference source for the files of one topic, by a folder of links to theirs.
func (b *Bench) sourceOf(ctx context.Context, s *Server, topic string) (*Server, error) {
	dir, err := b.Dir("source")
	if err != nil {
		return nil, err
	}
	logs, err := filepath.Glob(filepath.Join(s.Logs, topic+"-*"))
	if err != nil {
		return nil, err
	}
	for _, l := range logs {
		if err := os.Symlink(l, filepath.Join(dir, filepath.Base(l))); err != nil {
			return nil, err
		}
	}
	return b.StartLimit(ctx, "source", "-dir", dir)
}

// fetched runs a load of consumers and gives its figures.
func fetched(ctx context.Context, s *Server, l measure.Reading, length time.Duration) (Figures, error) {
	m, err := s.meter()
	if err != nil {
		return nil, err
	}
	got, err := l.Run(ctx, length)
	cost, costErr := m.Stop()
	if err := errors.Join(err, costErr); err != nil {
		return nil, err
	}
	return perGB(cost, got.Bytes).Add(latencies(&got.Latencies)), nil
}
