package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// FindCoordinator 0-6. The first question for a group makes the offsets topic.
//
// Deliberate gaps: there are no coordinators of transactions and share groups yet; those keys are answered with
// COORDINATOR_NOT_AVAILABLE, which clients retry. A key that is named more than once is answered once.
var findCoordinatorHandler = handler{10, 0, 6, blocking((*API).findCoordinator)}

// Coordinator types (org.apache.kafka.common.requests.FindCoordinatorRequest.CoordinatorType).
const (
	coordinatorGroup = 0
	coordinatorShare = 2
)

func (a *API) findCoordinator(ctx context.Context, req *kmsg.FindCoordinatorRequest) kmsg.Response {
	ctx, cancel := deadline(ctx, 10_000) // who asks first makes the offsets topic for all
	defer cancel()
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	if req.Version < 4 {
		c := a.coordinator(ctx, req, req.CoordinatorKey)
		resp.ErrorCode, resp.NodeID, resp.Host, resp.Port = c.ErrorCode, c.NodeID, c.Host, c.Port
		if req.Version >= 1 {
			resp.ErrorMessage = c.ErrorMessage
		}
		return resp
	}
	keys := distinct(req.CoordinatorKeys)
	resp.Coordinators = make([]kmsg.FindCoordinatorResponseCoordinator, len(keys))
	for i, key := range keys {
		resp.Coordinators[i] = a.coordinator(ctx, req, key)
	}
	return resp
}

func (a *API) coordinator(ctx context.Context, req *kmsg.FindCoordinatorRequest, key string) kmsg.FindCoordinatorResponseCoordinator {
	c := kmsg.NewFindCoordinatorResponseCoordinator()
	c.Key, c.NodeID, c.Port = key, -1, -1
	var err error
	switch t := req.CoordinatorType; {
	case t < 0 || t > coordinatorShare || t == coordinatorShare && req.Version < 6:
		err = refuse(kerr.InvalidRequest, "unknown coordinator type")
	case t != coordinatorGroup:
		err = refuse(kerr.CoordinatorNotAvailable, "this broker coordinates groups only: transactions and share groups are not there yet")
	case a.Groups == nil:
		err = kerr.CoordinatorNotAvailable
	default:
		var id int32
		if id, err = a.Groups.Find(ctx, key); err != nil {
			break
		}
		b := a.Cluster.Image().Brokers[id]
		if b == nil {
			err = kerr.CoordinatorNotAvailable
			break
		}
		at := a.listener(b)
		c.NodeID, c.Host, c.Port = b.ID, at.Host, at.Port
	}
	c.ErrorCode, c.ErrorMessage = code(err), message(err)
	return c
}
