package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/tier/disk"
)

// Response is an encoded answer: header bytes in a pooled buffer with regions of records between them. It is sent by a
// Sender and freed once.
type Response struct {
	Key       int16
	ErrorCode int16 // the top-level error code, or the first partition's that is not 0; for metrics and logs

	buf     *Buffer
	parts   []part
	size    int64 // of all that is sent, frame length included
	release func()
}

// part is a region that is sent when the first `after` bytes of the buffer have been.
type part struct {
	after  int
	region disk.Region
}

// ErrTooLarge says that an answer does not fit into a frame (2 GiB).
var ErrTooLarge = errors.New("response does not fit into a frame")

var responsePool = sync.Pool{New: func() any { return new(Response) }}

// Size is the number of bytes on the wire, frame length included.
func (r *Response) Size() int64 { return r.size }

// Memory is the number of bytes that the answer keeps in memory until it is freed, small regions that are copied to be
// sent included. Of nil it is 0.
func (r *Response) Memory() int64 {
	if r == nil {
		return 0
	}
	n := int64(r.buf.Cap())
	copied := int64(0)
	for i := range r.parts {
		g := &r.parts[i].region
		n += int64(len(g.Bytes))
		if g.File != nil && g.Length <= smallRegion {
			copied += g.Length
		}
	}
	return n + min(copied, batchBytes)
}

// Lent reports whether the answer is sent from what was lent to it: FetchResponse.Release is called when it is freed. Of nil
// it is false.
func (r *Response) Lent() bool { return r != nil && r.release != nil }

// Free gives the buffer back and calls the release function of a Fetch answer. The response must not be used any more.
func (r *Response) Free() {
	if r == nil {
		return
	}
	rel := r.release
	r.buf.Free()
	clear(r.parts)
	parts := r.parts[:0]
	if cap(parts) > KeepPartitions {
		parts = nil
	}
	*r = Response{parts: parts}
	responsePool.Put(r)
	if rel != nil {
		rel()
	}
}

// joined is how long an answer may get by Join.
const joined = 8 << 10

// Join appends the bytes of an answer that is to be sent right after r, so that both leave with one system call. It
// reports false, and changes nothing, unless both are small and in memory. next is to be freed as if it was sent.
func (r *Response) Join(next *Response) bool {
	n := len(r.buf.B) + len(next.buf.B)
	if len(r.parts) > 0 || len(next.parts) > 0 || n > joined {
		return false
	}
	if n > cap(r.buf.B) {
		grown := NewBuffer(max(n, joined/4))
		grown.B = append(grown.B[:0], r.buf.B...)
		r.buf.Free()
		r.buf = grown
	}
	r.buf.B = append(r.buf.B, next.buf.B...)
	r.size += next.size
	return true
}

// AppendAll appends the whole answer, frame length included, reading the regions and waiting for the disk: for tests.
func (r *Response) AppendAll(dst []byte) ([]byte, error) {
	at := 0
	for i := range r.parts {
		p := &r.parts[i]
		dst = append(dst, r.buf.B[at:p.after]...)
		at = p.after
		if p.region.File == nil {
			dst = append(dst, p.region.Bytes...)
			continue
		}
		n := len(dst)
		dst = slices.Grow(dst, int(p.region.Length))[:n+int(p.region.Length)]
		if err := readRegion(&p.region, dst[n:], 0); err != nil {
			return nil, err
		}
	}
	return append(dst, r.buf.B[at:]...), nil
}

// newResponse starts an answer: four bytes of frame length to be filled in, then the response header. hint is the
// expected size of the rest.
func newResponse(key, version int16, correlation int32, hint int) *Response {
	r := responsePool.Get().(*Response)
	r.Key = key
	r.buf = NewBuffer(max(hint+16, 1<<minClassBits))
	b := r.buf.B[:0]
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(correlation))
	if flexibleResponseHeader(key, version) {
		b = append(b, 0)
	}
	r.buf.B = b
	return r
}

// setBuf replaces the buffer's bytes by what append made of them. If append moved them, the pooled buffer goes back.
func (r *Response) setBuf(b []byte) {
	if cap(b) != cap(r.buf.B) {
		old := r.buf
		r.buf = &Buffer{B: b, class: -1}
		old.Free()
		return
	}
	r.buf.B = b
}

// finish computes the frame length. On an error the response is freed.
func (r *Response) finish() (*Response, error) {
	size := int64(len(r.buf.B))
	for i := range r.parts {
		size += regionLen(&r.parts[i].region)
	}
	if size-4 > math.MaxInt32 {
		r.Free()
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, size)
	}
	r.size = size
	binary.BigEndian.PutUint32(r.buf.B, uint32(size-4))
	return r, nil
}

func regionLen(r *disk.Region) int64 {
	if r.File == nil {
		return int64(len(r.Bytes))
	}
	return r.Length
}

// EncodeMessage encodes a kmsg response for a request.
func EncodeMessage(key, version int16, correlation int32, m kmsg.Response) (*Response, error) {
	if m == nil || m.Key() != key {
		return nil, fmt.Errorf("encoding the answer to key %d: the handler gave %T", key, m)
	}
	m.SetVersion(version)
	r := newResponse(key, version, correlation, 1<<10)
	r.setBuf(m.AppendTo(r.buf.B))
	r.ErrorCode = topErrorCode(m)
	return r.finish()
}

// errorFields maps a response type to the index of its ErrorCode field.
var errorFields sync.Map // reflect.Type → int, -1 = none

func topErrorCode(m kmsg.Response) int16 {
	v := reflect.ValueOf(m)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return 0
	}
	v = v.Elem()
	idx, ok := errorFields.Load(v.Type())
	if !ok {
		i := -1
		if f, has := v.Type().FieldByName("ErrorCode"); has && f.Type.Kind() == reflect.Int16 {
			i = f.Index[0]
		}
		idx, _ = errorFields.LoadOrStore(v.Type(), i)
	}
	if i := idx.(int); i >= 0 {
		return int16(v.Field(i).Int())
	}
	return 0
}
