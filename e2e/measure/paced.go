package measure

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"
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
	Grid        time.Duration // times are rounded down to it, as timers of programs are; 0: they are exact
	InFlight    int
	Batches     []Payload // Batches[n-1] holds n records
}

// Due is when record k of connection i is due, counted from the begin.
func (l Paced) Due(i int, k int64) time.Duration {
	due := time.Duration(i)*l.Every/time.Duration(l.Conns) + time.Duration(k)*l.Every
	if l.Grid > 0 {
		due -= due % l.Grid
	}
	return due
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
	n := int64(length / l.Every)
	for ; l.Due(i, n) < length; n++ {
	}
	for ; n > 0 && l.Due(i, n-1) >= length; n-- {
	}
	return n
}

// PacedProducer runs a Paced load: one thread sends what is due and takes answers as they come, so that the client takes
// little of the cores that it shares with the server.
type PacedProducer struct {
	load  Paced
	lines []*pacedLine
	poll  *poller

	begin time.Time
	left  int64 // records that are not acknowledged
	out   Produced
}

// pacedLine is one connection of a Paced load.
type pacedLine struct {
	index   int
	conn    net.Conn
	fd      int
	frames  [][]byte // of one record, of two, and so on
	waiting int      // records that are due and not sent
	id      int32    // of the last request
	sent    []pacedRequest
	acked   int64
	in      []byte // the beginning of an answer
}

// pacedRequest is one that is unanswered.
type pacedRequest struct {
	id      int32
	records int
}

// Start connects and builds the requests. Close ends the connections.
func (l Paced) Start() (*PacedProducer, error) {
	var frames [][]byte
	var partitions []int
	for _, b := range l.Batches {
		f, err := NewFrame(l.Topic, b)
		if err != nil {
			return nil, err
		}
		frames = append(frames, f.whole())
		partitions = append(partitions, f.partition)
	}
	p := &PacedProducer{load: l}
	var err error
	if p.poll, err = newPoller(); err != nil {
		return nil, err
	}
	for i := range l.Conns {
		c, err := net.Dial("tcp", l.Addr)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("connect: %w", err), p.Close())
		}
		one := &pacedLine{index: i, conn: c}
		p.lines = append(p.lines, one)
		if one.fd, err = p.poll.add(c); err != nil {
			return nil, errors.Join(err, p.Close())
		}
		for k, f := range frames {
			own := append([]byte(nil), f...) // the partition and the id are its own
			binary.BigEndian.PutUint32(own[partitions[k]:], uint32(i%l.Partitions))
			one.frames = append(one.frames, own)
		}
	}
	return p, nil
}

// Close ends the connections. It may be called more than once.
func (p *PacedProducer) Close() error {
	var errs []error
	for _, l := range p.lines {
		errs = append(errs, l.conn.Close())
	}
	p.lines = nil
	return errors.Join(append(errs, p.poll.close())...)
}

// Run sends what is due from begin until length later, waits until all is answered, and gives what was acknowledged;
// latencies are per record. What is not answered patience after the end is an error. It runs once.
func (p *PacedProducer) Run(ctx context.Context, begin time.Time, length, patience time.Duration) (Produced, error) {
	end, err := p.poll.own()
	if err != nil {
		return Produced{}, err
	}
	defer end()
	p.begin, p.left = begin, 0
	for i := range p.lines {
		p.left += p.load.records(i, length)
	}
	var (
		k    int64 // what is due next: record k of connection i
		i    int
		last = length + patience
	)
	for p.left > 0 {
		now := time.Since(begin)
		due := p.load.Due(i, k)
		for ; due <= now && due < length; due = p.load.Due(i, k) {
			l := p.lines[i]
			l.waiting++
			if err := p.send(l); err != nil {
				return p.out, err
			}
			if i++; i == len(p.lines) {
				i, k = 0, k+1
			}
		}
		if due >= length {
			due = last
		}
		if now > last {
			return p.out, fmt.Errorf("%d records are not acknowledged after %v", p.left, patience)
		}
		if err := ctx.Err(); err != nil {
			return p.out, err
		}
		if err := p.poll.wait(due-time.Since(begin), p.receive); err != nil {
			return p.out, err
		}
	}
	return p.out, nil
}

// send sends what waits, if there is room.
func (p *PacedProducer) send(l *pacedLine) error {
	if l.waiting == 0 || len(l.sent) >= p.load.InFlight {
		return nil
	}
	n := min(l.waiting, len(l.frames))
	l.waiting -= n
	l.id++
	f := l.frames[n-1]
	binary.BigEndian.PutUint32(f[8:], uint32(l.id))
	l.sent = append(l.sent, pacedRequest{id: l.id, records: n})
	return writeAll(l.fd, l.conn, f)
}

// receive takes what came on a connection.
func (p *PacedProducer) receive(i int, b []byte) error {
	l := p.lines[i]
	if len(l.in) > 0 {
		b = append(l.in, b...)
	}
	for len(b) >= 4 {
		n := 4 + int(binary.BigEndian.Uint32(b))
		if len(b) < n {
			break
		}
		if len(l.sent) == 0 {
			return errors.New("an answer came to no request")
		}
		oldest := l.sent[0]
		l.sent = append(l.sent[:0], l.sent[1:]...)
		if _, err := parseProduced(b[:n], p.load.Topic, oldest.id); err != nil {
			return err
		}
		b = b[n:]
		now := time.Since(p.begin)
		for range oldest.records {
			p.out.Latencies.Add(now - p.load.Due(l.index, l.acked))
			l.acked++
		}
		p.left -= int64(oldest.records)
		p.out.add(p.load.Batches[oldest.records-1])
		if err := p.send(l); err != nil {
			return err
		}
	}
	l.in = append(l.in[:0], b...)
	return nil
}
