package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/wire"
)

// DescribeGroups 0-6.
//
// Deliberate gaps: without ACLs everybody may do everything, and that is what is answered when it is asked for. A group that
// is named more than once is answered once.
var describeGroupsHandler = handler{15, 0, 6, (*API).describeGroups}

// groupOperations are READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS (AclOperation), the operations on groups.
const groupOperations = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11

func (a *API) describeGroups(_ context.Context, req *wire.Request, reply *wire.Reply) {
	m, err := req.Decode()
	if err != nil {
		reply.Close(err)
		return
	}
	q := m.(*kmsg.DescribeGroupsRequest)
	q.Groups = distinct(q.Groups)
	resp := q.ResponseKind().(*kmsg.DescribeGroupsResponse)
	resp.Groups = make([]kmsg.DescribeGroupsResponseGroup, len(q.Groups))
	gather(len(q.Groups), func(i int, got func(kmsg.Response)) {
		one := *q
		one.Groups = q.Groups[i : i+1]
		a.Groups.Submit(q.Groups[i], &one, clientOf(req), func(r kmsg.Response) {
			resp.Groups[i] = r.(*kmsg.DescribeGroupsResponse).Groups[0]
			if resp.Groups[i].AuthorizedOperations = noOperations; q.IncludeAuthorizedOperations && resp.Groups[i].ErrorCode == 0 {
				resp.Groups[i].AuthorizedOperations = groupOperations
			}
			got(r)
		})
	}, func() { reply.Message(resp) })
}
