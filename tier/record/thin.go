package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Thinning says what a cleaner leaves of a batch.
type Thinning struct {
	// Keep decides about each record; nil keeps all. Key and value are valid only during the call, nil means null.
	Keep func(offset int64, key, value []byte) bool
	// KeepEmpty leaves the header of a batch that lost all its records: it still says where the batch ended, and its
	// producer's last sequence.
	KeepEmpty bool
	// Anonymous makes such a header say nothing of a producer, a transaction or a time: it only marks an end.
	Anonymous bool
	// Horizon, if not NoTimestamp, becomes the delete horizon (ms) of a batch that has none and in which a tombstone
	// (a null value) stays, or in any case with Mark.
	Horizon int64
	Mark    bool
	// MaxDecoded bounds in bytes what the batch may decompress to.
	MaxDecoded int
}

// Thinned is what became of a batch.
type Thinned struct {
	Records int  // in the batch as it was
	Kept    int  // of those
	Same    bool // the batch was taken over as it is
}

// Thinner makes batches thinner, as Kafka's log cleaner does (MemoryRecords.filterTo). It holds scratch buffers, so one is
// used for many batches, by one goroutine at a time. The zero Thinner is ready.
type Thinner struct {
	decoded []byte
	records []byte
	r       Record
}

// Thin appends to dst what is left of the batch at batch[0:], nothing if nothing is. What stays keeps its offset,
// timestamp, key, value and headers; the batch keeps its base offset, last offset, producer, sequence, leader epoch and
// codec. A batch of which all stays is copied as it is. With a delete horizon the base timestamp becomes that (KIP-534),
// without one the first record's. The CRC of the batch is not verified. Errors are those of Records.
func (t *Thinner) Thin(dst, batch []byte, o *Thinning) ([]byte, Thinned, error) {
	h, err := frame(batch)
	if err != nil {
		return dst, Thinned{}, err
	}
	if h.Count < 0 || h.LastOffsetDelta < 0 {
		return dst, Thinned{}, fmt.Errorf("%w: count %d, last offset delta %d", ErrInvalid, h.Count, h.LastOffsetDelta)
	}
	batch = batch[:h.Size()]
	out := Thinned{Records: int(h.Count)}
	body, err := t.body(h, batch, o.MaxDecoded)
	if err != nil {
		return dst, out, err
	}
	p, err := t.pick(h, body, o)
	if err != nil {
		return dst, out, err
	}
	out.Kept = p.kept
	_, has := h.DeleteHorizon()
	mark := !has && o.Horizon != NoTimestamp && (p.tombstone || o.Mark)
	switch {
	case p.kept == 0 && !o.KeepEmpty:
		return dst, out, nil
	case p.kept == 0 && h.Count == 0 && len(batch) == HeaderSize && (!o.Anonymous || !h.HasProducer()), p.kept == int(h.Count) && p.kept > 0 && !mark:
		out.Same = true
		return append(dst, batch...), out, nil
	case p.kept == 0:
		return appendEmpty(dst, h, o.Anonymous), out, nil
	}
	if mark {
		h.Attributes |= attrDeleteHorizon
		h.BaseTimestamp = o.Horizon
	} else if !has {
		h.BaseTimestamp = p.first
	}
	dst, err = t.rebuild(dst, h, p)
	return dst, out, err
}

// body returns the uncompressed records.
func (t *Thinner) body(h Header, batch []byte, maxDecoded int) ([]byte, error) {
	body := batch[HeaderSize:]
	if h.Codec() == None || (h.Count == 0 && len(body) == 0) {
		return body, nil
	}
	var err error
	t.decoded, err = Decompress(t.decoded[:0], body, h.Codec(), maxDecoded)
	return t.decoded, err
}

// picked says which records of a batch stay. Their bodies stand in Thinner.records, one after the other, with the
// original timestamp deltas.
type picked struct {
	kept       int
	tombstone  bool
	first, max int64 // timestamps of the first, and the greatest, that stay
	old        Header
}

func (t *Thinner) pick(h Header, body []byte, o *Thinning) (picked, error) {
	p := picked{max: NoTimestamp, old: h}
	t.records = t.records[:0]
	last := int32(-1)
	for i := range int(h.Count) {
		size, rest, ok := readVarint(body)
		if !ok || size < 0 || int(size) > len(rest) {
			return p, recordError(i, "length %d, %d bytes are left", size, len(rest))
		}
		if fault := t.r.parse(rest[:size], false); fault != "" {
			return p, recordError(i, "%s", fault)
		}
		if t.r.OffsetDelta <= last || t.r.OffsetDelta > h.LastOffsetDelta {
			return p, recordError(i, "offset delta %d after %d, the batch's last is %d", t.r.OffsetDelta, last, h.LastOffsetDelta)
		}
		last = t.r.OffsetDelta
		whole := body[:len(body)-len(rest)+int(size)]
		body = rest[size:]
		if o.Keep != nil && !o.Keep(h.Offset(&t.r), t.r.Key, t.r.Value) {
			continue
		}
		ts := h.Timestamp(&t.r)
		if p.kept == 0 {
			p.first = ts
		}
		p.kept++
		p.max = max(p.max, ts)
		p.tombstone = p.tombstone || t.r.Value == nil
		t.records = append(t.records, whole...)
	}
	if len(body) > 0 {
		return p, fmt.Errorf("%w: %d bytes after the last of %d records", ErrInvalid, len(body), h.Count)
	}
	return p, nil
}

// rebuild appends the batch with header h and the records that were picked, whose timestamp deltas it writes anew.
func (t *Thinner) rebuild(dst []byte, h Header, p picked) ([]byte, error) {
	t.decoded = t.decoded[:0] // nothing points there any more
	var scratch [10]byte
	for b := t.records; len(b) > 0; {
		size, rest, _ := readVarint(b)
		r := rest[:size]
		b = rest[size:]
		delta, after, _ := readVarlong(r[1:])
		ts := p.old.BaseTimestamp + delta
		if h.TimestampType() == LogAppendTime {
			ts = h.MaxTimestamp
		}
		head := appendVarint(scratch[:0], ts-h.BaseTimestamp)
		t.decoded = appendVarint(t.decoded, int64(1+len(head)+len(after)))
		t.decoded = append(t.decoded, r[0])
		t.decoded = append(t.decoded, head...)
		t.decoded = append(t.decoded, after...)
	}
	at := len(dst)
	dst = append(dst, make([]byte, HeaderSize)...)
	dst, err := Compress(dst, t.decoded, h.Codec())
	if err != nil {
		return dst[:at], err
	}
	if h.TimestampType() == CreateTime {
		h.MaxTimestamp = p.max
	}
	h.Count = int32(p.kept)
	seal(dst[at:], h)
	return dst, nil
}

// appendEmpty appends the batch that remains when all records are gone: no codec, no base timestamp.
func appendEmpty(dst []byte, h Header, anonymous bool) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, HeaderSize)...)
	h.Attributes &^= attrCodec | attrDeleteHorizon
	h.BaseTimestamp, h.Count = NoTimestamp, 0
	if anonymous {
		h.Attributes &^= attrTransactional | attrControl | attrLogAppendTime
		h.MaxTimestamp = NoTimestamp // or a lookup by time would find a batch without records
		h.ProducerID, h.ProducerEpoch, h.BaseSequence = -1, -1, -1
	}
	seal(dst[at:], h)
	return dst
}

// seal writes the header of the batch b, with the length and the CRC that it has now.
func seal(b []byte, h Header) {
	h.Length = int32(len(b) - lengthEnd)
	putHeader(b, h)
	binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[posAttributes:], castagnoli))
}
