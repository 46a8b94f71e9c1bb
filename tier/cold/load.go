package cold

import (
	"runtime"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

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
