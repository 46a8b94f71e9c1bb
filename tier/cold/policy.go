package cold

import "container/list"

// policy decides which cached groups stay: S3-FIFO (Yang et al., SOSP 2023). New groups enter a small queue and
// leave it unless they were read again meanwhile; those that were, and those that come back soon after they left,
// live in the main queue. A scan of years therefore passes through a tenth of the cache and leaves the rest
// alone. It is pure; the caller locks.
//
// What was read ahead and not read yet is spared once: its reader is on its way.
//
// A read counts as "again" only when it goes back over bytes that were read before: a sequential reader takes a
// group in several bites, which says nothing about the group being wanted twice.
type policy struct {
	budget      int64
	small, main queue
	ghosts      map[groupKey]*list.Element // keys that left the small queue of late
	ghostOrder  *list.List
}

type queue struct {
	order *list.List // of *group, newest at the front
	bytes int64
}

const (
	smallShare = 10 // the small queue's part of the budget: one tenth
	maxFreq    = 3
)

func newPolicy(budget int64) *policy {
	return &policy{
		budget: budget, small: queue{order: list.New()}, main: queue{order: list.New()},
		ghosts: make(map[groupKey]*list.Element), ghostOrder: list.New(),
	}
}

func (q *queue) push(g *group) {
	g.queue, g.place = q, q.order.PushFront(g)
	q.bytes += g.size
}

func (q *queue) remove(g *group) {
	q.order.Remove(g.place)
	q.bytes -= g.size
	g.queue, g.place = nil, nil
}

// used is the bytes of all groups in the cache.
func (p *policy) used() int64 { return p.small.bytes + p.main.bytes }

// admit takes in a new group.
func (p *policy) admit(g *group) {
	if e, ok := p.ghosts[g.key]; ok {
		p.ghostOrder.Remove(e)
		delete(p.ghosts, g.key)
		p.main.push(g)
		return
	}
	p.small.push(g)
}

// drop takes a group out that is of no use any more.
func (p *policy) drop(g *group) {
	if g.queue != nil {
		g.queue.remove(g)
	}
}

// touched notes a read of the group that went over bytes read before.
func (p *policy) touched(g *group) { g.freq = min(g.freq+1, maxFreq) }

// evict chooses groups to give up until need more bytes fit, and takes them out. Groups that are read or filled
// right now stay. It reports whether there is room now; without, the caller decides whether to go over the budget.
func (p *policy) evict(need int64) (victims []*group, room bool) {
	// Each step removes a group, moves it to main, takes one from its count, spares it, or passes over one that is held.
	steps := (maxFreq+4)*(p.small.order.Len()+p.main.order.Len()) + 1
	held := map[*queue]int{} // passed over in a row
	for ; p.used()+need > p.budget && steps > 0; steps-- {
		q, other := &p.main, &p.small
		if p.small.bytes > p.budget/smallShare || p.main.order.Len() == 0 {
			q, other = other, q
		}
		if held[q] >= q.order.Len() {
			if q = other; held[q] >= q.order.Len() {
				break
			}
		}
		back := q.order.Back()
		g := back.Value.(*group)
		if g.held() {
			held[q]++
			q.order.MoveToFront(back)
			continue
		}
		if g.unread && !g.spared {
			g.spared = true
			q.order.MoveToFront(back)
			continue
		}
		switch {
		case g.freq == 0:
			q.remove(g)
			victims = append(victims, g)
			if q == &p.small {
				p.haunt(g.key)
			}
		case q == &p.small:
			q.remove(g)
			g.freq = 0
			p.main.push(g)
		default:
			g.freq--
			q.order.MoveToFront(back)
		}
	}
	return victims, p.used()+need <= p.budget
}

// haunt remembers the key of a group that left the small queue, as many keys as there are groups.
func (p *policy) haunt(k groupKey) {
	p.ghosts[k] = p.ghostOrder.PushFront(k)
	for p.ghostOrder.Len() > max(64, p.small.order.Len()+p.main.order.Len()) {
		back := p.ghostOrder.Back()
		p.ghostOrder.Remove(back)
		delete(p.ghosts, back.Value.(groupKey))
	}
}
