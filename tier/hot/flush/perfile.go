package flush

import "sync"

// PerFile is the Backend that lets each log sync its own files, at most parallel at once (at least one).
func PerFile(parallel int) Backend { return perFile(max(1, parallel)) }

type perFile int

func (n perFile) Flush(dirty []Log) error {
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
	for range min(int(n), len(dirty)) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	return first
}
