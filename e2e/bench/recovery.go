package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/measure"
)

const (
	hotShare      = 5 // what lies in the hot log, as a multiple of Bytes: 10 GiB
	hotPartitions = 16
	hotLoad       = 500 * time.Millisecond // that a load runs before the process is killed in it

	recoveredKill, recoveredPower = "firn, killed", "firn, as after a power cut"

	// FirstFetch is how long after the start of the process the first fetch was answered.
	FirstFetch judge.Figure = "first fetch s"
	// ReadMB is what the process had read by then, by read calls: of its log, its metadata and itself.
	ReadMB judge.Figure = "read MB"
)

// recoveryCase: case i.
func recoveryCase() Case {
	return Case{
		Name:   "i recovery after kill -9",
		About:  "A flushed topic of 16 partitions with five times the bytes that other cases read (10 GiB) is written to when its firn is killed. From starting the process until a record is acknowledged and until one is read, and what was read meanwhile. After a power cut the kernel is another one, and firn may not trust its page cache: that is played by telling it of another boot, with all that was written still there.",
		Bars:   []Bar{{Figure: ReadMB, Side: recoveredPower, AtMost: 512}, {Figure: ReadMB, Side: recoveredKill, AtMost: 512}},
		Memory: func(b *Bench) int64 { return hotShare * b.Bytes }, Cold: true,
		Prepare: func(ctx context.Context, b *Bench) ([]Side, error) { return b.recoverySides(ctx) },
	}
}

func (b *Bench) recoverySides(ctx context.Context) ([]Side, error) {
	firn, err := b.StartFirn(ctx, FirnOptions{Name: "firn-recovery"})
	if err != nil {
		return nil, err
	}
	const topic = "bench-hot"
	if err := firn.CreateTopic(ctx, topic, hotPartitions, Flush.configs(firn)); err != nil {
		return nil, err
	}
	batches, err := largeBatches("plain", variety)
	if err != nil {
		return nil, err
	}
	load := measure.Pipelined{Addr: firn.Addr, Topic: topic, Partitions: hotPartitions, Conns: producers, InFlight: inFlight, Batches: batches}
	p, err := load.Start()
	if err != nil {
		return nil, err
	}
	_, err = p.RunBytes(ctx, hotShare*b.Bytes)
	if err := errors.Join(err, p.Close(), b.settle()); err != nil {
		return nil, err
	}
	round := func(power bool) func(context.Context, time.Duration) (Figures, error) {
		return func(ctx context.Context, _ time.Duration) (Figures, error) { return firn.recover(ctx, load, power) }
	}
	return []Side{{Name: recoveredKill, Round: round(false)}, {Name: recoveredPower, Round: round(true)}}, nil
}

// recover kills the server in the middle of a load and starts it again.
func (s *Server) recover(ctx context.Context, load measure.Pipelined, power bool) (Figures, error) {
	p, err := load.Start()
	if err != nil {
		return nil, err
	}
	if _, err := p.RunBytes(ctx, hotPartitions*int64(len(load.Batches[0].Bytes))); err != nil { // each has the broker at work
		return nil, errors.Join(err, p.Close())
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = p.Run(ctx, time.Minute) // ends with an error: the server is killed meanwhile
	}()
	time.Sleep(hotLoad)
	s.Kill()
	<-ended
	if err := p.Close(); err != nil {
		return nil, err
	}
	if power {
		if err := os.WriteFile(filepath.Join(s.Logs, ".firn-dirty"), []byte("another boot\n"), 0o644); err != nil {
			return nil, err
		}
	}
	batch := load.Batches[0].Bytes
	began := time.Now()
	first, err := s.firstAnswer(func() error { return produceOne(s.Addr, load.Topic, 0, batch) })
	if err != nil {
		return nil, err
	}
	fetched, err := s.until(began, func() error { return fetchOne(s.Addr, load.Topic, hotPartitions-1) })
	if err != nil {
		return nil, err
	}
	read, err := readBytes(s.PID())
	if err != nil {
		return nil, err
	}
	f := Figures{judge.Seconds: first.Seconds(), FirstFetch: fetched.Seconds(), ReadMB: float64(read) / 1e6, judge.PeakMB: float64(measure.PeakMemory(s.PID())) / 1e6}
	return f, nil
}

// readBytes is what a process has read by read calls so far, from a device or not.
func readBytes(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, fmt.Errorf("what was read: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), "rchar:")
	line, _, _ := strings.Cut(rest, "\n")
	return strconv.ParseInt(strings.TrimSpace(line), 10, 64)
}
