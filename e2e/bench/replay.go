package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/e2e/measure"
)

const (
	steadyRate       = 50_000_000 // bytes a second that cases f and g produce
	steadyRecords    = 64         // records of 1 KiB in a batch of theirs
	steadyPartitions = 4
	replayLead       = time.Second // that replays run before the producer begins
	clientThreads    = 8

	alone, withReplays = "firn alone", "firn and two replays"
	besideReader       = "firn, replays from the reader"
	unarchived, upload = "firn, no archive", "firn, archive in MinIO"

	// ReplayMB is what the replays were given, most of it while the producer was at work.
	ReplayMB judge.Figure = "replay MB/s"
	// UploadCPU is what archiving cost: what the round took beside that of the same alternation without.
	UploadCPU judge.Figure = "upload CPU-s/GB"
	// Backlog is what was not in the archive when the last record was acknowledged.
	Backlog judge.Figure = "MB behind"
	// Behind is how long after that all was.
	Behind judge.Figure = "s behind"
)

// replayCase: case f.
func replayCase() Case {
	return Case{
		Name:    "f produce at 50 MB/s while two consumers replay the archive",
		About:   "Batches of 64 records of 1 KiB, acks=all and flushed, on 4 connections at fixed times and timed from then, to a topic that is not archived; beside it, two consumers that read a topic each, as fast as they can, from MinIO. What the machine itself makes of that is the third side: firn has nothing but the producer there, and the same consumers replay the same objects from the reference reader.",
		Memory:  func(b *Bench) int64 { return 4 * b.Bytes },
		Bars:    []Bar{{Figure: judge.P99, Side: withReplays, Beside: alone, AtMost: 1.3}},
		Prepare: func(ctx context.Context, b *Bench) ([]Side, error) { return b.replaySides(ctx) },
	}
}

func (b *Bench) replaySides(ctx context.Context) ([]Side, error) {
	firn, store, err := b.archivedFirn(ctx, "firn-replay")
	if err != nil {
		return nil, err
	}
	batches, err := largeBatches("plain", variety)
	if err != nil {
		return nil, err
	}
	set, err := b.fillCold(ctx, firn, 2, b.Bytes, batches)
	if err != nil {
		return nil, err
	}
	sides := []Side{
		{Name: alone, Round: b.replayRound(firn, firn, coldSet{})},
		{Name: withReplays, Round: b.replayRound(firn, firn, set)},
	}
	if b.Wants(besideReader) {
		reader, err := b.startReader(ctx, store, leastRoom)
		if err != nil {
			return nil, err
		}
		sides = append(sides, Side{Name: besideReader, Round: b.replayRound(firn, reader, set)})
	}
	return sides, nil
}

// replayRound produces to firn while consumers read a set from another server, or from firn as well.
func (b *Bench) replayRound(firn, from *Server, set coldSet) func(ctx context.Context, length time.Duration) (Figures, error) {
	return func(ctx context.Context, length time.Duration) (Figures, error) {
		// The producer must not wait for the replays' share of the runtime: all are threads that the kernel schedules.
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(clientThreads))
		// Started anew, so that a cache has nothing of the round before; what is left of that is given up before the load.
		if err := restart(ctx, firn, from); err != nil {
			return nil, err
		}
		if err := b.settle(); err != nil {
			return nil, err
		}
		return b.topicRound(ctx, firn, Flush, steadyPartitions, length, func(ctx context.Context, s *Server, topic string, length time.Duration) (Figures, error) {
			var (
				wg     sync.WaitGroup
				begin  = time.Now()
				got    measure.Read
				failed error
			)
			wg.Go(func() { got, failed = set.read(ctx, from.Addr, length+2*replayLead) })
			time.Sleep(replayLead)
			f, _, err := steady(ctx, s, topic, length)
			wg.Wait()
			if err := errors.Join(err, failed); err != nil {
				return nil, err
			}
			return f.Add(Figures{ReplayMB: float64(got.Bytes) / 1e6 / time.Since(begin).Seconds()}), nil
		})
	}
}

// restart stops servers, the same one once, and starts them again.
func restart(ctx context.Context, a, b *Server) error {
	err := errors.Join(a.Stop(), a.Restart(ctx))
	if err != nil || a == b {
		return err
	}
	return errors.Join(b.Stop(), b.Restart(ctx))
}

// steady produces at the fixed rate and gives what it cost from the first record until the last is acknowledged.
func steady(ctx context.Context, s *Server, topic string, length time.Duration) (Figures, measure.Produced, error) {
	load := steadyLoad(s, topic)
	p, err := load.Start()
	if err != nil {
		return nil, measure.Produced{}, err
	}
	m, err := s.meter()
	if err != nil {
		return nil, measure.Produced{}, errors.Join(err, p.Close())
	}
	got, err := p.Run(ctx, time.Now().Add(soon), length, patience)
	cost, costErr := m.Stop()
	if err := errors.Join(err, costErr, p.Close()); err != nil {
		return nil, got, err
	}
	return perGB(cost, got.Bytes).Add(latencies(&got.Latencies)), got, nil
}

// steadyLoad is a paced load whose every record is a whole batch: none waits to go with another.
func steadyLoad(s *Server, topic string) measure.Paced {
	batch := measure.NewPayload(steadyRecords, recordSize-recordExtra, measure.Noise(1))
	batch.Records = 1
	every := time.Second * time.Duration(steadyPartitions*len(batch.Bytes)) / steadyRate
	return measure.Paced{Addr: s.Addr, Topic: topic, Partitions: steadyPartitions, Conns: steadyPartitions, Every: every, InFlight: inFlight, Batches: []measure.Payload{batch}}
}

// uploadCase: case g.
func uploadCase() Case {
	return Case{
		Name:     "g upload keeps pace with produce",
		About:    "The load of case f, to a topic that is not archived and to one that is; the second is measured until all of it is in MinIO. What is not there when the last record is acknowledged is the MB behind, and the s behind how long that still takes: a record waits a second at most to be uploaded with others (firn.remote.upload.max.lag.ms). The difference is what archiving costs, which cases a to d leave out.",
		Memory:   func(b *Bench) int64 { return 3 * roundMemory(b) / 4 },
		Together: uploadCost,
		Prepare:  func(ctx context.Context, b *Bench) ([]Side, error) { return b.uploadSides(ctx) },
	}
}

// uploadCost adds what archiving cost in an alternation.
func uploadCost(rounds map[string]Figures) {
	with, without := rounds[upload], rounds[unarchived]
	if with != nil && without != nil {
		with[UploadCPU] = with[judge.CPUPerGB] - without[judge.CPUPerGB]
	}
}

func (b *Bench) uploadSides(ctx context.Context) ([]Side, error) {
	firn, _, err := b.archivedFirn(ctx, "firn-upload")
	if err != nil {
		return nil, err
	}
	return []Side{
		{Name: unarchived, Round: func(ctx context.Context, length time.Duration) (Figures, error) {
			return b.topicRound(ctx, firn, Flush, steadyPartitions, length, func(ctx context.Context, s *Server, topic string, length time.Duration) (Figures, error) {
				f, _, err := steady(ctx, s, topic, length)
				return f, err
			})
		}},
		{Name: upload, Round: func(ctx context.Context, length time.Duration) (Figures, error) {
			return b.uploadRound(ctx, firn, length)
		}},
	}, nil
}

// uploadRound produces and waits until all is archived.
func (b *Bench) uploadRound(ctx context.Context, s *Server, length time.Duration) (Figures, error) {
	b.topics++
	topic := fmt.Sprintf("bench-%05d", b.topics)
	if err := s.CreateTopic(ctx, topic, steadyPartitions, map[string]string{"firn.remote.upload.max.lag.ms": "1000"}); err != nil {
		return nil, err
	}
	m, err := s.meter()
	if err != nil {
		return nil, err
	}
	f, got, err := steady(ctx, s, topic, length)
	if err != nil {
		_, stopErr := m.Stop() // and the profile that may be taken meanwhile
		return nil, errors.Join(err, stopErr)
	}
	last := time.Now()
	backlog, err := s.backlog(topic)
	err = errors.Join(err, s.await(ctx, func() bool {
		return s.tiers(topic, func(r harness.Tiers) bool { return r.ColdEnd == r.HotEnd })
	}))
	behind := time.Since(last)
	cost, costErr := m.Stop()
	if err := errors.Join(err, costErr); err != nil {
		return nil, err
	}
	whole := perGB(cost, got.Bytes)
	for _, k := range []judge.Figure{judge.CPUPerGB, judge.WrittenPerByte, judge.DevicePerByte, judge.PeakMB, judge.SwitchesPerMB, judge.SyscallsPerMB} {
		if v, ok := whole[k]; ok {
			f[k] = v
		}
	}
	f[Backlog], f[Behind] = float64(backlog*recordSize)/1e6, behind.Seconds()
	return f, errors.Join(s.DeleteTopic(ctx, topic), b.settle())
}

// backlog is how many records of a topic are not archived yet.
func (s *Server) backlog(topic string) (n int64, err error) {
	if !s.tiers(topic, func(r harness.Tiers) bool {
		n += r.HotEnd - r.ColdEnd
		return true
	}) {
		return 0, fmt.Errorf("%s does not tell what of %s is archived", s.Name, topic)
	}
	return n, nil
}
