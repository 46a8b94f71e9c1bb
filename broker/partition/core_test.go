package partition

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/firnlog/firn/tier/ledger"
)

// I-02, I-04: whatever happens, in any order, the high watermark never goes back, and every waiter ends exactly once:
// released by a watermark that covers it, failed, or cancelled.
func TestCoreReleasesEveryWaiterOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &core{epoch: -1}
		c.become(1)
		open := map[*waiter]bool{}
		end := func(ws []*waiter, released bool) {
			for _, w := range ws {
				require.True(t, open[w], "a waiter ended twice")
				delete(open, w)
				if released {
					require.LessOrEqual(t, w.need, c.hw, "released without being covered")
				}
				require.False(t, c.unpark(w), "a waiter that ended can still be cancelled")
			}
		}
		hw, stable := int64(0), int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				w := &waiter{need: stable + rapid.Int64Range(-3, 10).Draw(t, "need"), at: -1}
				parked := c.park(w)
				require.Equal(t, w.need > c.hw, parked)
				if parked {
					open[w] = true
				}
			case 2, 3:
				stable += rapid.Int64Range(-5, 8).Draw(t, "advance")
				end(c.advance(stable, nil), true)
			case 4:
				for w := range open {
					require.True(t, c.unpark(w))
					delete(open, w)
					break
				}
			case 5:
				end(c.resign(c.epoch), false)
				require.Empty(t, open, "losing the role fails everything that waits")
				c.become(c.epoch + 1)
			}
			require.GreaterOrEqual(t, c.hw, hw)
			hw = c.hw
			for w := range open {
				require.Greater(t, w.need, c.hw, "covered, and still waiting")
			}
		}
		end(c.fail(56), false)
		require.Empty(t, open)
		require.Empty(t, c.advance(stable+100, nil), "a failed replica advances no more")
	})
}

// I-03: news of an older epoch changes nothing.
func TestCoreIgnoresOlderEpochs(t *testing.T) {
	c := &core{epoch: -1}
	require.True(t, c.become(5))
	require.False(t, c.become(4))
	w := &waiter{need: 1, at: -1}
	c.park(w)
	require.Empty(t, c.resign(4))
	require.True(t, c.leader)
	require.Len(t, c.resign(6), 1)
	require.False(t, c.leader)
	c.fail(kerr.KafkaStorageError.Code)
	require.False(t, c.become(7), "failure is final")
}

func TestCheckEpoch(t *testing.T) {
	require.Equal(t, epochFine, checkEpoch(-1, 3))
	require.Equal(t, epochFine, checkEpoch(3, 3))
	require.Equal(t, epochFenced, checkEpoch(2, 3))
	require.Equal(t, epochUnknown, checkEpoch(4, 3))
}

// I-18: one side answers for an offset, and there is no offset between start and end that no side answers for.
func TestPlaceAtTheSeam(t *testing.T) {
	o := offsets{logStart: 10, localStart: 50, end: 100, hw: 90, archStart: 10, archNext: 70}
	for offset, want := range map[int64]side{9: sideOutOfRange, 10: sideCold, 49: sideCold, 50: sideHot, 69: sideHot,
		70: sideHot, 90: sideHot, 95: sideHot, 100: sideHot, 101: sideOutOfRange, -1: sideOutOfRange} {
		require.Equal(t, want, o.place(offset), "offset %d", offset)
	}
	o.archNext = 40
	require.Equal(t, sideMissing, o.place(45))
	require.Equal(t, sideCold, o.place(39))
	o.localStart, o.archNext = 0, 0
	require.Equal(t, sideHot, o.place(10), "without archive")
}

// I-36: whether a log may go on beside its archive.
func TestDisagreement(t *testing.T) {
	l := func(next int64, epoch int32) *ledger.Ledger {
		return &ledger.Ledger{Version: 1, Next: next, Epoch: epoch, Recent: []ledger.Segment{{Base: 0, Next: next}}}
	}
	log := func(end, start int64, epochs ...Epoch) logFacts {
		return logFacts{End: end, LocalStart: start, Epochs: func() []Epoch { return epochs }}
	}
	theirs := []Epoch{{Epoch: 1, Start: 0}, {Epoch: 4, Start: 60}}
	asked := 0
	lineage := func() ([]Epoch, error) { asked++; return theirs, nil }
	check := func(f logFacts, l *ledger.Ledger, differs bool) {
		t.Helper()
		why, err := disagreement(f, l, lineage)
		require.NoError(t, err)
		require.Equal(t, differs, why != "", why)
	}
	check(log(99, 0, Epoch{Epoch: 4, Start: 60}), l(100, 4), true)
	check(log(100, 0, Epoch{Epoch: 1, Start: 0}, Epoch{Epoch: 4, Start: 60}), l(100, 4), false)
	check(log(150, 0, Epoch{Epoch: 4, Start: 60}, Epoch{Epoch: 5, Start: 120}), l(100, 4), false)
	check(log(150, 100, Epoch{Epoch: 2, Start: 0}), l(100, 4), false) // nothing in common to compare
	require.Zero(t, asked, "the store is asked only when something looks wrong")
	check(log(150, 0, Epoch{Epoch: 1, Start: 0}, Epoch{Epoch: 2, Start: 60}), l(100, 4), true)
	check(log(150, 0, Epoch{Epoch: 1, Start: 0}), l(100, 4), true)
	require.Equal(t, 2, asked)
	check(log(0, 0), &ledger.Ledger{}, false)
}

func TestDiverge(t *testing.T) {
	a := []Epoch{{Epoch: 1, Start: 0}, {Epoch: 3, Start: 50}}
	at, ok := diverge(a, []Epoch{{Epoch: 1, Start: 0}, {Epoch: 2, Start: 40}, {Epoch: 3, Start: 50}}, 0, 100)
	require.True(t, ok)
	require.EqualValues(t, 40, at)
	_, ok = diverge(a, []Epoch{{Epoch: 1, Start: 0}, {Epoch: 2, Start: 40}, {Epoch: 3, Start: 50}}, 50, 100)
	require.False(t, ok, "what differs below is not looked at")
	_, ok = diverge(a, a, 0, 100)
	require.False(t, ok)
}
