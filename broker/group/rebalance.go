package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
)

// rebalance starts a rebalance, or sees whether the one that runs can end.
func (s *Shard) rebalance(g *group) {
	if g.canRebalance() {
		s.prepare(g)
		return
	}
	s.maybeCompleteJoin(g)
}

// prepare begins a join phase. An empty group's first one lasts for the initial delay, so that members that start
// together do not cause a rebalance each.
func (s *Shard) prepare(g *group) {
	if g.state == stateCompleting {
		s.spreadError(g, kerr.RebalanceInProgress.Code)
	}
	g.storing = 0
	clear(g.pendingSync)
	s.cancel(syncKey(g))
	initial := g.state == stateEmpty
	g.enter(statePreparing, s.now)
	g.initialJoin = initial
	if initial {
		g.newMember = false
		g.joinDelay = s.o.InitialRebalanceDelay
		g.joinLeft = max(g.rebalanceTimeout()-s.o.InitialRebalanceDelay, 0)
		s.set(joinKey(g), int64(g.joinDelay))
		return
	}
	if g.allJoined() {
		s.completeJoin(g)
		return
	}
	s.set(joinKey(g), int64(g.rebalanceTimeout()))
}

// spreadError takes the assignments of a generation back and tells everybody who waits for them why.
func (s *Shard) spreadError(g *group, code int16) {
	for _, m := range g.order {
		m.assignment = nil
	}
	for _, m := range g.order {
		if m.sync != 0 {
			s.answerSync(m, syncError(m.syncVersion, code))
			s.touch(g, m)
		}
	}
}

// maybeCompleteJoin ends the join phase if nobody is left to wait for. The initial delay always runs to its end.
func (s *Shard) maybeCompleteJoin(g *group) {
	if g.state == statePreparing && g.previous != stateEmpty && g.allJoined() {
		s.completeJoin(g)
	}
}

// joinExpired ends the join phase, or extends the initial delay if somebody came during it.
func (s *Shard) joinExpired(g *group) {
	if g.state != statePreparing {
		return
	}
	if g.initialJoin && g.newMember && g.joinLeft != 0 {
		g.newMember = false
		delay := min(s.o.InitialRebalanceDelay, g.joinLeft)
		g.joinLeft = max(g.joinLeft-g.joinDelay, 0)
		g.joinDelay = delay
		s.set(joinKey(g), int64(delay))
		return
	}
	s.completeJoin(g)
}

// completeJoin ends the join phase. Dynamic members that did not come are out; static ones keep their place as
// long as their session lasts. If only such are left, there is nobody who could lead, and the phase goes on.
func (s *Shard) completeJoin(g *group) {
	s.cancel(joinKey(g))
	for _, m := range append([]*member(nil), g.order...) {
		if m.join == 0 && m.instance == nil {
			s.cancel(sessionKey(g, m.id))
			s.drop(g, m.id)
		}
	}
	if !g.electJoined() && len(g.members) > 0 {
		g.initialJoin = false
		s.set(joinKey(g), int64(g.rebalanceTimeout()))
		return
	}
	g.nextGeneration(s.now)
	if g.state == stateEmpty {
		s.store(nil, groupRecord(g, nil))
		return
	}
	for _, m := range g.order {
		s.answerJoin(g, m, joinOK(g, m, m.joinVersion))
		s.touch(g, m)
		m.isNew = false
		g.pendingSync[m.id] = true
	}
	s.set(syncKey(g), int64(g.rebalanceTimeout()))
}

// drop removes a member, or a pending one, and answers what it waited for.
func (s *Shard) drop(g *group, id string) {
	if m := g.members[id]; m != nil {
		code := kerr.UnknownMemberID.Code
		s.answerJoin(g, m, joinError(m.joinVersion, "", code))
		s.answerSync(m, syncError(m.syncVersion, code))
	}
	g.remove(id)
}

// sessionExpired removes a member that was not heard of, or whose pending id was never used.
func (s *Shard) sessionExpired(g *group, id string) {
	m := g.members[id]
	switch {
	case g.pending[id]:
		g.remove(id)
		if g.state == statePreparing && g.allJoined() {
			s.completeJoin(g)
		}
	case m == nil || m.heartbeats():
	default:
		s.drop(g, id)
		s.afterRemoval(g)
	}
}

// afterRemoval does what the loss of one member means to the others.
func (s *Shard) afterRemoval(g *group) {
	switch {
	case g.state == stateStable || g.state == stateCompleting:
		s.prepare(g)
	case g.state == statePreparing && g.allJoined():
		s.completeJoin(g)
	}
}

// syncExpired removes the members that did not fetch their assignment in time.
func (s *Shard) syncExpired(g *group) {
	if g.state != stateCompleting && g.state != stateStable || len(g.pendingSync) == 0 {
		return
	}
	for _, m := range append([]*member(nil), g.order...) {
		if g.pendingSync[m.id] {
			s.cancel(sessionKey(g, m.id))
			s.drop(g, m.id)
		}
	}
	s.prepare(g)
}
