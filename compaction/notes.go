package compaction

import (
	"fmt"
	"time"

	"github.com/firnlog/firn/tier/topic"
)

// graceNote is what of one partition waits for the grace period to pass.
type graceNote struct {
	objects     int
	first, last time.Time // when the first and the last of them are due
}

func gracesOf(waiting []unnamed, grace time.Duration) map[topic.Partition]graceNote {
	out := make(map[topic.Partition]graceNote)
	for _, u := range waiting {
		n := out[u.p]
		due := u.since.Add(grace)
		if n.objects == 0 {
			n.first = due
		}
		n.objects += len(u.keys)
		n.last = due
		out[u.p] = n
	}
	return out
}

// Notes says in sentences what keeps the archived data of a partition that retention has given up, or would: that the
// bucket is not trusted, that objects wait for the grace period, that the last round failed. May be called concurrently.
func (c *Collector) Notes(p topic.Partition) []string {
	c.mu.Lock()
	s, g := c.status, c.graces[p]
	c.mu.Unlock()
	var say []string
	if s.Distrust != "" {
		say = append(say, fmt.Sprintf("The log start is not moved by retention, and %s.", s.Distrust))
	}
	if s.Manual {
		say = append(say, fmt.Sprintf("Objects that no ledger names are not deleted from %s: it has no conditional PUT.", s.Store))
	}
	if g.objects > 0 {
		say = append(say, fmt.Sprintf("%d objects below the log start are not named any more and are deleted between %s and %s, when their grace period is over.",
			g.objects, g.first.UTC().Format(time.RFC3339), g.last.UTC().Format(time.RFC3339)))
	}
	if s.LastError != "" {
		say = append(say, fmt.Sprintf("The last round of tending the archive failed: %s.", s.LastError))
	}
	return say
}
