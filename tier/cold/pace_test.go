package cold

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
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

func TestTurnsAreForProducersOnly(t *testing.T) {
	producing := false
	y := newYielder(func() bool { return producing })
	y.load = func() float64 { return 1 }
	for range 1000 {
		require.Zero(t, y.turn(&y.fills, 1<<30))
	}
	producing = true
	y.turn(&y.fills, 1<<30)
	assert.Zero(t, y.turn(&y.answers, 1), "answers and fills do not wait for each other")
	assert.InDelta(t, longestPause.Seconds(), y.turn(&y.fills, 1).Seconds(), 0.5)
	assert.Zero(t, newYielder(nil).turn(&y.fills, 1<<30))
}

// The rate follows the load that goes by while bytes pass.
func TestTurnsFollowTheLoad(t *testing.T) {
	y := newYielder(func() bool { return true })
	load, asked := 1.0, 0
	y.load = func() float64 { asked++; return load }
	y.turn(&y.fills, 1<<20)
	require.Equal(t, 1, asked, "what was before is not counted")
	require.InDelta(t, firstRate, y.fills.rate, 0)
	y.adjusted = y.adjusted.Add(-adjustEvery)
	y.turn(&y.fills, 1<<20)
	require.Equal(t, 2, asked)
	require.Less(t, y.fills.rate, float64(firstRate))
	slow := y.fills.rate
	load = 0
	y.fills.moved = 1 << 40
	y.adjusted = y.adjusted.Add(-adjustEvery)
	y.turn(&y.fills, 1<<20)
	require.Greater(t, y.fills.rate, slow)
}

func TestLoad(t *testing.T) {
	type moment struct {
		busy, all float64
		own       time.Duration
	}
	for name, c := range map[string]struct {
		to      moment
		unknown bool
		allowed int
		want    float64
	}{
		"idle":                       {moment{0, 8, 0}, false, 4, 0},
		"others are busy":            {moment{6, 8, 0}, false, 4, 0.75},
		"of a part of the machine":   {moment{2, 8, 2 * time.Second}, false, 1, 1},
		"this process is":            {moment{6, 8, 6 * time.Second}, false, 4, 0.75},
		"the kernel does not tell":   {moment{6, 8, 4 * time.Second}, true, 4, 0.5},
		"the kernel's clock is slow": {moment{0, 0, 4 * time.Second}, false, 4, 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			at, now := moment{busy: 100, all: 1000, own: time.Minute}, noon
			l := &load{allowed: func() int { return c.allowed }, now: func() time.Time { return now },
				machine: func() (float64, float64, bool) { return at.busy, at.all, !c.unknown },
				own:     func() time.Duration { return at.own }}
			l.since()
			at, now = moment{at.busy + c.to.busy, at.all + c.to.all, at.own + c.to.own}, noon.Add(2*time.Second)
			assert.InDelta(t, c.want, l.since(), 1e-9)
		})
	}
}

// What the kernel tells is read: a busy loop is seen, and so is its end.
func TestLoadOfThisMachine(t *testing.T) {
	l := newLoad()
	_, all, ok := l.machine()
	require.Equal(t, runtime.GOOS == "linux", ok)
	if ok {
		require.Positive(t, all)
	}
	before := l.own()
	for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); { // keeps a processor busy
	}
	require.Greater(t, l.own(), before)
}

// As many fills as there are processors use one at a time, and half as many while producers write.
func TestFillsLeaveProducersHalfOfTheProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	var producing atomic.Bool
	r, err := New(Options{FS: disk.NewCrashable(1), CacheDir: "/cache", Producing: producing.Load})
	require.NoError(t, err)
	for _, c := range []struct {
		producing bool
		places    int
	}{{false, 4}, {true, 2}} {
		producing.Store(c.producing)
		began := make(chan bool, 5)
		for range 5 {
			go func() { began <- r.begin() }()
		}
		for range c.places {
			require.Equal(t, c.producing, <-began)
		}
		require.Never(t, func() bool { return len(began) > 0 }, 20*time.Millisecond, time.Millisecond)
		for left := 5; left > 0; left-- {
			r.end(c.producing)
			if left > c.places {
				<-began
			}
		}
		require.Empty(t, r.working)
		require.Empty(t, r.modest)
	}
	require.NoError(t, r.Close())
}
