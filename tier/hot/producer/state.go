// Package producer remembers what idempotent and transactional producers wrote to one partition, so that a
// batch that is sent again is stored once, and in order (KIP-98, KIP-360; Kafka's ProducerStateManager and
// ProducerAppendInfo).
//
// It is pure and locks nothing: a State belongs to the log that it describes and is guarded by that log's
// lock. A log asks Decide before it appends a batch that a client sent, and calls Apply for every batch that it
// appends or, when it recovers, replays; Apply is the only way in which batches change the state, so a replay
// ends in the same state as the live path did.
//
// Invariants: batches of one producer epoch are remembered in order of sequence and offset; at most Remembered
// of them; an epoch never goes back through Apply of decided batches. State survives the deletion of the
// batches that made it: only time (Expire) and truncation remove it (I-05).
//
// Deliberate difference from Kafka: a producer's idle time counts from the broker's clock at the append, not
// from the greatest record timestamp. With Kafka's rule a producer that writes history with the history's own
// timestamps is expired while it writes, and its retries are then stored twice.
//
// It does not read or write files (package checkpoint does), and it does not keep the index of aborted
// transactions.
package producer

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/firnlog/firn/tier/record"
)

// Errors of Decide and DecideMarker; each is the Kafka error of that name. They come wrapped in a sentence that
// names the producer.
var (
	ErrOutOfOrderSequence   = errors.New("out of order sequence number")
	ErrInvalidProducerEpoch = errors.New("producer epoch is older than the last seen")
	ErrInvalidTxnState      = errors.New("the producer has an open transaction")
	ErrCoordinatorFenced    = errors.New("transaction coordinator epoch is older than the last seen")
)

// State is what a partition knows of its producers. The zero State is empty and ready to use. It is not safe
// for concurrent use.
type State struct {
	producers map[int64]*Entry
	end       int64 // offset after the last batch that was applied
	open      int   // producers with an open transaction
}

// Verdict is the answer of Decide to a batch that may be appended or was appended already.
type Verdict struct {
	Duplicate bool // it is stored already: the request is answered with the offsets below and nothing is written
	// The rest is set for a duplicate only.
	FirstOffset, LastOffset int64
	Timestamp               int64 // ms: when it was appended (its log append time, where the topic has one)
}

// Len returns how many producers are known.
func (s *State) Len() int { return len(s.producers) }

// End returns the offset after the last batch that was applied: the offset at which a snapshot of the state
// belongs.
func (s *State) End() int64 { return s.end }

// AdvanceEnd says that the log has grown (or starts) at end without a batch that Apply needed to see. It never
// goes back.
func (s *State) AdvanceEnd(end int64) { s.end = max(s.end, end) }

// Decide says whether a data batch that a client sent may be appended. A batch without a producer id always
// may. It changes nothing and allocates nothing unless it fails.
//
// A batch with the epoch and sequences of one of the producer's last five is a duplicate. Otherwise its epoch
// must not be older than the last seen (ErrInvalidProducerEpoch); in a new epoch it must begin at sequence 0,
// in the same epoch follow the last sequence, 0 after 2^31-1 (ErrOutOfOrderSequence). From a producer of which
// nothing is known any sequence is taken, because its state may have expired (KIP-360). A batch outside a
// transaction is refused while the producer has one open (ErrInvalidTxnState).
//
// A duplicate may be of a batch that is not flushed yet: its answer has to wait like the first one's.
func (s *State) Decide(h record.Header) (Verdict, error) {
	if !h.HasProducer() {
		return Verdict{}, nil
	}
	e := s.producers[h.ProducerID]
	if e == nil {
		return Verdict{}, nil
	}
	if b, ok := e.duplicate(h); ok {
		return Verdict{true, b.FirstOffset(), b.LastOffset, b.Timestamp}, nil
	}
	if h.ProducerEpoch < e.Epoch {
		return Verdict{}, fmt.Errorf("producer %d: epoch %d, last seen %d: %w",
			h.ProducerID, h.ProducerEpoch, e.Epoch, ErrInvalidProducerEpoch)
	}
	if err := e.checkSequence(h); err != nil {
		return Verdict{}, err
	}
	if e.CurrentTxnFirstOffset != None && !h.IsTransactional() {
		return Verdict{}, fmt.Errorf("producer %d: batch outside of the transaction that began at offset %d: %w",
			h.ProducerID, e.CurrentTxnFirstOffset, ErrInvalidTxnState)
	}
	return Verdict{}, nil
}

func (e *Entry) checkSequence(h record.Header) error {
	if h.ProducerEpoch != e.Epoch {
		if h.BaseSequence == 0 || e.Epoch == None {
			return nil
		}
		return fmt.Errorf("producer %d: new epoch %d (last seen %d) begins at sequence %d instead of 0: %w",
			h.ProducerID, h.ProducerEpoch, e.Epoch, h.BaseSequence, ErrOutOfOrderSequence)
	}
	last := e.lastSeq()
	if h.BaseSequence == last+1 || (last == math.MaxInt32 && h.BaseSequence == 0) {
		return nil
	}
	return fmt.Errorf("producer %d epoch %d: sequence %d after %d: %w",
		h.ProducerID, h.ProducerEpoch, h.BaseSequence, last, ErrOutOfOrderSequence)
}

// Apply notes that the batch was appended (or is replayed) at offset base; now is the time of the append in ms
// by the broker's clock, or the present time in a replay. Batches without a producer id only move End. It does
// not judge: what a leader has appended is what happened. A control batch counts as a transaction marker with
// an unknown coordinator epoch; see ApplyMarker. It allocates only for a producer that was not known.
func (s *State) Apply(h record.Header, base, now int64) {
	if h.IsControl() {
		s.ApplyMarker(h, base, None, now)
		return
	}
	s.end = max(s.end, base+int64(h.LastOffsetDelta)+1)
	if !h.HasProducer() {
		return
	}
	e := s.entry(h.ProducerID)
	e.enter(h.ProducerEpoch)
	e.LastTimestamp = now
	e.Add(Batch{
		LastOffset: base + int64(h.LastOffsetDelta),
		Timestamp:  now,
		LastSeq:    h.LastSequence(),
		Delta:      h.LastOffsetDelta,
	})
	if h.IsTransactional() && e.CurrentTxnFirstOffset == None {
		e.CurrentTxnFirstOffset = base
		s.open++
	}
}

// DecideMarker says whether a transaction marker of that coordinator epoch may be appended: neither the
// producer's epoch nor the coordinator's may be older than the last seen (ErrInvalidProducerEpoch,
// ErrCoordinatorFenced).
func (s *State) DecideMarker(h record.Header, coordinatorEpoch int32) error {
	e := s.producers[h.ProducerID]
	switch {
	case e == nil:
		return nil
	case h.ProducerEpoch < e.Epoch:
		return fmt.Errorf("producer %d: marker of epoch %d, last seen %d: %w",
			h.ProducerID, h.ProducerEpoch, e.Epoch, ErrInvalidProducerEpoch)
	case coordinatorEpoch < e.CoordinatorEpoch:
		return fmt.Errorf("producer %d: marker of coordinator epoch %d, last seen %d: %w",
			h.ProducerID, coordinatorEpoch, e.CoordinatorEpoch, ErrCoordinatorFenced)
	}
	return nil
}

// ApplyMarker notes that the control batch, which ends the producer's transaction, was appended or is replayed
// at offset base. It returns the first offset of the transaction that it ended, None if there was none open. A
// coordinatorEpoch of None leaves the last known one.
func (s *State) ApplyMarker(h record.Header, base int64, coordinatorEpoch int32, now int64) (txnFirst int64) {
	s.end = max(s.end, base+int64(h.LastOffsetDelta)+1)
	if !h.HasProducer() || h.Count == 0 { // of an emptied control batch nothing is known but its offsets
		return None
	}
	e := s.entry(h.ProducerID)
	e.enter(h.ProducerEpoch)
	e.LastTimestamp = now
	if coordinatorEpoch != None {
		e.CoordinatorEpoch = coordinatorEpoch
	}
	txnFirst = e.CurrentTxnFirstOffset
	if txnFirst != None {
		e.CurrentTxnFirstOffset = None
		s.open--
	}
	return txnFirst
}

// FirstOpenTxn returns the first offset of the oldest open transaction, which bounds the last stable offset;
// false when none is open, at no cost.
func (s *State) FirstOpenTxn() (int64, bool) {
	if s.open == 0 {
		return None, false
	}
	first := int64(math.MaxInt64)
	for _, e := range s.producers {
		if e.CurrentTxnFirstOffset != None {
			first = min(first, e.CurrentTxnFirstOffset)
		}
	}
	return first, true
}

// Expire forgets the producers that have appended nothing for expiry ms (producer.id.expiration.ms) and have
// no open transaction, and returns how many those were.
func (s *State) Expire(now, expiry int64) int {
	before := len(s.producers)
	maps.DeleteFunc(s.producers, func(_ int64, e *Entry) bool {
		return e.CurrentTxnFirstOffset == None && now-e.LastTimestamp >= expiry
	})
	return before - len(s.producers)
}

// Get returns a copy of what is known of the producer. With Put it undoes the Apply of a batch whose write
// then failed.
func (s *State) Get(id int64) (Entry, bool) {
	if e := s.producers[id]; e != nil {
		return *e, true
	}
	return NewEntry(id), false
}

// Put replaces what is known of the producer e.ID. An entry that knows no epoch (as NewEntry and an
// unsuccessful Get return) removes it. End stays where it is.
func (s *State) Put(e Entry) {
	if old := s.producers[e.ID]; old != nil && old.CurrentTxnFirstOffset != None {
		s.open--
	}
	if e.Epoch == None {
		delete(s.producers, e.ID)
		return
	}
	*s.entry(e.ID) = e
	if e.CurrentTxnFirstOffset != None {
		s.open++
	}
}

// entry returns the entry of the producer, a new one if it was not known.
func (s *State) entry(id int64) *Entry {
	e := s.producers[id]
	if e == nil {
		if s.producers == nil {
			s.producers = map[int64]*Entry{}
		}
		e = new(Entry)
		*e = NewEntry(id)
		s.producers[id] = e
	}
	return e
}

// Entries returns copies of all entries, by ascending producer id.
func (s *State) Entries() []Entry {
	out := make([]Entry, 0, len(s.producers))
	for _, e := range s.producers {
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Clone returns a copy that shares nothing with the original.
func (s *State) Clone() *State {
	c := &State{end: s.end}
	for _, e := range s.producers {
		c.Put(*e)
	}
	return c
}

// Reset makes the state that of a snapshot taken at offset end. Of several entries of one producer the last
// counts.
func (s *State) Reset(entries []Entry, end int64) {
	*s = State{end: end}
	for _, e := range entries {
		s.Put(e)
	}
}
