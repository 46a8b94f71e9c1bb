package lanes

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// So many and no more are on their way at once, and all are through when they were waited for.
func TestLanes(t *testing.T) {
	const most, all = 3, 10
	synctest.Test(t, func(t *testing.T) {
		l := New(most)
		var now, done atomic.Int32
		for range all {
			l.Go(func() {
				if n := now.Add(1); n > most {
					t.Errorf("%d at once", n)
				}
				time.Sleep(time.Second)
				now.Add(-1)
				done.Add(1)
			})
		}
		began := time.Now()
		l.Wait()
		if done.Load() != all || time.Since(began) != time.Second {
			t.Errorf("%d are through, after %v", done.Load(), time.Since(began))
		}
	})
}

func boom() { panic("boom") }

// I-32: a panic is told where the lanes are waited for, with where it was, when the others are through.
func TestPanicIsTheCallers(t *testing.T) {
	l := New(1)
	var done atomic.Int32
	l.Go(boom)
	for range 5 {
		l.Go(func() { done.Add(1) })
	}
	defer func() {
		p, ok := recover().(*Panic)
		if !ok || p.Value != "boom" || !strings.Contains(p.Error(), "lanes.boom") {
			t.Errorf("panicked with %v", p)
		}
		if done.Load() != 5 {
			t.Errorf("%d of 5 others are through", done.Load())
		}
	}()
	l.Wait()
	t.Error("nobody was told")
}
