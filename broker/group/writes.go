package group

import "github.com/twmb/franz-go/pkg/kmsg"

// write is what is to be done when a write ends: code is 0, or what the members shall be told went wrong. What the
// group became in the meantime is checked by each, because a write takes as long as the replicas do.
type write interface {
	done(s *Shard, code int16)
}

// writeReply is a reply that waits for its write.
type writeReply struct {
	token  Token
	ok     kmsg.Response
	failed func(code int16) kmsg.Response
}

func (w *writeReply) done(s *Shard, code int16) {
	if code != 0 {
		s.reply(w.token, w.failed(code))
		return
	}
	s.reply(w.token, w.ok)
}

// writeSync stores what the leader of a generation assigned.
type writeSync struct {
	group      *group
	id         WriteID
	assignment map[string][]byte
}

func (w *writeSync) done(s *Shard, code int16) {
	g := w.group
	if s.groups[g.id] != g || g.state != stateCompleting || g.storing != w.id {
		return // the group went on without it; who waited has been told
	}
	g.storing = 0
	if code != 0 {
		s.spreadError(g, code)
		s.rebalance(g)
		return
	}
	for _, m := range g.order {
		m.assignment = w.assignment[m.id]
	}
	g.enter(stateStable, s.now)
	for _, m := range g.order {
		if m.sync != 0 {
			s.answerSync(m, syncOK(g, m))
			s.touch(g, m)
		}
	}
}

// writeStatic stores that a static member of a stable group came back under another member id.
type writeStatic struct {
	group      *group
	generation int32
	token      Token
	version    int16
	oldID      string
	newID      string
	leader     string // before the change
	old        memberSettings
}

func (w *writeStatic) done(s *Shard, code int16) {
	g := w.group
	m := g.members[w.newID]
	if s.groups[g.id] != g || m == nil || m.join != w.token {
		return // answered already
	}
	if g.state != stateStable || g.generation != w.generation {
		return // a rebalance began; the member takes part in it and is answered at its end
	}
	if code == 0 {
		s.answerJoin(g, m, w.reply(g, m))
		return
	}
	r := joinError(w.version, "", code)
	r.Generation = g.generation
	r.ProtocolType, r.Protocol = groupProtocol(g)
	r.LeaderID = w.leader
	s.answerJoin(g, m, r)
	s.cancel(sessionKey(g, m.id))
	g.rename(m, w.oldID)
	m.memberSettings = w.old
	s.touch(g, m)
	// A write that was given up may still have been appended: the log must not say what the group does not.
	s.store(&writeRepair{group: g, generation: g.generation}, groupRecord(g, g.assignments()))
}

// writeRepair stores again what a group is. If even that fails, only a new generation brings log and group together.
type writeRepair struct {
	group      *group
	generation int32
}

func (w *writeRepair) done(s *Shard, code int16) {
	g := w.group
	if code != 0 && s.groups[g.id] == g && g.state == stateStable && g.generation == w.generation {
		s.prepare(g)
	}
}

// reply tells the member that nothing changed for the others. From version 9 on a leader is given the members and
// told not to assign (KIP-814); before, it is told of the old leader, so that it does not think it is one.
func (w *writeStatic) reply(g *group, m *member) *kmsg.JoinGroupResponse {
	r := joinOK(g, m, w.version)
	if w.version >= 9 {
		r.SkipAssignment = g.leader == m.id
		return r
	}
	r.Members = nil
	r.LeaderID = w.leader
	return r
}

// writeCreate stores that a group exists. Its first member may have been answered already.
type writeCreate struct {
	group *group
	token Token
}

func (w *writeCreate) done(s *Shard, code int16) {
	if code == 0 || s.groups[w.group.id] != w.group {
		return
	}
	for _, m := range w.group.order {
		if m.join == w.token {
			s.answerJoin(w.group, m, joinError(m.joinVersion, "", code))
			return
		}
	}
}

// writeSimple is the first commit of a simple consumer. If it fails, the group that was made for it goes again.
type writeSimple struct {
	group *group
}

func (w *writeSimple) done(s *Shard, code int16) {
	g := w.group
	if code != 0 && s.groups[g.id] == g && g.state == stateEmpty && g.protocolType == "" && len(g.pending) == 0 &&
		s.stored[g.id] == nil && s.offsets[g.id] == nil {
		delete(s.groups, g.id)
	}
}
