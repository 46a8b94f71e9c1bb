package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/wire"
	"github.com/firnlog/firn/metadata"
)

// OffsetFetch 1-10; from 8 on several groups, from 10 on topics by id. A group or an offset that is not there is -1 and
// no error.
//
// Deliberate gaps: a group, a topic or a partition that is named more than once is answered once.
var offsetFetchHandler = handler{9, 1, 10, (*API).offsetFetch}

func (a *API) offsetFetch(_ context.Context, req *wire.Request, reply *wire.Reply) {
	m, err := req.Decode()
	if err != nil {
		reply.Close(err)
		return
	}
	q := m.(*kmsg.OffsetFetchRequest)
	fetchOnce(q)
	if q.Version < 8 {
		a.Groups.Submit(q.Group, q, clientOf(req), reply.Message)
		return
	}
	img := a.Cluster.Image()
	resp := q.ResponseKind().(*kmsg.OffsetFetchResponse)
	resp.Groups = make([]kmsg.OffsetFetchResponseGroup, len(q.Groups))
	gather(len(q.Groups), func(i int, got func(kmsg.Response)) {
		one := *q
		one.Groups = q.Groups[i : i+1]
		var unknown []kmsg.OffsetFetchResponseGroupTopic
		if q.Version >= offsetsByID {
			unknown = splitFetch(img, &one.Groups[0])
		}
		a.Groups.Submit(q.Groups[i].Group, &one, clientOf(req), func(r kmsg.Response) {
			g := r.(*kmsg.OffsetFetchResponse).Groups[0]
			if g.ErrorCode == 0 {
				g.Topics = append(withIDs(img, g.Topics, q.Version), unknown...)
			}
			resp.Groups[i] = g
			got(r)
		})
	}, func() { reply.Message(resp) })
}

// fetchOnce names each group, topic and partition of a request once.
func fetchOnce(q *kmsg.OffsetFetchRequest) {
	q.Topics = merged(q.Topics, func(t *kmsg.OffsetFetchRequestTopic) string { return t.Topic },
		func(to, from *kmsg.OffsetFetchRequestTopic) {
			to.Partitions = append(to.Partitions, from.Partitions...)
		})
	for i := range q.Topics {
		q.Topics[i].Partitions = distinct(q.Topics[i].Partitions)
	}
	q.Groups = merged(q.Groups, func(g *kmsg.OffsetFetchRequestGroup) string { return g.Group },
		func(to, from *kmsg.OffsetFetchRequestGroup) {
			if to.Topics == nil || from.Topics == nil {
				to.Topics = nil // all
			} else {
				to.Topics = append(to.Topics, from.Topics...)
			}
		})
	type name struct {
		name string
		id   [16]byte
	}
	for i := range q.Groups {
		g := &q.Groups[i]
		g.Topics = merged(g.Topics, func(t *kmsg.OffsetFetchRequestGroupTopic) name { return name{t.Topic, t.TopicID} },
			func(to, from *kmsg.OffsetFetchRequestGroupTopic) {
				to.Partitions = append(to.Partitions, from.Partitions...)
			})
		for j := range g.Topics {
			g.Topics[j].Partitions = distinct(g.Topics[j].Partitions)
		}
	}
}

// splitFetch takes topics whose ids nobody knows out of the request and gives the answer to them.
func splitFetch(img *metadata.Image, g *kmsg.OffsetFetchRequestGroup) (unknown []kmsg.OffsetFetchResponseGroupTopic) {
	if g.Topics == nil {
		return nil // all topics
	}
	known := make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(g.Topics))
	for _, t := range g.Topics {
		if named(img, &t.Topic, &t.TopicID, true) == nil {
			known = append(known, t)
			continue
		}
		bad := kmsg.NewOffsetFetchResponseGroupTopic()
		bad.TopicID = t.TopicID
		for _, p := range t.Partitions {
			bp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			bp.Partition, bp.Offset, bp.LeaderEpoch, bp.ErrorCode = p, -1, -1, kerr.UnknownTopicID.Code
			bp.Metadata = kmsg.StringPtr("")
			bad.Partitions = append(bad.Partitions, bp)
		}
		unknown = append(unknown, bad)
	}
	g.Topics = known
	return unknown
}

// withIDs leaves only topics that can be named in an answer by id; answers by name stay as they are.
func withIDs(img *metadata.Image, topics []kmsg.OffsetFetchResponseGroupTopic, version int16) []kmsg.OffsetFetchResponseGroupTopic {
	if version < offsetsByID {
		return topics
	}
	kept := topics[:0]
	for _, t := range topics {
		if present := img.TopicByName(t.Topic); present != nil {
			t.TopicID = present.ID
			kept = append(kept, t)
		}
	}
	return kept
}
