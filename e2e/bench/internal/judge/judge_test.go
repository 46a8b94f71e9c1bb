package judge

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rounds makes rounds of one figure.
func rounds(f Figure, values ...float64) []Figures {
	var all []Figures
	for _, v := range values {
		all = append(all, Figures{f: v})
	}
	return all
}

func times(n int, v float64) []float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = v
	}
	return all
}

func TestSpread(t *testing.T) {
	assert.Equal(t, Spread{}, SpreadOf(nil))
	assert.Equal(t, Spread{N: 1, Min: 4, Q1: 4, Median: 4, Q3: 4, Max: 4}, SpreadOf([]float64{4}))
	given := []float64{9, 1, 8, 2, 7, 3, 6, 4, 5}
	assert.Equal(t, Spread{N: 9, Min: 1, Q1: 3, Median: 5, Q3: 7, Max: 9}, SpreadOf(given))
	assert.Equal(t, 9.0, given[0], "values are left as they are")
	assert.Equal(t, Spread{N: 4, Min: 1, Q1: 1.75, Median: 2.5, Q3: 3.25, Max: 4}, SpreadOf([]float64{4, 3, 2, 1}))
}

func TestJudge(t *testing.T) {
	cpu := Bar{Figure: CPUPerGB, Side: "firn", Beside: "kafka", AtMost: 0.6}
	rate := Bar{Figure: MBPerSecond, Side: "firn", Beside: "kafka", AtLeast: 1.5}
	start := Bar{Figure: Seconds, Side: "firn", AtMost: 0.5, Every: true}
	for _, c := range []struct {
		name         string
		bar          Bar
		firn, kafka  []float64
		outcome      Outcome
		median       float64
		trial, quiet bool
	}{
		{"median meets", cpu, times(9, 1), times(9, 2), Met, 0.5, false, false},
		{"median meets exactly", cpu, times(9, 6), times(9, 10), Met, 0.6, false, false},
		{"median meets though a quarter misses", cpu, []float64{5, 5, 5, 5, 5, 7, 7, 7, 7}, times(9, 10), Met, 0.5, false, false},
		{"middle half on both sides", cpu, []float64{5, 5, 5, 5, 7, 7, 7, 7, 7}, times(9, 10), NotDecided, 0.7, false, false},
		{"only the best quarter meets", cpu, []float64{5, 5, 7, 7, 7, 7, 7, 7, 7}, times(9, 10), NotMet, 0.7, false, false},
		{"nothing meets", cpu, times(9, 9), times(9, 10), NotMet, 0.9, false, false},
		{"pairs, not medians", cpu, []float64{1, 2, 3, 4, 5, 6, 7, 8, 9}, []float64{2, 4, 6, 8, 10, 12, 14, 16, 18}, Met, 0.5, false, false},
		{"too few", cpu, times(8, 1), times(8, 2), Met, 0.5, true, false},
		{"one side was cut short", cpu, times(9, 1), times(5, 2), Met, 0.5, true, false},
		{"never run", cpu, nil, nil, NotRun, 0, false, false},
		{"beside what did nothing", cpu, times(9, 1), times(9, 0), NotRun, 0, false, false},
		{"from below", rate, times(9, 300), times(9, 200), Met, 1.5, false, true},
		{"from below, missed", rate, times(9, 299), times(9, 200), NotMet, 1.495, false, true},
		{"ten starts of ten", start, times(10, 0.4), nil, Met, 0.4, false, false},
		{"nine starts of ten", start, append(times(9, 0.4), 0.6), nil, NotMet, 0.4, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &Result{SecondsARound: 10, Rounds: map[string][]Figures{"firn": rounds(c.bar.Figure, c.firn...), "kafka": rounds(c.bar.Figure, c.kafka...)}, Bars: []Bar{c.bar}}
			v := r.Judge()[0]
			assert.Equal(t, c.outcome, v.Outcome)
			assert.InDelta(t, c.median, v.Ratio.Median, 1e-9)
			assert.Equal(t, c.trial, v.Trial)
			assert.Equal(t, c.quiet, v.Reported)
		})
	}
}

// TestDevice: a bar that the device does not allow is not judged; how much it must allow follows from the rate asked, that
// is, the other side's times the bound.
func TestDevice(t *testing.T) {
	r := &Result{
		SecondsARound: 10,
		Rounds:        map[string][]Figures{"firn flush": rounds(MBPerSecond, times(9, 250)...), "kafka flush": rounds(MBPerSecond, times(9, 200)...)},
		Bars:          []Bar{{Figure: MBPerSecond, Side: "firn flush", Beside: "kafka flush", AtLeast: 1.5, Device: true}},
	}
	r.Device = times(9, 374) // asked: 300, so 375 are needed
	assert.Equal(t, TooSlow, r.Judge()[0].Outcome)
	assert.Contains(t, r.Judge()[0].Text(), "(1.247 of what the bar asks; 1.25 needed)")
	assert.Contains(t, r.Judge()[0].Text(), "by the ratio alone not met", "a bar that is missed does not vanish")
	r.Rounds["firn flush"] = rounds(MBPerSecond, times(9, 301)...)
	assert.Equal(t, TooSlow, r.Judge()[0].Outcome)
	assert.Equal(t, Met, r.Judge()[0].Alone)
	r.Rounds["firn flush"] = rounds(MBPerSecond, times(9, 250)...)
	r.Device = times(9, 375)
	assert.Empty(t, r.Judge()[0].Alone)
	assert.Equal(t, NotMet, r.Judge()[0].Outcome)
	r.Rounds["firn flush"] = rounds(MBPerSecond, times(9, 300)...)
	assert.Equal(t, Met, r.Judge()[0].Outcome)
}

// TestShortRoundsAreTrials, however many there are.
func TestShortRoundsAreTrials(t *testing.T) {
	r := &Result{Rounds: map[string][]Figures{"firn": rounds("MB", times(9, 50)...)}, Bars: []Bar{{Figure: "MB", Side: "firn", AtMost: 64}}}
	for seconds, trial := range map[float64]bool{1: true, 9.9: true, 10: false, 60: false} {
		r.SecondsARound = seconds
		assert.Equal(t, trial, r.Judge()[0].Trial, seconds)
	}
}

// TestTrialsTellWhy: of what there was too little.
func TestTrialsTellWhy(t *testing.T) {
	for _, c := range []struct {
		alternations int
		seconds      float64
		text         string
	}{
		{9, 10, "met"},
		{8, 10, "met (trial of 8)"},
		{9, 9.9, "met (trial of 9, of rounds shorter than 10 s)"},
		{1, 1, "met (trial of 1, of rounds shorter than 10 s)"},
		{0, 1, "not run"},
	} {
		r := &Result{SecondsARound: c.seconds, Rounds: map[string][]Figures{"firn": rounds("MB", times(c.alternations, 50)...)},
			Bars: []Bar{{Figure: "MB", Side: "firn", AtMost: 64}}}
		assert.Equal(t, c.text, r.Judge()[0].Text())
	}
}

// TestVerdictsTellWhatTheyAreWorth: how much was stolen, where the bench itself says that it is too much, and whose bound it is.
func TestVerdictsTellWhatTheyAreWorth(t *testing.T) {
	r := &Result{
		SecondsARound: 10,
		Rounds:        map[string][]Figures{"firn": rounds("MB", times(9, 50)...)},
		Bars:          []Bar{{Figure: "MB", Side: "firn", AtMost: 64}, {Figure: "MB", Side: "firn", AtMost: 64, Own: true}},
	}
	r.Stolen = []float64{MostStolen, MostStolen, MostStolen, MostStolen, MostStolen, 0.9, 0.9, 0.9, 0.9}
	assert.Equal(t, "met", r.Judge()[0].Text())
	assert.Equal(t, "met, a bound of the bench's own", r.Judge()[1].Text())
	r.Stolen = []float64{0, 0, 0, 0, 0.061, 0.9, 0.9, 0.9, 0.9}
	assert.Equal(t, "met, with 6.1% of CPU time stolen", r.Judge()[0].Text())
}

// TestDeviceTakesWhatIsSent: of compressed batches it is asked to write what they are on the wire, in what is read back
// from a file, too.
func TestDeviceTakesWhatIsSent(t *testing.T) {
	of := func(rate float64) (all []Figures) {
		for range 9 {
			all = append(all, Figures{MBPerSecond: rate, WirePerByte: 0.25})
		}
		return all
	}
	measured := &Result{
		SecondsARound: 10,
		Rounds:        map[string][]Figures{"firn flush": of(1000), "kafka flush": of(800)},
		Bars:          []Bar{{Figure: MBPerSecond, Side: "firn flush", Beside: "kafka flush", AtLeast: 1.5, Device: true}},
	}
	for device, want := range map[float64]Outcome{374: TooSlow, 375: NotMet} { // asked: 1200, which is 300 to be written
		measured.Device = times(9, device)
		text, err := json.Marshal(measured)
		require.NoError(t, err)
		r := &Result{}
		require.NoError(t, json.Unmarshal(text, r))
		assert.Equal(t, want, r.Judge()[0].Outcome)
	}
}

func TestBarReads(t *testing.T) {
	assert.Equal(t, "CPU-s/GB of firn flush ÷ kafka flush ≤ 0.6", Bar{Figure: CPUPerGB, Side: "firn flush", Beside: "kafka flush", AtMost: 0.6}.String())
	assert.Equal(t, "s of firn ≤ 0.5, every time", Bar{Figure: Seconds, Side: "firn", AtMost: 0.5, Every: true}.String())
	assert.Equal(t, "MB/s of a ÷ b ≥ 1.5, where the device allows it", Bar{Figure: MBPerSecond, Side: "a", Beside: "b", AtLeast: 1.5, Device: true}.String())
	assert.Equal(t, "MB of firn ≤ 2953", Bar{Figure: "MB", Side: "firn", AtMost: 2952.79}.String())
}

func TestFiguresStandInOrder(t *testing.T) {
	r := &Result{Rounds: map[string][]Figures{"a": {{PeakMB: 1, "apples": 2}}, "b": {{MBPerSecond: 3, "Zebras": 1}}}}
	require.Equal(t, []Figure{MBPerSecond, PeakMB, "Zebras", "apples"}, r.Figures())
}
