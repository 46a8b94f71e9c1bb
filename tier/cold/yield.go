package cold

import (
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// yielder lets cold reads go slower while producers write and the processors are busy, whoever keeps them so: a replay of
// years never slows a producer.
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

// load tells how busy the processors are, from one call to the next.
type load struct {
	// machine gives the seconds that all processors of the machine were busy for, of all that went by; false: not known.
	machine   func() (busy, all float64, ok bool)
	own       func() time.Duration // processors' time of this process
	allowed   func() int           // processors that it may use: a container may have less than the machine
	now       func() time.Time
	busy, all float64 // up to the last call, as all below
	used      time.Duration
	at        time.Time
}

func newLoad() *load {
	l := &load{own: ownTime, allowed: func() int { return runtime.GOMAXPROCS(0) }, now: time.Now}
	fs, err := procfs.NewDefaultFS()
	l.machine = func() (busy, all float64, ok bool) {
		if err != nil {
			return 0, 0, false
		}
		stat, err := fs.Stat()
		c := stat.CPUTotal
		busy = c.User + c.Nice + c.System + c.IRQ + c.SoftIRQ + c.Steal
		return busy, busy + c.Idle + c.Iowait, err == nil
	}
	return l
}

func ownTime() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// since is the part of the processors' time that was in use since the last call, from 0 to about 1: the machine's, by
// whomever, or what this process used of what it may use, whichever is more.
func (l *load) since() float64 {
	return max(l.ofMachine(), l.ofProcess())
}

func (l *load) ofMachine() float64 {
	busy, all, ok := l.machine()
	if !ok {
		return 0
	}
	b, a := busy-l.busy, all-l.all
	l.busy, l.all = busy, all
	if a <= 0 {
		return 0
	}
	return b / a
}

func (l *load) ofProcess() float64 {
	used, now := l.own(), l.now()
	u, passed := used-l.used, now.Sub(l.at)
	l.used, l.at = used, now
	if passed <= 0 {
		return 0
	}
	return u.Seconds() / passed.Seconds() / float64(l.allowed())
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
	r.metrics.yielded.Add(wait.Seconds())
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.ctx.Done():
	}
}

// Turn tells how long an answer with n bytes of the archive should wait before it is sent, at most a second: not at all
// unless producers write and the machine is busy. The bytes are taken to be sent then.
func (r *Reader) Turn(n int) time.Duration {
	wait := r.yielder.turn(&r.yielder.answers, n)
	r.metrics.yielded.Add(wait.Seconds())
	return wait
}
