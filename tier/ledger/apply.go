package ledger

import (
	"errors"
	"fmt"
	"slices"
)

// All rules by which a ledger may change stand in this file. Each edit is checked against the ledger as it is
// when it commits, so uploader, retention, folding, compaction and garbage collection may run in any
// interleaving (I-14): whoever loses a race gets an error here and nothing happens.
//
//	edit        who                  compares                            changes
//	Append      leader's uploader    epoch, next, gc fence               Recent grows, Next moves
//	TrimStart   leader, retention    nothing (monotone)                  Start moves, perhaps Next
//	Expire      garbage collector    Start                               whole entries below Start leave
//	Replace     compaction, uploader exact inputs in Recent, gc fence    entries swapped, same offsets
//	Fold        garbage collector    oldest of Recent, gc fence          entries move into a fold object
//	Refold      compaction, gc       exact fold still there, gc fence    a fold swapped, same offsets
//	Fence       garbage collector    fence                               fence + 1
//
// Deleting objects (I-10): first the edit that un-names them is published (Expire, Replace, Refold), then a
// grace period passes so that readers with an older snapshot finish, then the objects are deleted. A crash in
// between leaves an object that no ledger names: the collector of orphans finds it by listing.
//
// An edit that is found to be in the ledger already (the same key at the same place: keys are unique per
// attempt) returns the ledger unchanged and no error, so that an ambiguous commit can simply be tried again
// (I-09). An edit that changes nothing (a trim to below Start, say) does the same. Version tells them apart.

// Errors of Apply, wrapped with what differed.
var (
	ErrConflict   = errors.New("ledger changed")                           // what the edit was made from is no longer there
	ErrGap        = errors.New("append would leave a gap in the ledger")   // segment begins above Next
	ErrArchived   = errors.New("offsets are in the ledger already")        // segment begins below Next
	ErrStaleEpoch = errors.New("leader epoch is older than the ledger's")  // a deposed leader (I-08, I-26)
	ErrFenced     = errors.New("ledger was fenced after the upload began") // the object may be gone: upload again under a new key
	ErrInvalid    = errors.New("edit is malformed")                        // can never succeed
)

// Edit is one of the kinds below.
type Edit interface {
	// Kind names the edit in logs and metrics.
	Kind() string
	apply(l *Ledger) (*Ledger, error)
}

// Append adds one uploaded segment at the end. Only the leader does it.
type Append struct {
	Epoch   int32 // leader epoch under which the caller acts; not below the ledger's
	Base    int64 // the ledger's Next that the upload was planned from
	Fence   int64 // the ledger's Fence as read before the upload began
	Segment Segment
}

// TrimStart moves the partition's log start to To; it never goes back. Entries wholly below stay until Expire
// takes them, the one that straddles To until it is wholly below. To above Next moves Next along: what is
// below a start can no longer be archived.
type TrimStart struct{ To int64 }

// Expire takes folds and segments wholly below offset Below out of the ledger, oldest first. Below must not be
// above Start. Expired lists what it will take.
type Expire struct{ Below int64 }

// Replace swaps a run of Recent for rewritten segments that cover exactly the same offsets (I-15).
type Replace struct {
	Fence   int64     // the ledger's Fence as read before the outputs were stored
	Inputs  []Segment // exactly as they stand in Recent, in order, adjacent
	Outputs []Segment
}

// Fold moves the oldest segments of Recent into the fold object that Ref names, which the caller has stored.
// At least one segment must remain in Recent, so that "something is archived" shows in the small keys alone.
type Fold struct {
	Fence  int64 // the ledger's Fence as read before the fold was stored
	Ref    FoldRef
	Inputs []Segment // exactly the oldest of Recent
}

// Refold swaps a fold for another object: compaction rewrote segments inside it, or its oldest segments lie
// below Start and are dropped (then New.Base is above Old.Base, which only the oldest fold may do). The caller
// answers for the contents of New; VerifyRefold checks them.
type Refold struct {
	Fence int64   // the ledger's Fence as read before New was stored
	Old   FoldRef // exactly as it stands in Folds
	New   FoldRef
}

// Fence raises the gc fence from From to From+1: nobody who read From or less can make the ledger name a new object
// afterwards (I-10). To be of use it comes after the listing that found the orphans.
type Fence struct{ From int64 }

// Kind implements Edit.
func (Append) Kind() string { return "append" }

// Kind implements Edit.
func (TrimStart) Kind() string { return "trim-start" }

// Kind implements Edit.
func (Expire) Kind() string { return "expire" }

// Kind implements Edit.
func (Replace) Kind() string { return "replace" }

// Kind implements Edit.
func (Fold) Kind() string { return "fold" }

// Kind implements Edit.
func (Refold) Kind() string { return "refold" }

// Kind implements Edit.
func (Fence) Kind() string { return "fence" }

// Apply gives the ledger after the edit, or why it may not be made. l itself is never changed. The result is
// l (same pointer, same Version) when there was nothing to do. The invariants are checked after every edit
// (I-11); a violation is a bug here or a damaged ledger, and the edit is refused.
func (l *Ledger) Apply(e Edit) (*Ledger, error) {
	n, err := e.apply(l)
	if err != nil {
		return nil, fmt.Errorf("ledger %s/%d version %d: %s: %w", l.Topic, l.Index, l.Version, e.Kind(), err)
	}
	if n == l {
		return l, nil
	}
	n.Version = l.Version + 1
	if len(n.Folds) == 0 {
		n.Folds = nil // one form for "none", so that equal ledgers are equal values
	}
	if len(n.Recent) == 0 {
		n.Recent = nil
	}
	if err := n.Check(); err != nil {
		return nil, fmt.Errorf("ledger %s/%d version %d: %s: %w", l.Topic, l.Index, l.Version, e.Kind(), err)
	}
	if n.Start < l.Start || n.Next < l.Next || n.Epoch < l.Epoch || n.Fence < l.Fence {
		return nil, fmt.Errorf("ledger %s/%d version %d: %s: %w: start, next, epoch or fence would go back",
			l.Topic, l.Index, l.Version, e.Kind(), ErrInvalid)
	}
	return n, nil
}

// fenced says that an object may be gone which was stored when the fence was read.
func (l *Ledger) fenced(read int64) error {
	return fmt.Errorf("%w: upload read fence %d, it is %d", ErrFenced, read, l.Fence)
}

// clone copies the head; the slices stay shared and are replaced, never written to.
func (l *Ledger) clone() *Ledger {
	n := *l
	return &n
}

func (e Append) apply(l *Ledger) (*Ledger, error) {
	s := e.Segment
	if err := s.check(); err != nil {
		return nil, err
	}
	if s.Base != e.Base || s.Epoch != e.Epoch {
		return nil, fmt.Errorf("%w: segment %d at epoch %d, claim %d at epoch %d", ErrInvalid, s.Base, s.Epoch, e.Base, e.Epoch)
	}
	if i, ok := findRecent(l.Recent, s.Base); ok && l.Recent[i] == s {
		return l, nil // an earlier attempt of the same commit went in
	}
	switch {
	case e.Epoch < l.Epoch:
		return nil, fmt.Errorf("%w: %d, ledger has %d", ErrStaleEpoch, e.Epoch, l.Epoch)
	case e.Fence != l.Fence:
		return nil, l.fenced(e.Fence)
	case s.Base > l.Next:
		return nil, fmt.Errorf("%w: segment begins at %d, next is %d", ErrGap, s.Base, l.Next)
	case s.Base < l.Next:
		return nil, fmt.Errorf("%w: segment begins at %d, next is %d", ErrArchived, s.Base, l.Next)
	}
	n := l.clone()
	n.Recent = append(slices.Clip(l.Recent), s)
	n.Next, n.Epoch = s.Next, e.Epoch
	return n, nil
}

func (e TrimStart) apply(l *Ledger) (*Ledger, error) {
	if e.To <= l.Start {
		return l, nil
	}
	n := l.clone()
	n.Start = e.To
	n.Next = max(n.Next, n.Start)
	return n, nil
}

func (e Expire) apply(l *Ledger) (*Ledger, error) {
	if e.Below > l.Start {
		return nil, fmt.Errorf("%w: cannot expire below %d, the log starts at %d", ErrConflict, e.Below, l.Start)
	}
	folds, segs := l.below(e.Below)
	if len(folds)+len(segs) == 0 {
		return l, nil
	}
	n := l.clone()
	n.Folds = l.Folds[len(folds):]
	n.Recent = l.Recent[len(segs):]
	return n, nil
}

func (e Replace) apply(l *Ledger) (*Ledger, error) {
	if len(e.Inputs) == 0 || len(e.Outputs) == 0 {
		return nil, fmt.Errorf("%w: %d inputs, %d outputs", ErrInvalid, len(e.Inputs), len(e.Outputs))
	}
	for _, s := range e.Outputs {
		if err := s.check(); err != nil {
			return nil, err
		}
	}
	base, next := e.Inputs[0].Base, e.Inputs[len(e.Inputs)-1].Next
	if e.Outputs[0].Base != base || e.Outputs[len(e.Outputs)-1].Next != next {
		return nil, fmt.Errorf("%w: outputs cover %d to %d, inputs %d to %d", ErrInvalid,
			e.Outputs[0].Base, e.Outputs[len(e.Outputs)-1].Next, base, next)
	}
	if run(l.Recent, e.Outputs) >= 0 {
		return l, nil
	}
	if e.Fence != l.Fence {
		return nil, l.fenced(e.Fence)
	}
	i := run(l.Recent, e.Inputs)
	if i < 0 {
		return nil, fmt.Errorf("%w: inputs from offset %d are no longer there", ErrConflict, base)
	}
	n := l.clone()
	n.Recent = slices.Concat(l.Recent[:i], e.Outputs, l.Recent[i+len(e.Inputs):])
	return n, nil
}

func (e Fold) apply(l *Ledger) (*Ledger, error) {
	if err := e.Ref.check(); err != nil {
		return nil, err
	}
	if slices.Contains(l.Folds, e.Ref) {
		return l, nil
	}
	if e.Fence != l.Fence {
		return nil, l.fenced(e.Fence)
	}
	want := e.Ref
	got := Summarize(e.Inputs)
	got.Key, got.Length, got.CRC32C = want.Key, want.Length, want.CRC32C
	if got != want {
		return nil, fmt.Errorf("%w: fold %s does not sum up its %d segments", ErrInvalid, e.Ref.Key, len(e.Inputs))
	}
	if len(e.Inputs) > len(l.Recent) || !slices.Equal(l.Recent[:len(e.Inputs)], e.Inputs) {
		return nil, fmt.Errorf("%w: segments from offset %d are no longer the oldest recent ones", ErrConflict, e.Ref.Base)
	}
	if len(e.Inputs) == len(l.Recent) {
		return nil, fmt.Errorf("%w: a fold must leave one recent segment", ErrInvalid)
	}
	n := l.clone()
	n.Folds = append(slices.Clip(l.Folds), e.Ref)
	n.Recent = l.Recent[len(e.Inputs):]
	return n, nil
}

func (e Refold) apply(l *Ledger) (*Ledger, error) {
	if err := e.New.check(); err != nil {
		return nil, err
	}
	if slices.Contains(l.Folds, e.New) {
		return l, nil
	}
	if e.Fence != l.Fence {
		return nil, l.fenced(e.Fence)
	}
	i := slices.Index(l.Folds, e.Old)
	if i < 0 {
		return nil, fmt.Errorf("%w: fold %s is no longer there", ErrConflict, e.Old.Key)
	}
	if e.New.Next != e.Old.Next || e.New.Base < e.Old.Base {
		return nil, fmt.Errorf("%w: new fold covers %d to %d, old %d to %d", ErrInvalid, e.New.Base, e.New.Next, e.Old.Base, e.Old.Next)
	}
	if e.New.Base > e.Old.Base && (i > 0 || e.New.Base > l.Start) {
		return nil, fmt.Errorf("%w: fold would begin at %d, the log starts at %d", ErrConflict, e.New.Base, l.Start)
	}
	n := l.clone()
	n.Folds = slices.Clone(l.Folds)
	n.Folds[i] = e.New
	return n, nil
}

func (e Fence) apply(l *Ledger) (*Ledger, error) {
	if e.From != l.Fence {
		return nil, fmt.Errorf("%w: fence is %d, not %d", ErrConflict, l.Fence, e.From)
	}
	n := l.clone()
	n.Fence = e.From + 1
	return n, nil
}

// run finds part as an adjacent run in all, or -1.
func run(all, part []Segment) int {
	i, ok := findRecent(all, part[0].Base)
	if !ok || len(all)-i < len(part) || !slices.Equal(all[i:i+len(part)], part) {
		return -1
	}
	return i
}

func findRecent(segs []Segment, base int64) (int, bool) {
	return slices.BinarySearchFunc(segs, base, func(s Segment, b int64) int {
		switch {
		case s.Base < b:
			return -1
		case s.Base > b:
			return 1
		}
		return 0
	})
}
