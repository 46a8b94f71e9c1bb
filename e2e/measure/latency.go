package measure

import (
	"math"
	"slices"
	"time"
)

// Latencies are single measurements. The zero value is empty; not for concurrent use.
type Latencies struct {
	all    []time.Duration
	sorted bool
}

// Add takes one more.
func (l *Latencies) Add(d time.Duration) { l.all, l.sorted = append(l.all, d), false }

// Merge takes over those of others.
func (l *Latencies) Merge(others ...*Latencies) {
	for _, o := range others {
		l.all = append(l.all, o.all...)
	}
	l.sorted = false
}

// Len is how many there are.
func (l *Latencies) Len() int { return len(l.all) }

// Quantile is the smallest measurement that at least the share q of all (0 < q ≤ 1) do not exceed; 0 if there are none.
func (l *Latencies) Quantile(q float64) time.Duration {
	if len(l.all) == 0 {
		return 0
	}
	if !l.sorted {
		slices.Sort(l.all)
		l.sorted = true
	}
	i := int(math.Ceil(q*float64(len(l.all)))) - 1
	return l.all[min(max(i, 0), len(l.all)-1)]
}
