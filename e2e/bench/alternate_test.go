package main

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/bench/internal/machine"
)

// testBench is a bench that runs no programs, and measures no device.
func testBench(t *testing.T, o Options) *Bench {
	t.Helper()
	b, err := newBench(o)
	require.NoError(t, err)
	b.newProbe = func(string) (probe, error) { return someDevice{}, nil }
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// someDevice is always as fast.
type someDevice struct{}

func (someDevice) Throughput() (float64, error)       { return 500, nil }
func (someDevice) Syncs(int) ([]time.Duration, error) { return []time.Duration{time.Millisecond}, nil }
func (someDevice) Close() error                       { return nil }

// played is a bench whose host steals, in each alternation, the share listed; two sides tell when they ran.
func played(t *testing.T, alternations int, steals []float64) (*Bench, Case, *bytes.Buffer) {
	t.Helper()
	var said bytes.Buffer
	b := testBench(t, Options{Alternations: alternations, Round: time.Millisecond, Progress: &said})
	var at machine.CPUTime
	at.Total = 1
	reads := 0
	b.cpuTime = func() machine.CPUTime {
		if reads%2 == 1 {
			at.Total += 1000
			at.Stolen += 1000 * steals[reads/2]
		}
		reads++
		return at
	}
	side := func(name string) Side {
		return Side{Name: name, Round: func(context.Context, time.Duration) (Figures, error) {
			if reads/2 >= len(steals) {
				return nil, errors.New("there are no more alternations")
			}
			return Figures{judge.MBPerSecond: float64(reads/2 + 1)}, nil
		}}
	}
	return b, Case{Name: "x", Cold: true, Bars: []Bar{{Figure: judge.MBPerSecond, Side: "one", Beside: "two", AtLeast: 1, Device: true}},
		Prepare: func(context.Context, *Bench) ([]Side, error) { return []Side{side("one"), side("two")}, nil }}, &said
}

// numbers tells which alternations, by the order in which they were done, a side's rounds are of.
func numbers(r *judge.Result, side string) []float64 { return r.Values(side, judge.MBPerSecond) }

// TestStolenAlternationsAreRepeated: as a whole, with the device's rate that was measured beside it, in their places.
func TestStolenAlternationsAreRepeated(t *testing.T) {
	b, c, said := played(t, 4, []float64{0.01, 0.3, 0.02, 0.1, 0.4, 0.03})
	r, err := b.runCase(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, []float64{1, 6, 3, 4}, numbers(r, "one"), "the second was repeated twice: worse at first, then well")
	assert.Equal(t, numbers(r, "one"), numbers(r, "two"), "a pair stays a pair")
	assert.InDeltaSlice(t, []float64{0.01, 0.03, 0.02, 0.1}, r.Stolen, 1e-3)
	assert.Equal(t, 2, r.Repeated)
	assert.Len(t, r.Device, 4)
	var dropped []float64
	for _, d := range r.Dropped {
		assert.Equal(t, 2, d.Alternation)
		assert.Equal(t, d.Rounds["one"], d.Rounds["two"])
		assert.Positive(t, d.Device)
		dropped = append(dropped, d.Rounds["one"][judge.MBPerSecond], d.Stolen)
	}
	assert.InDeltaSlice(t, []float64{5, 0.4, 2, 0.3}, dropped, 1e-3, "the first repetition, then what was repeated")
	assert.Contains(t, said.String(), "alternation 2 is repeated (1 of at most 2): 30.0% of CPU time was stolen in it")
}

// TestEveryRoundCounts: where a bar must hold every time, no alternation is done again, and none is dropped.
func TestEveryRoundCounts(t *testing.T) {
	b, c, _ := played(t, 4, []float64{0.01, 0.3, 0.02, 0.4})
	c.Bars = append(c.Bars, Bar{Figure: judge.MBPerSecond, Side: "one", AtMost: 3, Every: true})
	r, err := b.runCase(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, []float64{1, 2, 3, 4}, numbers(r, "one"))
	assert.InDeltaSlice(t, []float64{0.01, 0.3, 0.02, 0.4}, r.Stolen, 1e-3, "it is told all the same")
	assert.Zero(t, r.Repeated)
	assert.Empty(t, r.Dropped)
}

// changing is a device that is faster each time it is measured.
type changing struct {
	someDevice
	rate float64
}

func (d *changing) Throughput() (float64, error) {
	d.rate += 100
	return d.rate, nil
}

// TestDeviceIsMeasuredAroundAlternations: before and after, where a bar asks, and not at all where none does.
func TestDeviceIsMeasuredAroundAlternations(t *testing.T) {
	b, c, _ := played(t, 2, []float64{0, 0})
	b.newProbe = func(string) (probe, error) { return &changing{}, nil }
	r, err := b.runCase(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, []float64{150, 350}, r.Device)
	b, c, _ = played(t, 2, []float64{0, 0})
	c.Bars[0].Device = false
	r, err = b.runCase(t.Context(), c)
	require.NoError(t, err)
	assert.Empty(t, r.Device)
}

// TestUploadCostIsOfOneAlternation: in whichever order the sides had their rounds.
func TestUploadCostIsOfOneAlternation(t *testing.T) {
	b := testBench(t, Options{Round: time.Millisecond, Progress: progress{t}})
	n := 0.0
	side := func(name string) Side {
		return Side{Name: name, Round: func(context.Context, time.Duration) (Figures, error) {
			n++
			return Figures{judge.CPUPerGB: n * n}, nil
		}}
	}
	c, sides := uploadCase(), []Side{side(unarchived), side(upload)}
	for i, want := range []float64{4 - 1, 9 - 16} {
		a, err := b.alternation(t.Context(), c, sides, someDevice{}, i, 2)
		require.NoError(t, err)
		assert.Equal(t, want, a.rounds[upload][UploadCPU])
		assert.NotContains(t, a.rounds[unarchived], UploadCPU)
	}
	alone := map[string]Figures{upload: {judge.CPUPerGB: 1}}
	uploadCost(alone)
	assert.NotContains(t, alone[upload], UploadCPU, "there is nothing to compare with")
}

// TestUnknownStealRepeatsNothing: where it cannot be known, all alternations are taken as they are, and nothing is said.
func TestUnknownStealRepeatsNothing(t *testing.T) {
	b, c, _ := played(t, 3, []float64{0, 0, 0})
	b.cpuTime = func() machine.CPUTime { return machine.CPUTime{} }
	c.Prepare = func(context.Context, *Bench) ([]Side, error) {
		return []Side{{Name: "one", Round: func(context.Context, time.Duration) (Figures, error) { return Figures{judge.MBPerSecond: 1}, nil }}}, nil
	}
	r, err := b.runCase(t.Context(), c)
	require.NoError(t, err)
	assert.Len(t, r.Rounds["one"], 3)
	assert.Empty(t, r.Stolen)
	assert.Zero(t, r.Repeated)
}

// TestDroppedAlternationsLeaveNothing among what is judged: neither figures nor what the device did then.
func TestDroppedAlternationsLeaveNothing(t *testing.T) {
	sides := []Side{{Name: "one"}}
	of := func(x float64) alternation {
		return alternation{rounds: map[string]Figures{"one": {judge.MBPerSecond: x}}, device: 100 * x, syncs: []time.Duration{time.Duration(x) * time.Second}, stolen: x / 100, known: true}
	}
	r := &judge.Result{}
	kept := []alternation{of(1), of(9)}
	record(r, sides, kept)
	r.Dropped = append(r.Dropped, kept[1].dropped(1))
	kept[1] = of(2)
	record(r, sides, kept)
	assert.Equal(t, []float64{1, 2}, numbers(r, "one"))
	assert.Equal(t, []float64{100, 200}, r.Device)
	assert.Equal(t, []float64{0.01, 0.02}, r.Stolen)
	assert.Less(t, r.Fdatasync.P99, 2500.0, "the sample of nine seconds went with its alternation")
	require.Len(t, r.Dropped, 1, "which is told beside it")
	assert.Equal(t, judge.Dropped{
		Alternation: 2, Stolen: 0.09, Device: 900, Fdatasync: r.Dropped[0].Fdatasync, Rounds: map[string]Figures{"one": {judge.MBPerSecond: 9}},
	}, r.Dropped[0])
	assert.InDelta(t, 9000, r.Dropped[0].Fdatasync.P50, 100)
}
