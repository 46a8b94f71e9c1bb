package coord

import (
	"container/heap"

	"github.com/firnlog/firn/broker/group"
)

// timers holds a shard's timers by when they are due. It is owned by the shard's goroutine.
type timers struct {
	byKey map[group.TimerKey]*timer
	due   dueHeap
}

type timer struct {
	key   group.TimerKey
	at    int64 // ms
	index int   // in the heap
}

func newTimers() *timers { return &timers{byKey: map[group.TimerKey]*timer{}} }

// apply sets or cancels.
func (t *timers) apply(changes []group.Timer) {
	for _, c := range changes {
		old := t.byKey[c.Key]
		switch {
		case c.Cancel && old != nil:
			heap.Remove(&t.due, old.index)
			delete(t.byKey, c.Key)
		case c.Cancel:
		case old != nil:
			old.at = c.At
			heap.Fix(&t.due, old.index)
		default:
			n := &timer{key: c.Key, at: c.At}
			t.byKey[c.Key] = n
			heap.Push(&t.due, n)
		}
	}
}

// next tells when the first timer is due.
func (t *timers) next() (at int64, ok bool) {
	if len(t.due) == 0 {
		return 0, false
	}
	return t.due[0].at, true
}

// pop takes the first timer that is due at now.
func (t *timers) pop(now int64) (group.TimerKey, bool) {
	if len(t.due) == 0 || t.due[0].at > now {
		return group.TimerKey{}, false
	}
	first := heap.Pop(&t.due).(*timer)
	delete(t.byKey, first.key)
	return first.key, true
}

type dueHeap []*timer

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
