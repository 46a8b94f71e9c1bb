package group

import (
	"bytes"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// state is where a group stands:
//
//	         first member            all joined, or time is up
//	Empty ───────────────▶ PreparingRebalance ───────────────▶ CompletingRebalance
//	  ▲                       ▲    │                               │    │
//	  │   nobody is left      │    │    member change, no sync     │    │ the leader's assignment
//	  └───────────────────────┼────┘◀──────────────────────────────┘    │ is committed
//	                          │        member change, leader rejoins    ▼
//	                          └────────────────────────────────────── Stable
//
// A group that does not exist is Dead (Kafka's word in DescribeGroups).
type state uint8

const (
	stateEmpty state = iota
	statePreparing
	stateCompleting
	stateStable
)

const stateDead = "Dead"

func (s state) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}[s]
}

// transitions says from which states (as a bit set) a state may be entered.
var transitions = [...]uint8{
	stateEmpty:      1 << statePreparing,
	statePreparing:  1<<stateStable | 1<<stateCompleting | 1<<stateEmpty,
	stateCompleting: 1 << statePreparing,
	stateStable:     1 << stateCompleting,
}

// consumerType is the protocol type whose subscriptions the coordinator can read.
const consumerType = "consumer"

// memberSettings is what a member says of itself each time it joins.
type memberSettings struct {
	protocols        []kmsg.JoinGroupRequestProtocol // in order of preference, names unique
	rebalanceTimeout int32                           // ms
	sessionTimeout   int32                           // ms
}

// member is one member of a group, live.
type member struct {
	id       string
	instance *string // group.instance.id of a static member
	client   Client
	memberSettings
	assignment []byte

	isNew       bool  // has not completed a join phase yet
	join        Token // its parked JoinGroup, 0 if none
	joinVersion int16
	sync        Token // its parked SyncGroup, 0 if none
	syncVersion int16
}

// metadata is what the member said under a protocol; nil if it does not know the protocol.
func (m *member) metadata(protocol string) []byte {
	for i := range m.protocols {
		if m.protocols[i].Name == protocol {
			return m.protocols[i].Metadata
		}
	}
	return nil
}

// sameProtocols says whether the member would join with exactly what it joined with before.
func (m *member) sameProtocols(ps []kmsg.JoinGroupRequestProtocol) bool {
	return slices.EqualFunc(m.protocols, ps, func(a, b kmsg.JoinGroupRequestProtocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

// heartbeats says whether the member counts as alive because the coordinator itself keeps it waiting.
func (m *member) heartbeats() bool { return !m.isNew && (m.join != 0 || m.sync != 0) }

// group is a group, live.
type group struct {
	id           string
	state        state
	previous     state
	stateSince   int64 // ms; -1 if not known
	generation   int32
	protocolType string // "" for a group that nobody ever joined
	protocol     string
	hasProtocol  bool
	leader       string // "" if none

	members map[string]*member
	order   []*member // the same in order of arrival
	static  map[string]string
	pending map[string]bool // ids given out with MEMBER_ID_REQUIRED that have not come back
	waiting int             // members with a parked JoinGroup

	pendingSync map[string]bool // members of this generation that have not sent SyncGroup
	storing     WriteID         // this generation's assignment on its way to the log, 0 if none

	newMember   bool  // somebody came since the initial delay was last set
	joinDelay   int32 // ms: the initial delay that runs
	joinLeft    int32 // ms: how much longer the initial delay may be extended
	initialJoin bool  // the join timer is the initial delay

	topics      map[string]bool // what the members subscribe to
	topicsKnown bool            // false if it cannot be said
}

func newGroup(id string) *group {
	return &group{id: id, stateSince: -1, members: map[string]*member{}, static: map[string]string{},
		pending: map[string]bool{}, pendingSync: map[string]bool{}}
}

// enter changes the state. A transition that the table does not know is a bug of this package; it is refused, so
// that a bug costs a rebalance and not the broker.
func (g *group) enter(to state, now int64) bool {
	if transitions[to]&(1<<g.state) == 0 {
		return false
	}
	g.previous, g.state, g.stateSince = g.state, to, now
	return true
}

// canRebalance says whether PreparingRebalance can be entered from here.
func (g *group) canRebalance() bool { return transitions[statePreparing]&(1<<g.state) != 0 }

func (g *group) isConsumer() bool { return g.protocolType == consumerType }

// add takes a member in. Its id must be new to the group.
func (g *group) add(m *member) {
	if m.instance != nil {
		g.static[*m.instance] = m.id
	}
	if g.leader == "" {
		g.leader = m.id
	}
	g.members[m.id] = m
	g.order = append(g.order, m)
	if m.join != 0 {
		g.waiting++
	}
	delete(g.pending, m.id)
}

// remove takes a member out, pending ones too, and elects another leader if it was one. What it waited for
// must be answered by the caller.
func (g *group) remove(id string) {
	if m := g.members[id]; m != nil {
		delete(g.members, id)
		g.order = slices.DeleteFunc(g.order, func(o *member) bool { return o == m })
		if m.join != 0 {
			g.waiting--
		}
		if m.instance != nil {
			delete(g.static, *m.instance)
		}
	}
	if g.leader == id {
		g.leader = ""
		if len(g.order) > 0 {
			g.leader = g.order[0].id
		}
	}
	delete(g.pending, id)
	delete(g.pendingSync, id)
}

// rename gives a static member another id, keeping its place, its assignment and its leadership.
func (g *group) rename(m *member, id string) {
	delete(g.members, m.id)
	if g.leader == m.id {
		g.leader = id
	}
	if g.pendingSync[m.id] {
		delete(g.pendingSync, m.id)
		g.pendingSync[id] = true
	}
	m.id = id
	g.members[id] = m
	g.static[*m.instance] = id
}

// allJoined says whether nobody is left to wait for in the join phase.
func (g *group) allJoined() bool { return g.waiting == len(g.members) && len(g.pending) == 0 }

// rebalanceTimeout is the longest that any member asks for.
func (g *group) rebalanceTimeout() int32 {
	var t int32
	for _, m := range g.order {
		t = max(t, m.rebalanceTimeout)
	}
	return t
}

// electJoined makes sure that the leader is a member that takes part in this join phase. False if nobody does.
func (g *group) electJoined() bool {
	l := g.members[g.leader]
	if l == nil {
		return false
	}
	if l.join != 0 {
		return true
	}
	for _, m := range g.order {
		if m.join != 0 {
			g.leader = m.id
			return true
		}
	}
	return false
}

// nextGeneration ends a join phase: the protocol is chosen and the generation counted.
func (g *group) nextGeneration(now int64) {
	g.generation++
	g.pendingSync = map[string]bool{}
	g.storing = 0
	if len(g.members) == 0 {
		g.protocol, g.hasProtocol = "", false
		g.enter(stateEmpty, now)
	} else {
		g.protocol, g.hasProtocol = g.selectProtocol(), true
		g.enter(stateCompleting, now)
	}
	g.readTopics()
}

// assignments is what the members have now.
func (g *group) assignments() map[string][]byte {
	a := make(map[string][]byte, len(g.order))
	for _, m := range g.order {
		a[m.id] = m.assignment
	}
	return a
}
