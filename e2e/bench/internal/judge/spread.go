package judge

import (
	"math"
	"slices"
)

// Spread says how some values lie. Of no values it is all zero.
type Spread struct {
	N      int     `json:"n"`
	Min    float64 `json:"min"`
	Q1     float64 `json:"q1"` // between Q1 and Q3 lies the middle half
	Median float64 `json:"median"`
	Q3     float64 `json:"q3"`
	Max    float64 `json:"max"`
}

// SpreadOf looks at values; it leaves them as they are. Quartiles between two values are interpolated linearly.
func SpreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	v := slices.Sorted(slices.Values(values))
	return Spread{N: len(v), Min: v[0], Q1: at(v, 0.25), Median: at(v, 0.5), Q3: at(v, 0.75), Max: v[len(v)-1]}
}

func at(sorted []float64, q float64) float64 {
	pos := q * float64(len(sorted)-1)
	below := math.Floor(pos)
	i := int(below)
	if i+1 >= len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (pos-below)*(sorted[i+1]-sorted[i])
}
