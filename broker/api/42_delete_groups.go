package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/wire"
)

// DeleteGroups 0-2.
//
// Deliberate gaps: none.
var deleteGroupsHandler = handler{42, 0, 2, (*API).deleteGroups}

func (a *API) deleteGroups(_ context.Context, req *wire.Request, reply *wire.Reply) {
	m, err := req.Decode()
	if err != nil {
		reply.Close(err)
		return
	}
	q := m.(*kmsg.DeleteGroupsRequest)
	q.Groups = distinct(q.Groups)
	resp := q.ResponseKind().(*kmsg.DeleteGroupsResponse)
	resp.Groups = make([]kmsg.DeleteGroupsResponseGroup, len(q.Groups))
	gather(len(q.Groups), func(i int, got func(kmsg.Response)) {
		one := *q
		one.Groups = q.Groups[i : i+1]
		a.Groups.Submit(q.Groups[i], &one, clientOf(req), func(r kmsg.Response) {
			resp.Groups[i] = r.(*kmsg.DeleteGroupsResponse).Groups[0]
			got(r)
		})
	}, func() { reply.Message(resp) })
}
