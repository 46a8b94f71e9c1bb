package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/metadata"
)

// CreatePartitions 0-3.
//
// Deliberate gaps: as in CreateTopics, one replica a partition.
var createPartitionsHandler = handler{37, 0, 3, blocking((*API).createPartitions)}

func (a *API) createPartitions(ctx context.Context, req *kmsg.CreatePartitionsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	ctx, cancel := deadline(ctx, req.TimeoutMillis)
	defer cancel()
	times := map[string]int{}
	for _, t := range req.Topics {
		times[t.Topic]++
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		var err error
		switch {
		case times[t.Topic] == 0:
			continue
		case times[t.Topic] > 1:
			times[t.Topic] = 0
			err = refuse(kerr.InvalidRequest, "the topic is named more than once in this request")
		case req.ValidateOnly:
			_, err = a.planPartitions(a.Cluster.Image(), t)
		default:
			err = a.retryConflicts(ctx, func(img *metadata.Image) (metadata.Edit, error) { return a.planPartitions(img, t) })
		}
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic, out.ErrorCode, out.ErrorMessage = t.Topic, code(err), message(err)
		resp.Topics = append(resp.Topics, out)
	}
	return resp
}

func (a *API) planPartitions(img *metadata.Image, t *kmsg.CreatePartitionsRequestTopic) (metadata.Edit, error) {
	tp := img.TopicByName(t.Topic)
	if tp == nil {
		return nil, kerr.UnknownTopicOrPartition
	}
	have := int32(len(tp.Partitions))
	more := t.Count - have
	switch {
	case more == 0:
		return nil, refuse(kerr.InvalidPartitions, fmt.Sprintf("the topic already has %d partitions", have))
	case more < 0:
		return nil, refuse(kerr.InvalidPartitions, fmt.Sprintf("the topic has %d partitions; %d would not be an increase", have, t.Count))
	case int(more) > a.Config.MaxPartitionsCall:
		return nil, refuse(kerr.InvalidPartitions, fmt.Sprintf("%d new partitions; at most %d may be made in one request", more, a.Config.MaxPartitionsCall))
	}
	e := metadata.AddPartitions{ID: tp.ID, From: have}
	if t.Assignment == nil {
		replicas, err := a.spread(img, int(more))
		if err != nil {
			return nil, err
		}
		for _, r := range replicas {
			e.Partitions = append(e.Partitions, newPartition(r))
		}
		return e, nil
	}
	if len(t.Assignment) != int(more) {
		return nil, refuse(kerr.InvalidReplicaAssignment, fmt.Sprintf("%d new partitions, but %d assignments", more, len(t.Assignment)))
	}
	for _, as := range t.Assignment {
		if err := checkReplicas(img, as.Replicas); err != nil {
			return nil, err
		}
		e.Partitions = append(e.Partitions, newPartition(as.Replicas))
	}
	return e, nil
}
