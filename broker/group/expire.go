package group

import (
	"maps"
	"slices"
)

// DeletedTopic is a topic that is gone. A zero ID stands for every topic that ever had the name.
type DeletedTopic struct {
	Name string
	ID   [16]byte
}

// TopicsDeleted forgets the offsets of topics that were deleted. An offset that was committed for a newer topic of
// the same name stays (I-38).
func (s *Shard) TopicsDeleted(now int64, topics []DeletedTopic) Outcome {
	s.begin(now)
	gone := map[string][]DeletedTopic{}
	for _, t := range topics {
		gone[t.Name] = append(gone[t.Name], t)
	}
	var records []Record
	for _, id := range slices.Sorted(maps.Keys(s.offsets)) {
		records = s.appendOffsetTombstones(records, id, func(topic string, _ int32, o *Offset) bool {
			return slices.ContainsFunc(gone[topic], func(t DeletedTopic) bool { return sameTopic(t.ID, o.TopicID) })
		})
	}
	if len(records) > 0 {
		s.store(nil, records...)
		s.out.Split = true
	}
	return s.end()
}

// expire forgets offsets that nobody used for the retention, and empty groups that have none left (KIP-211).
func (s *Shard) expire() {
	var records []Record
	for _, id := range slices.Sorted(maps.Keys(s.groups)) {
		g := s.groups[id]
		all := true
		if topics := s.offsets[id]; topics != nil {
			since, may := g.unusedSince()
			if !may {
				continue
			}
			before := len(records)
			n := 0
			for _, ps := range topics {
				n += len(ps)
			}
			records = s.appendOffsetTombstones(records, id, func(topic string, _ int32, o *Offset) bool {
				return !g.subscribes(topic) && o.expired(s.now, s.o.Retention, since)
			})
			all = len(records)-before == n
		}
		if all && g.state == stateEmpty {
			records = append(records, groupTombstone(id))
		}
	}
	if len(records) > 0 {
		s.store(nil, records...)
		s.out.Split = true
	}
	s.set(TimerKey{Kind: TimerExpiry}, s.o.RetentionCheckInterval)
}

// unusedSince gives the time (ms) since which the group's offsets are out of use; -1 if for each that is the time of
// its commit. May is false if none of them can expire.
func (g *group) unusedSince() (since int64, may bool) {
	switch {
	case g.protocolType == "": // simple consumers
		return -1, true
	case g.state == stateEmpty:
		return g.stateSince, true
	case g.isConsumer() && g.topicsKnown && g.state == stateStable: // topics that it no longer reads
		return -1, true
	}
	return 0, false
}

// expired says whether an offset has outlived its use.
func (o *Offset) expired(now, retention, since int64) bool {
	if o.ExpireTimestamp >= 0 {
		return now >= o.ExpireTimestamp
	}
	if since < 0 {
		since = o.CommitTimestamp
	}
	return now-since >= retention
}
