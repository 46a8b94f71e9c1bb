package producer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Kafka's producer snapshot, all numbers big-endian: version int16, CRC-32C uint32 of all that follows, count
// int32, and entries of producer id int64, epoch int16, last sequence int32, last offset int64, offset delta
// int32, timestamp int64, coordinator epoch int32, first offset of the open transaction int64.
//
// Kafka keeps the last batch of each producer only. So that retries are recognized after a restart as well as
// before, firn writes one entry for each remembered batch, oldest first. Kafka's readers accept that: a later
// entry of the same producer replaces the earlier.
const (
	snapshotVersion = 1
	snapshotHeader  = 2 + 4 + 4
	snapshotEntry   = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8
	snapshotCRCFrom = 2 + 4
)

// ErrCorruptSnapshot says that bytes are not a producer snapshot. Kafka deletes such a file and goes on with
// the one before it.
var ErrCorruptSnapshot = errors.New("corrupt producer snapshot")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendSnapshot appends entries to dst in Kafka's snapshot format (version 1).
func AppendSnapshot(dst []byte, entries []Entry) []byte {
	start := len(dst)
	n := 0
	for i := range entries {
		n += max(1, len(entries[i].Batches()))
	}
	dst = binary.BigEndian.AppendUint16(dst, snapshotVersion)
	dst = binary.BigEndian.AppendUint32(dst, 0) // the CRC, below
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	for i := range entries {
		e := &entries[i]
		batches := e.Batches()
		for j, b := range batches {
			if j == len(batches)-1 {
				b.Timestamp = e.LastTimestamp // a marker may have come after the batch
			}
			dst = appendSnapshotEntry(dst, e, b)
		}
		if len(batches) == 0 {
			dst = appendSnapshotEntry(dst, e, Batch{LastOffset: None, LastSeq: None, Timestamp: e.LastTimestamp})
		}
	}
	crc := crc32.Checksum(dst[start+snapshotCRCFrom:], castagnoli)
	binary.BigEndian.PutUint32(dst[start+2:], crc)
	return dst
}

func appendSnapshotEntry(dst []byte, e *Entry, b Batch) []byte {
	be := binary.BigEndian
	dst = be.AppendUint64(dst, uint64(e.ID))
	dst = be.AppendUint16(dst, uint16(e.Epoch))
	dst = be.AppendUint32(dst, uint32(b.LastSeq))
	dst = be.AppendUint64(dst, uint64(b.LastOffset))
	dst = be.AppendUint32(dst, uint32(b.Delta))
	dst = be.AppendUint64(dst, uint64(b.Timestamp))
	dst = be.AppendUint32(dst, uint32(e.CoordinatorEpoch))
	return be.AppendUint64(dst, uint64(e.CurrentTxnFirstOffset))
}

// DecodeSnapshot reads a snapshot of version 1, written by firn or by Kafka. The error is ErrCorruptSnapshot
// with what is wrong. Entries come in the order of their first appearance, one for each producer.
func DecodeSnapshot(b []byte) ([]Entry, error) {
	if len(b) < snapshotHeader {
		return nil, fmt.Errorf("%d bytes, want at least %d: %w", len(b), snapshotHeader, ErrCorruptSnapshot)
	}
	be := binary.BigEndian
	if v := int16(be.Uint16(b)); v != snapshotVersion {
		return nil, fmt.Errorf("version %d, want %d: %w", v, snapshotVersion, ErrCorruptSnapshot)
	}
	if want, got := be.Uint32(b[2:]), crc32.Checksum(b[snapshotCRCFrom:], castagnoli); want != got {
		return nil, fmt.Errorf("CRC %08x, computed %08x: %w", want, got, ErrCorruptSnapshot)
	}
	n := int64(int32(be.Uint32(b[6:])))
	b = b[snapshotHeader:]
	if n < 0 || n*snapshotEntry != int64(len(b)) {
		return nil, fmt.Errorf("%d entries announced in %d bytes: %w", n, len(b), ErrCorruptSnapshot)
	}
	var out []Entry
	index := map[int64]int{}
	for i := 0; len(b) > 0; i, b = i+1, b[snapshotEntry:] {
		e, last := decodeSnapshotEntry(b)
		if err := checkSnapshotEntry(&e, last); err != nil {
			return nil, fmt.Errorf("entry %d: %w: %w", i, err, ErrCorruptSnapshot)
		}
		at, known := index[e.ID]
		if !known {
			at = len(out)
			index[e.ID] = at
			out = append(out, e)
		}
		out[at].merge(e, last)
	}
	return out, nil
}

func decodeSnapshotEntry(b []byte) (Entry, Batch) {
	be := binary.BigEndian
	e := NewEntry(int64(be.Uint64(b)))
	e.Epoch = int16(be.Uint16(b[8:]))
	last := Batch{
		LastSeq:    int32(be.Uint32(b[10:])),
		LastOffset: int64(be.Uint64(b[14:])),
		Delta:      int32(be.Uint32(b[22:])),
		Timestamp:  int64(be.Uint64(b[26:])),
	}
	e.LastTimestamp = last.Timestamp
	e.CoordinatorEpoch = int32(be.Uint32(b[34:]))
	e.CurrentTxnFirstOffset = max(None, int64(be.Uint64(b[38:])))
	return e, last
}

// checkSnapshotEntry refuses what no log can have led to.
func checkSnapshotEntry(e *Entry, last Batch) error {
	switch {
	case e.ID < 0:
		return fmt.Errorf("producer id %d", e.ID)
	case e.Epoch < 0:
		return fmt.Errorf("producer %d with epoch %d", e.ID, e.Epoch)
	case last.LastOffset < 0:
		return nil // no batch
	case last.LastSeq < 0 || last.Delta < 0 || int64(last.Delta) > last.LastOffset:
		return fmt.Errorf("producer %d with last sequence %d, last offset %d, offset delta %d",
			e.ID, last.LastSeq, last.LastOffset, last.Delta)
	}
	return nil
}

// merge lets a later entry of the same producer replace what is known, and remembers its batch beside the
// earlier ones of the same epoch if it comes after them in the log.
func (e *Entry) merge(later Entry, last Batch) {
	later.count, later.batches = e.count, e.batches
	if e.Epoch != later.Epoch || (e.count > 0 && last.FirstOffset() <= e.batches[e.count-1].LastOffset) {
		later.count, later.batches = 0, [Remembered]Batch{}
	}
	*e = later
	if last.LastOffset >= 0 {
		e.Add(last)
	}
}
