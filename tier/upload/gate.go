package upload

import (
	"container/heap"
	"errors"
	"time"

	"github.com/firnlog/firn/tier/object"
)

// gate keeps all partitions from hammering a store that fails or throttles: after a failure it closes for a
// growing, jittered while, and then lets one job at a time through until one succeeds.
type gate struct {
	min, max time.Duration
	rand     func() float64
	failures int       // in a row, all partitions together
	until    time.Time // closed until then
}

// open tells whether a job may start now that active others run.
func (g *gate) open(now time.Time, active int) bool {
	return g.failures == 0 || active == 0 && !now.Before(g.until)
}

func (g *gate) failed(now time.Time) {
	g.failures++
	g.until = now.Add(backoff(g.failures, g.min, g.max, g.rand))
}

func (g *gate) succeeded() { g.failures, g.until = 0, time.Time{} }

// backoff is the pause after the n-th failure in a row: doubled each time, half of it random, so that partitions
// and brokers that failed together do not come back together.
func backoff(n int, shortest, longest time.Duration, rnd func() float64) time.Duration {
	d := shortest
	for i := 1; i < n && d < longest; i++ {
		d *= 2
	}
	d = min(d, longest)
	return d/2 + time.Duration(rnd()*float64(d/2))
}

// storeFault tells whether an error is the store's as a whole rather than one partition's or object's.
func storeFault(err error) bool {
	return errors.Is(err, object.ErrThrottled) || errors.Is(err, object.ErrUnavailable) ||
		errors.Is(err, object.ErrDenied) || errors.Is(err, object.ErrNoBucket)
}

// timerHeap orders handles by due time; each knows its slot. It implements heap.Interface.
type timerHeap []*Handle

func (t timerHeap) Len() int           { return len(t) }
func (t timerHeap) Less(i, j int) bool { return t[i].due.Before(t[j].due) }
func (t timerHeap) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].slot, t[j].slot = i, j
}

// Push implements heap.Interface; use put.
func (t *timerHeap) Push(x any) {
	h := x.(*Handle)
	h.slot = len(*t)
	*t = append(*t, h)
}

// Pop implements heap.Interface; use remove.
func (t *timerHeap) Pop() any {
	old := *t
	h := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	h.slot = -1
	return h
}

func (t *timerHeap) put(h *Handle) {
	if h.slot >= 0 {
		heap.Fix(t, h.slot)
		return
	}
	heap.Push(t, h)
}

func (t *timerHeap) remove(h *Handle) {
	if h.slot >= 0 {
		heap.Remove(t, h.slot)
	}
}
