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
