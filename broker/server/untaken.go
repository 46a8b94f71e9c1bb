package server

import "time"

// Answers in memory that clients do not take are bounded over all connections: a connection that has more than
// maxUntaken is not read from, and when all together have more than Limits.AnswerBytes, those whose clients have
// taken nothing for longest are closed. Records that are sent from files take no memory and don't count.

// took notes an answer that waits to be sent, and reports whether all that wait are too many. It is called with c.mu
// held.
func (c *conn) took(memory int64) (over bool) {
	if memory == 0 {
		return false
	}
	if c.untaken == 0 {
		c.since = time.Now()
	}
	c.untaken += memory
	return c.srv.answers.Add(memory) > c.srv.limits.Load().AnswerBytes
}

// shed closes connections until the answers in memory are within their limit. It does not wait: one goroutine does it.
func (s *Server) shed() {
	if !s.shedding.CompareAndSwap(false, true) {
		return
	}
	go func() {
		for s.tooManyAnswers() {
			c := s.slowest()
			if c == nil {
				break
			}
			c.close(errUntaken)
		}
		s.shedDone()
	}()
}

// shedDone lets another shed. Who came since this one looked last has left it to this one; where nobody has an answer any
// more, those that count are about to be let go of.
func (s *Server) shedDone() {
	s.shedding.Store(false)
	if s.tooManyAnswers() && s.slowest() != nil {
		s.shed()
	}
}

func (s *Server) tooManyAnswers() bool { return s.answers.Load() > s.limits.Load().AnswerBytes }

// slowest is the connection whose client has taken nothing for longest although there is something, or nil.
func (s *Server) slowest() (slowest *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var oldest time.Time
	for c := range s.conns {
		c.mu.Lock()
		if c.untaken > 0 && (slowest == nil || c.since.Before(oldest)) {
			slowest, oldest = c, c.since
		}
		c.mu.Unlock()
	}
	return slowest
}
