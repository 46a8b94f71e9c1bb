package diff

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// settle waits until what a step made or deleted is so for all who read and write: Kafka answers before its brokers know
// of it and before its logs are open or gone. That is when both brokers know the same topics and serve all their
// partitions; where they never do, the next steps tell of it.
func (r *run) settle(st step) {
	switch q := st.req.(type) {
	case *kmsg.CreateTopicsRequest, *kmsg.CreatePartitionsRequest, *kmsg.DeleteTopicsRequest:
	case *kmsg.MetadataRequest:
		if q.Version >= 4 && !q.AllowAutoTopicCreation {
			return
		}
	case *kmsg.AlterConfigsRequest, *kmsg.IncrementalAlterConfigsRequest:
		time.Sleep(3 * r.pace.settle) // nothing tells when what writes has taken them in
		return
	default:
		return
	}
	k, err := dial(r.kafka.addr)
	if err != nil {
		return
	}
	defer k.Close()
	f, err := dial(r.firn.addr)
	if err != nil {
		return
	}
	defer f.Close()
	for end := time.Now().Add(r.pace.made); time.Now().Before(end); time.Sleep(4 * time.Millisecond) {
		kt, kServed := served(k, r.kafka.names)
		ft, fServed := served(f, r.firn.names)
		if kServed && fServed && maps.Equal(kt, ft) {
			return
		}
	}
}

// served gives how many partitions each of the program's topics has, and tells whether all are served. The names learn
// the topics' ids.
func served(c *conn, n *names) (map[string]int, bool) {
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range []string{"t0", "t1", "t2", "t3"} {
		t := kmsg.NewMetadataRequestTopic()
		name = n.prefix + name
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	req.SetVersion(12)
	resp, err := c.ask(req, patience)
	if err != nil {
		return nil, false
	}
	topics := map[string]int{}
	offsets := kmsg.NewPtrListOffsetsRequest()
	offsets.ReplicaID = -1
	for _, t := range resp.(*kmsg.MetadataResponse).Topics {
		if t.ErrorCode != 0 {
			continue
		}
		ot := kmsg.NewListOffsetsRequestTopic()
		ot.Topic = *t.Topic
		for _, p := range t.Partitions {
			op := kmsg.NewListOffsetsRequestTopicPartition()
			op.Partition, op.CurrentLeaderEpoch, op.Timestamp = p.Partition, -1, -1
			ot.Partitions = append(ot.Partitions, op)
		}
		topics[*t.Topic] = len(t.Partitions)
		n.learnTopic(*t.Topic, t.TopicID)
		offsets.Topics = append(offsets.Topics, ot)
	}
	offsets.SetVersion(5)
	answer, err := c.ask(offsets, patience)
	if err != nil {
		return nil, false
	}
	for _, t := range answer.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == kerr.NotLeaderForPartition.Code || p.ErrorCode == kerr.UnknownTopicOrPartition.Code {
				return topics, false
			}
		}
	}
	return topics, true
}

// joining is a JoinGroup that may be parked, on both sides: who joins first leads, so that it must be in before the next is
// sent.
type joining struct {
	who    member
	sides  []*side
	before []string // the group's members
}

func (r *run) joining(st step) *joining {
	q, ok := st.req.(*kmsg.JoinGroupRequest)
	if !ok {
		return nil
	}
	j := &joining{who: member{q.Group, st.actor}, sides: []*side{r.kafka, r.firn}}
	for _, s := range j.sides {
		j.before = append(j.before, s.membersOf(q.Group))
	}
	return j
}

// wait returns when both groups have one more member, or another in the place of one, or when the answer has come. A member
// that was there before is not waited for.
func (j *joining) wait(limit time.Duration) {
	if j == nil {
		return
	}
	end := time.Now().Add(limit)
	for i, s := range j.sides {
		if id := s.names.members[j.who]; id != "" && strings.Contains(j.before[i], id) {
			continue
		}
		for time.Now().Before(end) && answered(s.out[j.who.actor]) == "waits" && s.membersOf(j.who.group) == j.before[i] {
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// membersOf lists the ids of a group's members.
func (s *side) membersOf(group string) string {
	if s.probe == nil {
		c, err := dial(s.addr)
		if err != nil {
			return ""
		}
		s.probe = c
	}
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{strings.ReplaceAll(group, "~", s.names.prefix)}
	req.SetVersion(5)
	resp, err := s.probe.ask(req, patience)
	if err != nil {
		_ = s.probe.Close()
		s.probe = nil
		return ""
	}
	var ids []string
	for _, g := range resp.(*kmsg.DescribeGroupsResponse).Groups {
		for _, m := range g.Members {
			ids = append(ids, m.MemberID)
		}
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}
