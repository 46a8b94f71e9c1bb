package api

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a request names more than once, an answer names once.
func TestAnswersNameThingsOnce(t *testing.T) {
	e := newEnv(t)
	e.create("t", 2)

	part := func(index int32, ts int64) kmsg.ListOffsetsRequestTopicPartition {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = index, ts
		return p
	}
	list := kmsg.NewPtrListOffsetsRequest()
	list.ReplicaID = -1
	list.Topics = []kmsg.ListOffsetsRequestTopic{
		{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{part(0, -1), part(1, -2), part(0, -1)}},
		{Topic: "nope", Partitions: []kmsg.ListOffsetsRequestTopicPartition{part(0, -1), part(1, -9)}},
		{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{part(7, -1)}}}
	offsets := call[*kmsg.ListOffsetsResponse](e, list, 11).Topics
	require.Len(t, offsets, 2)
	codes := func(ps []kmsg.ListOffsetsResponseTopicPartition) (out []int16) {
		for _, p := range ps {
			out = append(out, p.ErrorCode)
		}
		return out
	}
	unknown := kerr.UnknownTopicOrPartition.Code
	require.Equal(t, []int16{kerr.InvalidRequest.Code, 0, unknown}, codes(offsets[0].Partitions))
	require.Equal(t, []int16{unknown, kerr.UnsupportedVersion.Code}, codes(offsets[1].Partitions), "the version goes before the partition")

	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Group, commit.Generation = "g", -1
	cp := func(index int32) kmsg.OffsetCommitRequestTopicPartition {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition = index
		return p
	}
	commit.Topics = []kmsg.OffsetCommitRequestTopic{
		{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{cp(0), cp(9)}},
		{Topic: "nope", Partitions: []kmsg.OffsetCommitRequestTopicPartition{cp(0)}},
		{Topic: "nope", Partitions: []kmsg.OffsetCommitRequestTopicPartition{cp(1)}}}
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{"g"}
	require.Zero(t, call[*kmsg.FindCoordinatorResponse](e, find, 4).Coordinators[0].ErrorCode)
	for _, all := range []bool{true, false} {
		topics := call[*kmsg.OffsetCommitResponse](e, commit, 8).Topics
		require.Equal(t, "nope", topics[len(topics)-1].Topic)
		require.Len(t, topics[len(topics)-1].Partitions, 2)
		if all {
			require.Len(t, topics, 2)
			require.Len(t, topics[0].Partitions, 2)
		}
		commit.Topics = commit.Topics[1:] // and without any that the group would see
	}

	del := kmsg.NewPtrDeleteTopicsRequest()
	del.TopicNames = []string{"nope", "nope", "t", "other", "t"}
	got := call[*kmsg.DeleteTopicsResponse](e, del, 5).Topics
	require.Len(t, got, 3)
	require.Equal(t, []int16{kerr.InvalidRequest.Code, kerr.InvalidRequest.Code, unknown}, []int16{got[0].ErrorCode, got[1].ErrorCode, got[2].ErrorCode})
	require.NotNil(t, e.store.Image().TopicByName("t"))
}

// Of a topic that does not exist, a bad value is told first.
func TestValuesBeforeExistence(t *testing.T) {
	e := newEnv(t)
	require.Equal(t, kerr.InvalidConfig.Code, e.alter(topicKind, "nope", false, set("retention.ms", "soon")).ErrorCode)
	require.Equal(t, kerr.InvalidConfig.Code, e.replace(topicKind, "nope", false, "no.such", "1"))
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, e.alter(topicKind, "nope", false, set("retention.ms", "5")).ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, e.alter(topicKind, "nope", false, unset("no.such")).ErrorCode)
}

// That is answered once, too, of which something else is asked each time.
func TestWhatIsAskedTwiceIsAnsweredOnce(t *testing.T) {
	e, topic := newGroupEnv(t)
	configs := kmsg.NewPtrDescribeConfigsRequest()
	configs.Resources = []kmsg.DescribeConfigsRequestResource{
		{ResourceType: topicKind, ResourceName: "t", ConfigNames: []string{"retention.ms"}},
		{ResourceType: brokerKind, ResourceName: "1"},
		{ResourceType: topicKind, ResourceName: "t", ConfigNames: []string{"segment.bytes"}},
		{ResourceType: brokerKind, ResourceName: "1", ConfigNames: []string{"node.id"}}}
	rs := call[*kmsg.DescribeConfigsResponse](e, configs, 4).Resources
	require.Len(t, rs, 2)
	require.Len(t, rs[0].Configs, 2)
	require.Greater(t, len(rs[1].Configs), 100)

	meta := kmsg.NewPtrMetadataRequest()
	meta.Topics = []kmsg.MetadataRequestTopic{{TopicID: topic.ID}, {TopicID: [16]byte{1}}, {Topic: ptr("")}, {TopicID: topic.ID}, {Topic: ptr("t")},
		{TopicID: [16]byte{1}}, {Topic: ptr("t")}, {Topic: ptr("")}}
	var codes []int16
	for _, t := range call[*kmsg.MetadataResponse](e, meta, 12).Topics {
		codes = append(codes, t.ErrorCode)
	}
	require.Equal(t, []int16{0, kerr.UnknownTopicID.Code, kerr.InvalidTopicException.Code, 0}, codes)

	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Group = "g"
	fetch.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0, 1, 0}}, {Topic: "u", Partitions: []int32{0}}, {Topic: "t", Partitions: []int32{2, 1}}}
	old := call[*kmsg.OffsetFetchResponse](e, fetch, 7).Topics
	require.Len(t, old, 2)
	require.Len(t, old[0].Partitions, 3)
	unknown := [16]byte{1}
	fetch.Groups = []kmsg.OffsetFetchRequestGroup{
		{Group: "g", Topics: []kmsg.OffsetFetchRequestGroupTopic{{TopicID: topic.ID, Partitions: []int32{0, 0}}, {TopicID: unknown, Partitions: []int32{3}}}},
		{Group: "g", Topics: []kmsg.OffsetFetchRequestGroupTopic{{TopicID: unknown, Partitions: []int32{3, 3}}, {TopicID: topic.ID, Partitions: []int32{0, 1}}}}}
	groups := call[*kmsg.OffsetFetchResponse](e, fetch, 10).Groups
	require.Len(t, groups, 1)
	require.Len(t, groups[0].Topics, 2)
	require.Len(t, groups[0].Topics[0].Partitions, 2)
	require.Len(t, groups[0].Topics[1].Partitions, 1)

	move := kmsg.NewPtrAlterReplicaLogDirsRequest()
	e.a.Places.LogDir = "/data"
	in := func(dir string, partitions ...int32) kmsg.AlterReplicaLogDirsRequestDir {
		return kmsg.AlterReplicaLogDirsRequestDir{Dir: dir, Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: "t", Partitions: partitions}}}
	}
	move.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{in("/other", 1, 0, 1), in("/data", 0)}
	moved := call[*kmsg.AlterReplicaLogDirsResponse](e, move, 2).Topics
	require.Len(t, moved, 1)
	at := map[int32]int16{}
	for _, p := range moved[0].Partitions {
		at[p.Partition] = p.ErrorCode
	}
	require.Len(t, moved[0].Partitions, 2)
	require.Equal(t, map[int32]int16{0: 0, 1: kerr.LogDirNotFound.Code}, at, "the folder that is named last counts")
}
