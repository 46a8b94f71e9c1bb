package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kbin"
)

const (
	keyProduce = 0
	keyFetch   = 1

	maxFrame = 128 << 20
	small    = 64 << 10 // read at least so much at once: many small requests come with one read
	peek     = 4 << 10  // read so much beyond a large request, so that what must be moved to the front stays little
)

var errFrame = errors.New("not a request that the reference serves")

// frames splits what a connection sends into requests. They lie in one buffer, which is used again and again.
type frames struct {
	r        io.Reader
	buf      []byte
	from, to int // of what was read and not yet given out
}

// size is the length of the request at from with its length field, 4 when that is not there yet.
func (f *frames) size() (int, error) {
	if f.to-f.from < 4 {
		return 4, nil
	}
	n := binary.BigEndian.Uint32(f.buf[f.from:])
	if n == 0 || n > maxFrame {
		return 0, fmt.Errorf("%w: %d bytes long", errFrame, n)
	}
	return 4 + int(n), nil
}

// buffered tells whether the next request can be had without reading.
func (f *frames) buffered() bool {
	n, err := f.size()
	return err == nil && n > 4 && f.to-f.from >= n
}

// next gives the next request without its length field. It is valid until next is called again when nothing is buffered.
func (f *frames) next() ([]byte, error) {
	for {
		n, err := f.size()
		if err != nil {
			return nil, err
		}
		if have := f.to - f.from; have >= n && have >= 4 && n > 4 {
			b := f.buf[f.from+4 : f.from+n]
			f.from += n
			return b, nil
		}
		if err := f.read(n); err != nil {
			return nil, err
		}
	}
}

// read makes room for a request of n bytes at the front and reads once.
func (f *frames) read(n int) error {
	want := max(small, n+peek)
	if f.from > 0 {
		f.to = copy(f.buf, f.buf[f.from:f.to])
		f.from = 0
	}
	if want > len(f.buf) {
		f.buf = append(f.buf[:f.to], make([]byte, 2*want-f.to)...)
	}
	m, err := f.r.Read(f.buf[f.to:want])
	f.to += m
	if m > 0 {
		return nil
	}
	return err
}

// cursor walks over a request; once something does not fit it is not Ok and gives zeros.
type cursor struct{ kbin.Reader }

func over(b []byte) cursor { return cursor{kbin.Reader{Src: b}} }

// uvarint is a number that no frame needs to be larger than maxFrame for.
func (c *cursor) uvarint() int {
	v := c.Uvarint()
	if v > maxFrame {
		c.Span(-1) // not Ok from here on
		return 0
	}
	return int(v)
}

// bytes are a compact string or bytes; null is empty.
func (c *cursor) bytes() []byte { return c.Span(max(c.uvarint()-1, 0)) }

// entries is the length of a compact array.
func (c *cursor) entries() int { return max(c.uvarint()-1, 0) }

// tags skips a tag section.
func (c *cursor) tags() {
	for n := c.uvarint(); n > 0 && c.Ok(); n-- {
		c.uvarint()
		c.Span(c.uvarint())
	}
}

// head is what every request begins with.
type head struct {
	key, version uint16
	correlation  uint32
}

func (c *cursor) head() head {
	h := head{key: c.Uint16(), version: c.Uint16(), correlation: c.Uint32()}
	if n := c.Int16(); n > 0 { // the client's id
		c.Span(int(n))
	}
	c.tags()
	return h
}

// part is one partition of a request. Its slices lie in the request.
type part struct {
	topic     []byte // name or id, as an answer repeats it: with its length where it is a name
	first     bool   // of its topic
	count     int    // partitions of that topic, when first
	partition int32
	records   []byte // of Produce
	offset    int64  // of Fetch
	max       int64  // of Fetch
}

// produce is a Produce request; parts is used again and again.
type produce struct {
	head
	acks   int16
	topics int
	parts  []part
}

func (p *produce) parse(frame []byte) error {
	c := over(frame)
	p.head, p.parts = c.head(), p.parts[:0]
	if p.key != keyProduce || p.version < 9 || p.version > 13 {
		return fmt.Errorf("%w: key %d, version %d", errFrame, p.key, p.version)
	}
	c.bytes() // transactional id
	p.acks = c.Int16()
	c.Uint32() // timeout
	p.topics = c.entries()
	for i := 0; i < p.topics && c.Ok(); i++ {
		name := c.topic(p.version >= 13)
		n := c.entries()
		for i := range n {
			p.parts = append(p.parts, part{topic: name, first: i == 0, count: n, partition: c.Int32(), records: c.bytes()})
			c.tags()
			if !c.Ok() {
				break
			}
		}
		c.tags()
	}
	if !c.Ok() {
		return fmt.Errorf("%w: a Produce that does not parse", errFrame)
	}
	return nil
}

// topic gives a topic's name with its length, or its id.
func (c *cursor) topic(id bool) []byte {
	if id {
		return c.Span(16)
	}
	whole := c.Src
	c.bytes()
	return whole[:len(whole)-len(c.Src)]
}

// fetch is a Fetch request.
type fetch struct {
	head
	max    int64
	topics int
	parts  []part
}

func (f *fetch) parse(frame []byte) error {
	c := over(frame)
	f.head, f.parts = c.head(), f.parts[:0]
	if f.key != keyFetch || f.version != 12 {
		return fmt.Errorf("%w: key %d, version %d", errFrame, f.key, f.version)
	}
	c.Span(4 + 4 + 4) // replica, wait, least bytes
	f.max = int64(c.Uint32())
	c.Span(1 + 4 + 4) // isolation, session
	f.topics = c.entries()
	for i := 0; i < f.topics && c.Ok(); i++ {
		name := c.topic(false)
		n := c.entries()
		for i := range n {
			p := part{topic: name, first: i == 0, count: n, partition: c.Int32()}
			c.Span(4) // leader epoch
			p.offset = c.Int64()
			c.Span(4 + 8) // last epoch, log start
			p.max = int64(c.Uint32())
			c.tags()
			if !c.Ok() {
				break
			}
			f.parts = append(f.parts, p)
		}
		c.tags()
	}
	if !c.Ok() {
		return fmt.Errorf("%w: a Fetch that does not parse", errFrame)
	}
	return nil
}

// name is the topic's name without its length.
func (p *part) name() []byte {
	c := over(p.topic)
	return c.bytes()
}
