package partition

import "sync/atomic"

const (
	// latelyMs is how long after a record producers are taken to be at work.
	latelyMs = 1000
	// noteEveryMs keeps each record from writing to memory that all processors share.
	noteEveryMs = 100
)

// lately remembers when something happened last, in ms since 1970, about.
type lately struct{ at atomic.Int64 }

func (l *lately) note(now int64) {
	if d := now - l.at.Load(); d < 0 || d >= noteEveryMs {
		l.at.Store(now)
	}
}

// is reports whether it was a moment ago.
func (l *lately) is(now int64) bool {
	d := now - l.at.Load()
	return d > -latelyMs && d < latelyMs
}

// Producing reports whether producers have written to a topic within the last second, internal topics aside: offsets that
// consumers commit while they read the archive are no reason to slow them down.
func (m *Manager) Producing() bool { return m.produced.is(m.o.Now().UnixMilli()) }
