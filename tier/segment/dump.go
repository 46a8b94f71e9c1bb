package segment

import (
	"fmt"
	"io"
	"time"

	"github.com/firnlog/firn/tier/record"
)

// Dump writes what the segment of size bytes that begins at r's first byte holds: whose it is, the blocks of its index,
// the chunk table and the state that it carries. With deep, the batches and records of each chunk follow it (see
// record.Dump), and chunk checksums are verified; a chunk that is damaged is reported and passed over, and the first such
// fault is returned at the end. Errors otherwise: those of Open, r and w.
func Dump(w io.Writer, r io.ReaderAt, size int64, deep bool) error {
	ix, err := Open(r, size)
	if err != nil {
		return err
	}
	d := dumper{w: w}
	d.head(ix)
	var fault error
	var stored, decoded []byte
	for i, c := range ix.chunks {
		how := "raw"
		if c.Compressed {
			how = "zstd"
		}
		d.printf("chunk %d: offsets %d to %d, position %d, %d bytes %s, %d bytes of batches, crc32c %08x, timestamps %s to %s\n",
			i, c.Base, c.Next-1, c.Position, c.Length, how, c.RawLength, c.CRC32C, stamp(c.MinTimestamp), stamp(c.MaxTimestamp))
		if !deep || d.err != nil {
			continue
		}
		if stored, err = readChunk(stored, r, c); err == nil {
			decoded, err = DecodeChunk(decoded[:0], stored, c)
		}
		if err != nil {
			d.printf("  fault: %v\n", err)
			if fault == nil {
				fault = fmt.Errorf("chunk %d: %w", i, err)
			}
			continue
		}
		d.set(record.Dump(w, decoded, 0, true))
	}
	if d.err != nil {
		return d.err
	}
	return fault
}

// Sniff reports whether a file or object that begins with these bytes is a cold segment; else it may be a hot .log.
func Sniff(head []byte) bool { return len(head) >= 8 && string(head[:8]) == headerMagic }

type dumper struct {
	w   io.Writer
	err error
}

func (d *dumper) set(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *dumper) printf(format string, args ...any) {
	if d.err == nil {
		_, err := fmt.Fprintf(d.w, format, args...)
		d.set(err)
	}
}

// head writes all but the chunks.
func (d *dumper) head(ix *Index) {
	m, s := ix.meta, ix.Summary()
	d.printf("cold segment, version %d\n", Version)
	d.printf("cluster: %q\n", m.ClusterID)
	d.printf("topic: %q id %s partition %d\n", m.Topic.Topic, m.Topic.ID, m.Topic.Index)
	d.printf("offsets: %d to %d, leader epoch %d\n", m.Base, m.Next-1, m.Epoch)
	d.printf("bytes: %d, of them %d index and footer; %d bytes of batches\n", s.Length, s.IndexLength, s.DataBytes)
	d.printf("timestamps: %s to %s (first at offset %d)\n", stamp(s.MinTimestamp), stamp(s.MaxTimestamp), s.MaxTimestampOffset)
	for _, b := range ix.blocks {
		need := "optional"
		if b.flags&flagRequired != 0 {
			need = "required"
		}
		d.printf("block: type %d (%s), %s, %d bytes\n", b.kind, b.kind, need, b.length)
	}
	for _, e := range ix.epochs {
		d.printf("epoch: %d from offset %d\n", e.Epoch, e.Start)
	}
	for _, p := range ix.producers {
		d.printf("producer: %d epoch %d coordinator epoch %d last timestamp %s open transaction from %d\n",
			p.ID, p.Epoch, p.CoordinatorEpoch, stamp(p.LastTimestamp), p.CurrentTxnFirstOffset)
		for _, b := range p.Batches {
			d.printf("  batch: sequences %d to %d, last offset %d, timestamp %s\n", b.FirstSeq, b.LastSeq, b.LastOffset, stamp(b.Timestamp))
		}
	}
	for _, t := range ix.aborted {
		d.printf("aborted: producer %d offsets %d to %d, last stable offset %d\n", t.ProducerID, t.FirstOffset, t.LastOffset, t.LastStableOffset)
	}
}

// stamp writes a timestamp in ms, and as a date where it can be one.
func stamp(ms int64) string {
	if ms < 0 || ms > 253402300799999 { // the year 9999
		return fmt.Sprint(ms)
	}
	return fmt.Sprintf("%d (%s)", ms, time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z"))
}
