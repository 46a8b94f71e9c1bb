package cold

import (
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/procfs"
)

// yielder lets cold reads go slower while producers write and the processors are busy, whoever keeps them so: a replay of
// years never slows a producer.
type yielder struct {
	producing func() bool // nil: never
	load      func() float64
	waited    prometheus.Counter // seconds
	sleep     func(time.Duration)

	mu       sync.Mutex
	pace     pace      // guarded by mu
	adjusted time.Time // guarded by mu
}

func newYielder(producing func() bool, waited prometheus.Counter) *yielder {
	return &yielder{producing: producing, load: newLoad().since, waited: waited, sleep: time.Sleep, pace: pace{rate: firstRate}}
}

// pass returns when it is the turn of n bytes that are read from the archive or sent from its cache.
func (y *yielder) pass(n int) {
	if y.producing == nil || n == 0 || !y.producing() {
		return
	}
	if wait := y.wait(int64(n), time.Now()); wait > 0 {
		y.waited.Add(wait.Seconds())
		y.sleep(wait)
	}
}

func (y *yielder) wait(n int64, now time.Time) time.Duration {
	y.mu.Lock()
	defer y.mu.Unlock()
	switch passed := now.Sub(y.adjusted); {
	case passed > 10*adjustEvery: // nothing passed for a while: what the load was then says nothing
		y.load()
		y.pace.moved, y.adjusted = 0, now
	case passed >= adjustEvery:
		y.pace.adjust(y.load(), passed)
		y.adjusted = now
	}
	return y.pace.take(n, now)
}

// load tells how busy the processors are.
type load struct {
	fs        procfs.FS
	known     bool    // what the whole machine does
	busy, all float64 // seconds of all processors, up to the last call
	own       time.Duration
	at        time.Time
}

func newLoad() *load {
	l := new(load)
	var err error
	l.fs, err = procfs.NewDefaultFS()
	l.known = err == nil
	return l
}

// since is the part of the processors' time that was in use since the last call: the machine's, by whomever, or what this
// process used of what it may use (a container may have less than the machine), whichever is more.
func (l *load) since() float64 {
	return max(l.machine(), l.process())
}

// machine is 0 where the kernel does not tell.
func (l *load) machine() float64 {
	if !l.known {
		return 0
	}
	stat, err := l.fs.Stat()
	if err != nil {
		l.known = false
		return 0
	}
	c := stat.CPUTotal
	busy := c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal
	all := busy + c.Idle + c.Iowait
	b, a := busy-l.busy, all-l.all
	l.busy, l.all = busy, all
	if a <= 0 {
		return 0
	}
	return b / a
}

func (l *load) process() float64 {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	own, now := time.Duration(r.Utime.Nano()+r.Stime.Nano()), time.Now()
	used, passed := own-l.own, now.Sub(l.at)
	l.own, l.at = own, now
	return used.Seconds() / passed.Seconds() / float64(runtime.GOMAXPROCS(0))
}
