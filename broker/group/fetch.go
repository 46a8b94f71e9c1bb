package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetFetch reads committed offsets. What a group never committed, and what no group of that name committed, is -1
// and no error. The reply is held until what it says is committed, with require_stable or without, so that no
// consumer resumes at an offset that is lost with the coordinator. Topics must carry names, and may carry ids: an
// offset that was committed for a former topic of the name is not shown to who asks for the present one.
//
// From version 8 on a request may name several groups; the caller divides it by shard and joins the answers.
func (s *Shard) OffsetFetch(now int64, t Token, req *kmsg.OffsetFetchRequest) Outcome {
	s.begin(now)
	r := kmsg.NewPtrOffsetFetchResponse()
	r.Version = req.Version
	if req.Version < 8 {
		for _, ft := range s.fetch(req.Group, singleGroup(req)) {
			r.Topics = append(r.Topics, legacyTopic(ft))
		}
	} else {
		for _, g := range req.Groups {
			rg := kmsg.NewOffsetFetchResponseGroup()
			rg.Group, rg.Topics = g.Group, s.fetch(g.Group, g.Topics)
			r.Groups = append(r.Groups, rg)
		}
	}
	s.replyStored(t, r, func(code int16) kmsg.Response { return OffsetFetchError(req, code) })
	return s.end()
}

// OffsetFetchError answers a whole request with one error code.
func OffsetFetchError(req *kmsg.OffsetFetchRequest, code int16) *kmsg.OffsetFetchResponse {
	r := kmsg.NewPtrOffsetFetchResponse()
	r.Version = req.Version
	r.ErrorCode = code
	if req.Version < 2 { // no room for an error of the whole
		for _, ft := range req.Topics {
			t := kmsg.NewOffsetFetchResponseTopic()
			t.Topic = ft.Topic
			for _, p := range ft.Partitions {
				tp := kmsg.NewOffsetFetchResponseTopicPartition()
				tp.Partition, tp.Offset, tp.LeaderEpoch, tp.ErrorCode = p, -1, -1, code
				tp.Metadata = kmsg.StringPtr("")
				t.Partitions = append(t.Partitions, tp)
			}
			r.Topics = append(r.Topics, t)
		}
	}
	for _, g := range req.Groups {
		rg := kmsg.NewOffsetFetchResponseGroup()
		rg.Group, rg.ErrorCode = g.Group, code
		r.Groups = append(r.Groups, rg)
	}
	return r
}

// singleGroup gives the topics of a request of one group in the newer form; nil stays nil.
func singleGroup(req *kmsg.OffsetFetchRequest) []kmsg.OffsetFetchRequestGroupTopic {
	if req.Topics == nil {
		return nil
	}
	out := make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(req.Topics))
	for _, t := range req.Topics {
		gt := kmsg.NewOffsetFetchRequestGroupTopic()
		gt.Topic, gt.Partitions = t.Topic, t.Partitions
		out = append(out, gt)
	}
	return out
}

func legacyTopic(ft kmsg.OffsetFetchResponseGroupTopic) kmsg.OffsetFetchResponseTopic {
	t := kmsg.NewOffsetFetchResponseTopic()
	t.Topic = ft.Topic
	for _, p := range ft.Partitions {
		tp := kmsg.NewOffsetFetchResponseTopicPartition()
		tp.Partition, tp.Offset, tp.LeaderEpoch, tp.Metadata = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata
		t.Partitions = append(t.Partitions, tp)
	}
	return t
}

// fetch reads a group's offsets: of the topics asked for, or of all if topics is nil.
func (s *Shard) fetch(groupID string, topics []kmsg.OffsetFetchRequestGroupTopic) []kmsg.OffsetFetchResponseGroupTopic {
	committed := s.offsets[groupID]
	if topics == nil {
		for _, name := range slices.Sorted(maps.Keys(committed)) {
			gt := kmsg.NewOffsetFetchRequestGroupTopic()
			gt.Topic, gt.Partitions = name, slices.Sorted(maps.Keys(committed[name]))
			topics = append(topics, gt)
		}
	}
	out := make([]kmsg.OffsetFetchResponseGroupTopic, 0, len(topics))
	for _, gt := range topics {
		ft := kmsg.NewOffsetFetchResponseGroupTopic()
		ft.Topic, ft.TopicID = gt.Topic, gt.TopicID
		for _, p := range gt.Partitions {
			fp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			fp.Partition, fp.Offset, fp.LeaderEpoch, fp.Metadata = p, -1, -1, kmsg.StringPtr("")
			if o := committed[gt.Topic][p]; o != nil && sameTopic(o.TopicID, gt.TopicID) {
				fp.Offset, fp.LeaderEpoch, fp.Metadata = o.Offset, o.LeaderEpoch, kmsg.StringPtr(o.Metadata)
				if ft.TopicID == ([16]byte{}) {
					ft.TopicID = o.TopicID
				}
			}
			ft.Partitions = append(ft.Partitions, fp)
		}
		out = append(out, ft)
	}
	return out
}

// sameTopic says whether two topic ids of one name may be the same topic: a zero id is not known.
func sameTopic(a, b [16]byte) bool {
	var zero [16]byte
	return a == zero || b == zero || a == b
}
