package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Paced is a load of single records at a fixed rate, an open loop: record k of connection i is due at a time that is
// known beforehand and does not move when answers are late, and its latency counts from then. A record is sent alone
// when it is due; one that finds InFlight requests of its connection unanswered waits and goes with the others that
// wait, in one batch, as producers do.
type Paced struct {
	Addr, Topic string
	Partitions  int           // connection i writes to partition i modulo Partitions
	Conns       int           // whose records are due in turn, evenly spread
	Every       time.Duration // between two records of a connection
	InFlight    int
	Batches     []Payload // Batches[n-1] holds n records
}

// Due is when record k of connection i is due, counted from the begin.
func (l Paced) Due(i int, k int64) time.Duration {
	return time.Duration(i)*l.Every/time.Duration(l.Conns) + time.Duration(k)*l.Every
}

// PacedProducer runs a Paced load.
type PacedProducer struct {
	load  Paced
	lines []*pacedLine
}

// Start connects and builds the requests. Close ends the connections.
func (l Paced) Start() (*PacedProducer, error) {
	p := &PacedProducer{load: l}
	var frames []*Frame
	for _, b := range l.Batches {
		f, err := NewFrame(l.Topic, b)
		if err != nil {
			return nil, err
		}
		frames = append(frames, f)
	}
	for i := range l.Conns {
		c, err := dial(l.Addr, 1<<12)
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		one := &pacedLine{load: l, conn: c, index: i, partition: int32(i % l.Partitions)}
		for _, f := range frames { // the head is patched: each connection needs its own
			own := *f
			own.head = append([]byte(nil), f.head...)
			one.frames = append(one.frames, &own)
		}
		p.lines = append(p.lines, one)
	}
	return p, nil
}

// Close ends the connections.
func (p *PacedProducer) Close() error {
	var errs []error
	for _, l := range p.lines {
		errs = append(errs, l.conn.Close())
	}
	return errors.Join(errs...)
}

// Run sends what is due from begin until length later, waits until all is answered, and gives what was acknowledged;
// latencies are per record. What is not answered patience after the end is an error.
func (p *PacedProducer) Run(ctx context.Context, begin time.Time, length, patience time.Duration) (Produced, error) {
	stop := context.AfterFunc(ctx, func() { _ = p.Close() })
	defer stop()
	var wg sync.WaitGroup
	errs := make([]error, len(p.lines)+1)
	for i, l := range p.lines {
		l.begin, l.records = begin, p.load.records(i, length)
		_ = l.conn.SetReadDeadline(begin.Add(length + patience)) // fails only on a closed connection, which reading tells
		wg.Go(func() { errs[i] = l.receive() })
	}
	errs[len(p.lines)] = p.pace(begin, length)
	wg.Wait()
	var sum Produced
	for _, l := range p.lines {
		sum.merge(&l.out)
	}
	return sum, errors.Join(append(errs, ctx.Err())...)
}

// Records is how many records are due, on all connections, before the length is over.
func (l Paced) Records(length time.Duration) int64 {
	var n int64
	for i := range l.Conns {
		n += l.records(i, length)
	}
	return n
}

// records is how many records of connection i are due before the length is over.
func (l Paced) records(i int, length time.Duration) int64 {
	left := length - l.Due(i, 0)
	if left <= 0 {
		return 0
	}
	return int64((left + l.Every - 1) / l.Every)
}

// pace hands each record to its connection when it is due. It keeps a thread to itself: the runtime's timers are a
// millisecond apart at worst, which is more than the latencies that are measured.
func (p *PacedProducer) pace(begin time.Time, length time.Duration) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const nanosecond = 1 // the slack with which the kernel may wake this thread
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, nanosecond, 0, 0, 0); err != nil {
		return fmt.Errorf("ask for exact timers: %w", err)
	}
	for k := int64(0); ; k++ {
		for i, l := range p.lines {
			due := p.load.Due(i, k)
			if due >= length {
				return nil
			}
			if wait := due - time.Since(begin); wait > 0 {
				ts := unix.NsecToTimespec(int64(wait))
				_ = unix.Nanosleep(&ts, nil) // interrupted: a record is sent microseconds early
			}
			if err := l.due(); err != nil {
				return err
			}
		}
	}
}

// pacedLine is one connection of a Paced load. The pacer and the receiver both send.
type pacedLine struct {
	load      Paced
	index     int
	partition int32
	begin     time.Time
	records   int64 // that will be due in this run

	mu      sync.Mutex
	conn    *Conn
	frames  []*Frame   // guarded by mu: their heads are patched
	waiting int        // guarded by mu: records that are due and not sent
	sent    []inFlight // guarded by mu: what is unanswered, oldest first

	acked int64 // the receiver's
	out   Produced
}

// due tells that one more record is due.
func (l *pacedLine) due() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting++
	return l.send()
}

// send sends what waits, if there is room; mu is held.
func (l *pacedLine) send() error {
	if l.waiting == 0 || len(l.sent) >= l.load.InFlight {
		return nil
	}
	n := min(l.waiting, len(l.frames))
	l.waiting -= n
	l.conn.id++
	l.sent = append(l.sent, inFlight{id: l.conn.id, frame: l.frames[n-1]})
	return l.frames[n-1].send(l.conn.Conn, l.conn.id, l.partition)
}

// receive takes answers until every record that will be due is acknowledged.
func (l *pacedLine) receive() error {
	l.acked = 0
	for l.acked < l.records {
		if _, err := l.conn.r.Peek(1); err != nil { // the lock is not held while nothing comes
			return fmt.Errorf("%d of %d records are not acknowledged: %w", l.records-l.acked, l.records, err)
		}
		l.mu.Lock()
		oldest := l.sent[0]
		copy(l.sent, l.sent[1:])
		l.sent = l.sent[:len(l.sent)-1]
		err := l.send()
		l.mu.Unlock()
		if err != nil {
			return err
		}
		if _, err := l.conn.produced(l.load.Topic, oldest.id); err != nil {
			return err
		}
		now := time.Since(l.begin)
		for range oldest.frame.Batch.Records {
			l.out.Latencies.Add(now - l.load.Due(l.index, l.acked))
			l.acked++
		}
		l.out.add(oldest.frame.Batch)
	}
	return nil
}
