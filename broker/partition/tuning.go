package partition

import (
	"cmp"
	"time"
)

// Tuning is what may change while the manager runs. A zero field has the default.
type Tuning struct {
	TargetShare float64       // firn.local.disk.target; 0.70
	Reserve     int64         // firn.local.disk.reserve in bytes; see reserveOf
	ColdWait    time.Duration // remote.fetch.max.wait.ms: longest that a fetch with nothing else to answer waits for the archive; 5 s
}

// SetTuning changes it. What is under way goes on under the old one.
func (m *Manager) SetTuning(t Tuning) {
	t.TargetShare = cmp.Or(t.TargetShare, 0.70)
	t.ColdWait = cmp.Or(t.ColdWait, 5*time.Second)
	m.tuning.Store(&t)
}

// Tuning is what is in force.
func (m *Manager) Tuning() Tuning { return *m.tuning.Load() }

// Resettle asks Options.Settings again what every topic's configs mean, because a default of all topics has changed.
func (m *Manager) Resettle() {
	m.applyMu.Lock()
	defer m.applyMu.Unlock()
	if m.ctx.Err() != nil {
		return
	}
	for _, t := range m.topics {
		m.take(nil, t)
	}
}
