package flush

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/firnlog/firn/tier/topic"
)

// A journal file is a head, which is durable before anything follows it, and a row of frames, each at a position that is
// a multiple of block, so that none shares a sector with another and a write never touches what is durable. A frame is
// what one write made durable, little-endian:
//
//	 0  magic    4  "fjf1", of which the last byte is the version
//	 4  crc      4  CRC-32C of the bytes 8 to 39
//	 8  length   4  of the records that follow the header
//	12  records  4  how many those are
//	16  life     8  drawn by the process that wrote it: see below
//	24  seq      8  number of the frame in that life, from 1, without gaps
//	32  floor    8  the first frame that still counts: all before it are in their logs' own files
//	40  records
//
// and a record is
//
//	 0  crc      4  of the bytes 4 to the end of the name
//	 4  bytes    4  CRC of the record's bytes
//	 8  kind     1
//	 9  name     1  length of the topic's name
//	10  0        2
//	12  length   4  of the record's bytes
//	16  id      16  the topic's
//	32  index    4  the partition's
//	36  epoch    4  leader epoch of the log when it was written
//	40  segment  8  base offset of the segment that the bytes belong to
//	48  position 8  … and where in it
//	56  base     8  first offset of the bytes
//	64  next     8  the offset after them
//	72  name, bytes
//
// Both checksums of a record begin with life and seq: what an earlier use of the file left behind a torn frame is not
// taken for a part of it.
//
// The head is the header of a frame with seq 0 and nothing behind it, in a block of its own. It says what life the file's
// frames are of. What stands anywhere else in the file may be a client's bytes, of a write that was torn or half
// overwritten, and look like a frame; but no client can know the life. Files of which a frame stood at position 0, as it
// did before there was a head, and the files of Keep say it by that one.
const (
	block       = 4096
	frameHeader = 40
	recHeader   = 72
	frameMagic  = 0x31666a66 // "fjf1"

	// MaxFrame bounds the records of a frame in bytes: what a parser believes, and what a write takes.
	MaxFrame = 2 << 20
)

// Kind is what a Record says.
type Kind uint8

// The kinds.
const (
	Bytes  Kind = 1 // these bytes are at Position of Segment
	Forget Kind = 2 // earlier records of the log with Next up to this one's are void
	Bound  Kind = 3 // Segment is whole up to Position: only in what Keep wrote
)

// Record is one entry of the journal.
type Record struct {
	Kind     Kind
	Part     topic.Partition
	Epoch    int32
	Segment  int64
	Position int64
	Base     int64
	Next     int64
	Bytes    []byte
}

// Errors of the parser.
var (
	errNoFrame = errors.New("no frame")
	errTorn    = errors.New("a record cannot be read")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is that of a frame.
type header struct {
	length  int
	records int
	life    uint64
	seq     uint64
	floor   uint64
}

func (h header) seed() uint32 {
	var b [frameHeader]byte
	putHeader(b[:], h)
	return seed(b[:])
}

// seed is what the checksums of a frame's records begin with: that of life and seq, as they stand in its header.
func seed(frame []byte) uint32 { return crc32.Checksum(frame[16:32], castagnoli) }

// Frame is a frame that is being filled. Its buffer is used again.
type Frame struct {
	h    header
	seed uint32
	b    []byte
	last int // where the record begins that is being added
}

func (f *Frame) reset(life, seq uint64) {
	f.h = header{life: life, seq: seq}
	f.b = append(f.b[:0], make([]byte, frameHeader)...)
	putHeader(f.b, f.h)
	f.seed = seed(f.b)
	f.last = 0 // what was added to a frame that was not written is gone
}

// empty reports whether the frame holds no record.
func (f *Frame) empty() bool { return f.h.records == 0 }

// size is how many bytes the frame takes in its file.
func (f *Frame) size() int64 { return roundUp(int64(len(f.b))) }

func roundUp(n int64) int64 { return (n + block - 1) &^ (block - 1) }

// Add adds a record with n bytes, which the caller fills in before it adds another or gives the frame back; r.Bytes is
// not looked at. Names are at most 255 bytes long, as Kafka's are.
func (f *Frame) Add(r *Record, n int) []byte {
	f.finish()
	f.last = len(f.b)
	name := r.Part.Topic[:min(len(r.Part.Topic), math.MaxUint8)]
	var h [recHeader]byte
	h[8], h[9] = byte(r.Kind), byte(len(name))
	binary.LittleEndian.PutUint32(h[12:], uint32(n))
	copy(h[16:32], r.Part.ID[:])
	binary.LittleEndian.PutUint32(h[32:], uint32(r.Part.Index))
	binary.LittleEndian.PutUint32(h[36:], uint32(r.Epoch))
	for i, v := range [4]int64{r.Segment, r.Position, r.Base, r.Next} {
		binary.LittleEndian.PutUint64(h[40+8*i:], uint64(v))
	}
	f.b = append(append(f.b, h[:]...), name...)
	at := len(f.b)
	f.b = extend(f.b, n)
	f.h.records++
	return f.b[at:]
}

// Undo takes back the record that was just added.
func (f *Frame) Undo() {
	f.b = f.b[:f.last]
	f.last = 0
	f.h.records--
}

// extend makes b longer by n bytes of whatever.
func extend(b []byte, n int) []byte {
	if cap(b)-len(b) < n {
		grown := make([]byte, len(b), max(2*cap(b), len(b)+n, 64<<10))
		copy(grown, b)
		b = grown
	}
	return b[:len(b)+n]
}

// finish writes the checksums of the record that was added last.
func (f *Frame) finish() {
	if f.last == 0 {
		return
	}
	r := f.b[f.last:]
	end := recHeader + int(r[9])
	r = r[:end+int(binary.LittleEndian.Uint32(r[12:]))]
	binary.LittleEndian.PutUint32(r[4:], crc32.Update(f.seed, castagnoli, r[end:]))
	binary.LittleEndian.PutUint32(r[0:], crc32.Update(f.seed, castagnoli, r[4:end]))
	f.last = 0
}

// seal completes the frame as that of the number seq and returns it, with zeros up to the next block.
func (f *Frame) seal(seq, floor uint64) []byte {
	f.finish()
	if f.h.seq != seq {
		f.h.seq = seq
		putHeader(f.b, f.h)
		f.seed = seed(f.b)
		for at := frameHeader; at < len(f.b); {
			f.last = at
			at += recHeader + int(f.b[at+9]) + int(binary.LittleEndian.Uint32(f.b[at+12:]))
			f.finish()
		}
	}
	f.h.floor = floor
	f.h.length = len(f.b) - frameHeader
	putHeader(f.b, f.h)
	at := len(f.b)
	f.b = extend(f.b, int(f.size())-at)
	clear(f.b[at:])
	return f.b
}

// head is what a file of the journal begins with.
func head(life uint64) []byte {
	b := make([]byte, block)
	putHeader(b, header{life: life})
	return b
}

func putHeader(b []byte, h header) {
	binary.LittleEndian.PutUint32(b[0:], frameMagic)
	binary.LittleEndian.PutUint32(b[8:], uint32(h.length))
	binary.LittleEndian.PutUint32(b[12:], uint32(h.records))
	binary.LittleEndian.PutUint64(b[16:], h.life)
	binary.LittleEndian.PutUint64(b[24:], h.seq)
	binary.LittleEndian.PutUint64(b[32:], h.floor)
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:frameHeader], castagnoli))
}

// parseHeader reads the header of a frame, or a head (seq 0); errNoFrame if b does not begin with one.
func parseHeader(b []byte) (header, error) {
	if len(b) < frameHeader || binary.LittleEndian.Uint32(b) != frameMagic ||
		binary.LittleEndian.Uint32(b[4:]) != crc32.Checksum(b[8:frameHeader], castagnoli) {
		return header{}, errNoFrame
	}
	h := header{
		length:  int(binary.LittleEndian.Uint32(b[8:])),
		records: int(binary.LittleEndian.Uint32(b[12:])),
		life:    binary.LittleEndian.Uint64(b[16:]),
		seq:     binary.LittleEndian.Uint64(b[24:]),
		floor:   binary.LittleEndian.Uint64(b[32:]),
	}
	if h.length > MaxFrame || h.seq == 0 && h.length > 0 || h.floor > h.seq || h.records > h.length/recHeader {
		return header{}, errNoFrame
	}
	return h, nil
}

// parseRecords calls fn for the records of a frame, whose bytes (as long as the header says) are b, with the position in
// b of each record's bytes. A record whose bytes are not what was written comes with damaged set. Where a record's own
// header is not what was written nothing behind it can be found: errTorn. fn's error ends the walk.
func parseRecords(h header, b []byte, fn func(r *Record, at int, damaged bool) error) error {
	seed := h.seed()
	get := func(at, n int) ([]byte, error) { return b[at : at+n], nil }
	return walkRecords(h, get, nil, func(r *Record, at, n int, sum uint32) error {
		r.Bytes = b[at : at+n]
		return fn(r, at, checksum(seed, r.Bytes) != sum)
	})
}

// checksum is that of a record's bytes, in a frame with that seed.
func checksum(seed uint32, b []byte) uint32 { return crc32.Update(seed, castagnoli, b) }

// walkRecords is parseRecords that looks at no record's bytes: fn gets where in the frame's records they are, how many, and
// what their checksum is. get returns n bytes of the records from position at on, which may be used until it is called
// again; it is called in order of position, with what lies within the length that the header says. known may be nil. fn must
// not keep r.
func walkRecords(h header, get func(at, n int) ([]byte, error), known names, fn func(r *Record, at, n int, sum uint32) error) error {
	seed := h.seed()
	at := 0
	var r Record
	for i := range h.records {
		b, err := recordHead(h.length, at, get)
		if err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
		end, n := len(b), int(binary.LittleEndian.Uint32(b[12:]))
		if binary.LittleEndian.Uint32(b) != crc32.Update(seed, castagnoli, b[4:]) || n > h.length-at-end {
			return fmt.Errorf("record %d: %w", i, errTorn)
		}
		r = Record{
			Kind:     Kind(b[8]),
			Part:     topic.Partition{Topic: known.of(b[recHeader:]), Index: int32(binary.LittleEndian.Uint32(b[32:]))},
			Epoch:    int32(binary.LittleEndian.Uint32(b[36:])),
			Segment:  int64(binary.LittleEndian.Uint64(b[40:])),
			Position: int64(binary.LittleEndian.Uint64(b[48:])),
			Base:     int64(binary.LittleEndian.Uint64(b[56:])),
			Next:     int64(binary.LittleEndian.Uint64(b[64:])),
		}
		copy(r.Part.ID[:], b[16:32])
		if err := fn(&r, at+end, n, binary.LittleEndian.Uint32(b[4:])); err != nil {
			return err
		}
		at += end + n
	}
	if at != h.length {
		return fmt.Errorf("%d bytes after the last record: %w", h.length-at, errTorn)
	}
	return nil
}

// names has the topics' names that were met so far, so that each is made a string once. Nil, it makes one each time.
type names map[string]string

func (n names) of(b []byte) string {
	if name, ok := n[string(b)]; ok {
		return name
	}
	name := string(b)
	if n != nil {
		n[name] = name
	}
	return name
}

// recordHead returns what stands before the bytes of the record at a position, its name included.
func recordHead(length, at int, get func(at, n int) ([]byte, error)) ([]byte, error) {
	if length-at < recHeader {
		return nil, errTorn
	}
	b, err := get(at, recHeader)
	if err != nil {
		return nil, err
	}
	end := recHeader + int(b[9])
	if length-at < end {
		return nil, errTorn
	}
	return get(at, end)
}
