package producer

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/firnlog/firn/tier/record"
	"pgregory.net/rapid"
)

// batch is the header of a batch of n records.
func batch(pid int64, epoch int16, seq, n int32) record.Header {
	return record.Header{Magic: 2, ProducerID: pid, ProducerEpoch: epoch, BaseSequence: seq, LastOffsetDelta: n - 1, Count: n}
}

func transactional(h record.Header) record.Header {
	h.Attributes |= 0x10
	return h
}

func control(pid int64, epoch int16) record.Header {
	h := batch(pid, epoch, -1, 1)
	h.Attributes |= 0x30
	return h
}

// TestDecide walks through Kafka's rules one after another, on one log (I-05).
func TestDecide(t *testing.T) {
	const top = math.MaxInt32
	type step struct {
		name  string
		h     record.Header
		err   error
		first int64 // of the duplicate, None when it is to be appended
	}
	ok := func(name string, h record.Header) step { return step{name: name, h: h, first: None} }
	dup := func(name string, h record.Header, first int64) step { return step{name: name, h: h, first: first} }
	bad := func(name string, h record.Header, err error) step {
		return step{name: name, h: h, err: err, first: None}
	}
	steps := map[string][]step{
		"sequence": {
			ok("first", batch(7, 0, 0, 3)),          // offsets 0-2
			ok("next", batch(7, 0, 3, 2)),           // 3-4
			ok("other producer", batch(8, 0, 0, 1)), // 5
			bad("gap", batch(7, 0, 6, 1), ErrOutOfOrderSequence),
			dup("repeated", batch(7, 0, 3, 2), 3),
			dup("repeated, older", batch(7, 0, 0, 3), 0),
			bad("overlaps", batch(7, 0, 3, 3), ErrOutOfOrderSequence),
			bad("part of one", batch(7, 0, 0, 2), ErrOutOfOrderSequence),
			bad("same sequence, other producer", batch(8, 0, 3, 2), ErrOutOfOrderSequence),
			ok("goes on", batch(7, 0, 5, 1)),
		},
		"five remembered": {
			ok("0", batch(1, 0, 0, 1)), ok("1", batch(1, 0, 1, 1)), ok("2", batch(1, 0, 2, 1)),
			ok("3", batch(1, 0, 3, 1)), ok("4", batch(1, 0, 4, 1)),
			dup("oldest", batch(1, 0, 0, 1), 0),
			ok("5", batch(1, 0, 5, 1)),
			bad("forgotten", batch(1, 0, 0, 1), ErrOutOfOrderSequence),
			dup("oldest now", batch(1, 0, 1, 1), 1),
			dup("newest", batch(1, 0, 5, 1), 5),
		},
		"wraparound": {
			ok("unknown producer, any sequence", batch(1, 0, top-2, 2)), // 0-1: top-2, top-1
			ok("top and 0", batch(1, 0, top, 3)),                        // 2-4: top, 0, 1
			ok("goes on at 2", batch(1, 0, 2, 1)),                       // 5
			dup("across the top", batch(1, 0, top, 3), 2),
			dup("before the top", batch(1, 0, top-2, 2), 0),
			bad("gap", batch(1, 0, 4, 1), ErrOutOfOrderSequence),
		},
		"ends at the top": {
			ok("up to the top", batch(1, 0, top, 1)),
			bad("not 1", batch(1, 0, 1, 1), ErrOutOfOrderSequence),
			ok("0 comes next", batch(1, 0, 0, 1)),
			ok("then 1", batch(1, 0, 1, 1)),
		},
		"epoch": {
			ok("first", batch(1, 3, 0, 1)),
			bad("older epoch", batch(1, 2, 0, 1), ErrInvalidProducerEpoch),
			bad("older epoch, next sequence", batch(1, 2, 1, 1), ErrInvalidProducerEpoch),
			bad("newer epoch must begin at 0", batch(1, 4, 1, 1), ErrOutOfOrderSequence),
			ok("newer epoch", batch(1, 4, 0, 1)),
			bad("the former epoch's batch is old", batch(1, 3, 0, 1), ErrInvalidProducerEpoch),
			dup("repeated", batch(1, 4, 0, 1), 1),
		},
		"transaction": {
			ok("begins", transactional(batch(1, 0, 0, 2))),
			ok("goes on", transactional(batch(1, 0, 2, 2))),
			bad("outside", batch(1, 0, 4, 1), ErrInvalidTxnState),
			dup("repeated", transactional(batch(1, 0, 0, 2)), 0),
		},
		"no producer": {
			ok("plain", batch(-1, -1, -1, 5)),
			ok("plain again", batch(-1, -1, -1, 5)),
		},
	}
	for name, list := range steps {
		t.Run(name, func(t *testing.T) {
			var s State
			for _, st := range list {
				end := s.End()
				v, err := s.Decide(st.h)
				if !errors.Is(err, st.err) {
					t.Fatalf("%s: error %v, want %v", st.name, err, st.err)
				}
				if v.Duplicate != (st.first != None) || (v.Duplicate && (v.FirstOffset != st.first || v.LastOffset != st.first+int64(st.h.LastOffsetDelta) || v.Timestamp != 1000+st.first)) {
					t.Fatalf("%s: verdict %+v, want first offset %d", st.name, v, st.first)
				}
				if err == nil && !v.Duplicate {
					s.Apply(st.h, end, 1000+end)
					if s.End() != end+int64(st.h.Count) {
						t.Fatalf("%s: end %d after a batch of %d at %d", st.name, s.End(), st.h.Count, end)
					}
				}
			}
		})
	}
}

func TestMarkers(t *testing.T) {
	var s State
	s.Apply(transactional(batch(1, 0, 0, 2)), 0, 10)
	s.Apply(transactional(batch(2, 0, 0, 1)), 2, 11)
	if first, ok := s.FirstOpenTxn(); !ok || first != 0 {
		t.Fatalf("first open transaction at %d, %v", first, ok)
	}
	if first := s.ApplyMarker(control(1, 0), 3, 5, 12); first != 0 {
		t.Fatalf("the marker ended the transaction at %d, want 0", first)
	}
	if first, ok := s.FirstOpenTxn(); !ok || first != 2 {
		t.Fatalf("first open transaction at %d, %v, want 2", first, ok)
	}
	if v, _ := s.Decide(transactional(batch(1, 0, 0, 2))); !v.Duplicate {
		t.Error("a marker of the same epoch forgot the batches")
	}
	if err := s.DecideMarker(control(1, 0), 4); !errors.Is(err, ErrCoordinatorFenced) {
		t.Errorf("marker of an older coordinator: %v", err)
	}
	if first := s.ApplyMarker(control(1, 1), 4, 6, 13); first != None {
		t.Errorf("the second marker ended a transaction at %d", first)
	}
	if err := s.DecideMarker(control(1, 0), 6); !errors.Is(err, ErrInvalidProducerEpoch) {
		t.Errorf("marker of an older epoch: %v", err)
	}
	if _, err := s.Decide(batch(1, 0, 2, 1)); !errors.Is(err, ErrInvalidProducerEpoch) {
		t.Errorf("batch of the epoch before the marker's: %v", err)
	}
	if _, err := s.Decide(batch(1, 1, 2, 1)); !errors.Is(err, ErrOutOfOrderSequence) {
		t.Errorf("the marker's epoch must begin at 0: %v", err)
	}
	s.Apply(control(2, 0), 5, 14)
	if _, ok := s.FirstOpenTxn(); ok {
		t.Error("a transaction is open after all markers")
	}
	if e, _ := s.Get(2); e.CoordinatorEpoch != None {
		t.Errorf("coordinator epoch %d from a marker that named none", e.CoordinatorEpoch)
	}
}

func TestExpire(t *testing.T) {
	var s State
	old := batch(1, 0, 0, 1)
	old.MaxTimestamp = 5 // history: must not count as idle since then
	s.Apply(old, 0, 1000)
	s.Apply(batch(2, 0, 0, 1), 1, 1001)
	s.Apply(transactional(batch(3, 0, 0, 1)), 2, 900)
	if n := s.Expire(1099, 100); n != 0 {
		t.Fatalf("%d expired one ms too early", n)
	}
	if n := s.Expire(1100, 100); n != 1 || s.Len() != 2 {
		t.Fatalf("%d expired, %d left; want producer 1 gone, the one with an open transaction kept", n, s.Len())
	}
	if v, err := s.Decide(batch(1, 0, 77, 1)); err != nil || v.Duplicate {
		t.Errorf("after expiry any sequence is taken: %+v, %v", v, err)
	}
	if s.End() != 3 {
		t.Errorf("end %d moved by expiry", s.End())
	}
}

func TestUndo(t *testing.T) {
	var s State
	s.Apply(batch(1, 0, 0, 1), 0, 10)
	before := s.Entries()
	known, _ := s.Get(1)
	unknown, ok := s.Get(2)
	if ok {
		t.Fatal("producer 2 is known")
	}
	s.Apply(transactional(batch(1, 0, 1, 1)), 1, 11)
	s.Apply(transactional(batch(2, 0, 0, 1)), 2, 12)
	s.Put(unknown)
	s.Put(known)
	if !slices.Equal(s.Entries(), before) {
		t.Errorf("undone state %+v, want %+v", s.Entries(), before)
	}
	if _, open := s.FirstOpenTxn(); open {
		t.Error("the undone transaction is still open")
	}
}

// logged is a batch in the model's log.
type logged struct {
	h    record.Header
	base int64
}

// model judges by looking at the whole log, as the rules are told in KIP-98.
func model(log []logged, h record.Header) (dup *logged, err error) {
	var mine []logged
	for _, l := range log {
		if l.h.ProducerID == h.ProducerID {
			mine = append(mine, l)
		}
	}
	if !h.HasProducer() || len(mine) == 0 {
		return nil, nil
	}
	last := mine[len(mine)-1]
	var same []logged // the batches of the last epoch, back to where it began
	for i := len(mine) - 1; i >= 0 && mine[i].h.ProducerEpoch == last.h.ProducerEpoch; i-- {
		same = append(same, mine[i])
	}
	for _, l := range same[:min(5, len(same))] {
		if l.h.ProducerEpoch == h.ProducerEpoch && l.h.BaseSequence == h.BaseSequence && l.h.LastOffsetDelta == h.LastOffsetDelta {
			return &l, nil
		}
	}
	next := int64(last.h.BaseSequence) + int64(last.h.Count)
	switch {
	case h.ProducerEpoch < last.h.ProducerEpoch:
		return nil, ErrInvalidProducerEpoch
	case h.ProducerEpoch > last.h.ProducerEpoch && h.BaseSequence != 0,
		h.ProducerEpoch == last.h.ProducerEpoch && int64(h.BaseSequence) != next%(1<<31):
		return nil, ErrOutOfOrderSequence
	}
	return nil, nil
}

// TestDecideModel compares State with the model on random requests, most of them nearly right, through
// snapshots, truncations and rebuilds.
func TestDecideModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s State
		var log []logged
		end := int64(0)
		snapshot, at := []byte(nil), int64(0)
		restore := func() {
			var entries []Entry
			if snapshot != nil {
				var err error
				if entries, err = DecodeSnapshot(snapshot); err != nil {
					t.Fatal(err)
				}
			}
			s.Reset(entries, at)
			for _, l := range log {
				if l.base >= at && l.base < end {
					s.Apply(l.h, l.base, 1)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				h := batch(rapid.Int64Range(-1, 2).Draw(t, "pid"), int16(rapid.IntRange(0, 2).Draw(t, "epoch")),
					int32(rapid.SampledFrom([]int{0, 1, 5, math.MaxInt32, math.MaxInt32 - 1}).Draw(t, "seq")),
					int32(rapid.IntRange(1, 4).Draw(t, "n")))
				if e, ok := s.Get(h.ProducerID); ok && rapid.IntRange(0, 3).Draw(t, "nearly") > 0 {
					h.ProducerEpoch = e.Epoch
					h.BaseSequence = record.NextSequence(e.lastSeq(), int32(rapid.IntRange(1, 2).Draw(t, "skip")))
					if rapid.Bool().Draw(t, "repeat") {
						b := rapid.SampledFrom(e.Batches()).Draw(t, "which")
						h.BaseSequence, h.LastOffsetDelta, h.Count = b.FirstSeq(), b.Delta, b.Delta+1
					}
				}
				v, err := s.Decide(h)
				dup, want := model(log, h)
				if !errors.Is(err, want) || v.Duplicate != (dup != nil) || (dup != nil && v.FirstOffset != dup.base) {
					t.Fatalf("%+v: %+v, %v; the model says %+v, %v", h, v, err, dup, want)
				}
				if err == nil && !v.Duplicate {
					s.Apply(h, end, 1)
					log = append(log, logged{h, end})
					end += int64(h.Count)
				}
			},
			"snapshot": func(t *rapid.T) { snapshot, at = AppendSnapshot(nil, s.Entries()), end },
			"restart":  func(t *rapid.T) { restore() },
			"truncate": func(t *rapid.T) {
				to := rapid.Int64Range(at, end).Draw(t, "to")
				for len(log) > 0 && log[len(log)-1].base+int64(log[len(log)-1].h.Count) > to {
					log = log[:len(log)-1]
				}
				if end = 0; len(log) > 0 {
					end = log[len(log)-1].base + int64(log[len(log)-1].h.Count)
				}
				if end < at {
					end = at // a snapshot of an empty piece of log
				}
				restore()
			},
			"": func(t *rapid.T) {
				if !slices.Equal(s.Clone().Entries(), s.Entries()) || s.Clone().End() != s.End() {
					t.Fatal("a clone differs")
				}
			},
		})
	})
}

// TestRetriesStoredOnce lets idempotent producers with five requests in flight lose answers and send again,
// while the log is trimmed, snapshotted, restarted; each record is in the log once and in order (I-05).
func TestRetriesStoredOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type sender struct {
			next     int32 // sequence of the next new batch
			inFlight []record.Header
		}
		start := int32(math.MaxInt32 - 5) // so that sequences wrap on the way
		senders := []*sender{{next: start}, {next: start}}
		var s State
		var log []logged
		end := int64(0)
		t.Repeat(map[string]func(*rapid.T){
			"new": func(t *rapid.T) {
				pid := rapid.IntRange(0, 1).Draw(t, "pid")
				p := senders[pid]
				if len(p.inFlight) == 5 {
					t.Skip()
				}
				h := batch(int64(pid), 0, p.next, int32(rapid.IntRange(1, 3).Draw(t, "n")))
				p.next = record.NextSequence(h.LastSequence(), 1)
				p.inFlight = append(p.inFlight, h)
			},
			"deliver": func(t *rapid.T) { // all in flight in order, some answers are lost from some point on
				pid := rapid.IntRange(0, 1).Draw(t, "pid")
				p := senders[pid]
				n := rapid.IntRange(0, len(p.inFlight)).Draw(t, "arrive")
				acked := rapid.IntRange(0, n).Draw(t, "answered")
				for i, h := range p.inFlight[:n] {
					v, err := s.Decide(h)
					if err != nil {
						t.Fatalf("batch %d in flight: %v", i, err)
					}
					if !v.Duplicate {
						s.Apply(h, end, 1)
						log = append(log, logged{h, end})
						end += int64(h.Count)
						continue
					}
					found := slices.ContainsFunc(log, func(l logged) bool { return l.h == h && l.base == v.FirstOffset })
					if !found {
						t.Fatalf("%+v is said to lie at %d", h, v.FirstOffset)
					}
				}
				p.inFlight = p.inFlight[acked:]
			},
			"restart": func(t *rapid.T) {
				entries, err := DecodeSnapshot(AppendSnapshot(nil, s.Entries()))
				if err != nil {
					t.Fatal(err)
				}
				s = State{} // the log was trimmed: the snapshot is all there is
				s.Reset(entries, end)
			},
			"": func(t *rapid.T) {
				next := map[int64]int32{0: start, 1: start}
				for _, l := range log {
					if l.h.BaseSequence != next[l.h.ProducerID] {
						t.Fatalf("producer %d: sequence %d at offset %d, want %d", l.h.ProducerID, l.h.BaseSequence, l.base, next[l.h.ProducerID])
					}
					next[l.h.ProducerID] = record.NextSequence(l.h.LastSequence(), 1)
				}
			},
		})
	})
}

func TestAdvanceEnd(t *testing.T) {
	var s State
	s.AdvanceEnd(50)
	s.AdvanceEnd(40)
	if s.End() != 50 {
		t.Errorf("end %d, want 50", s.End())
	}
}

func TestNoAllocation(t *testing.T) {
	var s State
	h := batch(1, 0, 0, 10)
	end := int64(0)
	one := func() {
		if v, err := s.Decide(h); err != nil || v.Duplicate {
			t.Fatal(v, err)
		}
		s.Apply(h, end, end)
		end += 10
		h.BaseSequence = record.NextSequence(h.LastSequence(), 1)
	}
	one()
	if n := testing.AllocsPerRun(1000, one); n != 0 {
		t.Errorf("%v allocations for a batch of a known producer", n)
	}
}

func BenchmarkDecideApply(b *testing.B) {
	b.ReportAllocs()
	var s State
	h := batch(1, 0, 0, 10)
	for end := int64(0); b.Loop(); end += 10 {
		if _, err := s.Decide(h); err != nil {
			b.Fatal(err)
		}
		s.Apply(h, end, end)
		h.BaseSequence = record.NextSequence(h.LastSequence(), 1)
	}
}
