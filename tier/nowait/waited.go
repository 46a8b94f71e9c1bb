package nowait

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	slow     = 4 * time.Millisecond // longer than a call takes that does not wait, unless its thread is put aside
	wary     = time.Second          // for so long after a call that was slow, those of files tell the scheduler
	wordSize = bits.UintSize
)

// files notes whether calls of files wait.
var files watch

// watch may be used concurrently.
type watch struct {
	until atomic.Int64 // since start, in ns
}

var start = time.Now()

// begin gives the time, for end, and whether a call has waited lately.
func (w *watch) begin() (now time.Duration, waits bool) {
	now = time.Since(start)
	return now, w.lately(now)
}

func (w *watch) lately(now time.Duration) bool { return int64(now) < w.until.Load() }

// end is told when the call began that ends now.
func (w *watch) end(began time.Duration) { w.took(began, time.Since(start)) }

func (w *watch) took(began, now time.Duration) {
	if now-began > slow {
		w.until.Store(int64(now + wary))
	}
}
