package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/wire"
)

// ListGroups 0-5, with filters by state (4) and by type (5).
//
// Deliberate gaps: none.
var listGroupsHandler = handler{16, 0, 5, (*API).listGroups}

func (a *API) listGroups(_ context.Context, req *wire.Request, reply *wire.Reply) {
	m, err := req.Decode()
	if err != nil {
		reply.Close(err)
		return
	}
	a.Groups.List(m.(*kmsg.ListGroupsRequest), func(r *kmsg.ListGroupsResponse) { reply.Message(r) })
}
