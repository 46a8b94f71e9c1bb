package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// joinNeedsID is the version from which a dynamic member must come back with the id it is given (KIP-394).
const joinNeedsID = 4

// JoinGroup takes a member into a group, or into its next generation. The reply is parked until the join phase ends,
// unless it is an error or nothing changes. (Kafka: GroupMetadataManager.classicGroupJoin.)
func (s *Shard) JoinGroup(now int64, t Token, c Client, req *kmsg.JoinGroupRequest) Outcome {
	s.begin(now)
	if req.Version < 1 {
		req.RebalanceTimeoutMillis = req.SessionTimeoutMillis
	}
	req.Protocols = uniqueProtocols(req.Protocols)
	switch {
	case req.Group == "":
		s.reply(t, joinError(req.Version, req.MemberID, kerr.InvalidGroupID.Code))
		return s.end()
	case req.SessionTimeoutMillis < s.o.MinSessionTimeout || req.SessionTimeoutMillis > s.o.MaxSessionTimeout:
		s.reply(t, joinError(req.Version, req.MemberID, kerr.InvalidSessionTimeout.Code))
		return s.end()
	}
	g := s.groups[req.Group]
	created := g == nil
	if created {
		if req.MemberID != "" {
			s.reply(t, joinError(req.Version, req.MemberID, kerr.UnknownMemberID.Code))
			return s.end()
		}
		g = newGroup(req.Group)
		s.groups[g.id] = g
	}
	switch {
	case !s.accepts(g, req.MemberID):
		s.drop(g, req.MemberID)
		s.reply(t, joinError(req.Version, "", kerr.GroupMaxSizeReached.Code))
	case req.MemberID == "":
		s.joinNew(g, t, c, req)
	default:
		s.joinKnown(g, t, c, req)
	}
	if created && s.out.Write == 0 {
		s.store(&writeCreate{group: g, token: t}, emptyGroupRecord(g))
	}
	return s.end()
}

// accepts says whether the group has room for the member.
func (s *Shard) accepts(g *group, memberID string) bool {
	m := g.members[memberID]
	switch g.state {
	case stateEmpty:
		return true
	case statePreparing:
		return m != nil && m.join != 0 || g.waiting < s.o.MaxSize
	}
	return m != nil || len(g.members) < s.o.MaxSize
}

// joinNew is for a member that has no id yet.
func (s *Shard) joinNew(g *group, t Token, c Client, req *kmsg.JoinGroupRequest) {
	if !g.supports(req.ProtocolType, req.Protocols) {
		s.reply(t, joinError(req.Version, "", kerr.InconsistentGroupProtocol.Code))
		return
	}
	if req.InstanceID != nil {
		id := *req.InstanceID + "-" + s.o.NewMemberSuffix()
		if old, ok := g.static[*req.InstanceID]; ok {
			s.replaceStatic(g, g.members[old], id, t, c, req)
			return
		}
		s.addMember(g, id, t, c, req)
		return
	}
	id := c.ID + "-" + s.o.NewMemberSuffix()
	if req.Version < joinNeedsID {
		s.addMember(g, id, t, c, req)
		return
	}
	g.pending[id] = true
	s.set(sessionKey(g, id), int64(req.SessionTimeoutMillis))
	s.reply(t, joinError(req.Version, id, kerr.MemberIDRequired.Code))
}

// joinKnown is for a member that brings an id.
func (s *Shard) joinKnown(g *group, t Token, c Client, req *kmsg.JoinGroupRequest) {
	id := req.MemberID
	if !g.supports(req.ProtocolType, req.Protocols) {
		s.reply(t, joinError(req.Version, id, kerr.InconsistentGroupProtocol.Code))
		return
	}
	if g.pending[id] {
		if req.InstanceID != nil { // ids of static members are never pending
			s.reply(t, joinError(req.Version, "", kerr.UnknownServerError.Code))
			return
		}
		s.addMember(g, id, t, c, req)
		return
	}
	if code := g.validate(id, req.InstanceID); code != 0 {
		s.reply(t, joinError(req.Version, id, code))
		return
	}
	m := g.members[id]
	same := m.sameProtocols(req.Protocols)
	switch {
	case g.state == statePreparing,
		g.state == stateCompleting && !same,
		g.state == stateStable && (g.leader == id || !same):
		s.updateMember(g, m, t, req)
	case g.state == stateCompleting, g.state == stateStable:
		// Nothing changed: it lost our answer, or is told again what holds.
		r := joinOK(g, m, req.Version)
		if g.state == stateStable {
			r.Members = nil
		}
		s.reply(t, r)
	default: // Empty has no members
		s.reply(t, joinError(req.Version, id, kerr.UnknownMemberID.Code))
	}
}

// validate gives the error code of a member id and instance id that are not the group's; 0 if they are.
func (g *group) validate(memberID string, instance *string) int16 {
	if instance != nil {
		switch id, ok := g.static[*instance]; {
		case !ok:
			return kerr.UnknownMemberID.Code
		case id != memberID:
			return kerr.FencedInstanceID.Code
		}
	}
	if g.members[memberID] == nil {
		return kerr.UnknownMemberID.Code
	}
	return 0
}

// addMember takes in a member that the group does not have, with its request parked.
func (s *Shard) addMember(g *group, id string, t Token, c Client, req *kmsg.JoinGroupRequest) {
	if g.state == statePreparing && g.previous == stateEmpty {
		g.newMember = true
	}
	if len(g.members) == 0 {
		g.protocolType = req.ProtocolType
	}
	m := &member{id: id, instance: req.InstanceID, client: c, memberSettings: settings(req), isNew: true,
		join: t, joinVersion: req.Version}
	g.add(m)
	s.set(sessionKey(g, id), int64(s.o.NewMemberJoinTimeout))
	s.rebalance(g)
}

func settings(req *kmsg.JoinGroupRequest) memberSettings {
	return memberSettings{protocols: req.Protocols, rebalanceTimeout: req.RebalanceTimeoutMillis,
		sessionTimeout: req.SessionTimeoutMillis}
}

// updateMember takes what a member says anew, parks its request and rebalances.
func (s *Shard) updateMember(g *group, m *member, t Token, req *kmsg.JoinGroupRequest) {
	m.memberSettings = settings(req)
	s.park(g, m, t, req.Version)
	s.rebalance(g)
}

// park keeps a JoinGroup for the end of the join phase. One that the member sent before is told to come again: the
// client that sent it is gone or has given up.
func (s *Shard) park(g *group, m *member, t Token, version int16) {
	s.answerJoin(g, m, joinError(m.joinVersion, m.id, kerr.RebalanceInProgress.Code))
	m.join, m.joinVersion = t, version
	g.waiting++
}

// answerJoin answers a member's parked JoinGroup, if it has one.
func (s *Shard) answerJoin(g *group, m *member, r *kmsg.JoinGroupResponse) {
	if m.join == 0 {
		return
	}
	s.reply(m.join, r)
	m.join = 0
	g.waiting--
}

func joinError(version int16, memberID string, code int16) *kmsg.JoinGroupResponse {
	r := kmsg.NewPtrJoinGroupResponse()
	r.Version, r.ErrorCode, r.MemberID = version, code, memberID
	r.Generation = -1
	return r
}

// joinOK tells a member of its generation, and the leader of everybody.
func joinOK(g *group, m *member, version int16) *kmsg.JoinGroupResponse {
	r := kmsg.NewPtrJoinGroupResponse()
	r.Version = version
	r.Generation = g.generation
	r.ProtocolType, r.Protocol = groupProtocol(g)
	r.LeaderID, r.MemberID = g.leader, m.id
	if g.leader != m.id {
		return r
	}
	for _, o := range g.order {
		rm := kmsg.NewJoinGroupResponseMember()
		rm.MemberID, rm.InstanceID, rm.ProtocolMetadata = o.id, o.instance, o.metadata(g.protocol)
		r.Members = append(r.Members, rm)
	}
	return r
}

// groupProtocol gives type and name of the group's protocol as replies carry them.
func groupProtocol(g *group) (kind, name *string) {
	if g.protocolType != "" {
		kind = kmsg.StringPtr(g.protocolType)
	}
	if g.hasProtocol {
		name = kmsg.StringPtr(g.protocol)
	}
	return kind, name
}

// replaceStatic lets a static member that lost its member id take its old place (KIP-345). In a stable group
// whose protocol stays the same the others do not notice.
func (s *Shard) replaceStatic(g *group, m *member, id string, t Token, c Client, req *kmsg.JoinGroupRequest) {
	fenced := kerr.FencedInstanceID.Code
	s.answerJoin(g, m, joinError(m.joinVersion, m.id, fenced))
	s.answerSync(m, syncError(m.syncVersion, fenced))
	w := &writeStatic{group: g, generation: g.generation, token: t, version: req.Version, oldID: m.id, newID: id,
		leader: g.leader, old: m.memberSettings}
	s.cancel(sessionKey(g, m.id))
	g.rename(m, id)
	s.touch(g, m)
	m.memberSettings = settings(req)
	m.isNew = false
	s.park(g, m, t, req.Version)
	switch {
	case g.state == stateStable && g.hasProtocol && g.selectProtocol() == g.protocol:
		s.store(w, groupRecord(g, g.assignments()))
	case g.state == statePreparing:
		s.maybeCompleteJoin(g)
	default:
		s.rebalance(g)
	}
}
