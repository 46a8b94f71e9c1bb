package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/firnlog/firn/tier/topic"
)

// A fold object is immutable and describes itself, so that a bucket listing alone can rebuild a ledger:
//
//	"FIRNFOLD" | version u16 | flags u16 (0) | header length u32 | header | count u32 | count x entry | crc u32
//	header: topic id 16 | partition i32 | ledger version i64 | cluster id str | generation str | topic name str
//	entry:  length u32 | base, next, position, length, data, index length, tmin, tmax, tmaxo, at i64 |
//	        crc u32 | epoch i32 | key str
//	str:    length u16 | bytes
//
// All integers are big-endian; crc is CRC-32C of everything before it. Header and entries carry their length:
// a later minor change may append fields that older readers skip. Anything else raises the version, and every
// version ever written stays readable (testdata/fold-v1.golden).

// FoldVersion is the version that EncodeFold writes.
const FoldVersion = 1

const (
	foldMagic = "FIRNFOLD"
	maxKey    = 1024 // longest object key that S3 knows
	entryMin  = 10*8 + 4 + 4 + 2
	// MaxFoldSegments bounds a fold, and with it what a reader must hold to parse one.
	MaxFoldSegments = 1 << 16
)

// Errors of ParseFold.
var (
	ErrFoldCorrupt = errors.New("fold object is damaged")
	ErrFoldVersion = errors.New("fold object has a version that this firn does not know")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// FoldFile is the content of a fold object.
type FoldFile struct {
	ClusterID     string
	Generation    string
	Partition     topic.Partition
	LedgerVersion int64 // the version of the ledger that the fold was made from
	Segments      []Segment
}

// Summarize gives the FoldRef of segs without key, length and checksum.
func Summarize(segs []Segment) FoldRef {
	var f FoldRef
	for i, s := range segs {
		if i == 0 {
			f.Base, f.MinTimestamp, f.MaxTimestamp, f.MaxTimestampOffset = s.Base, s.MinTimestamp, s.MaxTimestamp, s.MaxTimestampOffset
		}
		f.Next = s.Next
		f.Count++
		f.DataBytes += s.DataBytes
		f.StoredBytes += s.Length
		f.MinTimestamp = min(f.MinTimestamp, s.MinTimestamp)
		if s.MaxTimestamp > f.MaxTimestamp {
			f.MaxTimestamp, f.MaxTimestampOffset = s.MaxTimestamp, s.MaxTimestampOffset
		}
	}
	return f
}

// NewFold encodes f for an object that will be stored under key, and gives the reference to it.
func NewFold(key string, f FoldFile) (FoldRef, []byte, error) {
	b, err := EncodeFold(f)
	if err != nil {
		return FoldRef{}, nil, err
	}
	ref := Summarize(f.Segments)
	ref.Key, ref.Length, ref.CRC32C = key, int64(len(b)), crc32.Checksum(b, castagnoli)
	if err := ref.check(); err != nil {
		return FoldRef{}, nil, err
	}
	return ref, b, nil
}

// EncodeFold writes the current version of the format.
func EncodeFold(f FoldFile) ([]byte, error) {
	if n := len(f.Segments); n == 0 || n > MaxFoldSegments {
		return nil, fmt.Errorf("%w: a fold of %d segments", ErrInvalid, n)
	}
	for _, s := range []string{f.ClusterID, f.Generation, f.Partition.Topic} {
		if len(s) > math.MaxUint16 {
			return nil, fmt.Errorf("%w: a name of %d bytes", ErrInvalid, len(s))
		}
	}
	be := binary.BigEndian
	b := append([]byte(nil), foldMagic...)
	b = be.AppendUint16(b, FoldVersion)
	b = be.AppendUint16(b, 0)
	h := append([]byte(nil), f.Partition.ID[:]...)
	h = be.AppendUint32(h, uint32(f.Partition.Index))
	h = be.AppendUint64(h, uint64(f.LedgerVersion))
	h = appendString(appendString(appendString(h, f.ClusterID), f.Generation), f.Partition.Topic)
	b = append(be.AppendUint32(b, uint32(len(h))), h...)
	b = be.AppendUint32(b, uint32(len(f.Segments)))
	for i, s := range f.Segments {
		if err := s.check(); err != nil {
			return nil, err
		}
		if i > 0 && s.Base < f.Segments[i-1].Next {
			return nil, fmt.Errorf("%w: segment %d overlaps the one before", ErrInvalid, s.Base)
		}
		b = be.AppendUint32(b, uint32(entryMin+len(s.Key)))
		for _, v := range []int64{s.Base, s.Next, s.Position, s.Length, s.DataBytes, s.IndexLength,
			s.MinTimestamp, s.MaxTimestamp, s.MaxTimestampOffset, s.CommittedAt} {
			b = be.AppendUint64(b, uint64(v))
		}
		b = be.AppendUint32(b, s.CRC32C)
		b = be.AppendUint32(b, uint32(s.Epoch))
		b = appendString(b, s.Key)
	}
	return be.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// ParseFold reads any version ever written. The checksum is verified first; then every segment, and that they
// are in order without overlap. It never allocates more than the input justifies.
func ParseFold(b []byte) (FoldFile, error) {
	var f FoldFile
	if len(b) < len(foldMagic)+2+2+4+4+4 || string(b[:len(foldMagic)]) != foldMagic {
		return f, fmt.Errorf("%w: %d bytes without the magic", ErrFoldCorrupt, len(b))
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return f, fmt.Errorf("%w: checksum %08x, want %08x", ErrFoldCorrupt, got, sum)
	}
	r := reader{b: body[len(foldMagic):]}
	version, flags := r.u16(), r.u16()
	if version != FoldVersion || flags != 0 {
		return f, fmt.Errorf("%w: version %d flags %d", ErrFoldVersion, version, flags)
	}
	h := reader{b: r.bytes(int(r.u32()))}
	copy(f.Partition.ID[:], h.bytes(16))
	f.Partition.Index = int32(h.u32())
	f.LedgerVersion = int64(h.u64())
	f.ClusterID, f.Generation, f.Partition.Topic = h.str(), h.str(), h.str()
	n := int(r.u32())
	if r.bad || h.bad || n <= 0 || n > MaxFoldSegments || n > len(r.b)/(4+entryMin) {
		return FoldFile{}, fmt.Errorf("%w: header", ErrFoldCorrupt)
	}
	f.Segments = make([]Segment, 0, n)
	for i := range n {
		s, ok := parseEntry(&r)
		if !ok || s.check() != nil || i > 0 && s.Base < f.Segments[i-1].Next {
			return FoldFile{}, fmt.Errorf("%w: entry %d of %d", ErrFoldCorrupt, i, n)
		}
		f.Segments = append(f.Segments, s)
	}
	if len(r.b) != 0 {
		return FoldFile{}, fmt.Errorf("%w: %d bytes after the last entry", ErrFoldCorrupt, len(r.b))
	}
	return f, nil
}

func parseEntry(r *reader) (Segment, bool) {
	var s Segment
	e := reader{b: r.bytes(int(r.u32()))}
	for _, p := range []*int64{&s.Base, &s.Next, &s.Position, &s.Length, &s.DataBytes, &s.IndexLength,
		&s.MinTimestamp, &s.MaxTimestamp, &s.MaxTimestampOffset, &s.CommittedAt} {
		*p = int64(e.u64())
	}
	s.CRC32C = e.u32()
	s.Epoch = int32(e.u32())
	s.Key = e.str()
	return s, !r.bad && !e.bad
}

// Verify checks that the parsed fold is the one that ref names.
func (f FoldFile) Verify(ref FoldRef) error {
	got := Summarize(f.Segments)
	got.Key, got.Length, got.CRC32C = ref.Key, ref.Length, ref.CRC32C
	if got != ref {
		return fmt.Errorf("%w: %s does not hold what the ledger says", ErrFoldCorrupt, ref.Key)
	}
	return nil
}

// LoadFold parses an object fetched from the store, having checked length and checksum against the ledger.
func LoadFold(ref FoldRef, b []byte) ([]Segment, error) {
	if int64(len(b)) != ref.Length || crc32.Checksum(b, castagnoli) != ref.CRC32C {
		return nil, fmt.Errorf("%w: %s has %d bytes, want %d with checksum %08x", ErrFoldCorrupt, ref.Key, len(b), ref.Length, ref.CRC32C)
	}
	f, err := ParseFold(b)
	if err != nil {
		return nil, fmt.Errorf("fold %s: %w", ref.Key, err)
	}
	if err := f.Verify(ref); err != nil {
		return nil, err
	}
	return f.Segments, nil
}

// PlanFold gives the oldest recent segments to fold so that keep remain: none while fewer than batch could go.
// It takes at most MaxFoldSegments.
func (l *Ledger) PlanFold(keep, batch int) []Segment {
	n := min(len(l.Recent)-max(keep, 1), MaxFoldSegments)
	if n < max(batch, 1) {
		return nil
	}
	return l.Recent[:n:n]
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// reader takes fields off the front of b; bad is set, and zero values come out, once it runs short.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) bytes(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u16() uint16 {
	if v := r.bytes(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if v := r.bytes(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if v := r.bytes(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (r *reader) str() string { return string(r.bytes(int(r.u16()))) }
