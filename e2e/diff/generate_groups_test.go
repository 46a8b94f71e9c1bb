package diff

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func groupCalls() []call {
	return []call{
		{10, kmsg.JoinGroup, (*generator).round},
		{6, kmsg.JoinGroup, (*generator).joinOdd},
		{6, kmsg.SyncGroup, (*generator).syncOdd},
		{8, kmsg.Heartbeat, (*generator).heartbeat},
		{6, kmsg.LeaveGroup, (*generator).leave},
		{14, kmsg.OffsetCommit, (*generator).offsetCommit},
		{12, kmsg.OffsetFetch, (*generator).offsetFetch},
		{5, kmsg.OffsetDelete, (*generator).offsetDelete},
		{10, kmsg.DescribeGroups, (*generator).describeGroups},
		{6, kmsg.ListGroups, (*generator).listGroups},
		{6, kmsg.DeleteGroups, (*generator).deleteGroups},
		{4, kmsg.FindCoordinator, (*generator).findCoordinator},
	}
}

func (g *generator) group() string { return mostly(g, "~g0", "~g1", "~g2", "") }

func (g *generator) memberID(actor int) string {
	return mostly(g, fmt.Sprintf("@m%d", actor), "", "nobody", fmt.Sprintf("@m%d", g.actor()))
}

func (g *generator) generation() int32 {
	return mostly(g, int32(lastGeneration), lastGeneration-1, -1, 0, 99)
}

// instance is that of a static member, for some actors in some programs.
func (g *generator) instance(actor int) *string {
	if !g.chance(15) {
		return nil
	}
	return ptr(mostly(g, fmt.Sprintf("i%d", actor), "i0", ""))
}

func (g *generator) join(group string, actor int) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = group, 60_000, 2_000
	req.MemberID, req.ProtocolType = fmt.Sprintf("@m%d", actor), "consumer"
	for _, name := range []string{"range", "sticky"} {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, []byte("sub:~t0")
		req.Protocols = append(req.Protocols, p)
		if g.chance(30) {
			break
		}
	}
	return req
}

// collect waits until all answers are there.
func (g *generator) collect() { g.steps = append(g.steps, step{}) }

// round takes some actors through a whole rebalance: all join, all are answered, all sync.
func (g *generator) round() {
	group := mostly(g, "~g0", "~g1")
	actors := g.r.Perm(g.actors)[:1+g.r.IntN(g.actors)]
	static := g.chance(20)
	joins := map[int]*kmsg.JoinGroupRequest{}
	for _, a := range actors {
		req := g.join(group, a)
		if static {
			req.InstanceID = ptr(fmt.Sprintf("i%d", a))
		}
		req.SetVersion(g.version(req.Key()))
		if static {
			req.SetVersion(max(req.Version, 5))
		}
		joins[a] = req
		g.steps = append(g.steps, step{actor: a, req: req})
		if who := (member{group, a}); req.Version >= 4 && !static && !g.joined[who] { // the first answer is just the member id
			g.joined[who] = true
			g.steps = append(g.steps, step{actor: a, req: req})
		}
	}
	if g.chance(15) {
		g.between()
	}
	g.collect()
	if g.chance(15) {
		g.between()
	}
	for _, a := range actors {
		req := g.sync(group, a)
		req.InstanceID = joins[a].InstanceID
		g.do(a, req)
	}
	g.collect()
}

// between asks in the middle of a rebalance.
func (g *generator) between() {
	for range 1 + g.r.IntN(2) {
		one(g, (*generator).describeGroups, (*generator).listGroups, (*generator).offsetFetch, (*generator).findCoordinator)(g)
		g.steps[len(g.steps)-1].actor = g.actors // one who is not waiting
	}
}

func (g *generator) sync(group string, actor int) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.Generation, req.MemberID = group, lastGeneration, fmt.Sprintf("@m%d", actor)
	req.ProtocolType, req.Protocol = ptr("consumer"), ptr("@p")
	for a := range g.actors {
		as := kmsg.NewSyncGroupRequestGroupAssignment()
		as.MemberID, as.MemberAssignment = fmt.Sprintf("@m%d", a), fmt.Appendf(nil, "by %d for %d", actor, a)
		req.GroupAssignment = append(req.GroupAssignment, as)
	}
	return req
}

// joinOdd is a join that may be anything.
func (g *generator) joinOdd() {
	actor := g.actor()
	req := g.join(g.group(), actor)
	req.MemberID, req.InstanceID = g.memberID(actor), g.instance(actor)
	req.SessionTimeoutMillis = mostly(g, int32(60_000), 1, 0, -1, 5_999, 6_000, 1_800_001)
	req.ProtocolType = mostly(g, "consumer", "connect", "")
	n := g.r.IntN(10)
	switch n {
	case 0:
		req.Protocols = nil
	case 1:
		req.Protocols = append(req.Protocols, req.Protocols[0])
	}
	g.do(actor, req)
	if n == 1 { // what comes of it shows later
		g.steps[len(g.steps)-1].about = aboutTwice
		g.done = true
	}
	g.collect()
}

func (g *generator) syncOdd() {
	actor := g.actor()
	req := g.sync(g.group(), actor)
	req.MemberID, req.InstanceID, req.Generation = g.memberID(actor), g.instance(actor), g.generation()
	req.ProtocolType = mostly(g, ptr("consumer"), ptr("connect"), nil, ptr(""))
	req.Protocol = mostly(g, ptr("@p"), ptr("range"), ptr("nothing"), nil)
	if g.chance(30) {
		req.GroupAssignment = nil
	}
	g.do(actor, req)
	g.collect()
}

func (g *generator) heartbeat() {
	actor := g.actor()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID = g.group(), g.memberID(actor), g.generation(), g.instance(actor)
	g.do(actor, req)
}

func (g *generator) leave() {
	actor := g.actor()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = g.group(), g.memberID(actor)
	g.some(func() {
		m := kmsg.NewLeaveGroupRequestMember()
		who := g.actor()
		m.MemberID, m.InstanceID = g.memberID(who), g.instance(who)
		req.Members = append(req.Members, m)
	})
	g.do(actor, req)
}

func (g *generator) offsetCommit() {
	actor := g.actor()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = g.group(), "", -1
	if g.chance(50) {
		req.MemberID, req.Generation, req.InstanceID = g.memberID(actor), g.generation(), g.instance(actor)
	}
	if req.Group == "" { // it is one group for all programs, so that nobody may make it
		req.MemberID, req.Generation = "nobody", 1
	}
	req.RetentionTimeMillis = -1
	for _, name := range g.topics() {
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic, t.TopicID = name, g.idOf(name)
		g.some(func() {
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch = g.partition(), g.offset(), mostly(g, int32(-1), 0, 3)
			p.Metadata = mostly(g, ptr("note"), nil, ptr(""), ptr(strings.Repeat("n", 4096)), ptr(strings.Repeat("n", 4097)))
			t.Partitions = append(t.Partitions, p)
		})
		req.Topics = append(req.Topics, t)
	}
	g.do(actor, req)
}

func (g *generator) offsetFetch() {
	actor := g.actor()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.RequireStable = g.group(), g.chance(20)
	all := g.chance(30)
	if !all {
		for _, name := range g.topics() {
			t := kmsg.NewOffsetFetchRequestTopic()
			t.Topic = name
			t.Partitions = g.partitions()
			req.Topics = append(req.Topics, t)
		}
	}
	for _, group := range distinct(g, g.group) {
		gr := kmsg.NewOffsetFetchRequestGroup()
		gr.Group, gr.MemberEpoch = group, -1
		if g.chance(10) {
			gr.MemberID, gr.MemberEpoch = ptr(g.memberID(actor)), one(g, int32(-1), 0, 1)
		}
		if !all {
			for _, name := range g.topics() {
				t := kmsg.NewOffsetFetchRequestGroupTopic()
				t.Topic, t.TopicID = name, g.idOf(name)
				t.Partitions = g.partitions()
				gr.Topics = append(gr.Topics, t)
			}
		}
		req.Groups = append(req.Groups, gr)
	}
	req.SetVersion(g.version(req.Key()))
	if req.Version < 2 && req.Topics == nil { // all topics can be asked for from version 2 on
		req.SetVersion(2)
	}
	g.steps = append(g.steps, step{actor: actor, req: req})
}

func (g *generator) offsetDelete() {
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = g.group()
	for _, name := range g.topics() {
		t := kmsg.NewOffsetDeleteRequestTopic()
		t.Topic = name
		for _, index := range g.partitions() {
			p := kmsg.NewOffsetDeleteRequestTopicPartition()
			p.Partition = index
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	g.do(g.actor(), req)
}

func (g *generator) describeGroups() {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.IncludeAuthorizedOperations = g.chance(20)
	req.Groups = distinct(g, g.group)
	g.do(g.actor(), req)
}

func (g *generator) listGroups() {
	req := kmsg.NewPtrListGroupsRequest()
	for g.chance(40) {
		req.StatesFilter = append(req.StatesFilter, one(g, "Stable", "Empty", "stable", "Dead", "PreparingRebalance", "CompletingRebalance", "Nonsense", ""))
	}
	for g.chance(30) {
		req.TypesFilter = append(req.TypesFilter, one(g, "classic", "Classic", "consumer", "share", "Nonsense"))
	}
	g.do(g.actor(), req)
}

func (g *generator) deleteGroups() {
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = distinct(g, g.group)
	g.do(g.actor(), req)
}

func (g *generator) findCoordinator() {
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType = mostly(g, int8(0), 0, 3, -1)
	req.CoordinatorKey = g.group()
	req.CoordinatorKeys = distinct(g, g.group)
	g.do(g.actor(), req)
}
