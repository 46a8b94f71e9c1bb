package hot

import (
	"fmt"
	"math"

	"github.com/firnlog/firn/tier/record"
)

// admit holds batches to the topic's rules before any lock is taken, and stamps LogAppendTime.
func (d *Dir) admit(cfg *Config, batches []byte, headers []record.Header, o *AppendOptions) error {
	var size int
	for i := range headers {
		n := headers[i].Size()
		if n < record.HeaderSize || n > len(batches)-size {
			return fmt.Errorf("%w: header %d says %d bytes, %d are there", ErrInvalidBatch, i, n, len(batches)-size)
		}
		b := batches[size : size+n]
		size += n
		if !o.Check {
			continue
		}
		if cfg.MaxMessageBytes > 0 && n > int(cfg.MaxMessageBytes) {
			return fmt.Errorf("%w: %d bytes, at most %d", ErrRecordTooLarge, n, cfg.MaxMessageBytes)
		}
		if err := d.admitBatch(cfg, b, &headers[i], o.Now); err != nil {
			return err
		}
	}
	if size != len(batches) || size == 0 {
		return fmt.Errorf("%w: %d headers of %d bytes for %d bytes", ErrInvalidBatch, len(headers), size, len(batches))
	}
	if size > int(cfg.SegmentBytes) {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrBatchListTooLarge, size, cfg.SegmentBytes)
	}
	return nil
}

func (d *Dir) admitBatch(cfg *Config, b []byte, h *record.Header, now int64) error {
	if h.IsControl() {
		return fmt.Errorf("%w: control batches are the broker's to write", ErrInvalidBatch)
	}
	if cfg.ValidateRecords {
		if err := d.o.Unpack.Do(h.Codec(), func(most int) error { return record.ValidateRecords(b, most) }); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalidBatch, err)
		}
	}
	if cfg.LogAppendTime {
		record.StampLogAppendTime(b, now)
		stamped, err := record.ParseHeader(b)
		*h = stamped
		return err
	}
	return d.checkTimes(cfg, b, h, now)
}

// checkTimes refuses CreateTime records that are too far from the broker's time, and names them. The header tells
// whether one can be too late, and only then are records looked at. That none is too early it cannot tell, because
// its base is the first record's time and no lower bound; so topics that limit this pay for looking.
func (d *Dir) checkTimes(cfg *Config, b []byte, h *record.Header, now int64) error {
	if h.TimestampType() == record.LogAppendTime {
		return fmt.Errorf("%w: the batch has LogAppendTime, which is the broker's to set", ErrTimestamp)
	}
	early, late := int64(math.MinInt64), int64(math.MaxInt64)
	if cfg.TimestampBeforeMaxMs < now {
		early = now - cfg.TimestampBeforeMaxMs
	}
	if cfg.TimestampAfterMaxMs < late-now {
		late = now + cfg.TimestampAfterMaxMs
	}
	out := func(t int64) bool { return t != record.NoTimestamp && (t < early || t > late) }
	if early == math.MinInt64 && !out(h.BaseTimestamp) && !out(h.MaxTimestamp) {
		return nil
	}
	var bad BadRecords
	err := d.o.Unpack.Do(h.Codec(), func(most int) error {
		return record.Records(b, most, func(i int, r *record.Record) error {
			if t := h.Timestamp(r); out(t) && len(bad) < MaxBadRecords {
				bad = append(bad, &record.RecordError{Index: i, Err: fmt.Errorf("%d is not between %d and %d", t, early, late)})
			}
			return nil
		})
	})
	switch {
	case len(bad) > 0:
		return fmt.Errorf("%w: %w", ErrTimestamp, bad)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrInvalidBatch, err)
	case out(h.BaseTimestamp) || out(h.MaxTimestamp):
		return fmt.Errorf("%w: header says %d to %d, allowed is %d to %d", ErrTimestamp, h.BaseTimestamp, h.MaxTimestamp, early, late)
	}
	return nil
}

// MaxBadRecords is how many records of a batch are told to be bad: it may be small, compressed, and have millions (I-32).
const MaxBadRecords = 1000

// BadRecords are the records of a batch that made it be refused, the first 1000 of them in order; never empty.
type BadRecords []*record.RecordError

func (e BadRecords) Error() string {
	if len(e) == 1 {
		return e[0].Error()
	}
	if len(e) == MaxBadRecords {
		return fmt.Sprintf("%v, and at least %d records more", e[0], len(e)-1)
	}
	return fmt.Sprintf("%v, and %d records more", e[0], len(e)-1)
}
