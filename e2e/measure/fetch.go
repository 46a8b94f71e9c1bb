package measure

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Reading is a load of consumers that read a topic from its start to its end and then again, without decoding: they look
// at the head of each batch only, to know where to go on. Each has a connection, asks for one partition at a time, and
// takes its partitions in turn.
type Reading struct {
	Addr, Topic  string
	Ends         []int64 // of each partition: where to begin again
	Consumers    int
	PartitionMax int32 // bytes of an answer at most, but for a larger batch; 0: 1 MiB, what consumers ask by default
}

// Read is what a load of consumers came to.
type Read struct {
	Requests  int64
	Bytes     int64 // of batches
	Latencies Latencies
}

// Run reads for the time given; with length 0 each consumer reads each partition once.
func (l Reading) Run(ctx context.Context, length time.Duration) (Read, error) {
	if l.PartitionMax == 0 {
		l.PartitionMax = 1 << 20
	}
	var (
		wg   sync.WaitGroup
		errs = make([]error, l.Consumers)
		all  = make([]Read, l.Consumers)
	)
	begin := time.Now()
	for i := range l.Consumers {
		wg.Go(func() { errs[i] = l.consume(ctx, i, &all[i], begin, length) })
	}
	wg.Wait()
	var sum Read
	for i := range all {
		sum.Requests += all[i].Requests
		sum.Bytes += all[i].Bytes
		sum.Latencies.Merge(&all[i].Latencies)
	}
	return sum, errors.Join(append(errs, ctx.Err())...)
}

func (l Reading) consume(ctx context.Context, index int, out *Read, begin time.Time, length time.Duration) error {
	c, err := dial(l.Addr, 16)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer func() { stop(); _ = c.Close() }()
	frames := make([]*fetchFrame, len(l.Ends))
	for p := range frames {
		if frames[p], err = newFetchFrame(l.Topic, []int32{int32(p)}, 1, l.PartitionMax); err != nil {
			return err
		}
	}
	var (
		next   = make([]int64, len(l.Ends))
		done   int // partitions that are read to their end, where they are read once
		empty  int
		buffer = make([]byte, int(l.PartitionMax)+1<<16)
	)
	for _, end := range l.Ends {
		if end == 0 {
			empty++
		}
	}
	if done = empty; empty == len(l.Ends) {
		return fmt.Errorf("there is nothing to read in %s", l.Topic)
	}
	for turn := index; length > 0 && time.Since(begin) < length || length == 0 && done < len(l.Ends); turn++ {
		p := turn % len(l.Ends)
		if next[p] >= l.Ends[p] {
			if length == 0 || l.Ends[p] == 0 {
				continue
			}
			next[p] = 0
		}
		frames[p].set(0, next[p])
		sent, at := time.Now(), next[p]
		if err := frames[p].fetch(c, &buffer, func(f fetched) {
			out.Bytes += int64(len(f.records))
			next[p] = After(f.records, next[p])
		}); err != nil {
			return err
		}
		if next[p] == at {
			return fmt.Errorf("fetch of %s-%d at %d brings nothing, though it goes to %d", l.Topic, p, at, l.Ends[p])
		}
		out.Requests++
		out.Latencies.Add(time.Since(sent))
		if next[p] >= l.Ends[p] {
			done++
		}
	}
	return nil
}

// Tail is a consumer that waits at the end of all partitions of a topic for what is written there. It waits in the
// kernel, on a thread of its own: to be woken by the runtime costs more than all else that it does.
type Tail struct {
	conn  *Conn
	tcp   *net.TCPConn
	file  *os.File // the same, blocking
	frame *fetchFrame
	next  []int64
}

// NewTail connects a consumer for partitions that are empty.
func NewTail(addr, topic string, partitions int) (*Tail, error) {
	t := &Tail{next: make([]int64, partitions)}
	list := make([]int32, partitions)
	for i := range list {
		list[i] = int32(i)
	}
	var err error
	if t.frame, err = newFetchFrame(topic, list, 1, 1<<20); err != nil {
		return nil, err
	}
	if t.conn, err = dial(addr, 16); err != nil {
		return nil, err
	}
	t.tcp = t.conn.Conn.(*net.TCPConn) // dial says tcp
	if t.file, err = t.tcp.File(); err == nil {
		err = syscall.SetNonblock(int(t.file.Fd()), false)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect: %w", err), t.Close())
	}
	t.conn.Conn = blocking{t.tcp, t.file}
	return t, nil
}

// blocking reads and writes a connection by its file.
type blocking struct {
	*net.TCPConn
	file *os.File
}

func (b blocking) Read(p []byte) (int, error)  { return b.file.Read(p) }
func (b blocking) Write(p []byte) (int, error) { return b.file.Write(p) }

// Run reads until it has seen so many records, and calls seen for each with its partition and offset when it came.
func (t *Tail) Run(ctx context.Context, records int64, seen func(partition int32, offset int64)) error {
	stop := context.AfterFunc(ctx, func() { _ = t.tcp.CloseRead() }) // which ends a read that blocks
	defer stop()
	var buffer []byte
	for records > 0 {
		for p, o := range t.next {
			t.frame.set(p, o)
		}
		if err := t.frame.fetch(t.conn, &buffer, func(f fetched) {
			for end := After(f.records, t.next[f.partition]); t.next[f.partition] < end; t.next[f.partition]++ {
				seen(f.partition, t.next[f.partition])
				records--
			}
		}); err != nil {
			return errors.Join(fmt.Errorf("%d records did not reach the tailing consumer: %w", records, err), ctx.Err())
		}
	}
	return nil
}

// Close ends the connection.
func (t *Tail) Close() error {
	var err error
	if t.file != nil {
		err = t.file.Close()
	}
	return errors.Join(err, t.conn.Close())
}
