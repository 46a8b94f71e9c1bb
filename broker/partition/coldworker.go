package partition

import (
	"context"
	"fmt"
	"sync"

	"github.com/firnlog/firn/tier/ledger"
)

// coldJob is a read of one partition by a worker, and where its outcome goes. It may outlive its fetch.
type coldJob struct {
	to        *coldReads
	index     int // in the fetch
	partition *Partition
	ledger    *ledger.Ledger
	from      int64
	max       int
}

// coldOutcome is what one read of the archive gave.
type coldOutcome struct {
	index int
	data  *ColdData
	err   error
}

// readColds is one of the workers that read what is not in the cache. A fetch hands over its next read when one of them is
// free, so that nothing queues up.
func (m *Manager) readColds() {
	for {
		select {
		case j := <-m.coldJobs:
			data, err := m.readAbsent(j)
			j.to.tell(coldOutcome{j.index, data, err})
		case <-m.ctx.Done():
			return
		}
	}
}

// readAbsent reads once lookups leave a place. A panic is the job's, not the worker's; it is told here, for the fetch may have left.
//
// That covers what the Archive does on this goroutine: to find batches in indexes and chunks that are there. It does not cover what a
// reader of the archive does on goroutines of its own, for all who ask, which is to load indexes and to fetch and check chunks (package
// cold): a panic there ends the process. Nor does it give back what a Read had pinned when it panicked: nobody has that in hand.
func (m *Manager) readAbsent(j coldJob) (data *ColdData, err error) {
	defer func() {
		if r := recover(); r != nil {
			m.panicked("reading the archive panicked", r, "partition", j.partition.id, "offset", j.from)
			err = fmt.Errorf("reading it panicked: %v", r)
		}
	}()
	select {
	case m.cold <- struct{}{}:
		defer func() { <-m.cold }()
		return m.o.Archive.Read(j.to.ctx, j.partition.id, j.ledger, j.from, j.max)
	case <-j.to.ctx.Done():
		return nil, j.to.ctx.Err()
	}
}

// coldReads is where the workers' outcomes for one fetch go, until it leaves: what comes later is let go.
type coldReads struct {
	ctx      context.Context
	outcomes chan coldOutcome // has room for all

	mu   sync.Mutex
	left bool // guarded by mu; nothing is sent from then on
}

// tell passes on an outcome. It never blocks.
func (c *coldReads) tell(o coldOutcome) {
	c.mu.Lock()
	left := c.left
	if !left {
		c.outcomes <- o
	}
	c.mu.Unlock()
	if left {
		o.drop()
	}
}

// leave lets go of what has come and was not taken.
func (c *coldReads) leave() {
	c.mu.Lock()
	c.left = true
	c.mu.Unlock()
	for len(c.outcomes) > 0 {
		o := <-c.outcomes
		o.drop()
	}
}

func (o *coldOutcome) drop() {
	if o.data != nil {
		o.data.Release()
	}
}
