package clean

import (
	"cmp"
	"slices"

	"github.com/firnlog/firn/tier/record"
)

// aborted is a transaction that was aborted.
type aborted struct {
	producer int64
	first    int64 // offset of its first batch
	last     int64 // offset of its marker
}

// txns follows the transactions of a log while its batches are read in order, and decides which batches of aborted
// ones, and which markers, may go (Kafka's CleanedTransactionMetadata).
type txns struct {
	// find lists the aborted transactions of the whole log. It is asked once, when the first transactional batch is met.
	find      func() ([]aborted, error)
	found     bool
	pending   []aborted      // by first offset
	ongoing   map[int64]bool // aborted ones by producer: whether a batch of it was met
	committed map[int64]struct{}
}

// discard says whether the batch may be left out: it belongs to an aborted transaction, or is the marker of one that has
// no batches any more. kind is the marker's, read from a control batch that is not empty.
func (t *txns) discard(h *record.Header, kind record.ControlType) (bool, error) {
	if !h.IsTransactional() && !h.IsControl() {
		return false, nil
	}
	if err := t.reach(h.LastOffset()); err != nil {
		return false, err
	}
	if !h.IsControl() {
		if _, ok := t.ongoing[h.ProducerID]; ok {
			t.ongoing[h.ProducerID] = true
			return true, nil
		}
		t.committed[h.ProducerID] = struct{}{}
		return false, nil
	}
	if h.Count == 0 {
		return true, nil // it was cleaned before
	}
	switch kind {
	case record.ControlAbort:
		met := t.ongoing[h.ProducerID]
		delete(t.ongoing, h.ProducerID)
		return !met, nil
	case record.ControlCommit:
		_, met := t.committed[h.ProducerID]
		delete(t.committed, h.ProducerID)
		return !met, nil
	}
	return false, nil // it means something to somebody
}

// reach takes up the aborted transactions that begin at or below offset.
func (t *txns) reach(offset int64) error {
	if !t.found {
		all, err := t.find()
		if err != nil {
			return err
		}
		t.found, t.ongoing, t.committed = true, map[int64]bool{}, map[int64]struct{}{}
		t.pending = slices.Clone(all)
		slices.SortFunc(t.pending, func(a, b aborted) int { return cmp.Compare(a.first, b.first) })
	}
	for len(t.pending) > 0 && t.pending[0].first <= offset {
		a := t.pending[0]
		t.pending = t.pending[1:]
		if _, ok := t.ongoing[a.producer]; !ok {
			t.ongoing[a.producer] = false
		}
	}
	return nil
}

// abortedFinder collects the aborted transactions of a log from its batches, in order.
type abortedFinder struct {
	open map[int64]int64 // first offset by producer
	all  []aborted
}

func (f *abortedFinder) add(h *record.Header, kind record.ControlType) {
	switch {
	case !h.IsTransactional():
	case !h.IsControl():
		if _, ok := f.open[h.ProducerID]; !ok {
			f.open[h.ProducerID] = h.BaseOffset
		}
	default:
		first, ok := f.open[h.ProducerID]
		delete(f.open, h.ProducerID)
		if ok && kind == record.ControlAbort && h.Count > 0 {
			f.all = append(f.all, aborted{h.ProducerID, first, h.LastOffset()})
		}
	}
}
