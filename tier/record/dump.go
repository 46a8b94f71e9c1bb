package record

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// Dump writes one line for each batch in batches, with the words of Kafka's DumpLogSegments, so that both can be read
// side by side; position is that of batches[0] in its file. With deep, a line for each record follows; keys and values
// are quoted as Go strings, so that no byte of them reaches a terminal. A batch whose CRC or fields are wrong is shown
// and passed over; one that cannot be passed over ends the dump with a line that says why. The error is that of w.
func Dump(w io.Writer, batches []byte, position int64, deep bool) error {
	d := dumper{w: w, deep: deep}
	for pos := 0; pos < len(batches) && d.err == nil; {
		h, err := frame(batches[pos:])
		if err != nil {
			d.printf("position: %d %v\n", position+int64(pos), err)
			break
		}
		d.batch(h, batches[pos:pos+h.Size()], position+int64(pos))
		pos += h.Size()
	}
	return d.err
}

// DumpLog is Dump for a .log file of size bytes. It holds one batch in memory at a time.
func DumpLog(w io.Writer, r io.ReaderAt, size int64, deep bool) error {
	var head [HeaderSize]byte
	var buf []byte
	for pos := int64(0); pos < size; {
		n := int64(HeaderSize)
		if size-pos >= HeaderSize {
			if _, err := r.ReadAt(head[:], pos); err != nil {
				return fmt.Errorf("reading the batch at %d: %w", pos, err)
			}
			if length := int32(binary.BigEndian.Uint32(head[posLength:])); length >= minLength && head[posMagic] == Magic {
				n = lengthEnd + int64(length)
			}
		}
		n = min(n, size-pos) // a batch that is cut short is for Dump to report
		if int64(cap(buf)) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := r.ReadAt(buf, pos); err != nil && err != io.EOF {
			return fmt.Errorf("reading the batch at %d: %w", pos, err)
		}
		if err := Dump(w, buf, pos, deep); err != nil {
			return err
		}
		if !fills(buf) {
			return nil // Dump has said why
		}
		pos += n
	}
	return nil
}

// dumper keeps the first error of its writer.
type dumper struct {
	w    io.Writer
	deep bool
	err  error
}

func (d *dumper) printf(format string, args ...any) {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.w, format, args...)
	}
}

func (d *dumper) batch(h Header, b []byte, position int64) {
	_, fault := CheckStored(b)
	horizon := "none"
	if ms, ok := h.DeleteHorizon(); ok {
		horizon = fmt.Sprint(ms)
	}
	d.printf("baseOffset: %d lastOffset: %d count: %d baseSequence: %d lastSequence: %d producerId: %d producerEpoch: %d "+
		"partitionLeaderEpoch: %d isTransactional: %t isControl: %t deleteHorizonMs: %s position: %d %s: %d size: %d "+
		"magic: %d compresscodec: %s crc: %d isvalid: %t\n",
		h.BaseOffset, h.LastOffset(), h.Count, h.BaseSequence, h.LastSequence(), h.ProducerID, h.ProducerEpoch,
		h.LeaderEpoch, h.IsTransactional(), h.IsControl(), horizon, position, h.TimestampType(), h.MaxTimestamp, h.Size(),
		h.Magic, h.Codec(), h.CRC, fault == nil)
	if fault != nil {
		d.printf("  fault: %v\n", fault)
	}
	if !d.deep {
		return
	}
	err := Records(b, DefaultMaxDecoded, func(_ int, r *Record) error {
		d.record(h, r)
		return d.err
	})
	if err != nil && d.err == nil {
		d.printf("| fault: %v\n", err)
	}
}

func (d *dumper) record(h Header, r *Record) {
	seq := int32(-1)
	if h.BaseSequence >= 0 {
		seq = NextSequence(h.BaseSequence, r.OffsetDelta)
	}
	keys := make([]string, len(r.Headers))
	for i, x := range r.Headers {
		keys[i] = fmt.Sprintf("%q", x.Key)
	}
	d.printf("| offset: %d %s: %d keySize: %d valueSize: %d sequence: %d headerKeys: [%s]",
		h.Offset(r), h.TimestampType(), h.Timestamp(r), sizeOf(r.Key), sizeOf(r.Value), seq, strings.Join(keys, ","))
	if h.IsControl() {
		if t, epoch, err := ParseControl(r); err != nil {
			d.printf(" fault: %v\n", err)
		} else {
			d.printf(" endTxnMarker: %s coordinatorEpoch: %d\n", t, epoch)
		}
		return
	}
	if r.Key != nil {
		d.printf(" key: %q", r.Key)
	}
	if r.Value != nil {
		d.printf(" payload: %q", r.Value)
	}
	d.printf("\n")
}

// sizeOf is a length as Kafka writes it: -1 for null.
func sizeOf(b []byte) int {
	if b == nil {
		return -1
	}
	return len(b)
}

// fills says whether b begins with a batch that is exactly as long as b.
func fills(b []byte) bool {
	h, err := frame(b)
	return err == nil && h.Size() == len(b)
}
