package server

import "time"

// pauseStep is the shortest pause that a rate is held down with: what is owed for less is owed on, because a timer
// costs more than the few requests that it would hold back.
const pauseStep = time.Millisecond

// bucket holds the tokens of a rate: it fills up to a second's worth, at least one. The zero bucket is full.
type bucket struct {
	tokens float64
	at     time.Time
}

// take takes one token at time now, of `rate` a second, and returns how long to pause before the next. A rate that is
// not positive is no limit.
func (b *bucket) take(now time.Time, rate float64) time.Duration {
	if rate <= 0 {
		return 0
	}
	b.tokens = min(max(rate, 1), b.tokens+now.Sub(b.at).Seconds()*rate) - 1
	b.at = now
	if b.tokens >= 0 {
		return 0
	}
	if wait := time.Duration(-b.tokens / rate * float64(time.Second)); wait >= pauseStep {
		return wait
	}
	return 0
}
