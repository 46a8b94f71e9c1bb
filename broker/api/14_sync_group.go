package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/wire"
)

// SyncGroup 0-5. The answer waits for the leader's assignment to be committed.
//
// Deliberate gaps: none.
var syncGroupHandler = handler{14, 0, 5, (*API).syncGroup}

// syncNamesProtocol is the version from which a member must say which protocol it was told (KIP-559).
const syncNamesProtocol = 5

func (a *API) syncGroup(_ context.Context, req *wire.Request, reply *wire.Reply) {
	m, err := req.Decode()
	if err != nil {
		reply.Close(err)
		return
	}
	q := m.(*kmsg.SyncGroupRequest)
	if q.Version >= syncNamesProtocol && (q.ProtocolType == nil || q.Protocol == nil) {
		resp := q.ResponseKind().(*kmsg.SyncGroupResponse)
		resp.ErrorCode, resp.MemberAssignment = kerr.InconsistentGroupProtocol.Code, []byte{}
		reply.Message(resp)
		return
	}
	a.Groups.Submit(q.Group, q, clientOf(req), reply.Message)
}
