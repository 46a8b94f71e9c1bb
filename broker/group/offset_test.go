package group

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestCommitChecksWho(t *testing.T) {
	r := newRig(t, nil)
	if c := r.commitAs("m", 3, 8, 1, ""); commitError(c) != kerr.IllegalGeneration.Code {
		t.Fatalf("no group, v8: %d", commitError(c))
	}
	if c := r.commitAs("m", 3, 9, 1, ""); commitError(c) != kerr.GroupIDNotFound.Code {
		t.Fatalf("no group, v9: %d", commitError(c))
	}
	ids, gen := r.stable(1)
	for _, c := range []struct {
		name string
		id   string
		gen  int32
		want int16
	}{
		{"the member", ids[0], gen, 0},
		{"an old generation", ids[0], gen - 1, kerr.IllegalGeneration.Code},
		{"a stranger", "x", gen, kerr.UnknownMemberID.Code},
		{"a simple consumer", "", -1, kerr.UnknownMemberID.Code},
	} {
		b := r.commitAs(c.id, c.gen, 8, 5, "")
		r.commitAll()
		if commitError(b) != c.want {
			t.Errorf("%s: %d, want %d", c.name, commitError(b), c.want)
		}
	}
	join := r.join(ids[0])
	if c := r.commitAs(ids[0], r.joined(join, 0).Generation, 8, 6, ""); commitError(c) != kerr.RebalanceInProgress.Code {
		t.Errorf("before the sync: %d", commitError(c))
	}
}

func TestCommitAndFetch(t *testing.T) {
	r := newRig(t, nil)
	if got := r.fetched(); got != -1 {
		t.Fatalf("unknown group: %d", got)
	}
	c := r.commitAs("", -1, 8, 42, "note")
	if c.got != nil {
		t.Fatal("acknowledged before it is committed")
	}
	r.commitAll()
	if commitError(c) != 0 || r.fetched() != 42 {
		t.Fatalf("%+v", c.got)
	}
	big := r.commitAs("", -1, 8, 43, strings.Repeat("ü", 4097))
	r.commitAll()
	if commitError(big) != kerr.OffsetMetadataTooLarge.Code || r.fetched() != 42 {
		t.Fatalf("%+v", big.got)
	}
	r.failNext = kerr.KafkaStorageError.Code
	if lost := r.commitAs("", -1, 8, 44, ""); commitError(lost) != kerr.NotCoordinator.Code || r.fetched() != 42 {
		t.Fatalf("%+v", lost.got)
	}
	r.restart()
	if r.fetched() != 42 || r.state() != "Empty" {
		t.Fatal("the offset is lost")
	}
}

// An answer must not speak of what a crash could take back.
func TestFetchWaitsForTheCommit(t *testing.T) {
	r := newRig(t, nil)
	r.commitAs("", -1, 8, 42, "")
	q := kmsg.NewPtrOffsetFetchRequest()
	q.Version, q.Group = 5, "g"
	b := ask[*kmsg.OffsetFetchResponse](r, func(t Token) Outcome { return r.shard.OffsetFetch(r.now, t, q) })
	if b.got != nil {
		t.Fatal("fetched an offset that is not committed")
	}
	r.commitAll()
	if got := b.got.Topics[0]; got.Topic != "topic" || got.Partitions[0].Offset != 42 || got.Partitions[0].LeaderEpoch != -1 {
		t.Fatalf("%+v", got)
	}
}

func TestFetchForms(t *testing.T) {
	r := newRig(t, nil)
	id, other := [16]byte{1}, [16]byte{2}
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Version, q.Group, q.Generation = 10, "g", -1
	q.Topics = commitOf(3, 9, "n")
	q.Topics[0].TopicID = id
	r.call(func(kmsg.Response) {}, func(t Token) Outcome { return r.shard.OffsetCommit(r.now, t, q) })
	r.commitAll()
	fetch := func(f *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
		b := ask[*kmsg.OffsetFetchResponse](r, func(t Token) Outcome { return r.shard.OffsetFetch(r.now, t, f) })
		r.commitAll()
		return b.got
	}
	f := kmsg.NewPtrOffsetFetchRequest()
	f.Version = 10
	f.Groups = []kmsg.OffsetFetchRequestGroup{
		{Group: "g", Topics: []kmsg.OffsetFetchRequestGroupTopic{
			{Topic: "topic", TopicID: id, Partitions: []int32{3, 4}}, {Topic: "topic", TopicID: other, Partitions: []int32{3}}}},
		{Group: "none", Topics: nil},
		{Group: "g", Topics: nil},
	}
	got := fetch(f)
	var offsets []int64
	for _, g := range got.Groups {
		if g.ErrorCode != 0 {
			t.Fatalf("%+v", g)
		}
		for _, tp := range g.Topics {
			for _, p := range tp.Partitions {
				offsets = append(offsets, p.Offset)
			}
		}
	}
	// An offset of the topic's former life (another id) is not shown: I-38.
	if !slices.Equal(offsets, []int64{9, -1, -1, 9}) || got.Groups[2].Topics[0].TopicID != id || len(got.Groups[1].Topics) != 0 {
		t.Fatalf("%v in %+v", offsets, got)
	}
	for _, v := range []int16{1, 7} {
		e := kmsg.NewPtrOffsetFetchRequest()
		e.Version, e.Group = v, "g"
		e.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "topic", Partitions: []int32{3}}}
		b := ask[*kmsg.OffsetFetchResponse](r, func(t Token) Outcome { return r.shard.OffsetFetch(r.now, t, e) })
		r.commitAll()
		if p := b.got.Topics[0].Partitions[0]; p.Offset != 9 || *p.Metadata != "n" {
			t.Fatalf("v%d: %+v", v, p)
		}
		if er := OffsetFetchError(e, 14); v < 2 && er.Topics[0].Partitions[0].ErrorCode != 14 || er.ErrorCode != 14 {
			t.Fatalf("v%d: %+v", v, er)
		}
	}
	if er := OffsetFetchError(f, 14); len(er.Groups) != 3 || er.Groups[1].ErrorCode != 14 {
		t.Fatalf("%+v", er)
	}
}

func TestOffsetDelete(t *testing.T) {
	r := newRig(t, nil)
	del := func(group, topic string) *kmsg.OffsetDeleteResponse {
		q := kmsg.NewPtrOffsetDeleteRequest()
		q.Group = group
		q.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: topic,
			Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}}}
		b := ask[*kmsg.OffsetDeleteResponse](r, func(t Token) Outcome { return r.shard.OffsetDelete(r.now, t, q) })
		r.commitAll()
		return b.got
	}
	if got := del("", "topic"); got.ErrorCode != kerr.InvalidGroupID.Code {
		t.Fatalf("%+v", got)
	}
	if got := del("g", "topic"); got.ErrorCode != kerr.GroupIDNotFound.Code {
		t.Fatalf("%+v", got)
	}
	ids, gen := r.stable(1)
	r.commitAs(ids[0], gen, 8, 5, "")
	if got := del("g", "topic"); got.Topics[0].Partitions[0].ErrorCode != kerr.GroupSubscribedToTopic.Code || r.fetched() != 5 {
		t.Fatalf("%+v", got)
	}
	if got := del("g", "unread"); got.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("%+v", got)
	}
	r.pass(120_000) // the member is gone
	r.commitAll()
	if got := del("g", "topic"); got.Topics[0].Partitions[0].ErrorCode != 0 || r.fetched() != -1 {
		t.Fatalf("%+v", got)
	}
	a := r.join("", kind("connect"), asStatic("w"))
	r.pass(3000)
	r.joined(a, 0)
	if got := del("g", "topic"); got.ErrorCode != kerr.NonEmptyGroup.Code {
		t.Fatalf("%+v", got)
	}
}

func TestDescribeListDelete(t *testing.T) {
	r := newRig(t, nil)
	describe := func(v int16) kmsg.DescribeGroupsResponseGroup {
		q := kmsg.NewPtrDescribeGroupsRequest()
		q.Version, q.Groups = v, []string{"g"}
		return ask[*kmsg.DescribeGroupsResponse](r, func(t Token) Outcome { return r.shard.DescribeGroups(r.now, t, q) }).got.Groups[0]
	}
	list := func(states, types []string) []kmsg.ListGroupsResponseGroup {
		q := kmsg.NewPtrListGroupsRequest()
		q.Version, q.StatesFilter, q.TypesFilter = 5, states, types
		return ask[*kmsg.ListGroupsResponse](r, func(t Token) Outcome { return r.shard.ListGroups(r.now, t, q) }).got.Groups
	}
	del := func(groups ...string) []int16 {
		q := kmsg.NewPtrDeleteGroupsRequest()
		q.Groups = groups
		b := ask[*kmsg.DeleteGroupsResponse](r, func(t Token) Outcome { return r.shard.DeleteGroups(r.now, t, q) })
		r.commitAll()
		var codes []int16
		for _, g := range b.got.Groups {
			codes = append(codes, g.ErrorCode)
		}
		return codes
	}
	if d := describe(5); d.State != "Dead" || d.ErrorCode != 0 {
		t.Fatalf("%+v", d)
	}
	if d := describe(6); d.State != "Dead" || d.ErrorCode != kerr.GroupIDNotFound.Code || d.ErrorMessage == nil {
		t.Fatalf("%+v", d)
	}
	ids, gen := r.stable(2)
	r.commitAs(ids[0], gen, 8, 5, "")
	d := describe(6)
	if d.State != "Stable" || d.Protocol != "range" || d.ProtocolType != "consumer" || len(d.Members) != 2 ||
		d.Members[1].ClientHost != "/h" || string(d.Members[1].MemberAssignment) != "a1" || len(d.Members[1].ProtocolMetadata) == 0 {
		t.Fatalf("%+v", d)
	}
	for _, c := range []struct {
		states, types []string
		want          int
	}{
		{nil, nil, 1}, {[]string{" stable "}, []string{"CLASSIC"}, 1}, {[]string{"Empty", "Dead"}, nil, 0},
		{nil, []string{"consumer"}, 0}, {[]string{"nonsense"}, nil, 0},
	} {
		if got := list(c.states, c.types); len(got) != c.want {
			t.Errorf("%v %v: %+v", c.states, c.types, got)
		}
	}
	nonEmpty, none := kerr.NonEmptyGroup.Code, kerr.GroupIDNotFound.Code
	if got := del("g", "none", "g"); !slices.Equal(got, []int16{nonEmpty, none}) {
		t.Fatalf("%v", got)
	}
	r.pass(300_000)
	r.commitAll()
	if got := del("g"); !slices.Equal(got, []int16{0}) || r.fetched() != -1 || r.shard.Groups() != 0 {
		t.Fatalf("%v", got)
	}
	r.checkReplay()
	if len(r.shard.stored) != 0 || len(compacted(r.log)) == 0 {
		t.Fatal("something is left of the group")
	}
}

func TestExpiry(t *testing.T) {
	day := int64(24 * 60 * 60 * 1000)
	r := newRig(t, nil)
	r.commitAs("", -1, 8, 1, "") // a simple consumer
	r.commitAll()
	r.pass(7*day - 700_000)
	if r.fetched() != 1 {
		t.Fatal("expired before its time")
	}
	r.pass(1_400_000)
	r.commitAll()
	if r.shard.Offsets() != 0 || r.shard.Groups() != 0 {
		t.Fatalf("%d offsets, %d groups", r.shard.Offsets(), r.shard.Groups())
	}

	ids, gen := r.stable(1)
	r.commitAs(ids[0], gen, 8, 2, "")
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Version, q.Group, q.MemberID, q.Generation = 8, "g", ids[0], gen
	q.Topics = commitOf(0, 7, "")
	q.Topics[0].Topic = "no longer read"
	r.call(func(kmsg.Response) {}, func(t Token) Outcome { return r.shard.OffsetCommit(r.now, t, q) })
	r.commitAll()
	for range 8 * 24 * 60 * 12 / 2 { // eight days of heartbeats
		r.pass(10_000 - 1)
		r.beat(ids[0], gen)
	}
	r.commitAll()
	if r.fetched() != 2 || r.shard.Offsets() != 1 {
		t.Fatalf("%d offsets", r.shard.Offsets())
	}
	r.pass(20 * 60_000) // the group falls empty, which is when the retention begins
	r.pass(6 * day)
	r.commitAll()
	if r.fetched() != 2 {
		t.Fatal("expired by its commit's time though the group was alive")
	}
	r.pass(day + 1_200_000)
	r.commitAll()
	if r.shard.Offsets() != 0 || r.shard.Groups() != 0 {
		t.Fatalf("%d offsets, %d groups", r.shard.Offsets(), r.shard.Groups())
	}
	r.checkReplay()
}

// A commit of version 2 to 4 may say how long it is to be kept.
func TestRetentionOfOneCommit(t *testing.T) {
	r := newRig(t, nil)
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Version, q.Group, q.Generation, q.RetentionTimeMillis = 3, "g", -1, 1_000_000
	q.Topics = commitOf(0, 7, "")
	r.call(func(kmsg.Response) {}, func(t Token) Outcome { return r.shard.OffsetCommit(r.now, t, q) })
	r.commitAll()
	r.pass(600_000)
	if r.fetched() != 7 {
		t.Fatal("gone too early")
	}
	r.restart()
	r.pass(1_200_000)
	r.commitAll()
	if r.fetched() != -1 {
		t.Fatal("kept too long")
	}
}

// I-38: the offsets of a deleted topic go with it, and those of the topic that takes its name stay.
func TestTopicsDeleted(t *testing.T) {
	r := newRig(t, nil)
	was, is := [16]byte{1}, [16]byte{2}
	for p, id := range [][16]byte{was, is, {}} {
		q := kmsg.NewPtrOffsetCommitRequest()
		q.Version, q.Group, q.Generation = 10, "g", -1
		q.Topics = commitOf(int32(p), 7, "")
		q.Topics[0].TopicID = id
		r.call(func(kmsg.Response) {}, func(t Token) Outcome { return r.shard.OffsetCommit(r.now, t, q) })
	}
	r.do(r.shard.TopicsDeleted(r.now, []DeletedTopic{{Name: "topic", ID: was}, {Name: "other"}}))
	r.commitAll()
	if got := sortedKeys(r.shard.offsets["g"]["topic"]); !slices.Equal(got, []int32{1}) {
		t.Fatalf("partitions %v are left", got)
	}
	r.do(r.shard.TopicsDeleted(r.now, []DeletedTopic{{Name: "topic"}}))
	if r.shard.Offsets() != 0 {
		t.Fatal("a topic without id stands for all of the name")
	}
	r.checkReplay()
}

// A simple consumer's group is there from its first commit on, even one of which nothing is good, as in Kafka; it is
// shown once something of it is stored, and a failed append takes it away again.
func TestFirstCommitMakesTheGroup(t *testing.T) {
	r := newRig(t, nil)
	list := func() int {
		q := kmsg.NewPtrListGroupsRequest()
		return len(ask[*kmsg.ListGroupsResponse](r, func(t Token) Outcome { return r.shard.ListGroups(r.now, t, q) }).got.Groups)
	}
	r.failNext = kerr.KafkaStorageError.Code
	r.commitAs("", -1, 8, 1, "")
	if r.shard.Groups() != 0 {
		t.Fatal("the group of a failed commit stays")
	}
	r.commitAs("", -1, 8, 1, strings.Repeat("x", 5000))
	r.commitAll()
	if r.shard.Groups() != 1 || list() != 0 {
		t.Fatalf("%d groups, %d listed", r.shard.Groups(), list())
	}
	r.commitAs("", -1, 8, 1, "")
	r.commitAll()
	if list() != 1 {
		t.Fatal("not listed though it has an offset")
	}
}
