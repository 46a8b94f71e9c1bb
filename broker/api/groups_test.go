package api

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/metadata"
)

// newGroupEnv has a topic t with two partitions and an offsets topic.
func newGroupEnv(t *testing.T) (*env, *metadata.Topic) {
	e := newEnv(t)
	e.create("t", 2)
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{"g"}
	require.Zero(t, call[*kmsg.FindCoordinatorResponse](e, find, 4).Coordinators[0].ErrorCode)
	return e, e.store.Image().TopicByName("t")
}

func commitOf(name string, id [16]byte, partition int32, offset int64) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = "g", -1
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic, rt.TopicID = name, id
	rp := kmsg.NewOffsetCommitRequestTopicPartition()
	rp.Partition, rp.Offset, rp.LeaderEpoch = partition, offset, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

func TestGroupsBeforeAnybodyAskedForACoordinator(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	resp := call[*kmsg.OffsetCommitResponse](e, commitOf("t", [16]byte{}, 0, 1), 8)
	require.Equal(t, kerr.NotCoordinator.Code, resp.Topics[0].Partitions[0].ErrorCode)
	require.Empty(t, call[*kmsg.ListGroupsResponse](e, kmsg.NewPtrListGroupsRequest(), 5).Groups)
}

// Offsets by name and by id are the same offsets; what does not exist is told apart partition by partition.
func TestCommitAndFetchByNameAndID(t *testing.T) {
	e, topic := newGroupEnv(t)
	code := func(r *kmsg.OffsetCommitResponse) int16 { return r.Topics[0].Partitions[0].ErrorCode }
	require.Zero(t, code(call[*kmsg.OffsetCommitResponse](e, commitOf("t", [16]byte{}, 0, 11), 8)))
	byID := call[*kmsg.OffsetCommitResponse](e, commitOf("", topic.ID, 1, 22), 10)
	require.Zero(t, code(byID))
	require.EqualValues(t, topic.ID, byID.Topics[0].TopicID)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, code(call[*kmsg.OffsetCommitResponse](e, commitOf("nosuch", [16]byte{}, 0, 1), 8)))
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, code(call[*kmsg.OffsetCommitResponse](e, commitOf("t", [16]byte{}, 9, 1), 8)))
	require.Equal(t, kerr.UnknownTopicID.Code, code(call[*kmsg.OffsetCommitResponse](e, commitOf("", [16]byte{1}, 0, 1), 10)))

	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Group = "g"
	fetch.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0, 1, 7}}}
	old := call[*kmsg.OffsetFetchResponse](e, fetch, 7).Topics[0].Partitions
	require.EqualValues(t, 11, old[0].Offset)
	require.EqualValues(t, 22, old[1].Offset)
	require.EqualValues(t, -1, old[2].Offset)

	two := kmsg.NewPtrOffsetFetchRequest()
	two.Groups = []kmsg.OffsetFetchRequestGroup{
		{Group: "g", MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{{TopicID: topic.ID, Partitions: []int32{1}}, {TopicID: [16]byte{1}, Partitions: []int32{0}}}},
		{Group: "never seen", MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{{TopicID: topic.ID, Partitions: []int32{0}}}},
	}
	got := call[*kmsg.OffsetFetchResponse](e, two, 10).Groups
	require.EqualValues(t, 22, got[0].Topics[0].Partitions[0].Offset)
	require.Equal(t, kerr.UnknownTopicID.Code, got[0].Topics[1].Partitions[0].ErrorCode)
	require.Zero(t, got[1].ErrorCode)
	require.EqualValues(t, -1, got[1].Topics[0].Partitions[0].Offset, "an unknown group is -1 and no error")
	two.Groups = append(two.Groups, kmsg.OffsetFetchRequestGroup{Group: "g", MemberEpoch: -1}) // all of it
	got = call[*kmsg.OffsetFetchResponse](e, two, 10).Groups
	require.Len(t, got, 2, "each group once")
	require.EqualValues(t, topic.ID, got[0].Topics[0].TopicID)
	require.Len(t, got[0].Topics[0].Partitions, 2)
}

// A deleted topic takes its groups' offsets along (I-38).
func TestOffsetsOfADeletedTopicGo(t *testing.T) {
	e, _ := newGroupEnv(t)
	require.Zero(t, call[*kmsg.OffsetCommitResponse](e, commitOf("t", [16]byte{}, 0, 11), 8).Topics[0].Partitions[0].ErrorCode)
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.TimeoutMillis, del.TopicNames = 1000, []string{"t"}
	require.Zero(t, call[*kmsg.DeleteTopicsResponse](e, del, 5).Topics[0].ErrorCode)
	e.create("t", 2)
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Group = "g"
	fetch.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0}}}
	require.Eventually(t, func() bool {
		return call[*kmsg.OffsetFetchResponse](e, fetch, 7).Topics[0].Partitions[0].Offset == -1
	}, 10e9, 1e6)
}

func TestDescribeListAndDeleteGroups(t *testing.T) {
	e, _ := newGroupEnv(t)
	require.Zero(t, call[*kmsg.OffsetCommitResponse](e, commitOf("t", [16]byte{}, 0, 11), 8).Topics[0].Partitions[0].ErrorCode)
	list := call[*kmsg.ListGroupsResponse](e, kmsg.NewPtrListGroupsRequest(), 5).Groups
	require.Len(t, list, 1)
	require.Equal(t, "g", list[0].Group)

	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups, describe.IncludeAuthorizedOperations = []string{"nosuch", "g", "nosuch"}, true
	groups := call[*kmsg.DescribeGroupsResponse](e, describe, 6).Groups
	require.Len(t, groups, 2, "each group once")
	require.Equal(t, kerr.GroupIDNotFound.Code, groups[0].ErrorCode)
	require.Equal(t, "Empty", groups[1].State)
	require.EqualValues(t, groupOperations, groups[1].AuthorizedOperations)

	od := kmsg.NewPtrOffsetDeleteRequest()
	od.Group = "g"
	od.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}, {Partition: 9}}}}
	deleted := call[*kmsg.OffsetDeleteResponse](e, od, 0)
	require.Zero(t, deleted.Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, deleted.Topics[0].Partitions[1].ErrorCode)

	require.Zero(t, call[*kmsg.OffsetCommitResponse](e, commitOf("t", [16]byte{}, 0, 11), 8).Topics[0].Partitions[0].ErrorCode)
	del := kmsg.NewPtrDeleteGroupsRequest()
	del.Groups = []string{"g", "nosuch", "g"}
	gone := call[*kmsg.DeleteGroupsResponse](e, del, 2).Groups
	require.Len(t, gone, 2, "each group once")
	require.Zero(t, gone[0].ErrorCode)
	require.Equal(t, kerr.GroupIDNotFound.Code, gone[1].ErrorCode)
	require.Empty(t, call[*kmsg.ListGroupsResponse](e, kmsg.NewPtrListGroupsRequest(), 5).Groups)
}
