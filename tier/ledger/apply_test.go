package ledger

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var serial int

func seg(base, next int64, epoch int32) Segment {
	serial++
	return Segment{Base: base, Next: next, Key: fmt.Sprintf("k%d", serial), Length: 10 + next - base, DataBytes: next - base,
		IndexLength: 3, Epoch: epoch, MinTimestamp: base * 10, MaxTimestamp: next*10 - 1, MaxTimestampOffset: next - 1}
}

func must(t require.TestingT, l *Ledger, e Edit) *Ledger {
	n, err := l.Apply(e)
	require.NoError(t, err)
	return n
}

func app(l *Ledger, n int64, epoch int32) Append {
	return Append{Epoch: epoch, Base: l.Next, Fence: l.Fence, Segment: seg(l.Next, l.Next+n, epoch)}
}

// of makes a ledger of segments of ten offsets each.
func of(t require.TestingT, n int) *Ledger {
	l := &Ledger{}
	for range n {
		l = must(t, l, app(l, 10, 0))
	}
	return l
}

func fold(t require.TestingT, l *Ledger, n int) Fold {
	serial++
	ref, b, err := NewFold(fmt.Sprintf("f%d", serial), FoldFile{Segments: l.Recent[:n]})
	require.NoError(t, err)
	segs, err := LoadFold(ref, b)
	require.NoError(t, err)
	require.Equal(t, l.Recent[:n], segs)
	return Fold{Fence: l.Fence, Ref: ref, Inputs: slices.Clone(l.Recent[:n])}
}

// I-08, I-26: an append compares leader epoch, next offset and gc fence.
func TestAppendCompares(t *testing.T) {
	l := of(t, 2)
	l = must(t, l, app(l, 10, 4))
	l = must(t, l, Fence{From: 0})
	for name, c := range map[string]struct {
		change func(*Append)
		want   error
	}{
		"older epoch":     {func(a *Append) { a.Epoch, a.Segment.Epoch = 3, 3 }, ErrStaleEpoch},
		"older fence":     {func(a *Append) { a.Fence = 0 }, ErrFenced},
		"newer fence":     {func(a *Append) { a.Fence = 2 }, ErrFenced},
		"gap":             {func(a *Append) { a.Base, a.Segment.Base, a.Segment.Next = 31, 31, 41 }, ErrGap},
		"overlap":         {func(a *Append) { a.Base, a.Segment.Base = 29, 29 }, ErrArchived},
		"claim differs":   {func(a *Append) { a.Base = 29 }, ErrInvalid},
		"epochs differ":   {func(a *Append) { a.Epoch = 5 }, ErrInvalid},
		"empty range":     {func(a *Append) { a.Segment.Next = a.Segment.Base }, ErrInvalid},
		"no key":          {func(a *Append) { a.Segment.Key = "" }, ErrInvalid},
		"no length":       {func(a *Append) { a.Segment.Length = 0 }, ErrInvalid},
		"index too long":  {func(a *Append) { a.Segment.IndexLength = a.Segment.Length + 1 }, ErrInvalid},
		"position wraps":  {func(a *Append) { a.Segment.Position = 1<<63 - 2 }, ErrInvalid},
		"negative offset": {func(a *Append) { a.Base, a.Segment.Base = -1, -1 }, ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			a := app(l, 10, 4)
			c.change(&a)
			before := *l
			_, err := l.Apply(a)
			require.ErrorIs(t, err, c.want)
			require.Equal(t, before, *l)
		})
	}
	n := must(t, l, app(l, 10, 7))
	require.Equal(t, int32(7), n.Epoch)
	require.Equal(t, int64(40), n.Next)
	require.Equal(t, l.Version+1, n.Version)
}

// I-07: the same bytes are not named twice; the same edit again is no edit.
func TestAgainIsNoEdit(t *testing.T) {
	l := of(t, 3)
	a := app(l, 10, 0)
	l = must(t, l, a)
	require.Same(t, l, must(t, l, a))
	b := a
	b.Base, b.Segment.Base, b.Segment.Next = l.Next, l.Next, l.Next+10
	_, err := l.Apply(b)
	require.ErrorIs(t, err, ErrInvalid, "the same key for other offsets")
	shared := b
	shared.Segment.Position = a.Segment.Length
	must(t, l, shared) // one object may hold several segments

	f := fold(t, l, 2)
	l = must(t, l, f)
	require.Same(t, l, must(t, l, f))
	r := Replace{Inputs: slices.Clone(l.Recent), Outputs: []Segment{seg(l.Recent[0].Base, l.Next, 0)}}
	l = must(t, l, r)
	require.Same(t, l, must(t, l, r))
	require.Same(t, l, must(t, l, TrimStart{To: 0}))
	require.Same(t, l, must(t, l, Expire{Below: 0}))
	rf := Refold{Old: l.Folds[0], New: l.Folds[0]}
	rf.New.Key = "other"
	l = must(t, l, rf)
	require.Same(t, l, must(t, l, rf))
}

func TestTrimAndExpire(t *testing.T) {
	l := of(t, 6)
	l = must(t, l, fold(t, l, 2))
	l = must(t, l, fold(t, l, 2))
	l = must(t, l, TrimStart{To: 35})
	folds, segs := l.Expired()
	require.Len(t, folds, 1)
	require.Empty(t, segs)
	_, err := l.Apply(Expire{Below: 36})
	require.ErrorIs(t, err, ErrConflict, "I-07: what is readable does not leave the ledger")
	l = must(t, l, Expire{Below: 35})
	require.Len(t, l.Folds, 1, "the fold that straddles the start stays")
	require.Equal(t, int64(20), l.Oldest())

	// The part of a fold that lies below the start goes by a refold.
	ref := l.Folds[0]
	late, err := l.Apply(Refold{Old: ref, New: func() FoldRef { f := ref; f.Key, f.Base, f.Count = "r", 30, 1; return f }()})
	require.NoError(t, err)
	require.Equal(t, int64(30), late.Oldest())
	_, err = l.Apply(Refold{Old: ref, New: func() FoldRef { f := ref; f.Key, f.Base, f.Count = "r", 36, 1; return f }()})
	require.ErrorIs(t, err, ErrConflict)

	l = must(t, l, TrimStart{To: 52})
	l = must(t, l, Expire{Below: 52})
	require.Empty(t, l.Folds)
	require.Len(t, l.Recent, 1)
	require.Equal(t, int64(50), l.Oldest())

	// Beyond what is archived: next moves along, and the next append leaves a gap that nobody reads.
	l = must(t, l, TrimStart{To: 100})
	require.Equal(t, int64(100), l.Next)
	require.Len(t, l.Recent, 1)
	_, ok := l.Find(99)
	require.False(t, ok)
	l = must(t, l, app(l, 10, 0))
	require.NoError(t, l.Check())
	require.Equal(t, int64(10), l.Bytes(), "I-13: what lies wholly below the start is not counted")
	l = must(t, l, Expire{Below: 100})
	require.Len(t, l.Recent, 1)
	l = must(t, l, TrimStart{To: 110})
	l = must(t, l, Expire{Below: 110})
	require.True(t, l.Empty())
	must(t, l, app(l, 1, 0))
}

// A ledger that was given out does not change, whatever is made from it.
func TestSnapshotsAreImmutable(t *testing.T) {
	l := of(t, 5)
	a, b := must(t, l, app(l, 1, 0)), must(t, l, app(l, 2, 0))
	aa, ab := must(t, a, app(a, 1, 0)), must(t, a, app(a, 2, 0))
	require.Equal(t, []int64{51, 52, 52, 53}, []int64{a.Recent[5].Next, b.Recent[5].Next, aa.Recent[6].Next, ab.Recent[6].Next})
	l = must(t, l, fold(t, l, 2))
	l = must(t, l, fold(t, l, 1))
	old := l.Folds[0]
	must(t, l, fold(t, l, 1))
	moved := old
	moved.Key = "elsewhere"
	n := must(t, l, Refold{Old: old, New: moved})
	require.Equal(t, old, l.Folds[0])
	require.Equal(t, moved, n.Folds[0])
}

// I-15, I-11: a fold is swapped only for one that covers the same offsets.
func TestRefoldCovers(t *testing.T) {
	l := of(t, 6)
	l = must(t, l, fold(t, l, 2))
	l = must(t, l, fold(t, l, 2))
	for _, c := range []struct {
		fold       int
		base, next int64
		want       error
	}{{0, 0, 19, ErrInvalid}, {0, 0, 21, ErrInvalid}, {1, 19, 40, ErrInvalid}, {1, 30, 40, ErrConflict}, {0, 10, 20, ErrConflict}, {1, 20, 30, ErrInvalid}} {
		f := l.Folds[c.fold]
		f.Key, f.Base, f.Next = "new", c.base, c.next
		_, err := l.Apply(Refold{Old: l.Folds[c.fold], New: f})
		require.ErrorIs(t, err, c.want, c)
	}
	gone := l.Folds[0]
	gone.Key = "unknown"
	_, err := l.Apply(Refold{Old: gone, New: l.Folds[0]})
	require.NoError(t, err, "New is in already")
	_, err = l.Apply(Refold{Old: gone, New: gone})
	require.ErrorIs(t, err, ErrConflict)
	old := of(t, 3).Recent
	require.NoError(t, VerifyRefold(old, old[1:]))
	require.NoError(t, VerifyRefold(old, []Segment{seg(0, 30, 0)}))
	for _, bad := range [][]Segment{nil, old[:2], {old[0], old[2]}, {old[1], old[0], old[2]}, {seg(-1, 30, 0)}} {
		require.ErrorIs(t, VerifyRefold(old, bad), ErrInvalid)
	}
}

// I-14: each edit is checked against the ledger as it is.
func TestLosersOfRaces(t *testing.T) {
	l := of(t, 6)
	inputs := slices.Clone(l.Recent[1:3])
	replace := Replace{Inputs: inputs, Outputs: []Segment{seg(10, 30, 0)}}
	replaced := must(t, l, replace)
	other := Replace{Inputs: inputs, Outputs: []Segment{seg(10, 30, 0)}}
	_, err := replaced.Apply(other)
	require.ErrorIs(t, err, ErrConflict)
	_, err = replaced.Apply(fold(t, l, 3))
	require.ErrorIs(t, err, ErrConflict, "what was folded is not what is there")
	folded := must(t, l, fold(t, l, 3))
	_, err = folded.Apply(replace)
	require.ErrorIs(t, err, ErrConflict)
	trimmed := must(t, must(t, l, TrimStart{To: 20}), Expire{Below: 20})
	_, err = trimmed.Apply(replace)
	require.ErrorIs(t, err, ErrConflict, "I-10: a compactor must not bring back what is about to be deleted")
	_, err = trimmed.Apply(fold(t, l, 3))
	require.ErrorIs(t, err, ErrConflict)
	fenced := must(t, l, Fence{From: 0})
	_, err = fenced.Apply(Fence{From: 0})
	require.ErrorIs(t, err, ErrConflict)
	_, err = l.Apply(fold(t, l, 6))
	require.ErrorIs(t, err, ErrInvalid, "one recent segment stays, so that small keys show that something is archived")

	// I-15: the outputs cover exactly the offsets of the inputs.
	for _, out := range [][]Segment{{seg(10, 29, 0)}, {seg(11, 30, 0)}, {seg(10, 20, 0)}, {seg(10, 15, 0), seg(16, 30, 0)}, {seg(10, 21, 0), seg(20, 30, 0)}, {}} {
		_, err = l.Apply(Replace{Inputs: inputs, Outputs: out})
		require.ErrorIs(t, err, ErrInvalid)
	}
	lying := fold(t, l, 3)
	lying.Ref.DataBytes++
	_, err = l.Apply(lying)
	require.ErrorIs(t, err, ErrInvalid)
}

// I-11, I-14: random edits by actors that work from ledgers of any age; whatever goes in keeps the invariants,
// and every readable offset is found exactly once in what was archived.
func TestRandomEdits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &Ledger{}
		history := []*Ledger{l}
		folds := map[string][]Segment{}
		for range rapid.IntRange(1, 60).Draw(t, "edits") {
			seen := history[rapid.IntRange(max(0, len(history)-4), len(history)-1).Draw(t, "age")]
			e := draw(t, seen, folds)
			n, err := l.Apply(e)
			if err != nil {
				continue
			}
			require.NoError(t, n.Check())
			require.GreaterOrEqual(t, n.Start, l.Start)
			require.GreaterOrEqual(t, n.Next, l.Next)
			require.GreaterOrEqual(t, n.Epoch, l.Epoch)
			require.GreaterOrEqual(t, n.Fence, l.Fence)
			covers(t, n, folds)
			if n != l {
				require.Equal(t, l.Version+1, n.Version)
				history = append(history, n)
			}
			l = n
		}
		for _, h := range history { // no edit has changed an older snapshot
			require.NoError(t, h.Check())
			covers(t, h, folds)
		}
	})
}

func draw(t *rapid.T, l *Ledger, folds map[string][]Segment) Edit {
	switch rapid.IntRange(0, 7).Draw(t, "kind") {
	case 0, 1, 2:
		return app(l, rapid.Int64Range(1, 20).Draw(t, "n"), l.Epoch+rapid.Int32Range(0, 1).Draw(t, "epoch"))
	case 3:
		return TrimStart{To: l.Start + rapid.Int64Range(0, 30).Draw(t, "to")}
	case 4:
		return Expire{Below: l.Start}
	case 5:
		if len(l.Recent) < 2 {
			return Fence{From: l.Fence}
		}
		n := rapid.IntRange(1, len(l.Recent)-1).Draw(t, "fold")
		f := fold(t, l, n)
		folds[f.Ref.Key] = f.Inputs
		return f
	case 6:
		if len(l.Recent) == 0 {
			return Fence{From: l.Fence}
		}
		i := rapid.IntRange(0, len(l.Recent)-1).Draw(t, "from")
		j := rapid.IntRange(i, len(l.Recent)-1).Draw(t, "to")
		in := l.Recent[i : j+1]
		return Replace{Fence: l.Fence, Inputs: in, Outputs: []Segment{seg(in[0].Base, in[len(in)-1].Next, in[0].Epoch)}}
	}
	if len(l.Folds) > 0 {
		old := l.Folds[0]
		segs := folds[old.Key]
		for len(segs) > 1 && segs[0].Next <= l.Start {
			segs = segs[1:]
		}
		require.NoError(t, VerifyRefold(folds[old.Key], segs))
		serial++
		ref := Summarize(segs)
		ref.Key, ref.Length = fmt.Sprintf("f%d", serial), 1
		folds[ref.Key] = segs
		return Refold{Fence: l.Fence, Old: old, New: ref}
	}
	return Fence{From: l.Fence}
}

// covers looks up every readable offset, folds included.
func covers(t require.TestingT, l *Ledger, folds map[string][]Segment) {
	var bytes int64
	for o := l.Start; o < l.Next; o++ {
		f, ok := l.Find(o)
		require.True(t, ok, "offset %d of [%d, %d)", o, l.Start, l.Next)
		s := f.Segment
		if f.Fold != nil {
			s, ok = FindIn(folds[f.Fold.Key], o)
			require.True(t, ok)
		}
		require.LessOrEqual(t, s.Base, o)
		require.Greater(t, s.Next, o)
		bytes++
	}
	for _, o := range []int64{l.Start - 1, l.Next, -1} {
		_, ok := l.Find(o)
		require.False(t, ok)
	}
	require.GreaterOrEqual(t, l.Bytes(), bytes)
}

// I-10: whoever stores an object and then falls asleep for longer than the grace period must not name what the collector
// has deleted meanwhile; that holds for rewritten segments and folds as for uploads.
func TestFenceStopsEveryEditThatNamesNewObjects(t *testing.T) {
	l := of(t, 6)
	ref := fold(t, l, 2)
	l = must(t, l, ref)
	moved := ref.Ref
	moved.Key = "moved"
	replace := Replace{Inputs: slices.Clone(l.Recent[:2]), Outputs: []Segment{seg(l.Recent[0].Base, l.Recent[1].Next, 0)}}
	edits := []Edit{replace, fold(t, l, 2), Refold{Old: ref.Ref, New: moved}}
	fenced := must(t, l, Fence{From: l.Fence})
	for _, e := range edits {
		n := must(t, l, e)
		_, err := fenced.Apply(e)
		require.ErrorIs(t, err, ErrFenced, e.Kind())
		again, err := must(t, n, Fence{From: n.Fence}).Apply(e)
		require.NoError(t, err, "%s is in already", e.Kind())
		require.Equal(t, n.Version+1, again.Version)
	}
}
