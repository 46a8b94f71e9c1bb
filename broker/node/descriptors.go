package node

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// descriptors is what this process may have open at once.
type descriptors struct {
	limit int // RLIMIT_NOFILE; 0 = the system does not say
}

// raiseDescriptors lifts the soft limit of open descriptors to the hard one, which is the administrator's word: the
// soft one is low for the sake of programs that use select(2). Go's runtime does nearly the same before main, unless
// the limit was lowered since.
func raiseDescriptors() descriptors {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return descriptors{}
	}
	if raised := (unix.Rlimit{Cur: l.Max, Max: l.Max}); l.Cur < l.Max && unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
		l.Cur = l.Max
	}
	return descriptors{limit: int(min(l.Cur, 1<<30))}
}

// connections that clients may have, so that files always have room: half of all. 0 = unknown.
func (d descriptors) connections() int { return d.limit / 2 }

// idleFiles is how many files the log may keep open that nobody uses at the moment; 0 = its own default.
func (d descriptors) idleFiles() int {
	if share := d.limit / 4; share > 0 {
		return min(4096, share)
	}
	return 0
}

// Capacity says in a few words how many clients can be connected at once, and what sets the bound.
func (n *Node) Capacity() string {
	l := n.kafka.Limits()
	most := fmt.Sprintf("%d connections (%d from one address)", l.MaxConnections, max(0, min(l.MaxConnectionsPerIP, l.MaxConnections)))
	if n.descriptors.limit == 0 {
		return most
	}
	return fmt.Sprintf("%s, and files beside them, with %d descriptors", most, n.descriptors.limit)
}
