package group

import (
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeGroups tells of groups as they stand now. A group that does not exist is Dead, and from version 6 on also
// an error (KIP-1043). The authorized operations are the API's to fill in.
func (s *Shard) DescribeGroups(now int64, t Token, req *kmsg.DescribeGroupsRequest) Outcome {
	s.begin(now)
	r := kmsg.NewPtrDescribeGroupsResponse()
	r.Version = req.Version
	for _, id := range req.Groups {
		r.Groups = append(r.Groups, describe(s.shown(id), id, req.Version))
	}
	s.reply(t, r)
	return s.end()
}

// shown is a group as far as it is to be seen, nil if it is not: one that a commit made of which nothing was stored
// is known to the calls that change groups, but not to those that show them. Kafka's snapshots do the same.
func (s *Shard) shown(id string) *group {
	g := s.groups[id]
	if g != nil && s.stored[id] == nil && s.offsets[id] == nil && len(g.members) == 0 && len(g.pending) == 0 {
		return nil
	}
	return g
}

func describe(g *group, id string, version int16) kmsg.DescribeGroupsResponseGroup {
	d := kmsg.NewDescribeGroupsResponseGroup()
	d.Group = id
	if g == nil {
		d.State = stateDead
		if version >= 6 {
			d.ErrorCode = kerr.GroupIDNotFound.Code
			d.ErrorMessage = kmsg.StringPtr("Group " + id + " not found.")
		}
		return d
	}
	d.State, d.ProtocolType = g.state.String(), g.protocolType
	stable := g.state == stateStable
	if stable {
		d.Protocol = g.protocol
	}
	for _, m := range g.order {
		dm := kmsg.NewDescribeGroupsResponseGroupMember()
		dm.MemberID, dm.InstanceID = m.id, m.instance
		dm.ClientID, dm.ClientHost = m.client.ID, m.client.Host
		dm.MemberAssignment = m.assignment
		if stable {
			dm.ProtocolMetadata = m.metadata(g.protocol)
		}
		d.Members = append(d.Members, dm)
	}
	return d
}

// ListGroups lists the shard's groups by name, those in certain states (KIP-518) or of certain types (KIP-848) if
// the request says so. Filters are compared without regard to case and surrounding space; what is not known
// matches nothing.
func (s *Shard) ListGroups(now int64, t Token, req *kmsg.ListGroupsRequest) Outcome {
	s.begin(now)
	r := kmsg.NewPtrListGroupsResponse()
	r.Version = req.Version
	for _, id := range slices.Sorted(maps.Keys(s.groups)) {
		g := s.shown(id)
		if g == nil || !listed(req.StatesFilter, g.state.String()) || !listed(req.TypesFilter, classicType) {
			continue
		}
		lg := kmsg.NewListGroupsResponseGroup()
		lg.Group, lg.ProtocolType, lg.GroupState, lg.GroupType = id, g.protocolType, g.state.String(), classicType
		r.Groups = append(r.Groups, lg)
	}
	s.reply(t, r)
	return s.end()
}

// classicType is the type of every group here.
const classicType = "classic"

func listed(filter []string, value string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool {
		return strings.EqualFold(strings.TrimSpace(f), value)
	})
}

// DeleteGroups removes empty groups and their offsets.
func (s *Shard) DeleteGroups(now int64, t Token, req *kmsg.DeleteGroupsRequest) Outcome {
	s.begin(now)
	r := kmsg.NewPtrDeleteGroupsResponse()
	r.Version = req.Version
	var records []Record
	seen := map[string]bool{}
	for _, id := range req.Groups {
		if seen[id] {
			continue
		}
		seen[id] = true
		dg := kmsg.NewDeleteGroupsResponseGroup()
		dg.Group = id
		switch g := s.groups[id]; {
		case g == nil:
			dg.ErrorCode = kerr.GroupIDNotFound.Code
		case g.state != stateEmpty:
			dg.ErrorCode = kerr.NonEmptyGroup.Code
		default:
			records = s.appendOffsetTombstones(records, id, func(string, int32, *Offset) bool { return true })
			records = append(records, groupTombstone(id))
		}
		r.Groups = append(r.Groups, dg)
	}
	s.replyStored(t, r, func(code int16) kmsg.Response {
		e := kmsg.NewPtrDeleteGroupsResponse()
		e.Version = req.Version
		for _, g := range r.Groups {
			if g.ErrorCode == 0 {
				g.ErrorCode = code
			}
			e.Groups = append(e.Groups, g)
		}
		return e
	}, records...)
	return s.end()
}

// appendOffsetTombstones adds a tombstone for each offset of a group that is chosen, in order of topic and
// partition.
func (s *Shard) appendOffsetTombstones(to []Record, groupID string, chosen func(string, int32, *Offset) bool) []Record {
	topics := s.offsets[groupID]
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		for _, p := range slices.Sorted(maps.Keys(topics[topic])) {
			if chosen(topic, p, topics[topic][p]) {
				to = append(to, offsetTombstone(groupID, topic, p))
			}
		}
	}
	return to
}
