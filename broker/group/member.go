package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Heartbeat keeps a member's session alive and tells it of a rebalance. (Kafka:
// GroupMetadataManager.classicGroupHeartbeat.)
func (s *Shard) Heartbeat(now int64, t Token, req *kmsg.HeartbeatRequest) Outcome {
	s.begin(now)
	r := kmsg.NewPtrHeartbeatResponse()
	r.Version = req.Version
	r.ErrorCode = s.heartbeat(s.groups[req.Group], req)
	s.reply(t, r)
	return s.end()
}

func (s *Shard) heartbeat(g *group, req *kmsg.HeartbeatRequest) int16 {
	if req.Group == "" {
		return kerr.InvalidGroupID.Code
	}
	if g == nil {
		return kerr.UnknownMemberID.Code
	}
	if code := g.validate(req.MemberID, req.InstanceID); code != 0 {
		return code
	}
	if req.Generation != g.generation {
		return kerr.IllegalGeneration.Code
	}
	s.touch(g, g.members[req.MemberID])
	if g.state == statePreparing {
		return kerr.RebalanceInProgress.Code
	}
	return 0
}

// LeaveGroup removes members: one, or from version 3 on several, static ones also by their instance id alone.
// (Kafka: GroupMetadataManager.classicGroupLeave.)
func (s *Shard) LeaveGroup(now int64, t Token, req *kmsg.LeaveGroupRequest) Outcome {
	s.begin(now)
	r := kmsg.NewPtrLeaveGroupResponse()
	r.Version = req.Version
	if req.Group == "" {
		r.ErrorCode = kerr.InvalidGroupID.Code
		s.reply(t, r)
		return s.end()
	}
	members := req.Members
	if req.Version < 3 {
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = req.MemberID
		members = []kmsg.LeaveGroupRequestMember{m}
	}
	g := s.groups[req.Group]
	left := false
	for _, m := range members {
		rm := kmsg.NewLeaveGroupResponseMember()
		rm.MemberID, rm.InstanceID = m.MemberID, m.InstanceID
		rm.ErrorCode = s.leave(g, m.MemberID, m.InstanceID)
		left = left || rm.ErrorCode == 0
		r.Members = append(r.Members, rm)
	}
	if req.Version < 3 {
		r.ErrorCode, r.Members = r.Members[0].ErrorCode, nil
	}
	if left {
		switch g.state {
		case stateStable, stateCompleting:
			s.prepare(g)
		case statePreparing:
			s.maybeCompleteJoin(g)
		}
	}
	s.replyStored(t, r, func(code int16) kmsg.Response {
		e := kmsg.NewPtrLeaveGroupResponse()
		e.Version, e.ErrorCode = req.Version, code
		return e
	})
	return s.end()
}

// leave removes one member and gives its error code.
func (s *Shard) leave(g *group, id string, instance *string) int16 {
	if g == nil {
		return kerr.UnknownMemberID.Code
	}
	if id == "" {
		if instance == nil {
			return kerr.UnknownMemberID.Code
		}
		current, ok := g.static[*instance]
		if !ok {
			return kerr.UnknownMemberID.Code
		}
		id, instance = current, nil
	} else if g.pending[id] {
		instance = nil
	}
	if !g.pending[id] {
		if code := g.validate(id, instance); code != 0 {
			return code
		}
	}
	s.cancel(sessionKey(g, id))
	s.drop(g, id)
	return 0
}

// replyStored answers once everything appended so far is committed, the records of this step included.
func (s *Shard) replyStored(t Token, ok kmsg.Response, failed func(int16) kmsg.Response, records ...Record) {
	s.store(&writeReply{token: t, ok: ok, failed: failed}, records...)
}
