package judge

import (
	"slices"

	"github.com/firnlog/firn/e2e/bench/internal/profile"
)

// Result is what the rounds of a case measured: all that its report is made of.
type Result struct {
	Case  string `json:"case"`
	About string `json:"about"`
	// Sides in the order in which the report names them.
	Sides []string `json:"sides"`
	// LeftOut are the case's other sides, which whoever ran it did not want.
	LeftOut []string `json:"leftOut,omitempty"`
	// Rounds of each side; those at the same index were of the same alternation.
	Rounds map[string][]Figures `json:"rounds"`
	// Device is the rate, in MB/s, at which the device took bytes with one fdatasync a MiB, by alternation: the mean of before
	// it and after it. Empty if no bar asks.
	Device []float64 `json:"deviceMBPerSecond,omitempty"`
	// Stolen is the share of CPU time, 0 to 1, that the machine's host took away during each alternation; empty where that
	// is not known. Repeated is how often one was done again because that was more than MostStolen.
	Stolen   []float64 `json:"stolen,omitempty"`
	Repeated int       `json:"repeated,omitempty"`
	// Dropped are the alternations that were done and are not among Rounds, in the order in which that was decided.
	Dropped []Dropped `json:"dropped,omitempty"`
	Bars    []Bar     `json:"bars,omitempty"`
	// Fdatasync are the device's latencies of one write of 4 KiB with fdatasync, measured between the rounds.
	Fdatasync *Sync `json:"fdatasync,omitempty"`
	// Profiles are of sides of firn's, each of one more round that is not among Rounds.
	Profiles      []Profile `json:"profiles,omitempty"`
	SecondsARound float64   `json:"secondsARound"` // at least
	Commit        string    `json:"commit"`        // of firn
	Error         string    `json:"error,omitempty"`
}

// Dropped is an alternation whose figures count for nothing, because another one that was done in its place had less time
// stolen. It is kept so that nothing that was measured is gone.
type Dropped struct {
	Alternation int                `json:"alternation"` // whose place it had or was to have, from 1
	Stolen      float64            `json:"stolen"`
	Device      float64            `json:"deviceMBPerSecond,omitempty"`
	Fdatasync   *Sync              `json:"fdatasync,omitempty"`
	Rounds      map[string]Figures `json:"rounds"` // by side
}

// Profile says where a side's CPU time went.
type Profile struct {
	Side    string          `json:"side"`
	Samples int             `json:"samples,omitempty"` // 0: not known
	Groups  []profile.Share `json:"groups"`            // the largest first
	Text    string          `json:"-"`                 // to read, functions among it
}

// Sync are latencies in milliseconds.
type Sync struct {
	P50 float64 `json:"p50ms"`
	P99 float64 `json:"p99ms"`
}

// Alternations is how many there were: of the side that has the most rounds.
func (r *Result) Alternations() int {
	n := 0
	for _, rounds := range r.Rounds {
		n = max(n, len(rounds))
	}
	return n
}

// Values are those of one figure of one side, of the rounds that have it.
func (r *Result) Values(side string, f Figure) []float64 {
	var v []float64
	for _, round := range r.Rounds[side] {
		if x, ok := round[f]; ok {
			v = append(v, x)
		}
	}
	return v
}

// Figures are all that some side has, in the order in which columns stand.
func (r *Result) Figures() []Figure {
	has := map[Figure]bool{}
	for _, rounds := range r.Rounds {
		for _, round := range rounds {
			for f := range round {
				has[f] = true
			}
		}
	}
	var list, more []Figure
	for _, f := range Order {
		if has[f] {
			list = append(list, f)
			delete(has, f)
		}
	}
	for f := range has {
		more = append(more, f)
	}
	slices.Sort(more)
	return append(list, more...)
}
