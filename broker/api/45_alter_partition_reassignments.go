package api

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/metadata"
)

// AlterPartitionReassignments 0-1. Where a partition lies already it may be assigned, and nothing happens; there is never
// a reassignment under way that could be cancelled.
//
// Deliberate gaps: partitions cannot be moved or given more replicas until there is replication.
var alterPartitionReassignmentsHandler = handler{45, 0, 1, quick((*API).alterPartitionReassignments)}

func (a *API) alterPartitionReassignments(_ context.Context, req *kmsg.AlterPartitionAssignmentsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	img := a.Cluster.Image()
	for _, t := range req.Topics {
		rt := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			err := reassign(img, t.Topic, p.Partition, p.Replicas)
			rp := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			rp.Partition, rp.ErrorCode, rp.ErrorMessage = p.Partition, code(err), message(err)
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// reassign says what is wrong with a partition's new replicas; nil replicas mean that a reassignment be cancelled.
func reassign(img *metadata.Image, name string, index int32, replicas []int32) error {
	if !exists(img, name, index) {
		return noPartition(img, name, index)
	}
	if replicas == nil {
		return kerr.NoReassignmentInProgress
	}
	// Unlike at creation, Kafka calls a wrong number of replicas an invalid assignment here.
	if err := checkReplicas(img, replicas); err != nil {
		return refuse(kerr.InvalidReplicaAssignment, err.Error())
	}
	if now := img.TopicByName(name).Partitions[index].Replicas; !slices.Equal(now, replicas) {
		return refuse(kerr.InvalidReplicaAssignment,
			fmt.Sprintf("the partition lies on broker %d and cannot be moved: this cluster does not replicate", now[0]))
	}
	return nil
}
