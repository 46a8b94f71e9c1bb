package cold

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var noon = time.Unix(1_700_000_000, 0)

func TestBytesPassAtTheRate(t *testing.T) {
	p := pace{rate: 100 << 20}
	now := noon
	var passed int64
	for now.Before(noon.Add(10 * time.Second)) {
		now = now.Add(p.take(1<<20, now))
		passed += 1 << 20
	}
	assert.InDelta(t, 1000<<20, passed, 2<<20)
}

func TestNothingWaitsForMissedTurns(t *testing.T) {
	p := pace{rate: 1 << 20}
	p.take(1<<20, noon)
	assert.Zero(t, p.take(1, noon.Add(time.Hour)), "who comes late does not wait")
	assert.LessOrEqual(t, p.take(1, noon.Add(time.Hour)), time.Second/1000, "nor is the hour made up for")
}

func TestNoPauseIsLong(t *testing.T) {
	p := pace{rate: leastRate}
	longest := time.Duration(0)
	for range 1000 { // many at once
		longest = max(longest, p.take(64<<20, noon))
	}
	assert.Equal(t, longestPause, longest)
}

// reader goes as fast as the pace lets it and as its store does; each byte a second costs the processors something.
type reader struct {
	pace  pace
	store float64 // bytes a second
	cost  float64 // processors' time for a byte
}

// went lets some time pass beside producers that take their part of the processors, and gives the load that it ended with.
func (r *reader) went(ticks int, producers float64) (load float64) {
	for range ticks {
		speed := min(r.pace.rate, r.store, (1-producers)/r.cost)
		r.pace.moved = int64(speed * adjustEvery.Seconds())
		load = min(producers+speed*r.cost, 1)
		r.pace.adjust(load, adjustEvery)
	}
	return load
}

func TestReadersFillWhatProducersLeave(t *testing.T) {
	const gb = 1e9
	for name, x := range map[string]struct{ producers, want float64 }{
		"producers do little": {0.05, calm}, "and more": {0.5, calm}, "and all": {1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := reader{pace: pace{rate: firstRate}, store: 10 * gb, cost: 0.5 / gb}
			assert.InDelta(t, x.want, r.went(50, x.producers), 0.02)
			if x.producers == 1 {
				assert.InDelta(t, leastRate, r.pace.rate, 1)
			}
		})
	}
}

func TestRateFollowsTheLoad(t *testing.T) {
	const gb = 1e9
	r := reader{pace: pace{rate: firstRate}, store: 10 * gb, cost: 0.5 / gb}
	r.went(50, 0.05)
	fast := r.pace.rate
	r.went(10, 0.95)
	assert.InDelta(t, leastRate, r.pace.rate, 1, "producers came, and within a second it is slow")
	r.went(50, 0.05)
	assert.InEpsilon(t, fast, r.pace.rate, 0.05, "they went")
}

// A store that is slower than the rate must not let the rate grow without end: when producers come it would take long to
// have an effect.
func TestRateDoesNotRunAway(t *testing.T) {
	const gb = 1e9
	r := reader{pace: pace{rate: firstRate}, store: 0.2 * gb, cost: 0.5 / gb}
	r.went(1000, 0.05)
	assert.Less(t, r.pace.rate, 4*r.store)
	r.went(3, 0.95)
	assert.Less(t, r.pace.rate, r.store/2)
}

func TestPassYieldsToProducersOnly(t *testing.T) {
	var slept time.Duration
	producing := false
	y := newYielder(func() bool { return producing }, newMetrics(nil, &Reader{}).yielded)
	y.load = func() float64 { return 1 }
	y.sleep = func(d time.Duration) { slept += d }
	for range 1000 {
		y.pass(1 << 30)
	}
	require.Zero(t, slept)
	producing = true
	y.pass(1 << 30)
	y.pass(1)
	assert.InDelta(t, longestPause.Seconds(), slept.Seconds(), 0.05)
}

func TestLoadOfThisMachine(t *testing.T) {
	l := newLoad()
	l.since()
	end := time.Now().Add(200 * time.Millisecond)
	for time.Now().Before(end) { // keeps a processor busy
	}
	got := l.since()
	assert.Positive(t, got)
	assert.LessOrEqual(t, got, 1.5)
}
