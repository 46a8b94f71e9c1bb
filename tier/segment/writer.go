package segment

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/firnlog/firn/tier/record"
)

// DefaultChunkBytes is how many bytes of batches a chunk holds if nothing else is said.
const DefaultChunkBytes = 1 << 20

// Compression is how chunks may be stored.
type Compression int8

// The kinds of compression, with the names that the topic config firn.remote.compression has for them.
const (
	CompressionNone Compression = iota // "none": always raw
	CompressionZstd                    // "zstd": one frame a chunk, where that saves at least 5%
)

// ParseCompression reads a value of firn.remote.compression.
func ParseCompression(name string) (Compression, bool) {
	switch name {
	case "none":
		return CompressionNone, true
	case "zstd":
		return CompressionZstd, true
	}
	return CompressionNone, false
}

// State is what a segment carries besides its batches. Order does not matter, except that batches of a producer are
// oldest first.
type State struct {
	Epochs    []EpochEntry    // the partition's lineage up to Meta.Next
	Producers []ProducerEntry // at Meta.Next
	Aborted   []AbortedTxn    // every one that overlaps the range
}

// WriterOptions is what a Writer needs to know.
type WriterOptions struct {
	Meta        Meta // a Next of 0 means: after the last batch added
	ChunkBytes  int  // of batches; 0 means DefaultChunkBytes. A batch that is larger is a chunk of its own.
	Compression Compression
	Level       int // of zstd, 1 to 22; 0 means 3
	// Futile says that the data before were not worth compressing, as Writer.Futile told: the first chunk, too, is then
	// tried by a sample before all of it is.
	Futile bool
	// Gaps allows batches that do not follow one another and a range that is wider than the batches, as a cleaner
	// leaves them. Without it a gap is an error, so that a hole in the hot log cannot become one in the archive.
	Gaps bool
	State
}

// RawWriter is an io.Writer that can do without a copy of what is stored as it was added: its owner can read those
// batches again where they came from.
type RawWriter interface {
	io.Writer
	// WriteRaw takes the next bytes of the segment, a chunk that is stored raw: the bytes from `from` on of all that Add
	// was given, one call after another. b is valid during the call.
	WriteRaw(b []byte, from int64) error
}

// Writer writes one segment. Not for concurrent use. After an error every call returns it.
type Writer struct {
	w   io.Writer
	to  RawWriter // w, if it is one
	o   WriterOptions
	err error

	position int64  // bytes written
	crc      uint32 // of them
	next     int64  // offset after the last batch
	chunks   []Chunk
	sums     sums

	raw     []byte // batches of the chunk being filled
	minTime int64  // of it
	maxTime int64
	packed  []byte // scratch
	sample  []byte // scratch
	encoder *zstd.Encoder
	futile  bool // the chunk before was not worth compressing; see Futile

	// The first batch with the greatest timestamp so far: at maxAt in raw, or, once that chunk is written, a copy.
	maxAt    int // -1 when it is in maxBatch
	maxBatch []byte
}

// NewWriter begins a segment; nothing is written before the first full chunk. An error of the options comes with the
// first call. w may be a RawWriter.
func NewWriter(w io.Writer, o WriterOptions) *Writer {
	if o.ChunkBytes <= 0 {
		o.ChunkBytes = DefaultChunkBytes
	}
	if o.Level == 0 {
		o.Level = 3
	}
	wr := &Writer{w: w, o: o, next: o.Meta.Base, sums: noSums, maxAt: -1, futile: o.Futile}
	wr.to, _ = w.(RawWriter)
	if m := o.Meta; m.Base < 0 || m.Topic.Index < 0 || m.Next != 0 && m.Next <= m.Base {
		wr.err = fmt.Errorf("cold segment: offsets %d to %d of partition %d", m.Base, m.Next, m.Topic.Index)
	}
	return wr
}

// SetState replaces the State of the options, for a caller that learns it only at the end.
func (w *Writer) SetState(s State) { w.o.State = s }

// Futile tells whether the last chunk was not worth compressing.
func (w *Writer) Futile() bool { return w.futile }

// Next is the offset after the last batch added.
func (w *Writer) Next() int64 { return w.next }

// Add takes whole batches in order of offset; they are not kept after the call. Each is checked with
// record.CheckStored, CRC included: what is damaged here would be damaged for ever.
func (w *Writer) Add(batches []byte) error {
	w.raw = slices.Grow(w.raw, max(0, min(len(batches), w.o.ChunkBytes-len(w.raw))))
	for len(batches) > 0 && w.err == nil {
		h, err := record.CheckStored(batches)
		if err == nil {
			err = w.follows(h)
		}
		if err != nil {
			w.err = fmt.Errorf("cold segment: batch at offset %d: %w", h.BaseOffset, err)
			break
		}
		w.add(h, batches[:h.Size()])
		batches = batches[h.Size():]
	}
	return w.err
}

// follows reports whether a batch may come next.
func (w *Writer) follows(h record.Header) error {
	m := w.o.Meta
	first := len(w.raw) == 0 && len(w.chunks) == 0
	switch {
	case h.NextOffset() <= w.next:
		return fmt.Errorf("it ends below %d", w.next)
	case h.BaseOffset < w.next && !first:
		return fmt.Errorf("it overlaps the batch before it, which ends at %d", w.next)
	case h.BaseOffset > w.next && !w.o.Gaps:
		return fmt.Errorf("offset %d is missing", w.next)
	case m.Next != 0 && h.NextOffset() > m.Next:
		return fmt.Errorf("it ends beyond %d", m.Next)
	case h.LeaderEpoch > m.Epoch:
		return fmt.Errorf("its leader epoch %d is newer than the segment's, %d", h.LeaderEpoch, m.Epoch)
	}
	return nil
}

func (w *Writer) add(h record.Header, b []byte) {
	if len(w.raw) > 0 && len(w.raw)+len(b) > w.o.ChunkBytes {
		if w.flush(); w.err != nil {
			return
		}
	}
	first, last := h.FirstTimestamp(), h.MaxTimestamp
	if len(w.raw) == 0 {
		w.minTime, w.maxTime = first, last
	}
	w.minTime, w.maxTime = min(w.minTime, first), max(w.maxTime, last)
	if last > w.sums.maxTimestamp {
		w.sums.maxTimestamp, w.maxAt = last, len(w.raw)
	}
	w.raw = append(w.raw, b...)
	w.next = h.NextOffset()
}

// flush writes the chunk being filled.
func (w *Writer) flush() {
	if w.position == 0 {
		w.write(appendHeader(nil))
	}
	if len(w.raw) == 0 {
		return
	}
	c := Chunk{
		Base: w.o.Meta.Base, Next: w.next, Position: w.position, RawLength: len(w.raw),
		MinTimestamp: w.minTime, MaxTimestamp: w.maxTime,
	}
	if n := len(w.chunks); n > 0 {
		c.Base = w.chunks[n-1].Next
	}
	stored := w.raw
	if w.o.Compression == CompressionZstd {
		if c.Compressed = w.pack(); c.Compressed {
			stored = w.packed
		}
	}
	c.Length, c.CRC32C = len(stored), crc32.Checksum(stored, castagnoli)
	w.writeChunk(stored, c)
	if len(w.chunks) == 0 || c.MinTimestamp < w.sums.minTimestamp {
		w.sums.minTimestamp = c.MinTimestamp
	}
	w.sums.data += int64(c.RawLength)
	w.chunks = append(w.chunks, c)
	if w.maxAt >= 0 {
		h, err := record.ParseHeader(w.raw[w.maxAt:])
		if err == nil {
			w.maxBatch = append(w.maxBatch[:0], w.raw[w.maxAt:w.maxAt+h.Size()]...)
		}
		w.maxAt = -1
	}
	w.raw = w.raw[:0]
}

// pack compresses the chunk into w.packed where that is worth it. Data that does not compress (encrypted, or compressed by
// its producer) mostly comes in long runs, and trying it all was most of the CPU of an upload: after one such chunk, the
// next ones are tried by a sample first.
func (w *Writer) pack() bool {
	if w.encoder == nil {
		w.encoder = encoder(w.o.Level)
	}
	if w.futile && !w.sampleSaves() {
		return false
	}
	w.packed = w.encoder.EncodeAll(w.raw, w.packed[:0])
	w.futile = !worthIt(len(w.raw), len(w.packed))
	return !w.futile
}

// A chunk's sample is a few pieces from all over it, together.
const (
	samplePieces = 8
	sampleBytes  = samplePieces << 10
)

// sampleSaves tells by a sample whether the whole may be worth compressing.
func (w *Writer) sampleSaves() bool {
	if len(w.raw) < 16*sampleBytes {
		return true
	}
	w.sample = w.sample[:0]
	for i := range samplePieces {
		from := i * len(w.raw) / samplePieces
		w.sample = append(w.sample, w.raw[from:from+sampleBytes/samplePieces]...)
	}
	w.packed = w.encoder.EncodeAll(w.sample, w.packed[:0])
	return worthIt(len(w.sample), len(w.packed))
}

func (w *Writer) write(b []byte) {
	if w.err == nil {
		_, err := w.w.Write(b)
		w.wrote(len(b), crc32.Checksum(b, castagnoli), err)
	}
}

func (w *Writer) writeChunk(stored []byte, c Chunk) {
	if w.err != nil {
		return
	}
	var err error
	if w.to != nil && !c.Compressed {
		err = w.to.WriteRaw(stored, w.sums.data)
	} else {
		_, err = w.w.Write(stored)
	}
	w.wrote(c.Length, c.CRC32C, err)
}

// wrote notes that n bytes with that CRC-32C were written, or why not.
func (w *Writer) wrote(n int, crc uint32, err error) {
	if err != nil {
		w.err = fmt.Errorf("writing a cold segment: %w", err)
		return
	}
	w.position += int64(n)
	w.crc = joinCRC(w.crc, crc, int64(n))
}

// errClosed is what a Writer answers after Close.
var errClosed = errors.New("cold segment: writer is closed")

// Close writes the last chunk, the index and the footer. It does not close the io.Writer. Without Gaps it is an error if
// the batches end before Meta.Next or there are none.
func (w *Writer) Close() (Summary, error) {
	m := &w.o.Meta
	if w.err == nil && m.Next == 0 {
		m.Next = w.next
	}
	if w.err == nil && (m.Next <= m.Base || w.next != m.Next && !w.o.Gaps) {
		w.err = fmt.Errorf("cold segment: the batches end at %d, the range %d to %d does not", w.next, m.Base, m.Next)
	}
	if w.err == nil {
		w.flush()
	}
	if w.err != nil {
		return Summary{}, w.err
	}
	if n := len(w.chunks); n > 0 {
		w.chunks[n-1].Next = m.Next
	}
	if w.sums.maxTimestamp >= 0 {
		w.sums.maxTimestampOffset = record.MaxTimestampOffset(w.maxBatch, record.DefaultMaxDecoded)
	}
	index := w.index()
	f := footer{
		indexPosition: w.position, indexLength: int64(len(index)), length: w.position + int64(len(index)) + FooterSize,
		indexCRC: crc32.Checksum(index, castagnoli),
	}
	w.write(f.append(index))
	if w.encoder != nil {
		encoders[levelOf(w.o.Level)].Put(w.encoder)
		w.encoder = nil
	}
	if w.err != nil {
		return Summary{}, w.err
	}
	w.err = errClosed
	return Summary{
		Base: m.Base, Next: m.Next, Length: w.position, CRC32C: w.crc, IndexLength: f.indexLength + FooterSize,
		DataBytes: w.sums.data, Chunks: len(w.chunks), MinTimestamp: w.sums.minTimestamp,
		MaxTimestamp: w.sums.maxTimestamp, MaxTimestampOffset: w.sums.maxTimestampOffset,
	}, nil
}

// index is all blocks. Everything is sorted, so that the same input gives the same bytes.
func (w *Writer) index() []byte {
	b := appendBlock(nil, blockMeta, flagRequired, appendMeta(nil, w.o.Meta, w.sums))
	b = appendBlock(b, blockChunks, flagRequired, appendChunks(nil, w.chunks))
	if len(w.o.Aborted) > 0 {
		s := sortedBy(w.o.Aborted, func(a, b AbortedTxn) int {
			return cmp.Or(cmp.Compare(a.LastOffset, b.LastOffset), cmp.Compare(a.FirstOffset, b.FirstOffset),
				cmp.Compare(a.ProducerID, b.ProducerID))
		})
		b = appendBlock(b, blockAborted, flagRequired, appendAborted(nil, s))
	}
	if len(w.o.Producers) > 0 {
		s := sortedBy(w.o.Producers, func(a, b ProducerEntry) int { return cmp.Compare(a.ID, b.ID) })
		b = appendBlock(b, blockProducers, 0, appendProducers(nil, s))
	}
	if len(w.o.Epochs) > 0 {
		s := sortedBy(w.o.Epochs, func(a, b EpochEntry) int { return cmp.Compare(a.Epoch, b.Epoch) })
		b = appendBlock(b, blockEpochs, 0, appendEpochs(nil, s))
	}
	return b
}

// encoders pools zstd encoders by speed: they are dear to make. All work is done on the caller's goroutine.
var encoders [zstd.SpeedBestCompression + 1]sync.Pool

func levelOf(level int) zstd.EncoderLevel { return zstd.EncoderLevelFromZstd(level) }

func encoder(level int) *zstd.Encoder {
	l := levelOf(level)
	if e, ok := encoders[l].Get().(*zstd.Encoder); ok {
		return e
	}
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(l), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
		zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))
	if err != nil {
		panic(err) // constant options
	}
	return e
}
