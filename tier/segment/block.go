package segment

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/firnlog/firn/tier/topic"
)

// blockType tells what an index block holds. Numbers are never reused; 0x8000 and above are for experiments.
type blockType uint16

const (
	blockMeta      blockType = 1 // whose segment it is, its offsets and its sums; required, always there
	blockChunks    blockType = 2 // the chunk table; required, always there
	blockAborted   blockType = 3 // aborted transactions; required, left out when there are none
	blockProducers blockType = 4 // producer state at the segment's end; optional, left out when empty
	blockEpochs    blockType = 5 // leader epochs up to the segment's end; optional, left out when empty

	// Reserved for what is planned; written by no firn so far.
	blockKeys       blockType = 6 // key index (compaction)
	blockHashChain  blockType = 7 // hash of the segment before this one
	blockEncryption blockType = 8 // how chunks are encrypted; will be required
)

// String names the block for the dump and for errors.
func (t blockType) String() string {
	switch t {
	case blockMeta:
		return "meta"
	case blockChunks:
		return "chunks"
	case blockAborted:
		return "aborted transactions"
	case blockProducers:
		return "producers"
	case blockEpochs:
		return "epochs"
	case blockKeys:
		return "key index"
	case blockHashChain:
		return "hash chain"
	case blockEncryption:
		return "encryption"
	}
	return "unknown"
}

const flagRequired uint16 = 1

var be = binary.BigEndian

// block is one block of the index as it was found.
type block struct {
	kind    blockType
	flags   uint16
	length  int // of the payload
	payload []byte
}

func appendBlock(b []byte, kind blockType, flags uint16, payload []byte) []byte {
	start := len(b)
	b = be.AppendUint16(b, uint16(kind))
	b = be.AppendUint16(b, flags)
	b = be.AppendUint32(b, uint32(len(payload)))
	b = append(b, payload...)
	return be.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// nextBlock splits the first block off b.
func nextBlock(b []byte) (blk block, rest []byte, err error) {
	if len(b) < blockOverhead {
		return blk, nil, corrupt("%d bytes after the last block", len(b))
	}
	n := int64(be.Uint32(b[4:]))
	blk = block{kind: blockType(be.Uint16(b)), flags: be.Uint16(b[2:]), length: int(n)}
	if n > int64(len(b)-blockOverhead) {
		return blk, nil, corrupt("block %d (%s) of %d bytes, %d are left", blk.kind, blk.kind, n, len(b)-blockOverhead)
	}
	end := 8 + n
	if crc := crc32.Checksum(b[:end], castagnoli); crc != be.Uint32(b[end:]) {
		return blk, nil, corrupt("the CRC-32C of block %d (%s) is wrong", blk.kind, blk.kind)
	}
	blk.payload = b[8:end]
	return blk, b[end+4:], nil
}

// decoder reads a payload; once something does not fit it is bad and gives zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.bad, d.b = true, nil
	}
	if d.bad {
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) u8() uint8 {
	if v := d.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if v := d.take(2); v != nil {
		return be.Uint16(v)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if v := d.take(4); v != nil {
		return be.Uint32(v)
	}
	return 0
}

func (d *decoder) i64() int64 {
	if v := d.take(8); v != nil {
		return int64(be.Uint64(v))
	}
	return 0
}

func (d *decoder) text() string { return string(d.take(int(d.u16()))) }

// count reads a number of entries of at least size bytes each; more than fit are refused before memory is taken.
func (d *decoder) count(size int) int {
	n := d.u32()
	if uint64(n)*uint64(size) > uint64(len(d.b)) {
		d.bad = true
		return 0
	}
	return int(n)
}

// done reports whether the payload was consumed exactly.
func (d *decoder) done() bool { return !d.bad && len(d.b) == 0 }

func appendI64(b []byte, v ...int64) []byte {
	for _, x := range v {
		b = be.AppendUint64(b, uint64(x))
	}
	return b
}

func appendText(b []byte, s string) []byte {
	s = s[:min(len(s), math.MaxUint16)]
	return append(be.AppendUint16(b, uint16(len(s))), s...)
}

// appendMeta writes the payload of blockMeta: cluster id and topic name as u16 length and bytes.
func appendMeta(b []byte, m Meta, s sums) []byte {
	b = appendText(b, m.ClusterID)
	b = append(b, m.Topic.ID[:]...)
	b = appendText(b, m.Topic.Topic)
	b = be.AppendUint32(b, uint32(m.Topic.Index))
	b = appendI64(b, m.Base, m.Next)
	b = be.AppendUint32(b, uint32(m.Epoch))
	return appendI64(b, s.data, s.minTimestamp, s.maxTimestamp, s.maxTimestampOffset)
}

func parseMeta(p []byte) (m Meta, s sums, ok bool) {
	d := decoder{b: p}
	m.ClusterID = d.text()
	copy(m.Topic.ID[:], d.take(len(topic.ID{})))
	m.Topic.Topic = d.text()
	m.Topic.Index = int32(d.u32())
	m.Base, m.Next = d.i64(), d.i64()
	m.Epoch = int32(d.u32())
	s = sums{data: d.i64(), minTimestamp: d.i64(), maxTimestamp: d.i64(), maxTimestampOffset: d.i64()}
	return m, s, d.done()
}

// chunkEntry is the size of one chunk in the payload of blockChunks; chunkZstd its only flag.
const (
	chunkEntry = 5*8 + 3*4 + 1
	chunkZstd  = 1
)

func appendChunks(b []byte, chunks []Chunk) []byte {
	b = be.AppendUint32(b, uint32(len(chunks)))
	for _, c := range chunks {
		b = appendI64(b, c.Base, c.Next, c.Position)
		b = be.AppendUint32(b, uint32(c.Length))
		b = be.AppendUint32(b, uint32(c.RawLength))
		b = be.AppendUint32(b, c.CRC32C)
		var flags byte
		if c.Compressed {
			flags = chunkZstd
		}
		b = append(b, flags)
		b = appendI64(b, c.MinTimestamp, c.MaxTimestamp)
	}
	return b
}

func parseChunks(p []byte) ([]Chunk, error) {
	d := decoder{b: p}
	chunks := make([]Chunk, d.count(chunkEntry))
	for i := range chunks {
		c := Chunk{Base: d.i64(), Next: d.i64(), Position: d.i64()}
		c.Length, c.RawLength, c.CRC32C = int(d.u32()), int(d.u32()), d.u32()
		flags := d.u8()
		c.Compressed = flags&chunkZstd != 0
		if flags&^chunkZstd != 0 {
			return nil, unsupported("chunk %d has flags %#x", i, flags)
		}
		c.MinTimestamp, c.MaxTimestamp = d.i64(), d.i64()
		chunks[i] = c
	}
	if !d.done() {
		return nil, corrupt("the chunk table does not parse")
	}
	return chunks, nil
}

func appendAborted(b []byte, txns []AbortedTxn) []byte {
	b = be.AppendUint32(b, uint32(len(txns)))
	for _, t := range txns {
		b = appendI64(b, t.ProducerID, t.FirstOffset, t.LastOffset, t.LastStableOffset)
	}
	return b
}

func parseAborted(p []byte) ([]AbortedTxn, bool) {
	d := decoder{b: p}
	txns := make([]AbortedTxn, d.count(4*8))
	for i := range txns {
		txns[i] = AbortedTxn{ProducerID: d.i64(), FirstOffset: d.i64(), LastOffset: d.i64(), LastStableOffset: d.i64()}
	}
	return txns, d.done()
}

func appendEpochs(b []byte, epochs []EpochEntry) []byte {
	b = be.AppendUint32(b, uint32(len(epochs)))
	for _, e := range epochs {
		b = appendI64(be.AppendUint32(b, uint32(e.Epoch)), e.Start)
	}
	return b
}

func parseEpochs(p []byte) ([]EpochEntry, bool) {
	d := decoder{b: p}
	epochs := make([]EpochEntry, d.count(4+8))
	for i := range epochs {
		epochs[i] = EpochEntry{Epoch: int32(d.u32()), Start: d.i64()}
	}
	return epochs, d.done()
}

func appendProducers(b []byte, producers []ProducerEntry) []byte {
	b = be.AppendUint32(b, uint32(len(producers)))
	for _, p := range producers {
		b = appendI64(b, p.ID)
		b = be.AppendUint16(b, uint16(p.Epoch))
		b = be.AppendUint32(b, uint32(p.CoordinatorEpoch))
		b = appendI64(b, p.LastTimestamp, p.CurrentTxnFirstOffset)
		b = append(b, byte(len(p.Batches)))
		for _, x := range p.Batches {
			b = be.AppendUint32(b, uint32(x.FirstSeq))
			b = be.AppendUint32(b, uint32(x.LastSeq))
			b = appendI64(b, x.LastOffset, x.Timestamp)
		}
	}
	return b
}

func parseProducers(p []byte) ([]ProducerEntry, bool) {
	d := decoder{b: p}
	producers := make([]ProducerEntry, d.count(3*8+4+2+1))
	for i := range producers {
		e := ProducerEntry{ID: d.i64(), Epoch: int16(d.u16()), CoordinatorEpoch: int32(d.u32())}
		e.LastTimestamp, e.CurrentTxnFirstOffset = d.i64(), d.i64()
		for range d.u8() {
			e.Batches = append(e.Batches, ProducerBatch{
				FirstSeq: int32(d.u32()), LastSeq: int32(d.u32()), LastOffset: d.i64(), Timestamp: d.i64(),
			})
		}
		producers[i] = e
	}
	return producers, d.done()
}
