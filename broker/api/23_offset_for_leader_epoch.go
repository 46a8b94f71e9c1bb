package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetForLeaderEpoch 2-4.
//
// Deliberate gaps: none for consumers; followers do not exist yet.
var offsetForLeaderEpochHandler = handler{23, 2, 4, blocking((*API).offsetForLeaderEpoch)}

func (a *API) offsetForLeaderEpoch(_ context.Context, req *kmsg.OffsetForLeaderEpochRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			out := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			out.Partition, out.LeaderEpoch, out.EndOffset = p.Partition, -1, -1
			pt, err := a.Partitions.ByName(t.Topic, p.Partition)
			if err == nil {
				out.LeaderEpoch, out.EndOffset, err = pt.EndOfEpoch(p.CurrentLeaderEpoch, p.LeaderEpoch)
			}
			out.ErrorCode = code(err)
			rt.Partitions = append(rt.Partitions, out)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}
