package cold

import "time"

const (
	// calm is the part of the processors' time up to which cold reads may fill it while producers write. What is left
	// is there when a producer's request comes: beyond it, requests begin to queue for a processor.
	calm = 0.65

	firstRate = 256 << 20 // bytes a second
	leastRate = 16 << 20
	mostRate  = 64 << 30

	// longestPause bounds how long bytes may wait for their turn, whatever the rate: an answer a second for each consumer,
	// which is slow beside producers, never stands still, and outlasts no client's patience.
	longestPause = time.Second
	// adjustEvery is how often the rate follows the load: the kernel counts in steps of 10 ms.
	adjustEvery = 100 * time.Millisecond
)

// pace is how fast cold reads may go. Bytes pass one after another at the rate, which falls while the processors are
// busier than calm and rises while they are less. It is pure; the caller locks.
type pace struct {
	rate  float64   // bytes a second
	next  time.Time // when the next bytes may pass
	moved int64     // bytes since the last adjust
}

// take gives n bytes their turn: it tells how long they have to wait for it.
func (p *pace) take(n int64, now time.Time) time.Duration {
	p.moved += n
	if p.next.Before(now) {
		p.next = now
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	if latest := now.Add(longestPause); p.next.After(latest) {
		p.next = latest
	}
	return wait
}

// adjust makes the rate follow the part of the processors' time that was in use since the last call, from 0 to 1.
// A rate that nobody used up does not rise: it would say nothing when it is needed.
func (p *pace) adjust(load float64, passed time.Duration) {
	went := float64(p.moved) / passed.Seconds()
	p.moved = 0
	switch {
	case load > calm:
		p.rate = min(p.rate, went) * max(calm/load, 0.5)
	case went >= p.rate/2:
		p.rate *= 1 + (calm - load)
	}
	p.rate = min(max(p.rate, leastRate), mostRate)
}
