// Package lanes does things side by side for somebody who waits for them: so many at once, and what panics in one of them panics
// where they are waited for.
//
// A panic in a goroutine ends the process, whatever those have deferred who started it. One in a request's handler ends the
// connection and no more (I-32), and so it does below a handler that starts goroutines here.
package lanes

import (
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Lanes are the goroutines of one caller.
type Lanes struct {
	places   chan struct{}
	all      sync.WaitGroup
	panicked atomic.Pointer[Panic]
}

// New makes lanes for so many at once.
func New(most int) *Lanes { return &Lanes{places: make(chan struct{}, most)} }

// Go calls fn on a goroutine of its own, once there is a place for it.
func (l *Lanes) Go(fn func()) {
	l.places <- struct{}{}
	l.all.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				l.panicked.CompareAndSwap(nil, &Panic{p, debug.Stack()})
			}
			<-l.places
		}()
		fn()
	})
}

// Wait waits for all. If one of them has panicked it panics, with a *Panic.
func (l *Lanes) Wait() {
	l.all.Wait()
	if p := l.panicked.Load(); p != nil {
		panic(p)
	}
}

// Panic is what the first of the lanes that panicked did so with, and where.
type Panic struct {
	Value any
	Stack []byte
}

func (p *Panic) Error() string { return fmt.Sprintf("%v, in\n%s", p.Value, p.Stack) }
