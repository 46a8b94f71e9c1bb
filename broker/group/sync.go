package group

import (
	"bytes"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// SyncGroup takes the leader's assignment and gives each member its own. Replies are parked until the leader has
// spoken and what it said is committed. (Kafka: GroupMetadataManager.classicGroupSync.)
func (s *Shard) SyncGroup(now int64, t Token, req *kmsg.SyncGroupRequest) Outcome {
	s.begin(now)
	g := s.groups[req.Group]
	if code := syncCode(g, req); code != 0 {
		s.reply(t, syncError(req.Version, code))
		return s.end()
	}
	m := g.members[req.MemberID]
	switch g.state {
	case statePreparing:
		s.reply(t, syncError(req.Version, kerr.RebalanceInProgress.Code))
	case stateStable:
		s.synced(g, m)
		m.syncVersion = req.Version
		s.reply(t, syncOK(g, m))
	case stateCompleting:
		s.answerSync(m, syncError(m.syncVersion, kerr.RebalanceInProgress.Code))
		m.sync, m.syncVersion = t, req.Version
		s.synced(g, m)
		// A leader that repeats itself while its assignment is being stored waits like everybody: a second record
		// could give the same generation another assignment.
		if g.leader == m.id && g.storing == 0 {
			s.storeAssignment(g, req.GroupAssignment)
		}
	}
	return s.end()
}

// syncCode checks a SyncGroup against its group, nil if there is none.
func syncCode(g *group, req *kmsg.SyncGroupRequest) int16 {
	if req.Group == "" {
		return kerr.InvalidGroupID.Code
	}
	if g == nil || g.state == stateEmpty {
		return kerr.UnknownMemberID.Code
	}
	if code := g.validate(req.MemberID, req.InstanceID); code != 0 {
		return code
	}
	if req.Generation != g.generation {
		return kerr.IllegalGeneration.Code
	}
	kind, name := groupProtocol(g)
	if differ(req.ProtocolType, kind) || differ(req.Protocol, name) {
		return kerr.InconsistentGroupProtocol.Code
	}
	return 0
}

// differ compares two strings of which either may be left out (KIP-559).
func differ(a, b *string) bool { return a != nil && b != nil && *a != *b }

// synced notes that a member asked for its assignment.
func (s *Shard) synced(g *group, m *member) {
	delete(g.pendingSync, m.id)
	if len(g.pendingSync) == 0 {
		s.cancel(syncKey(g))
	}
}

// storeAssignment writes the generation down. Only members of the group count; one that the leader forgot gets
// nothing to do.
func (s *Shard) storeAssignment(g *group, given []kmsg.SyncGroupRequestGroupAssignment) {
	assignment := make(map[string][]byte, len(g.members))
	for _, a := range given {
		if g.members[a.MemberID] != nil {
			assignment[a.MemberID] = bytes.Clone(a.MemberAssignment)
		}
	}
	w := &writeSync{group: g, assignment: assignment}
	g.storing = s.store(w, groupRecord(g, assignment))
	w.id = g.storing
}

// answerSync answers a member's parked SyncGroup, if it has one.
func (s *Shard) answerSync(m *member, r *kmsg.SyncGroupResponse) {
	s.reply(m.sync, r)
	m.sync = 0
}

func syncError(version, code int16) *kmsg.SyncGroupResponse {
	r := kmsg.NewPtrSyncGroupResponse()
	r.Version, r.ErrorCode, r.MemberAssignment = version, code, []byte{}
	return r
}

func syncOK(g *group, m *member) *kmsg.SyncGroupResponse {
	r := syncError(m.syncVersion, 0)
	r.ProtocolType, r.Protocol = groupProtocol(g)
	if m.assignment != nil {
		r.MemberAssignment = m.assignment
	}
	return r
}
