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
	unarchived, upload = "firn, no archive", "firn, archive in MinIO"

	// ReplayMB is what the replays were given while the producer was at work.
	ReplayMB judge.Figure = "replay MB/s"
	// UploadCPU is what archiving cost: what the round took beside that of the same alternation without.
	UploadCPU judge.Figure = "upload CPU-s/GB"
	// Behind is how long after the last acknowledgement all was in the archive.
	Behind judge.Figure = "s behind"
)

// replayCase: case f.
func replayCase() Case {
	return Case{
		Name:    "f produce at 50 MB/s while two consumers replay the archive",
		About:   "Batches of 64 records of 1 KiB, acks=all and flushed, on 4 connections at fixed times and timed from then, to a topic that is not archived; beside it, two consumers that read a topic each, as fast as they can, from MinIO.",
		Memory:  func(b *Bench) int64 { return 4 * b.Bytes },
		Bars:    []Bar{{Figure: judge.P99, Side: withReplays, Beside: alone, AtMost: 1.3}},
		Prepare: func(ctx context.Context, b *Bench) ([]Side, error) { return b.replaySides(ctx) },
	}
}

func (b *Bench) replaySides(ctx context.Context) ([]Side, error) {
	firn, _, err := b.archivedFirn(ctx, "firn-replay")
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
	round := func(replays coldSet) func(ctx context.Context, length time.Duration) (Figures, error) {
		return func(ctx context.Context, length time.Duration) (Figures, error) {
			// The producer must not wait for the replays' share of the runtime: all are threads that the kernel schedules.
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(clientThreads))
			// Started anew, so that a cache has nothing of the round before; what is left of that is given up before the load.
			if err := errors.Join(firn.Stop(), firn.Restart(ctx), b.settle()); err != nil {
				return nil, err
			}
			return b.topicRound(ctx, firn, Flush, steadyPartitions, length, func(ctx context.Context, s *Server, topic string, length time.Duration) (Figures, error) {
				var (
					wg     sync.WaitGroup
					failed error
				)
				wg.Go(func() { _, failed = replays.read(ctx, s.Addr, length+2*replayLead) })
				time.Sleep(replayLead)
				var f Figures
				rate, err := growth(s.coldRead, func() (err error) {
					f, _, err = steady(ctx, s, topic, length)
					return err
				})
				wg.Wait()
				if err := errors.Join(err, failed); err != nil {
					return nil, err
				}
				return f.Add(Figures{ReplayMB: rate / 1e6}), nil
			})
		}
	}
	return []Side{{Name: alone, Round: round(coldSet{})}, {Name: withReplays, Round: round(set)}}, nil
}

// coldRead is how many bytes from the archive firn has given to readers since it started.
func (s *Server) coldRead() (float64, error) {
	const name = "firn_cold_read_bytes_total"
	v := s.metric(name)
	if v < 0 {
		return 0, fmt.Errorf("%s does not tell its %s", s.Name, name)
	}
	return v, nil
}

// growth is by how much a counter grew per second while do ran.
func growth(counter func() (float64, error), do func() error) (float64, error) {
	before, err := counter()
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := do(); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	after, err := counter()
	return (after - before) / took.Seconds(), err
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
		About:    "The load of case f, to a topic that is not archived and to one that is; the second is measured until all of it is in MinIO. The difference is what archiving costs, which cases a to d leave out.",
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
	err = s.await(ctx, func() bool {
		return s.tiers(topic, func(r harness.Tiers) bool { return r.ColdEnd == r.HotEnd })
	})
	behind := time.Since(last)
	cost, costErr := m.Stop()
	if err := errors.Join(err, costErr); err != nil {
		return nil, err
	}
	whole := perGB(cost, got.Bytes)
	for _, k := range []judge.Figure{judge.CPUPerGB, judge.WrittenPerByte, judge.PeakMB, judge.SwitchesPerMB, judge.SyscallsPerMB} {
		f[k] = whole[k]
	}
	f[Behind] = behind.Seconds()
	return f, errors.Join(s.DeleteTopic(ctx, topic), b.settle())
}
