package group

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Replay applies one record of the shard's partition: at loading each record of the log in order, later each record
// that was appended for an [Outcome]. It is the only writer of durable state. Errors are [ErrUnknownRecord] and
// [ErrMalformedRecord]; such a record changes nothing.
func (s *Shard) Replay(r Record) error {
	d, err := decode(r)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	if d.kind == keyGroup {
		s.replayGroup(d.group, d.metadata, r.Value)
		return nil
	}
	if d.offset == nil {
		s.forget(d.group, d.topic, d.partition)
		return nil
	}
	ts := s.offsets[d.group]
	if ts == nil {
		ts = groupOffsets{}
		s.offsets[d.group] = ts
	}
	if ts[d.topic] == nil {
		ts[d.topic] = map[int32]*Offset{}
	}
	ts[d.topic][d.partition] = d.offset
	if s.started && s.groups[d.group] == nil {
		s.groups[d.group] = newGroup(d.group) // a simple consumer's first commit
	}
	return nil
}

func (s *Shard) replayGroup(id string, v *kmsg.GroupMetadataValue, raw []byte) {
	if v == nil {
		delete(s.stored, id)
		delete(s.groups, id) // it was empty when that was decided, so nobody waits in it
		return
	}
	s.stored[id] = bytes.Clone(raw)
}

func (s *Shard) forget(groupID, topic string, partition int32) {
	ts := s.offsets[groupID]
	delete(ts[topic], partition)
	if len(ts[topic]) == 0 {
		delete(ts, topic)
	}
	if len(ts) == 0 {
		delete(s.offsets, groupID)
	}
}

// Start makes the live state from what was replayed, once, after the last record of the log and before the first
// request. Every member gets a whole session to be heard of. (Kafka: GroupMetadataManager.onLoaded.)
func (s *Shard) Start(now int64) Outcome {
	s.begin(now)
	s.started = true
	for _, id := range slices.Sorted(maps.Keys(s.stored)) {
		d, err := decodeGroup(Record{Key: groupKey(id), Value: s.stored[id]})
		if err != nil {
			continue // Replay has seen it
		}
		s.groups[id] = loadGroup(id, d.metadata)
	}
	for id := range s.offsets {
		if s.groups[id] == nil {
			s.groups[id] = newGroup(id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.groups)) {
		g := s.groups[id]
		for _, m := range g.order {
			s.touch(g, m)
		}
		if len(g.members) > s.o.MaxSize { // the config was lowered: let them commit and come again
			s.prepare(g)
		}
	}
	s.set(TimerKey{Kind: TimerExpiry}, s.o.RetentionCheckInterval)
	return s.end()
}

// loadGroup is a group as it was when its record was written: Stable, or Empty without members.
func loadGroup(id string, v *kmsg.GroupMetadataValue) *group {
	g := newGroup(id)
	g.generation = v.Generation
	g.protocolType = v.ProtocolType
	if v.Protocol != nil {
		g.protocol, g.hasProtocol = *v.Protocol, true
	}
	g.stateSince = v.CurrentStateTimestamp
	for i := range v.Members {
		vm := &v.Members[i]
		m := &member{id: vm.MemberID, instance: vm.InstanceID, client: Client{ID: vm.ClientID, Host: vm.ClientHost},
			assignment: vm.Assignment}
		m.sessionTimeout, m.rebalanceTimeout = vm.SessionTimeoutMillis, vm.RebalanceTimeoutMillis
		if m.rebalanceTimeout == -1 {
			m.rebalanceTimeout = m.sessionTimeout
		}
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = g.protocol, vm.Subscription
		m.protocols = []kmsg.JoinGroupRequestProtocol{p}
		g.add(m)
	}
	if len(g.members) > 0 {
		g.state = stateStable
		if v.Leader != nil && g.members[*v.Leader] != nil {
			g.leader = *v.Leader
		}
	}
	g.readTopics()
	return g
}
