package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// sinkOptions of newSink. Addr, Dir and Partitions are needed.
type sinkOptions struct {
	Addr       string // where to listen, host:port
	Dir        string // of the files; it must be there
	Partitions int    // partitions 0 to Partitions-1 are served, whatever their topic
	Bytes      int64  // all files together; 0: 1 GiB
	Flush      bool   // answers only what is durable
	// Sync makes a file's data durable; nil: fdatasync.
	Sync func(*os.File) error
}

// sink is the least that could take Produce requests: a goroutine a connection, which reads into one buffer, checks,
// stamps and writes from there, and answers with one write whatever was read with one read.
type sink struct {
	*server
	o     sinkOptions
	parts []sinkPart
	flush *flusher // nil: the page cache is enough
}

// sinkPart is a partition.
type sinkPart struct {
	mu   sync.Mutex
	next int64 // guarded by mu
	file dataFile
}

// newSink makes the files and serves.
func newSink(o sinkOptions) (*sink, error) {
	if o.Partitions < 1 {
		return nil, fmt.Errorf("a sink of %d partitions: at least one", o.Partitions)
	}
	if o.Bytes <= 0 {
		o.Bytes = 1 << 30
	}
	if o.Sync == nil {
		o.Sync = func(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
	}
	s := &sink{o: o, parts: make([]sinkPart, o.Partitions)}
	for i := range s.parts {
		f := &s.parts[i].file
		f.name, f.size = filepath.Join(o.Dir, fmt.Sprintf("sink-%d", i)), o.Bytes/int64(o.Partitions)
		if o.Flush {
			f.sync = o.Sync
		}
		if err := f.open(); err != nil {
			return nil, errors.Join(err, s.closeFiles())
		}
	}
	if o.Flush {
		s.flush = newFlusher(s.syncFiles)
	}
	var err error
	if s.server, err = serve(o.Addr, s.handle); err != nil {
		if s.flush != nil {
			err = errors.Join(err, s.flush.close())
		}
		return nil, errors.Join(err, s.closeFiles())
	}
	return s, nil
}

// Close ends connections and removes the files. It tells why connections or flushes had failed.
func (s *sink) Close() error {
	err := s.close()
	if s.flush != nil {
		err = errors.Join(err, s.flush.close())
	}
	return errors.Join(err, s.closeFiles())
}

func (s *sink) closeFiles() error {
	var errs []error
	for i := range s.parts {
		if f := &s.parts[i].file; f.cur != nil {
			errs = append(errs, f.cur.Close(), os.Remove(f.name))
		}
	}
	return errors.Join(errs...)
}

// sinkConn is a connection; answers gather in out until what was read with one read is done.
type sinkConn struct {
	c   *quiet
	req produce
	out []byte

	// Guarded by flusher.mu: answers that wait to be durable, and whether the flusher knows.
	pending, due []byte
	queued       bool
}

func (s *sink) handle(c *net.TCPConn) error {
	q, err := newQuiet(c)
	if err != nil {
		return err
	}
	sc := &sinkConn{c: q}
	in := frames{r: q}
	for {
		frame, err := in.next()
		if err != nil {
			return err
		}
		if err := sc.req.parse(frame); err != nil {
			return err
		}
		if err := s.take(sc); err != nil {
			return err
		}
		if in.buffered() || len(sc.out) == 0 {
			continue
		}
		if s.flush != nil {
			err = s.flush.answer(sc)
		} else {
			_, err = q.Write(sc.out)
		}
		if err != nil {
			return err
		}
		sc.out = sc.out[:0]
	}
}

const (
	codeCorrupt          = 2
	codeUnknownPartition = 3
)

// take stores what a request brings and adds its answer.
func (s *sink) take(sc *sinkConn) error {
	req, out := &sc.req, sc.out
	start := len(out)
	out = append(out, 0, 0, 0, 0)
	out = binary.BigEndian.AppendUint32(out, req.correlation)
	out = append(out, 0)
	out = binary.AppendUvarint(out, uint64(req.topics)+1)
	left := 0 // partitions of the topic
	for i := range req.parts {
		p := &req.parts[i]
		if p.first {
			out = append(out, p.topic...)
			out = binary.AppendUvarint(out, uint64(p.count)+1)
			left = p.count
		}
		base, code, err := s.append(p)
		if err != nil {
			return err
		}
		out = binary.BigEndian.AppendUint32(out, uint32(p.partition))
		out = binary.BigEndian.AppendUint16(out, code)
		out = binary.BigEndian.AppendUint64(out, uint64(base))
		out = binary.BigEndian.AppendUint64(out, ^uint64(0)) // log append time: none
		out = append(out, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0)   // log start 0, no record errors, no message, no tags
		if left--; left == 0 {
			out = append(out, 0)
		}
	}
	out = append(out, 0, 0, 0, 0, 0) // no throttling, no tags
	binary.BigEndian.PutUint32(out[start:], uint32(len(out)-start-4))
	if req.acks == 0 {
		out = out[:start]
	}
	sc.out = out
	return nil
}

// append checks, stamps and writes the batches of one partition.
func (s *sink) append(p *part) (base int64, code uint16, err error) {
	if p.partition < 0 || int(p.partition) >= len(s.parts) {
		return -1, codeUnknownPartition, nil
	}
	records, ok := checkBatches(p.records)
	if !ok {
		return -1, codeCorrupt, nil
	}
	to := &s.parts[p.partition]
	to.mu.Lock()
	base = to.next
	to.next += records
	to.mu.Unlock()
	stamp(p.records, base)
	return base, 0, to.file.write(p.records)
}

const batchHeader = 61

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkBatches tells how many offsets whole and sound batches take.
func checkBatches(b []byte) (offsets int64, ok bool) {
	for len(b) > 0 {
		n := batchSize(b)
		if n < batchHeader || n > len(b) || b[16] != 2 || crc32.Checksum(b[21:n], castagnoli) != binary.BigEndian.Uint32(b[17:]) {
			return 0, false
		}
		delta, count := int32(binary.BigEndian.Uint32(b[23:])), int32(binary.BigEndian.Uint32(b[57:]))
		if delta < 0 || count != delta+1 {
			return 0, false
		}
		offsets += int64(count)
		b = b[n:]
	}
	return offsets, offsets > 0
}

// batchSize is the length in bytes of the batch at the beginning of b, 0 if it cannot be told.
func batchSize(b []byte) int {
	if len(b) < batchHeader {
		return 0
	}
	return 12 + int(int32(binary.BigEndian.Uint32(b[8:])))
}

// stamp gives the batches their offsets, and leader epoch 0.
func stamp(b []byte, base int64) {
	for len(b) > 0 {
		binary.BigEndian.PutUint64(b, uint64(base))
		binary.BigEndian.PutUint32(b[12:], 0)
		base += int64(binary.BigEndian.Uint32(b[23:])) + 1
		b = b[batchSize(b):]
	}
}

// syncsAtOnce is how many files are made durable at a time, as many as firn does.
const syncsAtOnce = 16

// syncFiles makes durable what was written to any file before the call.
func (s *sink) syncFiles() error {
	var (
		g    errgroup.Group
		next atomic.Int64
	)
	work := func() error {
		for i := next.Add(1); i <= int64(len(s.parts)); i = next.Add(1) {
			if f := &s.parts[i-1].file; f.dirty.Load() {
				if err := f.flush(); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for range min(syncsAtOnce, len(s.parts)) - 1 {
		g.Go(work)
	}
	return errors.Join(work(), g.Wait())
}

// dataFile is a preallocated file that is replaced by another one when it is full.
type dataFile struct {
	name string
	size int64
	sync func(*os.File) error // nil: the page cache is enough

	dirty atomic.Bool // something was written since the last flush began

	mu  sync.Mutex
	cur *openFile // guarded by mu
	at  int64     // guarded by mu
}

// openFile is a file with how many use it: its dataFile, until it is replaced there, and who flushes it. The last one
// closes it.
type openFile struct {
	*os.File
	users int // guarded by dataFile.mu
}

// drop ends a use and reports whether it was the last. The caller holds dataFile.mu.
func (f *openFile) drop() bool {
	f.users--
	return f.users == 0
}

// open makes the file anew.
func (d *dataFile) open() error {
	if err := os.Remove(d.name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(d.name, os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("make a data file: %w", err)
	}
	d.cur, d.at = &openFile{f, 1}, 0
	if err := unix.Fallocate(int(f.Fd()), 0, 0, d.size); err != nil {
		return fmt.Errorf("preallocate %s: %w", d.name, err)
	}
	return nil
}

// write writes at the next place in the file.
func (d *dataFile) write(b []byte) error {
	n := int64(len(b))
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at+n > d.size {
		if err := d.replace(); err != nil {
			return err
		}
	}
	_, err := d.cur.WriteAt(b, d.at)
	d.at += n
	d.dirty.Store(true) // the answer, and with it a flush that covers this, come after
	return err
}

// replace begins a new file; the caller holds mu. What nobody has flushed of the old one would not be found by a flush of
// the new one.
func (d *dataFile) replace() error {
	if d.sync != nil {
		if err := d.sync(d.cur.File); err != nil {
			return err
		}
	}
	if d.cur.drop() {
		if err := d.cur.Close(); err != nil {
			return err
		}
	}
	return d.open()
}

// flush makes durable what was written to the file before the call. It does not hold up who writes meanwhile.
func (d *dataFile) flush() error {
	d.dirty.Store(false)
	d.mu.Lock()
	f := d.cur // which may be replaced meanwhile
	f.users++
	d.mu.Unlock()
	err := d.sync(f.File)
	d.mu.Lock()
	last := f.drop()
	d.mu.Unlock()
	if last {
		err = errors.Join(err, f.Close())
	}
	return err
}
