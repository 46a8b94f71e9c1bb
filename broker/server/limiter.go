package server

import (
	"log/slog"
	"sync"
	"time"
)

// limiter lets one line of a kind through in a second, so that a client that misbehaves in a loop does not fill the
// disk with log, and counts what it held back.
type limiter struct {
	mu   sync.Mutex
	last map[string]*limited // mu; kinds are constants of this package, so it stays small
}

type limited struct {
	at   time.Time
	held int
}

func (l *limiter) allow(kind string, now time.Time) (ok bool, held int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last = map[string]*limited{}
	}
	k := l.last[kind]
	if k == nil {
		k = &limited{}
		l.last[kind] = k
	} else if now.Sub(k.at) < time.Second {
		k.held++
		return false, 0
	}
	held, k.held, k.at = k.held, 0, now
	return true, held
}

// warn logs at most one line of a kind a second.
func (s *Server) warn(kind, msg string, args ...any) {
	if ok, held := s.quiet.allow(kind, time.Now()); ok {
		if held > 0 {
			args = append(args, slog.Int("similar_lines_held_back", held))
		}
		s.log.Warn(msg, args...)
	}
}
