package measure

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Pipelined is a load of produce requests as fast as they are answered: each connection keeps InFlight requests
// unanswered, and writes its partitions in turn. Partition p belongs to connection p modulo Conns, so that each
// partition has one producer.
type Pipelined struct {
	Addr, Topic string
	Partitions  int
	Conns       int       // at most Partitions, at least 1
	InFlight    int       // unanswered requests of each connection
	Batches     []Payload // sent in turn
}

// Produced is what a load of produce requests came to: all that was acknowledged.
type Produced struct {
	Requests, Records int64
	Bytes             int64 // of batches as they went over the wire
	Plain             int64 // of the same batches if no codec were used
	Latencies         Latencies
}

func (p *Produced) add(b Payload) {
	p.Requests++
	p.Records += int64(b.Records)
	p.Bytes += int64(len(b.Bytes))
	p.Plain += int64(b.Plain)
}

func (p *Produced) merge(o *Produced) {
	p.Requests += o.Requests
	p.Records += o.Records
	p.Bytes += o.Bytes
	p.Plain += o.Plain
	p.Latencies.Merge(&o.Latencies)
}

// Start connects and builds the requests, so that Run only sends. Close ends the connections.
func (l Pipelined) Start() (*Producer, error) {
	p := &Producer{load: l}
	for i := range l.Conns {
		c, err := dial(l.Addr, 1<<14)
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		one := &pipeline{conn: c, load: l, sent: make([]inFlight, l.InFlight)}
		p.lines = append(p.lines, one)
		for n := i; n < l.Partitions; n += l.Conns {
			one.partitions = append(one.partitions, int32(n))
		}
		for _, b := range l.Batches {
			f, err := NewFrame(l.Topic, b)
			if err != nil {
				return nil, errors.Join(err, p.Close())
			}
			one.frames = append(one.frames, f)
		}
		one.next = i * len(one.frames) / l.Conns // so that not all send the same batch at once
	}
	return p, nil
}

// Producer runs a Pipelined load.
type Producer struct {
	load  Pipelined
	lines []*pipeline
}

// Run sends for the time given, waits for what is then unanswered, and gives what was acknowledged. It ends early, with
// an error, when an answer has an error or ctx ends.
func (p *Producer) Run(ctx context.Context, length time.Duration) (Produced, error) {
	return p.run(ctx, func(sent int64) bool { return false }, length)
}

// RunBytes sends until at least so many bytes of batches were sent, and gives what was acknowledged.
func (p *Producer) RunBytes(ctx context.Context, bytes int64) (Produced, error) {
	share := (bytes + int64(len(p.lines)) - 1) / int64(len(p.lines))
	return p.run(ctx, func(sent int64) bool { return sent >= share }, 1<<62)
}

func (p *Producer) run(ctx context.Context, enough func(sent int64) bool, length time.Duration) (Produced, error) {
	stop := context.AfterFunc(ctx, func() { _ = p.Close() })
	defer stop()
	var (
		wg   sync.WaitGroup
		errs = make([]error, len(p.lines))
		all  = make([]Produced, len(p.lines))
	)
	begin := time.Now()
	for i, l := range p.lines {
		wg.Go(func() { errs[i] = l.run(&all[i], begin, length, enough) })
	}
	wg.Wait()
	var sum Produced
	for i := range all {
		sum.merge(&all[i])
	}
	return sum, errors.Join(append(errs, ctx.Err())...)
}

// Close ends the connections.
func (p *Producer) Close() error {
	var errs []error
	for _, l := range p.lines {
		errs = append(errs, l.conn.Close())
	}
	return errors.Join(errs...)
}

// pipeline is one connection of a Pipelined load, for one goroutine: it sends while there is room, then waits for the
// oldest answer.
type pipeline struct {
	conn       *Conn
	load       Pipelined
	partitions []int32
	frames     []*Frame
	sent       []inFlight // ring of what is unanswered
	next, turn int        // frame and partition of the next request
}

type inFlight struct {
	id    int32
	at    time.Time
	frame *Frame
}

func (l *pipeline) run(out *Produced, begin time.Time, length time.Duration, enough func(int64) bool) error {
	var sent, first, last int64 // bytes sent; requests answered and sent
	for {
		for last-first < int64(len(l.sent)) && time.Since(begin) < length && !enough(sent) {
			f := l.frames[l.next%len(l.frames)]
			l.conn.id++
			l.sent[last%int64(len(l.sent))] = inFlight{id: l.conn.id, at: time.Now(), frame: f}
			if err := f.send(l.conn.Conn, l.conn.id, l.partitions[l.turn%len(l.partitions)]); err != nil {
				return err
			}
			l.next++
			l.turn++
			last++
			sent += int64(len(f.records))
		}
		if first == last {
			return nil
		}
		oldest := l.sent[first%int64(len(l.sent))]
		if _, err := l.conn.produced(l.load.Topic, oldest.id); err != nil {
			return err
		}
		out.Latencies.Add(time.Since(oldest.at))
		out.add(oldest.frame.Batch)
		first++
	}
}
