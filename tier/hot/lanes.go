package hot

import (
	"errors"
	"sync"
	"sync/atomic"
)

// diskLanes is how many logs are seen to at once where each may have to wait for the disk.
const diskLanes = 16

// lanes calls fn for every item, n at once; 1 is in order. It returns all errors.
func lanes[T any](n int, items []T, fn func(T) error) error {
	var (
		wg   sync.WaitGroup
		next atomic.Int64
		mu   sync.Mutex
		errs error
	)
	for range min(n, len(items)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(items)); i = next.Add(1) - 1 {
				if err := fn(items[i]); err != nil {
					mu.Lock()
					errs = errors.Join(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return errs
}

// lanes is how many of them there are in this directory.
func (d *Dir) lanes() int {
	if d.o.journalInline {
		return 1
	}
	return diskLanes
}
