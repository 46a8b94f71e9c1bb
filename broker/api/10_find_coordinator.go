package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// FindCoordinator 0-6.
//
// Deliberate gaps: there are no coordinators yet, so every key is answered with COORDINATOR_NOT_AVAILABLE, which
// clients retry.
var findCoordinatorHandler = handler{10, 0, 6, quick((*API).findCoordinator)}

// Coordinator types (org.apache.kafka.common.requests.FindCoordinatorRequest.CoordinatorType).
const (
	coordinatorTxn   = 1
	coordinatorShare = 2
)

func (a *API) findCoordinator(_ context.Context, req *kmsg.FindCoordinatorRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	err := refuse(kerr.CoordinatorNotAvailable, "this broker has no group and transaction coordinators yet")
	if t := req.CoordinatorType; t < 0 || t > coordinatorShare || t == coordinatorShare && req.Version < 6 {
		err = refuse(kerr.InvalidRequest, "unknown coordinator type")
	}
	if req.Version < 4 {
		resp.ErrorCode, resp.NodeID, resp.Port = code(err), -1, -1
		if req.Version >= 1 {
			resp.ErrorMessage = message(err)
		}
		return resp
	}
	for _, key := range req.CoordinatorKeys {
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key, c.NodeID, c.Port = key, -1, -1
		c.ErrorCode, c.ErrorMessage = code(err), message(err)
		resp.Coordinators = append(resp.Coordinators, c)
	}
	return resp
}
