package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// footerSize is the length of a segment's footer.
const footerSize = 48

// object is an archived segment.
type object struct {
	key       string
	topic     string
	partition int32
	next      int64 // offset after the last one
	raw       int64 // bytes of all chunks, decompressed
	chunks    []chunk
}

// chunk is a part of a segment: whole batches, raw or as one zstd frame.
type chunk struct {
	base, next  int64 // offsets
	position    int64 // in the object
	length, raw int   // bytes in the object, and decompressed
	crc         uint32
	zstd        bool
	at          int64 // in the cache file
}

var errSegment = errors.New("not an archived segment that the reference can read")

// indexBytes is how many of a segment's last bytes hold index and footer.
func indexBytes(footer []byte, size int64) (int64, error) {
	if len(footer) < footerSize {
		return 0, fmt.Errorf("%w: %d bytes", errSegment, len(footer))
	}
	f := footer[len(footer)-footerSize:]
	position, length := int64(binary.BigEndian.Uint64(f)), int64(binary.BigEndian.Uint64(f[8:]))
	if string(f[40:]) != "firn-end" || crc32.Checksum(f[:36], castagnoli) != binary.BigEndian.Uint32(f[36:]) ||
		binary.BigEndian.Uint16(f[28:]) != 1 || length < 0 || position+length+footerSize != size {
		return 0, fmt.Errorf("%w: the footer is wrong", errSegment)
	}
	return length + footerSize, nil
}

// parseIndex reads, from a segment's last bytes, whose it is and where its chunks lie.
func parseIndex(key string, b []byte) (*object, error) {
	o := &object{key: key}
	c := over(b[:len(b)-footerSize])
	var chunks, meta bool
	for len(c.Src) > 0 {
		whole := c.Src
		kind, flags, payload := c.Uint16(), c.Uint16(), c.Span(4)
		if !c.Ok() {
			break
		}
		n := int(binary.BigEndian.Uint32(payload))
		p := over(c.Span(n))
		if crc := c.Uint32(); !c.Ok() || crc != crc32.Checksum(whole[:8+n], castagnoli) {
			return nil, fmt.Errorf("%w: %s: a block of its index is damaged", errSegment, key)
		}
		switch {
		case kind == 1:
			p.Span(int(p.Uint16())) // cluster
			p.Span(16)              // topic id
			o.topic = string(p.Span(int(p.Uint16())))
			o.partition = p.Int32()
			p.Int64() // base
			o.next = p.Int64()
			meta = p.Ok()
		case kind == 2:
			o.readChunks(&p)
			chunks = p.Ok()
		case flags&1 != 0 && kind != 3: // aborted transactions, which no consumer of the bench asks for
			return nil, fmt.Errorf("%w: %s needs block %d", errSegment, key, kind)
		}
	}
	if !c.Ok() || !meta || !chunks || len(o.chunks) == 0 {
		return nil, fmt.Errorf("%w: the index of %s does not parse", errSegment, key)
	}
	return o, nil
}

func (o *object) readChunks(p *cursor) {
	for n := p.Uint32(); n > 0 && p.Ok(); n-- {
		c := chunk{base: p.Int64(), next: p.Int64(), position: p.Int64()}
		c.length, c.raw, c.crc, c.zstd = int(p.Uint32()), int(p.Uint32()), p.Uint32(), p.Int8() == 1
		p.Span(8 + 8) // timestamps
		c.at = o.raw
		o.raw += int64(c.raw)
		o.chunks = append(o.chunks, c)
	}
}

// byBase sorts segments, and refuses what two attempts at one range would give: only a ledger could tell which counts.
func byBase(objects []*object) error {
	slices.SortFunc(objects, func(a, b *object) int { return int(a.chunks[0].base - b.chunks[0].base) })
	for i := 1; i < len(objects); i++ {
		if objects[i-1].next != objects[i].chunks[0].base {
			return fmt.Errorf("%w: %s ends at %d, the next one begins at %d", errSegment, objects[i-1].key, objects[i-1].next, objects[i].chunks[0].base)
		}
	}
	return nil
}
