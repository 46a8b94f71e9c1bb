package partition

import "container/heap"

// This file is the pure core of a replica's life: no goroutine, lock, clock or I/O. The shell (partition.go)
// feeds it what happened (role, stable offset, failure) and carries out what it returns.
//
//	            become(epoch)              become(higher epoch)
//	  offline ─────────────────▶ leader ─────────────────────────▶ leader
//	     ▲                         │  │
//	     │      fail(code)         │  └── resign ──▶ offline (NOT_LEADER_OR_FOLLOWER)
//	     └─────────────────────────┘
//	  any ── fail(code), final ──▶ failed: every waiter, now and later, gets the code

// waiter is a reply parked until the high watermark reaches need.
type waiter struct {
	need int64
	w    Waker // told once, without locks
	at   int   // place in the heap, -1 when out of it
}

// Waker is told how a wait for the high watermark ended: with 0, or with the error code of why it never will reach what
// was waited for. Wake must not block.
type Waker interface{ Wake(code int16) }

// WakerFunc makes a Waker of a function.
type WakerFunc func(code int16)

// Wake implements Waker.
func (f WakerFunc) Wake(code int16) { f(code) }

// waiters is a heap: the nearest first.
type waiters []*waiter

func (w waiters) Len() int           { return len(w) }
func (w waiters) Less(i, j int) bool { return w[i].need < w[j].need }
func (w waiters) Swap(i, j int)      { w[i], w[j] = w[j], w[i]; w[i].at, w[j].at = i, j }
func (w *waiters) Push(x any)        { e := x.(*waiter); e.at = len(*w); *w = append(*w, e) }
func (w *waiters) Pop() any {
	old := *w
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	e.at = -1
	return e
}

// core is one replica's state.
//
// The high watermark is what consumers may see: with an ISR of one, what is stable in the leader's own log. It
// never goes back (I-04). Waiters ride on it: each is released by a watermark that covers it, or fails with
// everything else (I-02); there is no third way out but being cancelled by its own timeout.
type core struct {
	epoch  int32 // of the current leader, -1 before the first
	leader bool
	failed int16 // Kafka's error code once the replica can serve no more; final
	hw     int64
	parked waiters
}

// become makes the replica leader at epoch. A lower epoch than one already seen is stale news and is refused
// (I-03): images come in order, so it cannot win by being late.
func (c *core) become(epoch int32) bool {
	if epoch < c.epoch || c.failed != 0 {
		return false
	}
	c.epoch, c.leader = epoch, true
	return true
}

// resign ends leadership and returns the waiters that must fail: their records may be lost with the role.
func (c *core) resign(epoch int32) []*waiter {
	if epoch < c.epoch {
		return nil
	}
	c.epoch, c.leader = epoch, false
	return c.drain()
}

// fail ends the replica's life for good and returns the waiters that must fail with it.
func (c *core) fail(code int16) []*waiter {
	if c.failed == 0 {
		c.failed, c.leader = code, false
	}
	return c.drain()
}

// advance moves the high watermark to stable and appends the waiters that it covers to out, nearest first. A stable
// offset below the watermark changes nothing.
func (c *core) advance(stable int64, out []*waiter) []*waiter {
	if c.failed != 0 || stable <= c.hw {
		return out
	}
	c.hw = stable
	for len(c.parked) > 0 && c.parked[0].need <= stable {
		out = append(out, heap.Pop(&c.parked).(*waiter))
	}
	return out
}

// park adds a waiter; false when it is covered already.
func (c *core) park(w *waiter) bool {
	if w.need <= c.hw {
		return false
	}
	heap.Push(&c.parked, w)
	return true
}

// unpark takes a waiter out; false when it has been released or failed before.
func (c *core) unpark(w *waiter) bool {
	if w.at < 0 {
		return false
	}
	heap.Remove(&c.parked, w.at)
	return true
}

func (c *core) drain() []*waiter {
	out := c.parked
	c.parked = nil
	for _, w := range out {
		w.at = -1
	}
	return out
}

// epochVerdict is how a client's idea of the leader epoch compares with ours (KIP-320).
type epochVerdict int

const (
	epochFine    epochVerdict = iota // the same, or the client has none
	epochFenced                      // the client's is older: FENCED_LEADER_EPOCH
	epochUnknown                     // the client's is newer: UNKNOWN_LEADER_EPOCH
)

// checkEpoch judges the epoch that a client sends; -1 means that it has none.
func checkEpoch(client, current int32) epochVerdict {
	switch {
	case client < 0 || client == current:
		return epochFine
	case client < current:
		return epochFenced
	default:
		return epochUnknown
	}
}

// offsets is one moment's picture of a partition, taken local log first and ledger second: what was trimmed
// locally is in a ledger that is read later, never in one that was read before.
type offsets struct {
	logStart   int64 // nothing below is readable
	localStart int64 // nothing below is on the local disk
	end        int64 // log end offset
	hw, stable int64 // high watermark and last stable offset
	archStart  int64 // first offset that the archive may hold
	archNext   int64 // offset after the last archived one
}

// side is where an offset is served from.
type side int

const (
	sideHot        side = iota // from the local log
	sideCold                   // from the archive
	sideOutOfRange             // below the log start or beyond the log end
	sideMissing                // a hole: neither side has it although it lies between start and end
)

// place says where an offset is served from. The whole answer for it comes from that side (I-18). Hot wins
// where both have it. An offset between the high watermark and the log end is in range, as in Kafka, and has
// nothing to show yet.
func (o offsets) place(offset int64) side {
	switch {
	case offset < o.logStart || offset > o.end:
		return sideOutOfRange
	case offset >= o.localStart:
		return sideHot
	case offset >= o.archStart && offset < o.archNext:
		return sideCold
	default:
		return sideMissing
	}
}
