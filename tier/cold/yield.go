package cold

import (
	"sync"
	"time"
)

// yielder lets cold reads go slower while producers write and the processors are busy, whoever keeps them so: a replay of
// years takes little from a producer.
type yielder struct {
	producing func() bool // nil: never
	load      func() float64

	mu       sync.Mutex
	fills    pace      // of what comes from the archive; guarded by mu
	answers  pace      // of what goes to consumers; guarded by mu
	adjusted time.Time // guarded by mu
}

func newYielder(producing func() bool) *yielder {
	return &yielder{producing: producing, load: newLoad().since, fills: pace{rate: firstRate}, answers: pace{rate: firstRate}}
}

// turn tells how long n bytes are to wait for their turn.
func (y *yielder) turn(p *pace, n int) time.Duration {
	if y.producing == nil || n == 0 || !y.producing() {
		return 0
	}
	now := time.Now()
	y.mu.Lock()
	defer y.mu.Unlock()
	switch passed := now.Sub(y.adjusted); {
	case passed > 10*adjustEvery: // nothing passed for a while: what the load was then says nothing
		y.load()
		y.fills.moved, y.answers.moved, y.adjusted = 0, 0, now
	case passed >= adjustEvery:
		load := y.load()
		y.fills.adjust(load, passed)
		y.answers.adjust(load, passed)
		y.adjusted = now
	}
	return p.take(int64(n), now)
}

// yield lets n bytes of a group that come from the archive wait for their turn, unless somebody waits for them: what is read
// ahead waits the longer.
func (r *Reader) yield(g *group, n int) {
	wait := r.yielder.turn(&r.yielder.fills, n)
	if wait == 0 {
		return
	}
	r.mu.Lock()
	wanted := g.pins > 0
	r.mu.Unlock()
	if wanted {
		return
	}
	began := time.Now()
	t := time.NewTimer(wait)
	defer t.Stop()
	defer func() { r.Yielded(time.Since(began)) }()
	select {
	case <-t.C:
	case <-r.ctx.Done():
	}
}

// Turn tells how long an answer with n bytes of the archive should wait before it is sent, at most a second: not at all
// unless producers write and the machine is busy. The bytes are taken to be sent then. Whoever waits says so with Yielded.
func (r *Reader) Turn(n int) time.Duration { return r.yielder.turn(&r.yielder.answers, n) }

// Yielded counts time that was spent waiting for a turn.
func (r *Reader) Yielded(d time.Duration) { r.metrics.yielded.Add(d.Seconds()) }
