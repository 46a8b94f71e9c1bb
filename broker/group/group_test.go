package group

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// rig is a sim with requests in short form. A reply that has not come is nil.
type rig struct {
	*sim
	t *testing.T
}

func newRig(t *testing.T, tune func(*Options)) *rig {
	r := &rig{sim: newSim(t, 1, tune), t: t}
	r.check = r.checkShard
	return r
}

type box[R kmsg.Response] struct{ got R }

func ask[R kmsg.Response](r *rig, step func(Token) Outcome) *box[R] {
	b := &box[R]{}
	r.call(func(resp kmsg.Response) { b.got = resp.(R) }, step)
	return b
}

type joinOpt func(*kmsg.JoinGroupRequest)

func asStatic(instance string) joinOpt {
	return func(q *kmsg.JoinGroupRequest) { q.InstanceID = &instance }
}
func version(v int16) joinOpt { return func(q *kmsg.JoinGroupRequest) { q.Version = v } }
func protocols(names ...string) joinOpt {
	return func(q *kmsg.JoinGroupRequest) {
		q.Protocols = nil
		for _, n := range names {
			q.Protocols = append(q.Protocols, kmsg.JoinGroupRequestProtocol{Name: n, Metadata: subscription("topic")})
		}
	}
}
func kind(k string) joinOpt { return func(q *kmsg.JoinGroupRequest) { q.ProtocolType = k } }
func timeouts(session, rebalance int32) joinOpt {
	return func(q *kmsg.JoinGroupRequest) {
		q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = session, rebalance
	}
}

func (r *rig) join(id string, opts ...joinOpt) *box[*kmsg.JoinGroupResponse] {
	q := kmsg.NewPtrJoinGroupRequest()
	q.Version, q.Group, q.MemberID, q.ProtocolType = 9, "g", id, consumerType
	timeouts(10_000, 60_000)(q)
	protocols("range")(q)
	for _, o := range opts {
		o(q)
	}
	return ask[*kmsg.JoinGroupResponse](r, func(t Token) Outcome {
		return r.shard.JoinGroup(r.now, t, Client{ID: "c", Host: "/h"}, q)
	})
}

func (r *rig) sync(id string, gen int32, assign ...string) *box[*kmsg.SyncGroupResponse] {
	q := kmsg.NewPtrSyncGroupRequest()
	q.Version, q.Group, q.MemberID, q.Generation = 5, "g", id, gen
	for i := 0; i+1 < len(assign); i += 2 {
		q.GroupAssignment = append(q.GroupAssignment,
			kmsg.SyncGroupRequestGroupAssignment{MemberID: assign[i], MemberAssignment: []byte(assign[i+1])})
	}
	return ask[*kmsg.SyncGroupResponse](r, func(t Token) Outcome { return r.shard.SyncGroup(r.now, t, q) })
}

func (r *rig) beat(id string, gen int32) int16 {
	q := kmsg.NewPtrHeartbeatRequest()
	q.Group, q.MemberID, q.Generation = "g", id, gen
	return ask[*kmsg.HeartbeatResponse](r, func(t Token) Outcome { return r.shard.Heartbeat(r.now, t, q) }).got.ErrorCode
}

func (r *rig) commitAs(id string, gen int32, version int16, at int64, note string) *box[*kmsg.OffsetCommitResponse] {
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Version, q.Group, q.MemberID, q.Generation = version, "g", id, gen
	q.Topics = commitOf(0, at, note)
	return ask[*kmsg.OffsetCommitResponse](r, func(t Token) Outcome { return r.shard.OffsetCommit(r.now, t, q) })
}

func commitError(b *box[*kmsg.OffsetCommitResponse]) int16 {
	return b.got.Topics[0].Partitions[0].ErrorCode
}

func (r *rig) fetched() int64 {
	r.t.Helper()
	q := kmsg.NewPtrOffsetFetchRequest()
	q.Version = 8
	q.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g",
		Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "topic", Partitions: []int32{0}}}}}
	b := ask[*kmsg.OffsetFetchResponse](r, func(t Token) Outcome { return r.shard.OffsetFetch(r.now, t, q) })
	r.commitAll()
	p := b.got.Groups[0].Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		r.t.Fatalf("fetch: error %d", p.ErrorCode)
	}
	return p.Offset
}

// dynamic takes a dynamic member through MEMBER_ID_REQUIRED and into the join phase.
func (r *rig) dynamic(opts ...joinOpt) (string, *box[*kmsg.JoinGroupResponse]) {
	r.t.Helper()
	first := r.join("", opts...).got
	if first == nil || first.ErrorCode != kerr.MemberIDRequired.Code || !strings.HasPrefix(first.MemberID, "c-") {
		r.t.Fatalf("first join: %+v", first)
	}
	return first.MemberID, r.join(first.MemberID, opts...)
}

// stable makes a group of n dynamic members at rest; the first is the leader. Assignments are "a0", "a1"...
func (r *rig) stable(n int, opts ...joinOpt) ([]string, int32) {
	r.t.Helper()
	var ids, assign []string
	var joins []*box[*kmsg.JoinGroupResponse]
	for i := range n {
		id, b := r.dynamic(opts...)
		ids, joins = append(ids, id), append(joins, b)
		assign = append(assign, id, "a"+string(rune('0'+i)))
	}
	r.pass(int64(r.opts.InitialRebalanceDelay) * int64(n+1))
	gen := r.joined(joins[0], 0).Generation
	for i, id := range ids {
		var with []string
		if i == 0 {
			with = assign
		}
		r.sync(id, gen, with...)
	}
	r.commitAll()
	if g := r.shard.groups["g"]; g.state != stateStable || len(g.members) != n {
		r.t.Fatalf("group is %v with %d members", g.state, len(g.members))
	}
	return ids, gen
}

func (r *rig) joined(b *box[*kmsg.JoinGroupResponse], code int16) *kmsg.JoinGroupResponse {
	r.t.Helper()
	if b.got == nil {
		r.t.Fatalf("join is parked, want code %d", code)
	}
	if b.got.ErrorCode != code {
		r.t.Fatalf("join: code %d, want %d", b.got.ErrorCode, code)
	}
	return b.got
}

func (r *rig) state() string { return r.shard.groups["g"].state.String() }

func TestFirstRebalanceWaitsForMore(t *testing.T) {
	r := newRig(t, nil)
	_, a := r.dynamic()
	r.pass(2000)
	_, b := r.dynamic()
	r.pass(2000) // 4 s: the second member extended the delay of 3 s
	if a.got != nil {
		t.Fatal("the join phase ended though a member came during the delay")
	}
	r.pass(2000)
	ja, jb := r.joined(a, 0), r.joined(b, 0)
	if ja.Generation != 1 || jb.Generation != 1 || ja.LeaderID != ja.MemberID || jb.LeaderID != ja.MemberID {
		t.Fatalf("%+v %+v", ja, jb)
	}
	if len(ja.Members) != 2 || len(jb.Members) != 0 || *ja.Protocol != "range" || *ja.ProtocolType != consumerType {
		t.Fatalf("%+v %+v", ja, jb)
	}
}

// However many come, the delay is never extended beyond the rebalance timeout.
func TestFirstRebalanceIsBounded(t *testing.T) {
	r := newRig(t, nil)
	_, a := r.dynamic(timeouts(10_000, 7000))
	for range 9 {
		r.pass(1000)
		r.dynamic(timeouts(10_000, 7000))
	}
	if a.got == nil {
		t.Fatal("still waiting after the rebalance timeout")
	}
}

func TestAssignmentIsShownOnceCommitted(t *testing.T) {
	r := newRig(t, nil)
	ida, a := r.dynamic()
	idb, _ := r.dynamic()
	r.pass(6000)
	gen := r.joined(a, 0).Generation
	r.commitAll()
	sb := r.sync(idb, gen)
	sa := r.sync(ida, gen, ida, "for a", idb, "for b", "stranger", "x")
	if sa.got != nil || sb.got != nil || r.state() != "CompletingRebalance" {
		t.Fatal("an assignment was shown before its record is committed")
	}
	r.commitAll()
	if string(sa.got.MemberAssignment) != "for a" || string(sb.got.MemberAssignment) != "for b" || r.state() != "Stable" {
		t.Fatalf("%+v %+v %s", sa.got, sb.got, r.state())
	}
	again := r.sync(idb, gen)
	if string(again.got.MemberAssignment) != "for b" {
		t.Fatalf("asked again: %+v", again.got)
	}
}

func TestFailedAssignmentRebalances(t *testing.T) {
	for _, c := range []struct{ append, want int16 }{
		{kerr.KafkaStorageError.Code, kerr.NotCoordinator.Code},
		{kerr.NotEnoughReplicas.Code, kerr.CoordinatorNotAvailable.Code},
		{kerr.MessageTooLarge.Code, kerr.UnknownServerError.Code},
	} {
		r := newRig(t, nil)
		id, a := r.dynamic()
		r.pass(3000)
		r.commitAll()
		r.failNext = c.append
		s := r.sync(id, r.joined(a, 0).Generation, id, "x")
		if s.got == nil || s.got.ErrorCode != c.want || r.state() != "PreparingRebalance" {
			t.Errorf("append error %d: %+v in %s", c.append, s.got, r.state())
		}
	}
}

func TestMembersThatDoNotComeBackAreOut(t *testing.T) {
	r := newRig(t, nil)
	ids, gen := r.stable(3)
	back := r.join(ids[0]) // the leader joins again: a rebalance
	if code := r.beat(ids[1], gen); code != kerr.RebalanceInProgress.Code {
		t.Fatalf("heartbeat: %d", code)
	}
	second := r.join(ids[1])
	for range 12 { // the third heartbeats, but does not join
		r.pass(5000)
		r.beat(ids[2], gen)
	}
	j := r.joined(back, 0)
	r.joined(second, 0)
	if j.Generation != gen+1 || len(j.Members) != 2 {
		t.Fatalf("%+v", j)
	}
	if code := r.beat(ids[2], gen); code != kerr.UnknownMemberID.Code {
		t.Fatalf("heartbeat of the lost member: %d", code)
	}
}

func TestSessionsEnd(t *testing.T) {
	r := newRig(t, nil)
	ids, gen := r.stable(2)
	r.pass(6000)
	r.beat(ids[1], gen)
	r.pass(6000) // the leader was silent for 12 s
	if r.state() != "PreparingRebalance" {
		t.Fatalf("state %s", r.state())
	}
	j := r.joined(r.join(ids[1]), 0)
	if j.LeaderID != ids[1] || j.Generation != gen+1 {
		t.Fatalf("%+v", j)
	}
	r.pass(5 * 60_000)
	r.commitAll()
	if g := r.shard.groups["g"]; g.state != stateEmpty || g.generation != gen+2 {
		t.Fatalf("%v generation %d", g.state, g.generation)
	}
	r.restart()
	if g := r.shard.groups["g"]; g.state != stateEmpty || g.generation != gen+2 || g.protocolType != consumerType {
		t.Fatalf("after a restart: %+v", g)
	}
}

func TestMembersThatDoNotSyncAreOut(t *testing.T) {
	r := newRig(t, nil)
	ida, a := r.dynamic(timeouts(60_000, 20_000))
	idb, _ := r.dynamic(timeouts(60_000, 20_000))
	r.pass(6000)
	gen := r.joined(a, 0).Generation
	r.sync(ida, gen, ida, "x")
	r.commitAll()
	r.pass(20_000)
	g := r.shard.groups["g"]
	if g.members[idb] != nil || g.members[ida] == nil || g.state != statePreparing {
		t.Fatalf("%v %v", g.state, sortedKeys(g.members))
	}
}

func TestPendingMembersHoldTheRebalance(t *testing.T) {
	r := newRig(t, nil)
	ids, _ := r.stable(1)
	pending := r.join("").got.MemberID
	b := r.join(ids[0])
	if b.got != nil {
		t.Fatal("the join phase did not wait for the pending member")
	}
	r.pass(10_000) // its session
	r.joined(b, 0)
	if code := r.joined(r.join(pending), kerr.UnknownMemberID.Code); code.MemberID != pending {
		t.Fatalf("%+v", code)
	}
}

func TestStaticMembers(t *testing.T) {
	for _, v := range []int16{5, 9} {
		r := newRig(t, nil)
		leader := r.join("", asStatic("i1"), version(v))
		other := r.join("", asStatic("i2"), version(v))
		r.pass(6000)
		l, o := r.joined(leader, 0), r.joined(other, 0)
		if !strings.HasPrefix(l.MemberID, "i1-") {
			t.Fatalf("member id %q", l.MemberID)
		}
		r.sync(l.MemberID, 1, l.MemberID, "one", o.MemberID, "two")
		r.sync(o.MemberID, 1)
		r.commitAll()

		back := r.join("", asStatic("i1"), version(v)) // restarted: same assignment, no rebalance
		if back.got != nil {
			t.Fatal("answered before the new member id is stored")
		}
		r.commitAll()
		b := r.joined(back, 0)
		if b.Generation != 1 || b.MemberID == l.MemberID || r.state() != "Stable" {
			t.Fatalf("v%d: %+v", v, b)
		}
		if v >= 9 && (!b.SkipAssignment || b.LeaderID != b.MemberID || len(b.Members) != 2) ||
			v < 9 && (b.SkipAssignment || b.LeaderID != l.MemberID || len(b.Members) != 0) {
			t.Fatalf("v%d: %+v", v, b)
		}
		if s := r.sync(b.MemberID, 1); string(s.got.MemberAssignment) != "one" {
			t.Fatalf("%+v", s.got)
		}
		q := kmsg.NewPtrHeartbeatRequest()
		q.Group, q.MemberID, q.Generation, q.InstanceID = "g", l.MemberID, 1, kmsg.StringPtr("i1")
		h := ask[*kmsg.HeartbeatResponse](r, func(t Token) Outcome { return r.shard.Heartbeat(r.now, t, q) })
		if h.got.ErrorCode != kerr.FencedInstanceID.Code {
			t.Fatalf("the old process: %d", h.got.ErrorCode)
		}

		r.join("", asStatic("i2"), protocols("other", "range"), version(v)) // still votes for range in the end
		if r.state() != "Stable" {
			t.Fatal("rebalanced though the protocol stays")
		}
		r.commitAll()
		r.restart()
		if g := r.shard.groups["g"]; g.static["i1"] != b.MemberID || g.state != stateStable {
			t.Fatalf("after a restart: %v %v", g.static, g.state)
		}
	}
}

func TestStaticReplacementFails(t *testing.T) {
	r := newRig(t, nil)
	first := r.join("", asStatic("i1"))
	r.pass(3000)
	id := r.joined(first, 0).MemberID
	r.sync(id, 1, id, "x")
	r.commitAll()
	r.failNext = kerr.NotEnoughReplicas.Code
	j := r.joined(r.join("", asStatic("i1")), kerr.CoordinatorNotAvailable.Code)
	if j.MemberID != "" {
		t.Fatalf("%+v", j)
	}
	if code := r.beat(id, 1); code != 0 {
		t.Fatalf("the old member has %d", code)
	}
}

func TestStaticMembersOutliveARebalance(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.join("", asStatic("i1"), timeouts(300_000, 10_000)), r.join("", asStatic("i2"), timeouts(300_000, 10_000))
	r.pass(6000)
	ida, idb := r.joined(a, 0).MemberID, r.joined(b, 0).MemberID
	r.sync(ida, 1, ida, "x", idb, "y")
	r.sync(idb, 1)
	r.commitAll()
	again := r.join(idb, asStatic("i2"), protocols("range", "new"), timeouts(300_000, 10_000)) // says something new: a rebalance
	r.pass(10_000)
	j := r.joined(again, 0)
	if j.Generation != 2 || len(j.Members) != 2 || j.LeaderID != idb {
		t.Fatalf("the member that comes leads, the other keeps its place: %+v", j)
	}
}

func TestJoinRefusals(t *testing.T) {
	r := newRig(t, func(o *Options) { o.MaxSize = 2 })
	r.joined(r.join("", func(q *kmsg.JoinGroupRequest) { q.Group = "" }), kerr.InvalidGroupID.Code)
	r.joined(r.join("", timeouts(5999, 1)), kerr.InvalidSessionTimeout.Code)
	r.joined(r.join("", timeouts(1800001, 1)), kerr.InvalidSessionTimeout.Code)
	r.joined(r.join("who"), kerr.UnknownMemberID.Code)
	if r.shard.Groups() != 0 {
		t.Fatal("a refused join made a group")
	}
	r.stable(2)
	r.joined(r.join("", protocols("unheard-of")), kerr.GroupMaxSizeReached.Code)
	r.opts.MaxSize = 3
	r.shard.SetOptions(r.now, r.opts)
	r.joined(r.join("", protocols("unheard-of")), kerr.InconsistentGroupProtocol.Code)
	r.joined(r.join("", kind("connect")), kerr.InconsistentGroupProtocol.Code)
	r.joined(r.join("nobody"), kerr.UnknownMemberID.Code)
	r.joined(r.join("nobody", asStatic("i")), kerr.UnknownMemberID.Code)
	old := r.join("", version(3)) // before KIP-394 a member is taken in at once
	if old.got != nil {
		t.Fatalf("%+v", old.got)
	}
}

// Java clients before KIP-394 and the first protocol version, whose rebalance timeout is the session's.
func TestJoinVersionZero(t *testing.T) {
	r := newRig(t, nil)
	b := r.join("", version(0), timeouts(10_000, -1))
	r.pass(3000)
	r.joined(b, 0)
	if got := r.shard.groups["g"].rebalanceTimeout(); got != 10_000 {
		t.Fatalf("rebalance timeout %d", got)
	}
}

func TestVotes(t *testing.T) {
	for _, c := range []struct {
		name    string
		members [][]string
		want    string
	}{
		{"one", [][]string{{"b", "a"}}, "b"},
		{"most votes among what all know", [][]string{{"range", "sticky"}, {"sticky", "range"}, {"only", "sticky", "range"}}, "sticky"},
		{"what not all know does not count", [][]string{{"new", "old"}, {"new", "old"}, {"old"}}, "old"},
		{"a tie goes as in Kafka", [][]string{{"range", "sticky"}, {"sticky", "range"}}, "sticky"},
	} {
		g := newGroup("g")
		for i, ps := range c.members {
			m := &member{id: string(rune('a' + i))}
			for _, p := range ps {
				m.protocols = append(m.protocols, kmsg.JoinGroupRequestProtocol{Name: p})
			}
			g.add(m)
		}
		if got := g.selectProtocol(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestSyncRefusals(t *testing.T) {
	r := newRig(t, nil)
	if s := r.sync("x", 1); s.got.ErrorCode != kerr.UnknownMemberID.Code {
		t.Fatalf("no group: %d", s.got.ErrorCode)
	}
	ids, gen := r.stable(1)
	if s := r.sync("x", gen); s.got.ErrorCode != kerr.UnknownMemberID.Code {
		t.Fatalf("no member: %d", s.got.ErrorCode)
	}
	if s := r.sync(ids[0], gen-1); s.got.ErrorCode != kerr.IllegalGeneration.Code {
		t.Fatalf("old generation: %d", s.got.ErrorCode)
	}
	q := kmsg.NewPtrSyncGroupRequest()
	q.Version, q.Group, q.MemberID, q.Generation, q.Protocol = 5, "g", ids[0], gen, kmsg.StringPtr("sticky")
	s := ask[*kmsg.SyncGroupResponse](r, func(t Token) Outcome { return r.shard.SyncGroup(r.now, t, q) })
	if s.got.ErrorCode != kerr.InconsistentGroupProtocol.Code {
		t.Fatalf("another protocol: %d", s.got.ErrorCode)
	}
	r.dynamic()
	if s := r.sync(ids[0], gen); s.got.ErrorCode != kerr.RebalanceInProgress.Code {
		t.Fatalf("while rebalancing: %d", s.got.ErrorCode)
	}
}

func TestLeave(t *testing.T) {
	r := newRig(t, nil)
	ids, gen := r.stable(2)
	pending := r.join("").got.MemberID
	leave := func(v int16, members ...kmsg.LeaveGroupRequestMember) *kmsg.LeaveGroupResponse {
		q := kmsg.NewPtrLeaveGroupRequest()
		q.Version, q.Group, q.Members = v, "g", members
		if v < 3 {
			q.MemberID = members[0].MemberID
		}
		b := ask[*kmsg.LeaveGroupResponse](r, func(t Token) Outcome { return r.shard.LeaveGroup(r.now, t, q) })
		r.commitAll()
		return b.got
	}
	if got := leave(2, kmsg.LeaveGroupRequestMember{MemberID: "nobody"}); got.ErrorCode != kerr.UnknownMemberID.Code {
		t.Fatalf("v2: %+v", got)
	}
	got := leave(5, kmsg.LeaveGroupRequestMember{MemberID: ids[0]}, kmsg.LeaveGroupRequestMember{MemberID: "nobody"},
		kmsg.LeaveGroupRequestMember{MemberID: pending}, kmsg.LeaveGroupRequestMember{InstanceID: kmsg.StringPtr("i")})
	var codes []int16
	for _, m := range got.Members {
		codes = append(codes, m.ErrorCode)
	}
	u := kerr.UnknownMemberID.Code
	if !slices.Equal(codes, []int16{0, u, 0, u}) || r.state() != "PreparingRebalance" {
		t.Fatalf("%v in %s", codes, r.state())
	}
	if got := leave(2, kmsg.LeaveGroupRequestMember{MemberID: ids[1]}); got.ErrorCode != 0 {
		t.Fatalf("v2: %+v", got)
	}
	if g := r.shard.groups["g"]; g.state != stateEmpty || g.generation != gen+1 {
		t.Fatalf("%v generation %d", g.state, g.generation)
	}

	static := r.join("", asStatic("i"))
	r.pass(3000)
	r.joined(static, 0)
	if got := leave(5, kmsg.LeaveGroupRequestMember{InstanceID: kmsg.StringPtr("i")}); got.Members[0].ErrorCode != 0 || r.state() != "Empty" {
		t.Fatalf("%+v in %s", got, r.state())
	}
}

// A group over capacity after the config was lowered rebalances when it is loaded.
func TestLoadOverCapacity(t *testing.T) {
	r := newRig(t, nil)
	ids, gen := r.stable(3)
	r.opts.MaxSize = 2
	r.restart()
	if r.state() != "PreparingRebalance" {
		t.Fatalf("state %s", r.state())
	}
	a, b := r.join(ids[0]), r.join(ids[1])
	r.joined(r.join(ids[2]), kerr.GroupMaxSizeReached.Code)
	r.pass(60_000) // nobody tells the group that the third gave up
	if r.joined(a, 0).Generation != gen+1 || r.joined(b, 0).Generation != gen+1 {
		t.Fatalf("%+v", a.got)
	}
}

// The bytes of a request lie in a pooled frame, those of a record in a batch: both are used again.
func TestNothingOfARequestIsKept(t *testing.T) {
	r := newRig(t, nil)
	q := kmsg.NewPtrJoinGroupRequest()
	q.Version, q.Group, q.ProtocolType, q.SessionTimeoutMillis, q.InstanceID = 9, "g", consumerType, 10_000, kmsg.StringPtr("i")
	q.RebalanceTimeoutMillis = 60_000
	said := subscription("topic")
	q.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: said}}
	b := ask[*kmsg.JoinGroupResponse](r, func(t Token) Outcome { return r.shard.JoinGroup(r.now, t, Client{}, q) })
	clear(said)
	r.pass(3000)
	j := r.joined(b, 0)
	if string(j.Members[0].ProtocolMetadata) != string(subscription("topic")) {
		t.Fatalf("subscription %q", j.Members[0].ProtocolMetadata)
	}
	sq := kmsg.NewPtrSyncGroupRequest()
	sq.Version, sq.Group, sq.MemberID, sq.Generation = 5, "g", j.MemberID, j.Generation
	given := []byte("mine")
	sq.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: j.MemberID, MemberAssignment: given}}
	s := ask[*kmsg.SyncGroupResponse](r, func(t Token) Outcome { return r.shard.SyncGroup(r.now, t, sq) })
	clear(given)
	r.commitAll()
	if string(s.got.MemberAssignment) != "mine" {
		t.Fatalf("assignment %q", s.got.MemberAssignment)
	}
	raw := append([]byte(nil), r.log[len(r.log)-1].Value...)
	sh := New(r.opts)
	if err := sh.Replay(Record{Key: r.log[len(r.log)-1].Key, Value: raw}); err != nil {
		t.Fatal(err)
	}
	clear(raw)
	sh.Start(r.now)
	if g := sh.groups["g"]; g == nil || string(g.order[0].assignment) != "mine" {
		t.Fatalf("%+v", g)
	}
}
