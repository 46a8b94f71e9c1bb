package hot

import "sync"

// runs lets concurrent callers share an expensive action that is the same for all, such as writing a checkpoint
// file: each call returns the outcome of a run that began after the call.
type runs struct {
	mu      sync.Mutex
	next    *run // waits for the one that runs
	running bool
}

type run struct {
	done chan struct{}
	err  error
}

func (r *runs) do(fn func() error) error {
	r.mu.Lock()
	mine := r.next
	if mine == nil {
		mine = &run{done: make(chan struct{})}
		r.next = mine
	}
	if r.running {
		r.mu.Unlock()
		<-mine.done
		return mine.err
	}
	r.running = true
	for r.next != nil {
		now := r.next
		r.next = nil
		r.mu.Unlock()
		now.err = fn()
		close(now.done)
		r.mu.Lock()
	}
	r.running = false
	r.mu.Unlock()
	return mine.err
}
