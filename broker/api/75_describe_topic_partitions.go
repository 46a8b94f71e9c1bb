package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/topic"
)

// DescribeTopicPartitions 0 (KIP-966): topics in the order of their names, a bounded number of partitions at a time,
// and a cursor for the rest.
//
// Deliberate gaps: none.
var describeTopicPartitionsHandler = handler{75, 0, 0, quick((*API).describeTopicPartitions)}

func (a *API) describeTopicPartitions(_ context.Context, req *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	img := a.Cluster.Image()
	names, start, err := describedFrom(img, req)
	if err != nil {
		for _, t := range req.Topics {
			resp.Topics = append(resp.Topics, unknownDescribed(t.Topic, err, noOperations))
		}
		return resp
	}
	left := int(max(min(req.ResponsePartitionLimit, a.Configs.Values().MaxRequestPartitions), 1))
	for _, name := range names {
		if left == 0 {
			resp.NextCursor = cursorAt(name, 0)
			break
		}
		t := img.TopicByName(name)
		if t == nil {
			err := metadata.ValidateTopicName(name)
			if err == nil {
				err = kerr.UnknownTopicOrPartition
			}
			resp.Topics = append(resp.Topics, unknownDescribed(name, err, topicOperations))
			continue
		}
		from := 0
		if req.Cursor != nil && name == req.Cursor.Topic {
			from = min(start, len(t.Partitions))
		}
		to := min(len(t.Partitions), from+left)
		resp.Topics = append(resp.Topics, describeRange(img, t, from, to))
		left -= to - from
		if to < len(t.Partitions) {
			resp.NextCursor = cursorAt(name, int32(to))
			break
		}
	}
	return resp
}

// describedFrom gives the names from the cursor on, in order, and the first partition of the cursor's topic.
func describedFrom(img *metadata.Image, req *kmsg.DescribeTopicPartitionsRequest) (names []string, start int, err error) {
	all := len(req.Topics) == 0
	if all {
		for _, t := range img.Topics() {
			names = append(names, t.Name)
		}
	} else {
		for _, t := range req.Topics {
			names = append(names, t.Topic)
		}
		slices.Sort(names)
		names = slices.Compact(names)
	}
	c := req.Cursor
	if c == nil {
		return names, 0, nil
	}
	at, found := slices.BinarySearch(names, c.Topic)
	if !all && !found {
		return nil, 0, refuse(kerr.InvalidRequest, "the cursor's topic is not one of those asked for")
	}
	if c.Partition < 0 {
		return nil, 0, refuse(kerr.InvalidRequest, "the cursor's partition is negative")
	}
	return names[at:], int(c.Partition), nil
}

func cursorAt(name string, index int32) *kmsg.DescribeTopicPartitionsResponseNextCursor {
	c := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	c.Topic, c.Partition = name, index
	return &c
}

func unknownDescribed(name string, err error, operations int32) kmsg.DescribeTopicPartitionsResponseTopic {
	t := kmsg.NewDescribeTopicPartitionsResponseTopic()
	t.Topic, t.ErrorCode, t.TopicID, t.IsInternal = &name, code(err), topic.ID{}, metadata.IsInternal(name)
	t.AuthorizedOperations = operations
	return t
}

func describeRange(img *metadata.Image, t *metadata.Topic, from, to int) kmsg.DescribeTopicPartitionsResponseTopic {
	out := kmsg.NewDescribeTopicPartitionsResponseTopic()
	out.Topic, out.TopicID, out.IsInternal, out.AuthorizedOperations = &t.Name, t.ID, t.Internal || metadata.IsInternal(t.Name), topicOperations
	for i, p := range t.Partitions[from:to] {
		n := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		n.Partition, n.LeaderEpoch, n.Replicas, n.ISR = int32(from+i), p.LeaderEpoch, p.Replicas, p.ISR
		n.LeaderID, n.OfflineReplicas, n.ErrorCode = whoServes(img, &p)
		// An empty list, not null: null says that the cluster does not keep track of eligible replicas.
		n.EligibleLeaderReplicas, n.LastKnownELR = append([]int32{}, p.ELR...), append([]int32{}, p.LastKnownELR...)
		out.Partitions = append(out.Partitions, n)
	}
	return out
}
