package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// reader walks over a message. The first thing that does not fit makes it fail; from then on everything reads as zero
// and no length is believed, so that callers may check once at the end of a loop body.
type reader struct {
	b        []byte
	failed   bool
	elements int // of arrays, seen so far
	*account
}

// account is what a request takes in memory beside its frame: parsed, and answered. It is taken from
// the budget of all before it is allocated. Where it is nil nobody counts.
type account struct {
	client Client // nil: nobody counts
	spent  int    // what was used
	taken  int    // from the budget
	why    error  // there is no more
}

// freeForm is what the parsed form and the answer of a request may take without being counted: most take less.
const freeForm = 4 << 10

// spend notes that a request takes n bytes. It reports false if there is no memory for it. It takes as much again as
// before, so that a request of many small arrays asks a few times only, or, where that is more than a request may take, half
// of it, and so on down to what it needs.
func (a *account) spend(n int) bool {
	if a == nil || a.client == nil {
		return true
	}
	a.spent += n
	less := a.spent - freeForm - a.taken
	if less <= 0 {
		return true
	}
	for more := max(less, a.taken); ; more = max(less, more/2) {
		if a.why = a.client.Reserve(more); a.why == nil {
			a.taken += more
			return true
		}
		if more == less {
			return false
		}
	}
}

// maxElements bounds the elements of all arrays of one request together, whatever memory there is. No real request comes
// near.
const maxElements = 1 << 20

func (r *reader) fail() {
	r.failed = true
	r.b = nil
}

func (r *reader) err(what string) error {
	if r.account != nil && r.why != nil {
		return fmt.Errorf("%s: %w", what, r.why)
	}
	if r.failed {
		return fmt.Errorf("%w: %s ends early or claims a wrong length", ErrMalformed, what)
	}
	return nil
}

func (r *reader) span(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail()
		return nil
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s
}

func (r *reader) int8() int8 {
	if s := r.span(1); s != nil {
		return int8(s[0])
	}
	return 0
}

func (r *reader) int16() int16 {
	if s := r.span(2); s != nil {
		return int16(binary.BigEndian.Uint16(s))
	}
	return 0
}

func (r *reader) int32() int32 {
	if s := r.span(4); s != nil {
		return int32(binary.BigEndian.Uint32(s))
	}
	return 0
}

func (r *reader) int64() int64 {
	if s := r.span(8); s != nil {
		return int64(binary.BigEndian.Uint64(s))
	}
	return 0
}

func (r *reader) id() (id [16]byte) {
	copy(id[:], r.span(16))
	return id
}

// uvarint reads an unsigned varint of at most five bytes (32 bits).
func (r *reader) uvarint() uint32 {
	var v uint64
	for i := 0; i < 5 && i < len(r.b); i++ {
		c := r.b[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if v > math.MaxUint32 {
				break
			}
			r.b = r.b[i+1:]
			return uint32(v)
		}
	}
	r.fail()
	return 0
}

// stringLen reads the length of a string: -1 = null.
func (r *reader) stringLen(flexible bool) int {
	if flexible {
		return int(r.uvarint()) - 1
	}
	return int(r.int16())
}

// length reads the length of an array or of bytes: -1 = null.
func (r *reader) length(flexible bool) int {
	if flexible {
		return int(r.uvarint()) - 1
	}
	return int(r.int32())
}

// nullable reads a string that may be null; the bytes alias the message.
func (r *reader) nullable(flexible bool) (s []byte, ok bool) {
	n := r.stringLen(flexible)
	if n == -1 && !r.failed {
		return nil, false
	}
	s = r.span(n)
	return s, !r.failed
}

// str reads a string that may not be null; the bytes alias the message.
func (r *reader) str(flexible bool) []byte {
	return r.span(r.stringLen(flexible))
}

// bytes reads a byte array that may be null; the bytes alias the message.
func (r *reader) bytes(flexible bool) []byte {
	n := r.length(flexible)
	if n == -1 && !r.failed {
		return nil
	}
	return r.span(n)
}

// array reads the length of an array whose elements take at least minBytes each. A claim that the rest of the
// message cannot hold fails. Null counts as empty only where nullable.
func (r *reader) array(flexible bool, minBytes int, nullable bool) int {
	n := r.length(flexible)
	if r.failed || (n == -1 && nullable) {
		return 0
	}
	if n < 0 || n > len(r.b)/minBytes {
		r.fail()
		return 0
	}
	if r.elements += n; r.elements > maxElements {
		r.fail()
		return 0
	}
	return n
}

// list is array whose elements take cost bytes each, parsed and answered.
func (r *reader) list(flexible bool, minBytes, cost int) int {
	n := r.array(flexible, minBytes, false)
	if !r.spend(n * cost) {
		r.fail()
		return 0
	}
	return n
}

// name reads the name of a topic; old is what it was in the request before.
func (r *reader) name(flexible bool, old string) string {
	b := r.str(flexible)
	if !r.spend(2 * len(b)) { // it is answered, too
		r.fail()
		return ""
	}
	return keep(old, b)
}

// tagCount reads how many tagged fields follow.
func (r *reader) tagCount() int {
	n := r.uvarint()
	if int64(n) > int64(len(r.b)/2) {
		r.fail()
		return 0
	}
	return int(n)
}

// tag reads one tagged field; its content is a message of its own.
func (r *reader) tag() (tag uint32, body reader) {
	tag = r.uvarint()
	body.b = r.span(int(r.uvarint()))
	body.failed = r.failed
	return tag, body
}

// skipTags skips a section of tagged fields.
func (r *reader) skipTags() {
	for n := r.tagCount(); n > 0 && !r.failed; n-- {
		r.uvarint()
		r.span(int(r.uvarint()))
	}
}

// keep returns b as a string: old itself if that is what b says, so that a reused struct costs no allocation when the
// next request names the same things.
func keep(old string, b []byte) string {
	if old == string(b) {
		return old
	}
	return string(b)
}

// Resize returns s with length n, keeping the elements (and their memory) that it had.
func Resize[T any](s []T, n int) []T {
	if n <= cap(s) {
		return s[:n]
	}
	g := make([]T, n)
	copy(g, s[:cap(s)])
	return g
}
