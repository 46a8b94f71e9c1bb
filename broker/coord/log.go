package coord

import (
	"fmt"

	"github.com/firnlog/firn/broker/group"
	"github.com/firnlog/firn/tier/record"
)

// Log is a partition of __consumer_offsets that this broker leads. Methods may block on the disk. Errors are Kafka's
// (kerr) where they have a code, anything else counts as KAFKA_STORAGE_ERROR.
type Log interface {
	// Start is the oldest offset, End the one after the last, HighWatermark the one below which records are committed.
	Start() int64
	End() int64
	HighWatermark() int64
	// Read gives whole batches from offset on, committed ones only: about max bytes, at least one batch if there is one.
	Read(offset int64, max int) ([]byte, error)
	// Append writes one batch (built with base offset 0) and gives the offset after it.
	Append(batch []byte) (next int64, err error)
	// Await calls fn once: with 0 when the high watermark has reached offset, or with an error code when it cannot.
	Await(offset int64, fn func(code int16))
	// MaxBatchBytes is the largest batch that Append takes (max.message.bytes).
	MaxBatchBytes() int
}

// readBytes is how much of the log is read at a time while a shard is loaded.
const readBytes = 1 << 20

// load replays what is committed. Records that a newer or broken writer left are reported and passed over: one
// bad record must not cost the others.
func load(l Log, replay func(group.Record) error, skipped func(offset int64, err error)) error {
	offset := l.Start()
	for end := l.HighWatermark(); offset < end; {
		batches, err := l.Read(offset, readBytes)
		if err != nil {
			return fmt.Errorf("read from offset %d: %w", offset, err)
		}
		it := record.Batches(batches)
		before := offset
		for it.Next() {
			h := it.Header()
			offset = h.NextOffset()
			if h.IsControl() || h.Count == 0 {
				continue
			}
			err := record.Records(it.Bytes(), record.DefaultMaxDecoded, func(_ int, r *record.Record) error {
				if h.BaseOffset+int64(r.OffsetDelta) < before {
					return nil // below the log start
				}
				// What the shard keeps must not alias the buffer.
				if err := replay(group.Record{Key: clone(r.Key), Value: clone(r.Value)}); err != nil {
					skipped(h.BaseOffset+int64(r.OffsetDelta), err)
				}
				return nil
			})
			if err != nil {
				skipped(h.BaseOffset, err)
			}
		}
		if err := it.Err(); err != nil {
			return fmt.Errorf("read from offset %d: %w", offset, err)
		}
		if offset == before {
			return fmt.Errorf("offset %d is below the high watermark %d and cannot be read", offset, end)
		}
	}
	return nil
}

// clone copies b and keeps nil (a tombstone) apart from empty.
func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// packed is a batch and how many records are in it.
type packed struct {
	bytes   []byte
	records int
}

// batches packs records into as few batches of at most max bytes, uncompressed, as may be: one, unless split allows more.
func batches(codec record.Codec, records []group.Record, now int64, max int, split bool) []packed {
	var out []packed
	b, n, total := record.NewBuilder(codec), 0, record.HeaderSize
	for i := range records {
		size := len(records[i].Key) + len(records[i].Value) + recordOverhead
		if split && n > 0 && total+size > max {
			out = append(out, packed{records: n, bytes: b.Build(0)})
			b, n, total = record.NewBuilder(codec), 0, record.HeaderSize
		}
		b.Append(now, records[i].Key, records[i].Value, nil)
		n, total = n+1, total+size
	}
	return append(out, packed{records: n, bytes: b.Build(0)})
}

// recordOverhead bounds what a record needs beside key and value: lengths and deltas as varints, attributes.
const recordOverhead = 32
