package clean

import (
	"fmt"

	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/hot/producer"
	"github.com/firnlog/firn/tier/record"
)

// filter decides what stays of each batch (Kafka's Cleaner.cleanInto). Batches come in order.
type filter struct {
	keys       *keyMap
	txns       txns
	last       map[int64]hot.LastRecord // of each producer
	roundEnd   int64                    // nothing is cleaned beyond in this round: Kafka, too, keeps the last batch
	groupEnd   int64                    // where the group of segments ends that is being rewritten
	now        int64                    // ms
	retention  int64                    // delete.retention.ms
	maxDecoded int

	thinner record.Thinner
	o       record.Thinning
	judge   func(offset int64, key, value []byte) bool // keep, made once
	horizon bool                                       // of the batch: its tombstones are due
	dropAll bool                                       // of the batch

	keyless int64 // records without a key that were dropped
	read    int64 // records
	kept    int64
	changed bool // something was left out or marked
}

func newFilter() *filter {
	f := &filter{}
	f.judge = f.keep
	return f
}

// batch appends what stays of the batch to dst.
func (f *filter) batch(dst, b []byte, h *record.Header) ([]byte, error) {
	kind, err := controlType(h, b, f.maxDecoded)
	if err != nil {
		return dst, err
	}
	discard, err := f.txns.discard(h, kind)
	if err != nil {
		return dst, err
	}
	due, hasHorizon := h.DeleteHorizon()
	f.horizon = hasHorizon && due <= f.now
	// A marker outlives its transaction by the time that tombstones stay.
	f.dropAll = discard && (!h.IsControl() || f.horizon)
	known := f.lastOfProducer(h) || h.NextOffset() == f.roundEnd
	f.o.KeepEmpty = known || h.NextOffset() == f.groupEnd
	f.o.Anonymous = !known
	if f.dropAll && !f.o.KeepEmpty {
		f.read += int64(h.Count)
		f.changed = true
		return dst, nil
	}
	f.o.Horizon, f.o.Mark, f.o.MaxDecoded = f.now+f.retention, discard && h.IsControl(), f.maxDecoded
	if f.o.Keep = f.judge; h.IsControl() && !f.dropAll {
		f.o.Keep = nil
	}
	dst, t, err := f.thinner.Thin(dst, b, &f.o)
	if err != nil {
		return dst, fmt.Errorf("batch at offset %d: %w", h.BaseOffset, err)
	}
	f.read, f.kept = f.read+int64(t.Records), f.kept+int64(t.Kept)
	f.changed = f.changed || !t.Same
	return dst, nil
}

// lastOfProducer reports whether the batch holds what is last known of its producer: its last sequence or, if there is
// none, the marker with its epoch.
func (f *filter) lastOfProducer(h *record.Header) bool {
	if !h.HasProducer() {
		return false
	}
	last, ok := f.last[h.ProducerID]
	switch {
	case !ok:
		return false
	case last.Offset != producer.None:
		return h.LastOffset() == last.Offset
	}
	return h.IsControl() && h.ProducerEpoch == last.Epoch
}

// keep says whether a record of the current batch stays.
func (f *filter) keep(offset int64, key, value []byte) bool {
	switch {
	case f.dropAll:
		return false
	case offset > f.keys.latest:
		return true // not looked at in this round
	case key == nil:
		f.keyless++
		return false
	}
	return offset >= f.keys.get(key) && (value != nil || !f.horizon)
}

// controlType reads what the record of a control batch means; -1 for other batches.
func controlType(h *record.Header, b []byte, maxDecoded int) (record.ControlType, error) {
	kind := record.ControlType(-1)
	if !h.IsControl() || h.Count == 0 {
		return kind, nil
	}
	err := record.Records(b, maxDecoded, func(i int, r *record.Record) error {
		if i > 0 {
			return nil
		}
		var err error
		kind, _, err = record.ParseControl(r)
		return err
	})
	if err != nil {
		return kind, fmt.Errorf("control batch at offset %d: %w", h.BaseOffset, err)
	}
	return kind, nil
}
