package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/wire"
)

// OffsetDelete 0.
//
// Deliberate gaps: none.
var offsetDeleteHandler = handler{47, 0, 0, (*API).offsetDelete}

func (a *API) offsetDelete(_ context.Context, req *wire.Request, reply *wire.Reply) {
	m, err := req.Decode()
	if err != nil {
		reply.Close(err)
		return
	}
	q := m.(*kmsg.OffsetDeleteRequest)
	img := a.Cluster.Image()
	known := q.Topics[:0:0]
	var unknown []kmsg.OffsetDeleteResponseTopic
	for _, t := range q.Topics {
		here := t
		here.Partitions = nil
		bad := kmsg.NewOffsetDeleteResponseTopic()
		bad.Topic = t.Topic
		for _, p := range t.Partitions {
			if exists(img, t.Topic, p.Partition) {
				here.Partitions = append(here.Partitions, p)
				continue
			}
			bp := kmsg.NewOffsetDeleteResponseTopicPartition()
			bp.Partition, bp.ErrorCode = p.Partition, unknownPartition
			bad.Partitions = append(bad.Partitions, bp)
		}
		if len(here.Partitions) > 0 {
			known = append(known, here)
		}
		if len(bad.Partitions) > 0 {
			unknown = append(unknown, bad)
		}
	}
	q.Topics = known
	names := 0
	for i := range known {
		names += len(known[i].Partitions) * (len(q.Group) + len(known[i].Topic))
	}
	if err := req.Reserve(2 * names); err != nil { // in each offset's tombstone, and in the batch of all
		reply.Close(err)
		return
	}
	a.Groups.Submit(q.Group, q, clientOf(req), func(r kmsg.Response) {
		resp := r.(*kmsg.OffsetDeleteResponse)
		if resp.ErrorCode == 0 {
			resp.Topics = merged(append(resp.Topics, unknown...), func(t *kmsg.OffsetDeleteResponseTopic) string { return t.Topic },
				func(to, from *kmsg.OffsetDeleteResponseTopic) {
					to.Partitions = append(to.Partitions, from.Partitions...)
				})
		}
		reply.Message(resp)
	})
}
