package server

import (
	"sync"

	"github.com/firnlog/firn/broker/wire"
)

// mailer sends the answers of connections that have several requests under way. What makes one of them answered, a flush
// say, makes the others so in the same moment: whoever gives the first of the answers leaves the sending to the mailer, which
// begins when he is through with all, and they leave with one write.
//
// Its goroutine runs while there is something to send.
type mailer struct {
	runFn func() // run, made once

	mu      sync.Mutex
	due     []*conn // whose pump is the mailer's to run; guarded by mu
	spare   []*conn // memory to exchange with due; guarded by mu
	running bool    // guarded by mu
}

// add has a connection pumped, whose sending the caller has set.
func (m *mailer) add(c *conn) {
	m.mu.Lock()
	m.due = append(m.due, c)
	start := !m.running
	m.running = true
	m.mu.Unlock()
	if start {
		go m.runFn()
	}
}

func (m *mailer) run() {
	for {
		m.mu.Lock()
		now := m.due
		if len(now) == 0 {
			m.running = false
			m.mu.Unlock()
			return
		}
		m.due, m.spare = m.spare[:0], nil
		m.mu.Unlock()
		for _, c := range now {
			c.pump(wire.ForNothing)
		}
		clear(now)
		m.mu.Lock()
		m.spare = now
		m.mu.Unlock()
	}
}
