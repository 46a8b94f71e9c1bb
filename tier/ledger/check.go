package ledger

import (
	"fmt"
)

// Check verifies the ledger's invariants (I-11): entries in order, none overlapping, no gap at or above
// Start, the last one ending at Next, nothing named twice. A gap may only lie wholly below Start: it is left
// by a trim beyond what was archived.
func (l *Ledger) Check() error {
	if l.Version < 0 || l.Start < 0 || l.Next < l.Start || l.Fence < 0 || l.Epoch < 0 {
		return fmt.Errorf("%w: version %d start %d next %d epoch %d fence %d", ErrInvalid, l.Version, l.Start, l.Next, l.Epoch, l.Fence)
	}
	if len(l.Folds) > 0 && len(l.Recent) == 0 {
		return fmt.Errorf("%w: folds without a recent segment", ErrInvalid)
	}
	at, first := int64(0), true
	step := func(base, next int64) error {
		switch {
		case !first && base < at:
			return fmt.Errorf("%w: entry %d overlaps the one that ends at %d", ErrInvalid, base, at)
		case first && base > l.Start || !first && base > at && base > l.Start:
			return fmt.Errorf("%w: gap below entry %d, the log starts at %d", ErrInvalid, base, l.Start)
		}
		at, first = next, false
		return nil
	}
	for _, f := range l.Folds {
		if err := f.check(); err != nil {
			return err
		}
		if err := step(f.Base, f.Next); err != nil {
			return err
		}
	}
	for i, s := range l.Recent {
		if err := s.check(); err != nil {
			return err
		}
		if err := step(s.Base, s.Next); err != nil {
			return err
		}
		if s.Epoch > l.Epoch {
			return fmt.Errorf("%w: segment %d has epoch %d, ledger %d", ErrInvalid, s.Base, s.Epoch, l.Epoch)
		}
		// A key twice in a row is the one mistake that a retry could make; comparing all pairs would make
		// every edit quadratic.
		if i > 0 && l.Recent[i-1].Key == s.Key && overlap(l.Recent[i-1], s) {
			return fmt.Errorf("%w: segments %d and %d name the same bytes of %s", ErrInvalid, l.Recent[i-1].Base, s.Base, s.Key)
		}
	}
	if first && l.Next != l.Start || !first && (at > l.Next || at < l.Next && l.Next != l.Start) {
		return fmt.Errorf("%w: entries end at %d, start is %d, next is %d", ErrInvalid, at, l.Start, l.Next)
	}
	return nil
}

func overlap(a, b Segment) bool {
	return a.Position < b.Position+b.Length && b.Position < a.Position+a.Length
}

func (s Segment) check() error {
	switch {
	case s.Base < 0 || s.Next <= s.Base:
		return fmt.Errorf("%w: segment covers %d to %d", ErrInvalid, s.Base, s.Next)
	case s.Key == "" || len(s.Key) > maxKey:
		return fmt.Errorf("%w: segment %d has a key of %d bytes", ErrInvalid, s.Base, len(s.Key))
	case s.Position < 0 || s.Length <= 0 || s.DataBytes < 0 || s.IndexLength < 0 || s.IndexLength > s.Length || s.Position > s.Position+s.Length:
		return fmt.Errorf("%w: segment %d has position %d length %d data %d index %d", ErrInvalid, s.Base, s.Position, s.Length, s.DataBytes, s.IndexLength)
	case s.Epoch < 0:
		return fmt.Errorf("%w: segment %d has epoch %d", ErrInvalid, s.Base, s.Epoch)
	}
	return nil
}

func (f FoldRef) check() error {
	switch {
	case f.Base < 0 || f.Next <= f.Base || f.Count <= 0:
		return fmt.Errorf("%w: fold covers %d to %d with %d segments", ErrInvalid, f.Base, f.Next, f.Count)
	case f.Key == "" || len(f.Key) > maxKey || f.Length <= 0 || f.DataBytes < 0 || f.StoredBytes < 0:
		return fmt.Errorf("%w: fold %d has key %q length %d", ErrInvalid, f.Base, f.Key, f.Length)
	}
	return nil
}

// VerifyRefold checks that a fold rewritten from old to new may take its place in a Refold: in order, without
// overlap, covering the same offsets but for what the new one drops at its beginning, and no gap that old had not.
func VerifyRefold(old, new []Segment) error {
	if len(old) == 0 || len(new) == 0 {
		return fmt.Errorf("%w: an empty fold", ErrInvalid)
	}
	edges := make(map[int64]bool) // gaps of old: where an entry may begin without a neighbour
	for i, s := range old {
		if i > 0 && s.Base != old[i-1].Next {
			edges[s.Base] = true
		}
	}
	for i, s := range new {
		if err := s.check(); err != nil {
			return err
		}
		if i > 0 && (s.Base < new[i-1].Next || s.Base > new[i-1].Next && !edges[s.Base]) {
			return fmt.Errorf("%w: segment %d does not follow the one that ends at %d", ErrInvalid, s.Base, new[i-1].Next)
		}
	}
	if new[0].Base < old[0].Base || new[len(new)-1].Next != old[len(old)-1].Next {
		return fmt.Errorf("%w: new fold covers %d to %d, old %d to %d", ErrInvalid,
			new[0].Base, new[len(new)-1].Next, old[0].Base, old[len(old)-1].Next)
	}
	return nil
}
