package api

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/topicconfig"
	"github.com/firnlog/firn/tier/topic"
)

// CreateTopics 2-7. A topic that is answered without an error can be produced to at once.
//
// Deliberate gaps: one replica a partition until there is replication; a larger factor is refused with
// INVALID_REPLICATION_FACTOR.
var createTopicsHandler = handler{19, 2, 7, wide((*API).createTopicsSize, (*API).createTopics)}

// createTopicsSize is what the answer takes: all configs of each topic that is made, or could be.
func (a *API) createTopicsSize(req *kmsg.CreateTopicsRequest) int {
	const config = 128 // with its value, which is short as a rule
	return min(len(req.Topics), a.Config.MaxPartitionsCall) * len(topicconfig.Defs()) * config
}

// topicPlan is a topic that may be made, and what the answer says of it.
type topicPlan struct {
	edit    metadata.CreateTopic
	configs map[string]string // as stored
}

func (a *API) createTopics(ctx context.Context, req *kmsg.CreateTopicsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	ctx, cancel := deadline(ctx, req.TimeoutMillis)
	defer cancel()
	img := a.Cluster.Image()
	times := map[string]int{}
	for _, t := range req.Topics {
		times[t.Topic]++
	}
	var edits []metadata.Edit
	var plans []*topicPlan
	var places []int
	total := 0
	for i := range req.Topics {
		t := &req.Topics[i]
		if times[t.Topic] == 0 {
			continue // told already
		}
		plan, err := a.planTopic(img, t)
		if times[t.Topic] > 1 {
			times[t.Topic] = 0
			err = refuse(kerr.InvalidRequest, "the topic is named more than once in this request")
		}
		if err == nil {
			if total += len(plan.edit.Partitions); total > a.Config.MaxPartitionsCall {
				err = refuse(kerr.PolicyViolation, fmt.Sprintf("more than %d partitions in one request", a.Config.MaxPartitionsCall))
			}
		}
		out := kmsg.NewCreateTopicsResponseTopic()
		out.Topic, out.NumPartitions, out.ReplicationFactor = t.Topic, -1, -1
		out.Configs = []kmsg.CreateTopicsResponseTopicConfig{} // null would mean that the client may not see them
		out.ErrorCode, out.ErrorMessage = code(err), message(err)
		if err == nil {
			edits, plans, places = append(edits, plan.edit), append(plans, plan), append(places, len(resp.Topics))
		}
		resp.Topics = append(resp.Topics, out)
	}
	var errs []error
	if req.ValidateOnly {
		errs = a.check(img, edits)
	} else if len(edits) > 0 {
		errs = a.Cluster.Commit(ctx, edits...)
	}
	for i, err := range errs {
		out := &resp.Topics[places[i]]
		out.ErrorCode, out.ErrorMessage = code(err), message(err)
		if err != nil {
			continue
		}
		plan := plans[i]
		if !req.ValidateOnly {
			out.TopicID = plan.edit.ID
		}
		out.NumPartitions, out.ReplicationFactor = int32(len(plan.edit.Partitions)), int16(len(plan.edit.Partitions[0].Replicas))
		out.Configs = a.createdConfigs(plan.configs)
	}
	return resp
}

// check plans edits without making them, each against what those before it would leave.
func (a *API) check(img *metadata.Image, edits []metadata.Edit) []error {
	errs := make([]error, len(edits))
	for i, e := range edits {
		changes, err := metadata.Plan(img, e, a.Now().UnixMilli())
		if errs[i] = err; err == nil {
			b := img.Edit()
			changes.Apply(b, img.Revision)
			img = b.Image()
		}
	}
	return errs
}

// planTopic holds a request for a topic against Kafka's rules (ReplicationControlManager.createTopic).
func (a *API) planTopic(img *metadata.Image, t *kmsg.CreateTopicsRequestTopic) (*topicPlan, error) {
	if err := metadata.ValidateTopicName(t.Topic); err != nil {
		return nil, err
	}
	if img.TopicByName(t.Topic) != nil {
		return nil, refuse(kerr.TopicAlreadyExists, fmt.Sprintf("topic %q already exists", t.Topic))
	}
	set := map[string]string{}
	for _, c := range t.Configs {
		if c.Value == nil {
			return nil, refuse(kerr.InvalidConfig, fmt.Sprintf("topic config %s is null", c.Name))
		}
		set[c.Name] = *c.Value
	}
	internal := metadata.IsInternal(t.Topic)
	stored, err := topicconfig.AtCreation(set, a.Configs.Values().TopicDefaults, internal)
	if err != nil {
		return nil, err
	}
	replicas, err := a.replicasFor(img, t)
	if err != nil {
		return nil, err
	}
	edit := metadata.CreateTopic{ID: topic.NewID(), Name: t.Topic, Configs: stored, Internal: internal}
	for _, r := range replicas {
		edit.Partitions = append(edit.Partitions, newPartition(r))
	}
	return &topicPlan{edit, stored}, nil
}

func newPartition(replicas []int32) metadata.Partition {
	return metadata.Partition{Leader: replicas[0], Replicas: replicas, ISR: slices.Clone(replicas)}
}

// replicasFor decides where the partitions of a new topic go.
func (a *API) replicasFor(img *metadata.Image, t *kmsg.CreateTopicsRequestTopic) ([][]int32, error) {
	if len(t.ReplicaAssignment) > 0 {
		return a.assigned(img, t)
	}
	n, rf := t.NumPartitions, int32(t.ReplicationFactor)
	if rf == -1 {
		rf = a.Configs.Values().DefaultReplicationFactor
	}
	switch {
	case rf == 0 || rf < -1:
		return nil, refuse(kerr.InvalidReplicationFactor, "the replication factor must be larger than 0, or -1 for the default")
	case n == 0 || n < -1:
		return nil, refuse(kerr.InvalidPartitions, "the number of partitions must be larger than 0, or -1 for the default")
	case rf > 1:
		return nil, refuse(kerr.InvalidReplicationFactor, fmt.Sprintf("replication factor %d: this cluster keeps one replica of a partition", rf))
	case n > int32(a.Config.MaxPartitionsCall):
		return nil, refuse(kerr.PolicyViolation, fmt.Sprintf("%d partitions; at most %d may be made in one request", n, a.Config.MaxPartitionsCall))
	}
	if n == -1 {
		n = a.Configs.Values().NumPartitions
	}
	return a.spread(img, int(n))
}

// spread places n partitions on the live brokers in turn.
func (a *API) spread(img *metadata.Image, n int) ([][]int32, error) {
	brokers := sortedBrokers(img)
	if len(brokers) == 0 {
		return nil, refuse(kerr.InvalidReplicationFactor, "no broker is registered")
	}
	out := make([][]int32, n)
	for i := range out {
		out[i] = []int32{brokers[i%len(brokers)].ID}
	}
	return out, nil
}

// assigned checks a manual assignment.
func (a *API) assigned(img *metadata.Image, t *kmsg.CreateTopicsRequestTopic) ([][]int32, error) {
	switch {
	case t.ReplicationFactor != -1:
		return nil, refuse(kerr.InvalidRequest, "with a manual assignment the replication factor must be -1")
	case t.NumPartitions != -1:
		return nil, refuse(kerr.InvalidRequest, "with a manual assignment the number of partitions must be -1")
	}
	out := make([][]int32, len(t.ReplicaAssignment))
	for _, as := range t.ReplicaAssignment {
		if as.Partition < 0 || int(as.Partition) >= len(out) || out[as.Partition] != nil {
			return nil, refuse(kerr.InvalidReplicaAssignment, "the partitions of a manual assignment must be numbered from 0 without gap, each once")
		}
		if err := checkReplicas(img, as.Replicas); err != nil {
			return nil, err
		}
		out[as.Partition] = as.Replicas
	}
	return out, nil
}

func checkReplicas(img *metadata.Image, replicas []int32) error {
	if len(replicas) == 0 {
		return refuse(kerr.InvalidReplicaAssignment, "a partition is assigned to no broker")
	}
	for i, r := range replicas {
		if slices.Contains(replicas[:i], r) {
			return refuse(kerr.InvalidReplicaAssignment, fmt.Sprintf("a partition is assigned to broker %d twice", r))
		}
		if img.Brokers[r] == nil {
			return refuse(kerr.InvalidReplicaAssignment, fmt.Sprintf("broker %d is not registered", r))
		}
	}
	if len(replicas) > 1 {
		return refuse(kerr.InvalidReplicationFactor, fmt.Sprintf("%d replicas of a partition: this cluster keeps one", len(replicas)))
	}
	return nil
}

// createdConfigs lists a new topic's configs for the answer (version 5 and later).
func (a *API) createdConfigs(stored map[string]string) []kmsg.CreateTopicsResponseTopicConfig {
	configs := a.topicConfigs(stored)
	out := make([]kmsg.CreateTopicsResponseTopicConfig, 0, len(configs))
	for _, v := range configs {
		c := kmsg.NewCreateTopicsResponseTopicConfig()
		c.Name, c.Value, c.Source = v.Name, v.Value, int8(v.Source)
		out = append(out, c)
	}
	return out
}

// conflictRetries is how often an edit that was planned from an image that turned out to be old is planned anew.
const conflictRetries = 5

// retryConflicts plans and commits one edit until nobody was faster.
func (a *API) retryConflicts(ctx context.Context, plan func(img *metadata.Image) (metadata.Edit, error)) error {
	for i := 0; ; i++ {
		e, err := plan(a.Cluster.Image())
		if err != nil || e == nil {
			return err
		}
		err = a.Cluster.Commit(ctx, e)[0]
		if !errors.Is(err, metadata.ErrConflict) || i == conflictRetries {
			return err
		}
	}
}
