package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/measure"
)

// scaleCases are the cases of start-up, idling and recovery: h and i.
func scaleCases() []Case { return []Case{startCase(), idleCase(), recoveryCase()} }

const (
	// Slowest is the slowest of a round's starts.
	Slowest judge.Figure = "slowest s"
	// Starts is how many there were.
	Starts judge.Figure = "starts"
	// RSS is the resident memory of a server that has been idle.
	RSS judge.Figure = "VmRSS MB"

	mostInTopic = 1000 // partitions
	fillers     = 4    // connections that write to each partition once
)

// crowded is a server with a number of partitions, each of which was written to.
type crowded struct {
	system     string
	partitions int
}

func (c crowded) name() string { return c.system + ", " + partitionsOf(c.partitions) }

// prepare starts the server and writes a record to each partition. It gives a topic.
func (c crowded) prepare(ctx context.Context, b *Bench, name string) (*Server, string, error) {
	var (
		s   *Server
		err error
	)
	if c.system == "kafka" {
		s, err = b.newKafka(name, nil)
	} else {
		s, err = b.newFirn(FirnOptions{Name: name})
	}
	if err != nil {
		return nil, "", err
	}
	b.Cleanup(func() error { return errors.Join(s.Stop(), os.RemoveAll(s.Dir)) })
	if err := s.Restart(ctx); err != nil {
		return nil, "", err
	}
	batch := measure.NewPayload(1, crowdRecord, measure.Noise(1))
	var topic string
	for left := c.partitions; left > 0; left -= mostInTopic {
		n := min(left, mostInTopic)
		b.topics++
		topic = fmt.Sprintf("bench-%05d", b.topics)
		if err := s.CreateTopic(ctx, topic, n, nil); err != nil {
			return nil, "", err
		}
		p, err := measure.Pipelined{Addr: s.Addr, Topic: topic, Partitions: n, Conns: min(n, fillers), InFlight: 1, Batches: []measure.Payload{batch}}.Start()
		if err != nil {
			return nil, "", err
		}
		_, err = p.RunBytes(ctx, int64(n*len(batch.Bytes)))
		if err := errors.Join(err, p.Close()); err != nil {
			return nil, "", err
		}
	}
	return s, topic, nil
}

// use makes topics and deletes them again, so that the metadata has a history: 10,000 partitions of firn, 1,000 of Kafka, which
// takes its time for them.
func (c crowded) use(ctx context.Context, s *Server) error {
	topics := 100
	if c.system == "kafka" {
		topics = 10
	}
	for i := range topics {
		name := fmt.Sprintf("gone-%d", i)
		if err := s.CreateTopic(ctx, name, 100, nil); err != nil {
			return err
		}
		err := s.admin(func(a *kadm.Client) error {
			_, err := a.DeleteTopic(ctx, name)
			return err
		})
		if err != nil {
			return fmt.Errorf("delete %s on %s: %w", name, s.Name, err)
		}
	}
	return nil
}

// startCase: the first half of case h.
func startCase() Case {
	const one = "firn, 1 partition"
	return Case{
		Name:  "h start-up on a used folder",
		About: "From starting the process until the first record is acknowledged by it, which means that metadata, log and listener are there (firn: with its embedded etcd, and the record flushed). In each folder topics were made and deleted before, 10,000 partitions of firn's and 1,000 of Kafka's. Each is started again and again after a clean stop, firn also after a kill. Kafka is started with 1 partition only, because its starts take long: with that one it is seconds already. Peak memory is the largest of the starts, from the process's first moment to the acknowledgement.",
		Bars: []Bar{
			{Figure: Slowest, Side: one, AtMost: 0.5, Every: true},
			{Figure: Slowest, Side: killed, AtMost: 0.5, Every: true},
		},
		Cold: true,
		Prepare: func(ctx context.Context, b *Bench) ([]Side, error) {
			var sides []Side
			add := func(c crowded, name string, kill bool) error {
				if !b.Wants(name) {
					return nil
				}
				s, topic, err := c.prepare(ctx, b, fmt.Sprintf("%s-start-%d", c.system, len(sides)))
				if errors.Is(err, ErrSkip) {
					b.say("%v", err)
					return nil
				}
				if err == nil {
					err = c.use(ctx, s)
				}
				if err != nil {
					return err
				}
				sides = append(sides, Side{Name: name, Round: func(ctx context.Context, length time.Duration) (Figures, error) {
					return s.starts(ctx, topic, length, kill)
				}})
				return s.Stop()
			}
			for _, c := range []crowded{{"firn", 1}, {"firn", 1000}, {"firn", 10_000}, {"kafka", 1}} {
				if err := add(c, c.name(), false); err != nil {
					return nil, err
				}
			}
			return sides, add(crowded{"firn", 1}, killed, true)
		},
	}
}

const killed = "firn, 1 partition, killed"

// starts starts the server again and again, and leaves it stopped.
func (s *Server) starts(ctx context.Context, topic string, length time.Duration, kill bool) (Figures, error) {
	batch := measure.NewPayload(1, crowdRecord, measure.Noise(1)).Bytes
	var all []float64
	var peak int64
	for begin := time.Now(); len(all) == 0 || time.Since(begin) < length; {
		took, err := s.firstAnswer(func() error { return produceOne(s.Addr, topic, 0, batch) })
		if err != nil {
			return nil, err
		}
		all = append(all, took.Seconds())
		peak = max(peak, measure.PeakMemory(s.PID()))
		if kill {
			s.Kill()
		} else if err := s.Stop(); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	slices.Sort(all)
	return Figures{judge.Seconds: all[len(all)/2], Slowest: all[len(all)-1], Starts: float64(len(all)), judge.PeakMB: float64(peak) / 1e6}, nil
}

// idleRounds is how many rounds long a server is watched while it idles: a minute, where a round is 10 s.
const idleRounds = 6

// idleCase: the second half of case h. All servers idle at the same time, so one minute is each one's round.
func idleCase() Case {
	one := crowded{"firn", 1}.name()
	return Case{
		Name:  "h idle",
		About: "Servers whose partitions were all written to, and that nobody uses: CPU over six rounds' time, and VmRSS at its end. They idle side by side.",
		Bars: []Bar{
			{Figure: RSS, Side: one, AtMost: 80},
			{Figure: judge.CPUPercent, Side: one, AtMost: 1.5},
		},
		Prepare: func(ctx context.Context, b *Bench) ([]Side, error) {
			w := &watch{}
			for _, c := range []crowded{{"firn", 1}, {"firn", 1000}, {"firn", 10_000}, {"kafka", 1}, {"kafka", 1000}} {
				if !b.Wants(c.name()) {
					continue
				}
				s, _, err := c.prepare(ctx, b, fmt.Sprintf("%s-idle-%d", c.system, c.partitions))
				if errors.Is(err, ErrSkip) {
					b.say("%v", err)
					continue
				}
				if err != nil {
					return nil, err
				}
				w.add(c.name(), s)
			}
			return w.sides(), nil
		},
	}
}

// watch looks at servers that idle side by side.
type watch struct{ all []*watched }

type watched struct {
	name string
	s    *Server
	f    Figures // of the last time, if its round has not been asked for yet
}

func (w *watch) add(name string, s *Server) { w.all = append(w.all, &watched{name: name, s: s}) }

func (w *watch) sides() []Side {
	var sides []Side
	for _, x := range w.all {
		sides = append(sides, Side{Name: x.name, Round: func(ctx context.Context, length time.Duration) (Figures, error) {
			if x.f == nil {
				if err := w.look(ctx, idleRounds*length); err != nil {
					return nil, err
				}
			}
			f := x.f
			x.f = nil
			return f, nil
		}})
	}
	return sides
}

// look watches all for so long.
func (w *watch) look(ctx context.Context, length time.Duration) error {
	meters := make([]*meter, len(w.all))
	for i, x := range w.all {
		var err error
		if meters[i], err = x.s.meter(); err != nil {
			return err
		}
	}
	select {
	case <-time.After(length):
	case <-ctx.Done():
		return ctx.Err()
	}
	for i, x := range w.all {
		cost, err := meters[i].Stop()
		if err != nil {
			return err
		}
		x.f = common(cost).Add(Figures{RSS: float64(measure.Memory(x.s.PID())) / 1e6})
	}
	return nil
}
