package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListPartitionReassignments 0.
//
// Deliberate gaps: nothing is ever listed, because partitions do not move until there is replication. Topics that do not
// exist are no mistake, as in Kafka.
var listPartitionReassignmentsHandler = handler{46, 0, 0, quick((*API).listPartitionReassignments)}

func (a *API) listPartitionReassignments(_ context.Context, req *kmsg.ListPartitionReassignmentsRequest) kmsg.Response {
	return req.ResponseKind()
}
