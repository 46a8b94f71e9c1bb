package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// InitProducerId 0-5 (6, two-phase commit, is unstable in Kafka 4.3 and not advertised there either).
//
// Deliberate gaps: idempotent producers only. A transactional id is answered with COORDINATOR_NOT_AVAILABLE, which
// clients retry, as from a Kafka whose transaction coordinator is not there.
var initProducerIDHandler = handler{22, 0, 5, blocking((*API).initProducerID)}

func (a *API) initProducerID(ctx context.Context, req *kmsg.InitProducerIDRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	// An idempotent producer that names its old id is given a new one all the same, as in Kafka.
	if (req.ProducerID == -1) != (req.ProducerEpoch == -1) {
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	}
	if req.TransactionalID != nil {
		resp.ErrorCode = kerr.CoordinatorNotAvailable.Code
		if *req.TransactionalID == "" {
			resp.ErrorCode = kerr.InvalidRequest.Code
		}
		return resp
	}
	ctx, cancel := deadline(ctx, 0)
	defer cancel()
	id, err := a.ProducerIDs.NextProducerIDs(ctx, 1)
	if err != nil {
		a.Logger.Warn("no producer id to hand out", "error", err)
		// Kafka's answer while no block of ids is at hand; clients retry it.
		resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		return resp
	}
	resp.ProducerID, resp.ProducerEpoch = id, 0
	return resp
}
