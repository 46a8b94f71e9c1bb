package flush

import "sync"

// syncAll has each log sync its own files, some at once, and returns when all have, or the first error.
func syncAll(dirty []Log, parallel int) error {
	if len(dirty) == 1 {
		return dirty[0].Sync() // the common case under light load: no goroutine
	}
	var (
		mu    sync.Mutex
		next  int
		first error
		wg    sync.WaitGroup
	)
	work := func() {
		for {
			mu.Lock()
			if next == len(dirty) || first != nil {
				mu.Unlock()
				return
			}
			l := dirty[next]
			next++
			mu.Unlock()
			if err := l.Sync(); err != nil {
				mu.Lock()
				if first == nil {
					first = err
				}
				mu.Unlock()
			}
		}
	}
	for range min(parallel, len(dirty)) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	return first
}
