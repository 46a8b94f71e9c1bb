package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetCommit stores offsets, of members of a generation or of simple consumers that belong to none. Topics must
// carry names, and should carry ids, whatever the version. (Kafka: OffsetMetadataManager.commitOffset.)
func (s *Shard) OffsetCommit(now int64, t Token, req *kmsg.OffsetCommitRequest) Outcome {
	s.begin(now)
	g := s.groups[req.Group]
	if code := commitCode(g, req); code != 0 {
		s.reply(t, OffsetCommitAnswer(req, code))
		return s.end()
	}
	if g != nil && (g.state == stateStable || g.state == statePreparing) {
		if m := g.members[req.MemberID]; m != nil {
			s.touch(g, m)
		}
	}
	expire := int64(-1)
	if req.Version >= 2 && req.Version <= 4 && req.RetentionTimeMillis >= 0 {
		expire = now + req.RetentionTimeMillis
	}
	if g == nil { // like Kafka's, it is there from now on, even if nothing of the commit is good
		g = newGroup(req.Group)
		s.groups[g.id] = g
		s.store(&writeSimple{group: g})
	}
	resp := OffsetCommitAnswer(req, 0)
	var records []Record
	for i := range req.Topics {
		rt := &req.Topics[i]
		for j := range rt.Partitions {
			rp := &rt.Partitions[j]
			o := &Offset{Offset: rp.Offset, LeaderEpoch: -1, CommitTimestamp: now, ExpireTimestamp: expire,
				TopicID: rt.TopicID}
			if req.Version >= 6 {
				o.LeaderEpoch = rp.LeaderEpoch
			}
			if rp.Metadata != nil {
				o.Metadata = *rp.Metadata
			}
			if utf16Len(o.Metadata) > s.o.MetadataMaxBytes {
				resp.Topics[i].Partitions[j].ErrorCode = kerr.OffsetMetadataTooLarge.Code
				continue
			}
			records = append(records, offsetRecord(req.Group, rt.Topic, rp.Partition, o))
		}
	}
	s.replyStored(t, resp, func(code int16) kmsg.Response { return OffsetCommitAnswer(req, code) }, records...)
	return s.end()
}

// commitCode checks who commits. g is nil if there is no such group: a simple consumer's first commit makes it.
func commitCode(g *group, req *kmsg.OffsetCommitRequest) int16 {
	generation := req.Generation
	if req.Version < 1 {
		generation = -1
	}
	if g == nil {
		switch {
		case generation < 0:
			return 0
		case req.Version >= 9:
			return kerr.GroupIDNotFound.Code
		}
		return kerr.IllegalGeneration.Code
	}
	if generation < 0 && g.state == stateEmpty {
		return 0
	}
	if generation < 0 && req.MemberID == "" && req.InstanceID == nil {
		return kerr.UnknownMemberID.Code // the group is not empty
	}
	if code := g.validate(req.MemberID, req.InstanceID); code != 0 {
		return code
	}
	if generation != g.generation {
		return kerr.IllegalGeneration.Code
	}
	if g.state == stateCompleting {
		return kerr.RebalanceInProgress.Code
	}
	return 0
}

// OffsetCommitAnswer answers every partition of a request with one code, 0 for one that is stored.
func OffsetCommitAnswer(req *kmsg.OffsetCommitRequest, code int16) *kmsg.OffsetCommitResponse {
	r := kmsg.NewPtrOffsetCommitResponse()
	r.Version = req.Version
	for _, rt := range req.Topics {
		t := kmsg.NewOffsetCommitResponseTopic()
		t.Topic, t.TopicID = rt.Topic, rt.TopicID
		for _, rp := range rt.Partitions {
			p := kmsg.NewOffsetCommitResponseTopicPartition()
			p.Partition, p.ErrorCode = rp.Partition, code
			t.Partitions = append(t.Partitions, p)
		}
		r.Topics = append(r.Topics, t)
	}
	return r
}

// OffsetDelete forgets offsets of topics that the group does not read (KIP-496).
func (s *Shard) OffsetDelete(now int64, t Token, req *kmsg.OffsetDeleteRequest) Outcome {
	s.begin(now)
	failed := func(code int16) kmsg.Response {
		r := kmsg.NewPtrOffsetDeleteResponse()
		r.Version, r.ErrorCode = req.Version, code
		return r
	}
	g := s.groups[req.Group]
	switch {
	case req.Group == "":
		s.reply(t, failed(kerr.InvalidGroupID.Code))
		return s.end()
	case g == nil:
		s.reply(t, failed(kerr.GroupIDNotFound.Code))
		return s.end()
	case g.state != stateEmpty && !g.isConsumer():
		s.reply(t, failed(kerr.NonEmptyGroup.Code))
		return s.end()
	}
	r := kmsg.NewPtrOffsetDeleteResponse()
	r.Version = req.Version
	var records []Record
	for _, rt := range req.Topics {
		dt := kmsg.NewOffsetDeleteResponseTopic()
		dt.Topic = rt.Topic
		inUse := g.subscribes(rt.Topic)
		for _, rp := range rt.Partitions {
			dp := kmsg.NewOffsetDeleteResponseTopicPartition()
			dp.Partition = rp.Partition
			if inUse {
				dp.ErrorCode = kerr.GroupSubscribedToTopic.Code
			} else if s.offsets[req.Group][rt.Topic][rp.Partition] != nil {
				records = append(records, offsetTombstone(req.Group, rt.Topic, rp.Partition))
			}
			dt.Partitions = append(dt.Partitions, dp)
		}
		r.Topics = append(r.Topics, dt)
	}
	s.replyStored(t, r, failed, records...)
	return s.end()
}
