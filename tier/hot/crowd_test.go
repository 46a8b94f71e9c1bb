package hot

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// crowd counts how many are at a place at once. It holds them there until as many have come as may be, or never will.
type crowd struct {
	want int
	full chan struct{}
	open func() // closes full, once

	mu        sync.Mutex
	now, most int
}

func newCrowd(t *testing.T, want int) *crowd {
	c := &crowd{want: want, full: make(chan struct{})}
	c.open = sync.OnceFunc(func() { close(c.full) })
	late := time.AfterFunc(10*time.Second, c.open)
	t.Cleanup(func() { late.Stop() })
	return c
}

// pass comes to the place, waits there, and goes on.
func (c *crowd) pass() {
	c.count(1)
	<-c.full
	for range 1000 {
		runtime.Gosched() // whoever may come at the same time comes
	}
	c.count(-1)
}

func (c *crowd) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += n
	c.most = max(c.most, c.now)
	if c.now == c.want {
		c.open()
	}
}
