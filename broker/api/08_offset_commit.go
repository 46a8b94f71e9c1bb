package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/wire"
	"github.com/firnlog/firn/metadata"
)

// OffsetCommit 2-10; from 10 on topics come by id.
//
// Deliberate gaps: none.
var offsetCommitHandler = handler{8, 2, 10, (*API).offsetCommit}

// offsetsByID is the first version of OffsetCommit and OffsetFetch that names topics by their ids.
const offsetsByID = 10

var unknownPartition = kerr.UnknownTopicOrPartition.Code

func (a *API) offsetCommit(_ context.Context, req *wire.Request, reply *wire.Reply) {
	m, err := req.Decode()
	if err != nil {
		reply.Close(err)
		return
	}
	q := m.(*kmsg.OffsetCommitRequest)
	unknown := a.splitCommit(q)
	names := 0
	for i := range q.Topics {
		names += len(q.Topics[i].Partitions) * (len(q.Group) + len(q.Topics[i].Topic))
	}
	if err := req.Reserve(2 * names); err != nil { // in each offset's record, and in the batch of all
		reply.Close(err)
		return
	}
	if len(q.Topics) == 0 && len(unknown) > 0 { // nothing for the group to do
		resp := q.ResponseKind().(*kmsg.OffsetCommitResponse)
		resp.Topics = mergedCommits(unknown)
		reply.Message(resp)
		return
	}
	a.Groups.Submit(q.Group, q, clientOf(req), func(r kmsg.Response) {
		resp := r.(*kmsg.OffsetCommitResponse)
		resp.Topics = mergedCommits(append(resp.Topics, unknown...))
		reply.Message(resp)
	})
}

func mergedCommits(topics []kmsg.OffsetCommitResponseTopic) []kmsg.OffsetCommitResponseTopic {
	type name struct {
		name string
		id   [16]byte
	}
	return merged(topics, func(t *kmsg.OffsetCommitResponseTopic) name { return name{t.Topic, t.TopicID} },
		func(to, from *kmsg.OffsetCommitResponseTopic) {
			to.Partitions = append(to.Partitions, from.Partitions...)
		})
}

// splitCommit takes what does not exist out of the request and gives the answer to it; what stays has name and id.
func (a *API) splitCommit(q *kmsg.OffsetCommitRequest) (unknown []kmsg.OffsetCommitResponseTopic) {
	img := a.Cluster.Image()
	known := q.Topics[:0:0]
	for _, t := range q.Topics {
		err := named(img, &t.Topic, &t.TopicID, q.Version >= offsetsByID)
		bad := kmsg.NewOffsetCommitResponseTopic()
		bad.Topic, bad.TopicID = t.Topic, t.TopicID // as the group will name it
		here := t
		here.Partitions = nil
		for _, p := range t.Partitions {
			if err == nil && exists(img, t.Topic, p.Partition) {
				here.Partitions = append(here.Partitions, p)
				continue
			}
			bp := kmsg.NewOffsetCommitResponseTopicPartition()
			if bp.Partition, bp.ErrorCode = p.Partition, unknownPartition; err != nil {
				bp.ErrorCode = code(err)
			}
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
	return unknown
}

func exists(img *metadata.Image, name string, index int32) bool {
	t := img.TopicByName(name)
	return t != nil && index >= 0 && int(index) < len(t.Partitions)
}
