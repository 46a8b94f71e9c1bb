package api

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/topic"
)

// Metadata 0-13. With auto.create.topics.enable a topic that is asked for by name is made at once, so that the answer
// already lists it: there is no LEADER_NOT_AVAILABLE in between. Versions 0-3 cannot say that they do not want it.
//
// Deliberate gaps: internal topics are not made this way.
var metadataHandler = handler{3, 0, 13, wide((*API).metadataSize, (*API).metadata)}

func (a *API) metadata(ctx context.Context, req *kmsg.MetadataRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	resp.AuthorizedOperations = noOperations
	if req.Version < metadataByID && slices.ContainsFunc(req.Topics, byID) {
		resp.ControllerID = metadata.NoLeader
		for _, t := range req.Topics {
			resp.Topics = append(resp.Topics, unknownTopic(t.Topic, t.TopicID, kerr.InvalidRequest))
		}
		return resp
	}
	img := a.Cluster.Image()
	if req.Version >= 8 && req.Version <= 10 && req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = clusterOperations
	}
	if asksForAll(req) {
		for _, t := range img.Topics() {
			resp.Topics = append(resp.Topics, describeTopic(img, t))
		}
	} else {
		img = a.askedFor(ctx, req, resp)
	}
	if req.IncludeTopicAuthorizedOperations { // also of names that no topic has, as Kafka does
		for i := range resp.Topics {
			if resp.Topics[i].ErrorCode != kerr.UnknownTopicID.Code {
				resp.Topics[i].AuthorizedOperations = topicOperations
			}
		}
	}
	resp.ClusterID, resp.ControllerID = &img.ClusterID, a.controller(img)
	for _, b := range sortedBrokers(img) {
		l := a.listener(b)
		n := kmsg.NewMetadataResponseBroker()
		n.NodeID, n.Host, n.Port, n.Rack = b.ID, l.Host, l.Port, rack(b)
		resp.Brokers = append(resp.Brokers, n)
	}
	return resp
}

func asksForAll(req *kmsg.MetadataRequest) bool {
	return req.Topics == nil || req.Version == 0 && len(req.Topics) == 0
}

// What a topic, beside its name, and a partition of one replica take in an answer to Metadata.
const (
	metadataTopicSize     = 256
	metadataPartitionSize = 160
)

// metadataSize is what the answer takes. As in Kafka, what is asked for more than once is answered once.
func (a *API) metadataSize(req *kmsg.MetadataRequest) (size int) {
	img := a.Cluster.Image()
	add := func(t *metadata.Topic) {
		if t != nil {
			size += metadataTopicSize + len(t.Name) + metadataPartitionSize*len(t.Partitions)
		}
	}
	if asksForAll(req) {
		for _, t := range img.Topics() {
			add(t)
		}
		return size
	}
	type key struct {
		byID bool
		id   [16]byte
		name string
	}
	req.Topics = merged(req.Topics, func(t *kmsg.MetadataRequestTopic) key {
		if byID(*t) {
			return key{byID: true, id: t.TopicID}
		}
		return key{name: *t.Topic}
	}, func(_, _ *kmsg.MetadataRequestTopic) {})
	for _, t := range req.Topics {
		if byID(t) {
			add(img.TopicByID(t.TopicID))
		} else {
			add(img.TopicByName(*t.Topic))
		}
	}
	return size
}

// metadataByID is the first version in which topics may be asked for by id, although ids are in it from 10 on (KAFKA-10774).
const metadataByID = 12

func byID(t kmsg.MetadataRequestTopic) bool { return t.Topic == nil || t.TopicID != [16]byte{} }

// askedFor lists the topics that the request names, by id or by name, and returns the image that they are from.
func (a *API) askedFor(ctx context.Context, req *kmsg.MetadataRequest, resp *kmsg.MetadataResponse) *metadata.Image {
	img := a.Cluster.Image()
	refused := map[string]error{}
	if missing := a.missing(img, req); len(missing) > 0 && (req.AllowAutoTopicCreation || req.Version < 4) &&
		a.Configs.Values().AutoCreateTopics {
		refused = a.autoCreate(ctx, missing)
		img = a.Cluster.Image()
	}
	for _, rt := range req.Topics {
		if id := topic.ID(rt.TopicID); byID(rt) {
			t := img.TopicByID(id)
			if t == nil {
				resp.Topics = append(resp.Topics, unknownTopic(rt.Topic, id, kerr.UnknownTopicID))
				continue
			}
			resp.Topics = append(resp.Topics, describeTopic(img, t))
			continue
		}
		switch t := img.TopicByName(*rt.Topic); {
		case t != nil:
			resp.Topics = append(resp.Topics, describeTopic(img, t))
		case metadata.ValidateTopicName(*rt.Topic) != nil:
			resp.Topics = append(resp.Topics, unknownTopic(rt.Topic, topic.ID{}, kerr.InvalidTopicException))
		case refused[*rt.Topic] != nil:
			resp.Topics = append(resp.Topics, unknownTopic(rt.Topic, topic.ID{}, refused[*rt.Topic]))
		default:
			resp.Topics = append(resp.Topics, unknownTopic(rt.Topic, topic.ID{}, kerr.UnknownTopicOrPartition))
		}
	}
	return img
}

// missing are the valid names in the request that no topic has.
func (a *API) missing(img *metadata.Image, req *kmsg.MetadataRequest) (names []string) {
	for _, rt := range req.Topics {
		if !byID(rt) && img.TopicByName(*rt.Topic) == nil && metadata.ValidateTopicName(*rt.Topic) == nil && !metadata.IsInternal(*rt.Topic) {
			names = append(names, *rt.Topic)
		}
	}
	return names
}

// autoCreate makes topics with the broker's defaults and says which could not be made, and why.
func (a *API) autoCreate(ctx context.Context, names []string) map[string]error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	refused := map[string]error{}
	var edits []metadata.Edit
	var edited []string
	for _, name := range names {
		spec := kmsg.NewCreateTopicsRequestTopic()
		spec.Topic, spec.NumPartitions, spec.ReplicationFactor = name, -1, -1
		plan, err := a.planTopic(a.Cluster.Image(), &spec)
		if err != nil {
			refused[name] = err
			continue
		}
		edits, edited = append(edits, plan.edit), append(edited, name)
	}
	if len(edits) == 0 {
		return refused
	}
	for i, err := range a.Cluster.Commit(ctx, edits...) {
		switch {
		case err == nil || errors.Is(err, metadata.ErrTopicExists):
		case errors.Is(err, metadata.ErrInvalidTopic):
			refused[edited[i]] = err
		default:
			a.Logger.Warn("cannot create a topic that a client asked for", "topic", edited[i], "error", err)
			refused[edited[i]] = kerr.LeaderNotAvailable // the client asks again
		}
	}
	return refused
}

func unknownTopic(name *string, id topic.ID, err error) kmsg.MetadataResponseTopic {
	t := kmsg.NewMetadataResponseTopic()
	t.ErrorCode, t.Topic, t.TopicID, t.AuthorizedOperations = code(err), name, id, noOperations
	if name != nil {
		t.IsInternal = metadata.IsInternal(*name)
	}
	return t
}

func describeTopic(img *metadata.Image, t *metadata.Topic) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	name := t.Name
	out.Topic, out.TopicID, out.IsInternal = &name, t.ID, t.Internal || metadata.IsInternal(t.Name)
	out.AuthorizedOperations = noOperations
	out.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i, p := range t.Partitions {
		n := kmsg.NewMetadataResponseTopicPartition()
		n.Partition, n.LeaderEpoch, n.Replicas, n.ISR = int32(i), p.LeaderEpoch, p.Replicas, p.ISR
		n.Leader, n.OfflineReplicas, n.ErrorCode = whoServes(img, &p)
		out.Partitions[i] = n
	}
	return out
}

// whoServes tells a partition's leader, which of its replicas are not there, and LEADER_NOT_AVAILABLE when the leader is
// one of them.
func whoServes(img *metadata.Image, p *metadata.Partition) (leader int32, offline []int32, errorCode int16) {
	leader = p.Leader
	if img.Brokers[leader] == nil {
		leader, errorCode = metadata.NoLeader, kerr.LeaderNotAvailable.Code
	}
	for _, r := range p.Replicas {
		if img.Brokers[r] == nil {
			offline = append(offline, r)
		}
	}
	return leader, offline, errorCode
}
