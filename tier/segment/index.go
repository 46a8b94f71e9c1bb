package segment

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sort"

	"github.com/firnlog/firn/tier/topic"
)

// Meta says whose segment it is and which offsets it covers.
type Meta struct {
	ClusterID string          // at most 65,535 bytes
	Topic     topic.Partition // its name has at most 65,535 bytes
	Base      int64           // first offset covered. The first batch may begin below it, if log start cut into that batch.
	Next      int64           // offset after the last one covered
	Epoch     int32           // leader epoch of the leader that wrote the segment
}

// EpochEntry says that a leader epoch began at an offset.
type EpochEntry struct {
	Epoch int32
	Start int64
}

// ProducerBatch is one of a producer's last batches, as duplicate detection needs it.
type ProducerBatch struct {
	FirstSeq, LastSeq int32
	LastOffset        int64
	Timestamp         int64 // ms
}

// ProducerEntry is the state of one producer id after the last record that the segment covers.
type ProducerEntry struct {
	ID                    int64
	Epoch                 int16
	CoordinatorEpoch      int32           // of the last transaction marker, -1 for none
	LastTimestamp         int64           // ms
	CurrentTxnFirstOffset int64           // first offset of the open transaction, -1 for none
	Batches               []ProducerBatch // oldest first, at most 255 (Kafka keeps 5)
}

// AbortedTxn is one aborted transaction, as in Kafka's .txnindex.
type AbortedTxn struct {
	ProducerID       int64
	FirstOffset      int64 // of its first record
	LastOffset       int64 // of its abort marker, which may lie beyond the segment
	LastStableOffset int64 // when the marker was written
}

// Chunk is one entry of the chunk table. Chunks are in order and tile [Meta.Base, Meta.Next); an offset that a cleaner
// removed belongs to the chunk that would hold it.
type Chunk struct {
	Base, Next   int64  // offsets covered: Base <= offset < Next
	Position     int64  // where its stored bytes begin, counted from the segment's first byte
	Length       int    // stored bytes
	RawLength    int    // bytes of record batches
	CRC32C       uint32 // of the stored bytes
	Compressed   bool   // stored as one zstd frame
	MinTimestamp int64  // smallest first timestamp of its batches (record.Header.FirstTimestamp), ms
	MaxTimestamp int64  // greatest timestamp, ms
}

// sums is what the meta block tells of the data.
type sums struct {
	data                       int64
	minTimestamp, maxTimestamp int64
	maxTimestampOffset         int64
}

// noSums is the sums of no batch.
var noSums = sums{minTimestamp: -1, maxTimestamp: -1, maxTimestampOffset: -1}

// Summary is what a ledger records of a segment.
type Summary struct {
	Base, Next         int64
	Length             int64  // bytes of the whole segment
	CRC32C             uint32 // of all of them; 0 in what Index.Summary gives
	IndexLength        int64  // bytes of index and footer: what to fetch from the segment's end for ParseIndex
	DataBytes          int64  // bytes of record batches, as a client fetches them
	Chunks             int
	MinTimestamp       int64 // smallest first timestamp of a batch, ms; -1 without a batch
	MaxTimestamp       int64 // greatest timestamp, ms; -1 for none
	MaxTimestampOffset int64 // of the first record that carries it (record.MaxTimestampOffset); -1 for none
}

// Index is a segment's parsed index. It is immutable: the slices that it gives must not be written to. Safe for
// concurrent use.
type Index struct {
	meta      Meta
	sums      sums
	footer    footer
	chunks    []Chunk
	epochs    []EpochEntry
	producers []ProducerEntry
	aborted   []AbortedTxn
	blocks    []block // all that were found, without payloads; for the dump
}

// ParseIndex reads the index of a segment of total bytes from its last bytes, tail. Tail must hold at least index and
// footer (the ledger knows their length); if it is shorter, a *ShortError says how much is needed, as long as the
// footer is there. Nothing of tail is kept. Errors: ErrCorrupt, ErrUnsupported, *ShortError.
func ParseIndex(tail []byte, total int64) (*Index, error) {
	if total < HeaderSize+FooterSize {
		return nil, corrupt("%d bytes, at least %d are needed", total, HeaderSize+FooterSize)
	}
	if int64(len(tail)) > total {
		return nil, corrupt("%d bytes at the end of %d", len(tail), total)
	}
	if len(tail) < FooterSize {
		return nil, &ShortError{Need: FooterSize}
	}
	f, err := parseFooter(tail[len(tail)-FooterSize:], total)
	if err != nil {
		return nil, err
	}
	if need := f.indexLength + FooterSize; int64(len(tail)) < need {
		return nil, &ShortError{Need: need}
	}
	blocks := tail[int64(len(tail))-f.indexLength-FooterSize : len(tail)-FooterSize]
	if crc := crc32.Checksum(blocks, castagnoli); crc != f.indexCRC {
		return nil, corrupt("the index's CRC-32C is wrong")
	}
	ix := &Index{footer: f}
	for len(blocks) > 0 {
		var b block
		if b, blocks, err = nextBlock(blocks); err != nil {
			return nil, err
		}
		if err := ix.add(b); err != nil {
			return nil, err
		}
	}
	return ix, ix.check()
}

// Open reads the index of the segment that fills r, of size bytes, and checks the header.
func Open(r io.ReaderAt, size int64) (*Index, error) {
	tail := make([]byte, min(size, 64<<10))
	for {
		if _, err := r.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
			return nil, fmt.Errorf("reading the end of a cold segment: %w", err)
		}
		ix, err := ParseIndex(tail, size)
		var short *ShortError
		if errors.As(err, &short) && short.Need > int64(len(tail)) {
			tail = make([]byte, short.Need) // parseFooter has seen that it fits
			continue
		}
		if err != nil {
			return nil, err
		}
		var head [HeaderSize]byte
		if _, err := r.ReadAt(head[:], 0); err != nil {
			return nil, fmt.Errorf("reading the header of a cold segment: %w", err)
		}
		return ix, checkHeader(head[:])
	}
}

// add takes in one block.
func (ix *Index) add(b block) error {
	for _, seen := range ix.blocks {
		if seen.kind == b.kind && b.kind <= blockEpochs {
			return corrupt("two blocks of type %d (%s)", b.kind, b.kind)
		}
	}
	ok := true
	var err error
	switch b.kind {
	case blockMeta:
		ix.meta, ix.sums, ok = parseMeta(b.payload)
	case blockChunks:
		ix.chunks, err = parseChunks(b.payload)
	case blockAborted:
		ix.aborted, ok = parseAborted(b.payload)
	case blockProducers:
		ix.producers, ok = parseProducers(b.payload)
	case blockEpochs:
		ix.epochs, ok = parseEpochs(b.payload)
	default:
		if b.flags&flagRequired != 0 {
			return unsupported("its index has a required block of type %d (%s)", b.kind, b.kind)
		}
	}
	if !ok {
		err = corrupt("the block of type %d (%s) does not parse", b.kind, b.kind)
	}
	b.payload = nil // it is the caller's
	ix.blocks = append(ix.blocks, b)
	return err
}

// check holds the parts of the index against each other, so that users of an Index need not.
func (ix *Index) check() error {
	for _, kind := range []blockType{blockMeta, blockChunks} {
		if !slices.ContainsFunc(ix.blocks, func(b block) bool { return b.kind == kind }) {
			return corrupt("its index has no block of type %d (%s)", kind, kind)
		}
	}
	m := ix.meta
	if m.Base < 0 || m.Next <= m.Base || m.Topic.Index < 0 {
		return corrupt("it covers offsets %d to %d of partition %d", m.Base, m.Next, m.Topic.Index)
	}
	next, position, data := m.Base, int64(HeaderSize), int64(0)
	for i, c := range ix.chunks {
		if c.Base != next || c.Next <= c.Base || c.Position != position || c.Length <= 0 || c.RawLength <= 0 ||
			!c.Compressed && c.Length != c.RawLength {
			return corrupt("chunk %d does not follow from the one before it", i)
		}
		next, position, data = c.Next, position+int64(c.Length), data+int64(c.RawLength)
	}
	if len(ix.chunks) > 0 && next != m.Next || position != ix.footer.indexPosition || data != ix.sums.data {
		return corrupt("its chunks end at offset %d and byte %d", next, position)
	}
	if s := ix.sums; s.maxTimestampOffset < -1 || s.maxTimestampOffset >= m.Next || len(ix.chunks) == 0 && s != noSums {
		return corrupt("its sums are %+v", s)
	}
	for i := 1; i < len(ix.epochs); i++ {
		if a, b := ix.epochs[i-1], ix.epochs[i]; b.Epoch <= a.Epoch || b.Start < a.Start {
			return corrupt("epoch %d at %d follows epoch %d at %d", b.Epoch, b.Start, a.Epoch, a.Start)
		}
	}
	return nil
}

// Meta says whose segment it is.
func (ix *Index) Meta() Meta { return ix.meta }

// Chunks is the chunk table, in order of offset. It may be empty, if a cleaner removed every record of the range.
func (ix *Index) Chunks() []Chunk { return ix.chunks }

// Epochs is the partition's leader epochs up to Meta.Next, oldest first.
func (ix *Index) Epochs() []EpochEntry { return ix.epochs }

// Producers is the producer state at Meta.Next, in order of producer id.
func (ix *Index) Producers() []ProducerEntry { return ix.producers }

// Aborted is every aborted transaction that overlaps the segment, in order of last offset.
func (ix *Index) Aborted() []AbortedTxn { return ix.aborted }

// Summary is what Writer.Close gave, except for the CRC of the whole, which an index cannot hold.
func (ix *Index) Summary() Summary {
	return Summary{
		Base: ix.meta.Base, Next: ix.meta.Next, Length: ix.footer.length, IndexLength: ix.footer.indexLength + FooterSize,
		DataBytes: ix.sums.data, Chunks: len(ix.chunks), MinTimestamp: ix.sums.minTimestamp,
		MaxTimestamp: ix.sums.maxTimestamp, MaxTimestampOffset: ix.sums.maxTimestampOffset,
	}
}

// FindOffset returns the chunk that covers the offset, or the first one for an offset below; ok is false at and beyond
// Meta.Next. A cleaner may have removed the offset and all after it in that chunk: then the search goes on in the next.
func (ix *Index) FindOffset(offset int64) (i int, ok bool) {
	i = sort.Search(len(ix.chunks), func(i int) bool { return ix.chunks[i].Next > offset })
	return i, i < len(ix.chunks)
}

// FindTime returns the first chunk with a record whose timestamp is >= ts (ms).
func (ix *Index) FindTime(ts int64) (i int, ok bool) {
	i = slices.IndexFunc(ix.chunks, func(c Chunk) bool { return c.MaxTimestamp >= ts })
	return max(i, 0), i >= 0
}

// AbortedIn is the aborted transactions that overlap offsets from <= offset < to.
func (ix *Index) AbortedIn(from, to int64) []AbortedTxn {
	var out []AbortedTxn
	for _, t := range ix.aborted {
		if t.LastOffset >= from && t.FirstOffset < to {
			out = append(out, t)
		}
	}
	return out
}
