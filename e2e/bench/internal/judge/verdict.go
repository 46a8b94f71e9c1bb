package judge

import (
	"fmt"
	"strconv"
)

// Outcome is what becomes of a bar.
type Outcome string

// The outcomes.
const (
	Met        Outcome = "met"             // the median meets it
	NotDecided Outcome = "not decided"     // the median misses it, and the middle half lies on both sides of it
	NotMet     Outcome = "not met"         // the median misses it, and the middle half does too
	TooSlow    Outcome = "device too slow" // the device does not allow what the bar asks
	NotRun     Outcome = "not run"         // there are no rounds to judge by
)

// Verdict is a bar judged.
type Verdict struct {
	Bar     Bar     `json:"bar"`
	Outcome Outcome `json:"outcome"`
	// Ratio is of Side ÷ Beside, each pair from one alternation; for an absolute bar, of the values themselves.
	Ratio Spread `json:"ratio"`
	// Device is of the device's rate ÷ the rate that the bar asks, both of bytes as they are written, for a bar that
	// depends on it.
	Device *Spread `json:"device,omitempty"`
	// Alone is what becomes of the bar by its ratio alone, where the device is too slow.
	Alone Outcome `json:"alone,omitempty"`
	// Reported: the bar is of throughput, which decides nothing.
	Reported bool `json:"reported,omitempty"`
	// Trial: there were fewer alternations than a verdict needs, or shorter rounds.
	Trial bool `json:"trial,omitempty"`
	// Short: it is a trial because the rounds were shorter than a verdict needs, or for that, too.
	Short bool `json:"short,omitempty"`
	// Stolen is the median of what was stolen during the case's alternations, where that is more than MostStolen; else 0.
	Stolen float64 `json:"stolen,omitempty"`
}

// Judge judges all bars of the case.
func (r *Result) Judge() []Verdict {
	var all []Verdict
	for _, b := range r.Bars {
		all = append(all, b.judge(r))
	}
	return all
}

func (b Bar) judge(r *Result) Verdict {
	v := Verdict{Bar: b, Reported: b.Figure.Throughput()}
	ratios, device := b.ratios(r)
	v.Ratio = SpreadOf(ratios)
	if v.Ratio.N == 0 {
		v.Outcome = NotRun
		return v
	}
	v.Short = r.SecondsARound < EnoughSeconds
	v.Trial = v.Ratio.N < Enough || v.Short
	v.Outcome = b.outcome(v.Ratio)
	if s := SpreadOf(r.Stolen).Median; s > MostStolen {
		v.Stolen = s
	}
	if b.Device {
		d := SpreadOf(device)
		v.Device = &d
		if d.Median < DeviceMargin {
			v.Outcome, v.Alone = TooSlow, v.Outcome
		}
	}
	return v
}

// outcome is what the ratios come to.
func (b Bar) outcome(s Spread) Outcome {
	switch {
	case b.Every && b.meets(s.Min) && b.meets(s.Max), !b.Every && b.meets(s.Median):
		return Met
	case !b.Every && b.meets(s.Q1) != b.meets(s.Q3):
		return NotDecided
	}
	return NotMet
}

// ratios pairs the rounds of each alternation. An alternation where one of the two is missing or zero is left out.
func (b Bar) ratios(r *Result) (ratios, device []float64) {
	others := r.Rounds[b.Beside]
	for i, round := range r.Rounds[b.Side] {
		mine, ok := round[b.Figure]
		if !ok {
			continue
		}
		if b.Beside == "" {
			ratios = append(ratios, mine)
			continue
		}
		if i >= len(others) || others[i][b.Figure] <= 0 {
			continue
		}
		ratios = append(ratios, mine/others[i][b.Figure])
		if i < len(r.Device) {
			device = append(device, r.Device[i]/(b.bound()*others[i][b.Figure]*onWire(round)))
		}
	}
	return ratios, device
}

// onWire is how many bytes a round's load sent, and its server wrote, for each that its figures count.
func onWire(round Figures) float64 {
	if w := round[WirePerByte]; w > 0 {
		return w
	}
	return 1
}

func (b Bar) bound() float64 {
	if b.AtLeast != 0 {
		return b.AtLeast
	}
	return b.AtMost
}

func (b Bar) meets(x float64) bool {
	if b.AtLeast != 0 {
		return x >= b.AtLeast
	}
	return x <= b.AtMost
}

// String is the bar as the report names it.
func (b Bar) String() string {
	s := string(b.Figure) + " of " + b.Side
	if b.Beside != "" {
		s += " ÷ " + b.Beside
	}
	if b.AtLeast != 0 {
		s += " ≥ "
	} else {
		s += " ≤ "
	}
	if n := b.bound(); n >= 999.5 {
		s += strconv.FormatFloat(n, 'f', 0, 64)
	} else {
		s += strconv.FormatFloat(n, 'g', 3, 64)
	}
	if b.Every {
		s += ", every time"
	}
	if b.Device {
		s += ", where the device allows it"
	}
	return s
}

// Share is how the median stands to the bound: above 1 the bar is met, by how much is the same for both kinds of bound.
func (v Verdict) Share(x float64) float64 {
	if v.Bar.AtLeast != 0 {
		return x / v.Bar.AtLeast
	}
	if x == 0 {
		return 1000
	}
	return v.Bar.AtMost / x
}

// Text is the outcome with what it is worth.
func (v Verdict) Text() string {
	s := string(v.Outcome)
	if v.Outcome == TooSlow {
		s = fmt.Sprintf("%s (%.3f of what the bar asks; %g needed), by the ratio alone %s", s, v.Device.Median, DeviceMargin, v.Alone)
	}
	switch {
	case v.Short:
		s += fmt.Sprintf(" (trial of %d, of rounds shorter than %d s)", v.Ratio.N, EnoughSeconds)
	case v.Trial:
		s += fmt.Sprintf(" (trial of %d)", v.Ratio.N)
	}
	if v.Reported {
		s += ", reported"
	}
	if v.Bar.Own {
		s += ", a bound of the bench's own"
	}
	if v.Stolen > 0 {
		s += fmt.Sprintf(", with %.1f%% of CPU time stolen", 100*v.Stolen)
	}
	return s
}
