package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/metadata"
)

// ElectLeaders 0-2.
//
// Deliberate gaps: a partition has one replica until there is replication. While it lives it leads, so that no election
// is needed; while it does not, nobody can be elected.
var electLeadersHandler = handler{43, 0, 2, quick((*API).electLeaders)}

// Kinds of election (org.apache.kafka.common.ElectionType).
const (
	electPreferred = 0
	electUnclean   = 1
)

func (a *API) electLeaders(_ context.Context, req *kmsg.ElectLeadersRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
	img := a.Cluster.Image()
	var bad error
	if req.Version >= 1 && req.ElectionType != electPreferred && req.ElectionType != electUnclean {
		bad = refuse(kerr.InvalidRequest, fmt.Sprintf("unknown election type %d", req.ElectionType))
		resp.ErrorCode = code(bad)
	}
	topics, all := req.Topics, req.Topics == nil
	if all {
		topics = everyPartition(img)
	}
	for _, t := range topics {
		rt := kmsg.NewElectLeadersResponseTopic()
		rt.Topic = t.Topic
		for _, index := range t.Partitions {
			err := bad
			if err == nil {
				err = elect(img, t.Topic, index, req.ElectionType)
			}
			if all && errors.Is(err, kerr.ElectionNotNeeded) {
				continue // who asks for all wants to hear of those where something happened
			}
			p := kmsg.NewElectLeadersResponseTopicPartition()
			p.Partition, p.ErrorCode, p.ErrorMessage = index, code(err), message(err)
			rt.Partitions = append(rt.Partitions, p)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// elect says why a partition's leader does not change.
func elect(img *metadata.Image, name string, index int32, kind int8) error {
	if !exists(img, name, index) {
		return noPartition(img, name, index)
	}
	switch p := img.TopicByName(name).Partitions[index]; {
	case img.Brokers[p.Leader] != nil && (kind == electUnclean || p.Leader == p.Replicas[0]):
		return kerr.ElectionNotNeeded
	case kind == electUnclean:
		return kerr.EligibleLeadersNotAvailable
	}
	return kerr.PreferredLeaderNotAvailable
}

// noPartition says which of the two does not exist. It does not repeat the name, which stands in the answer once: a partition
// that is asked for takes four bytes, and the name of a topic that does not exist may be long (I-32).
func noPartition(img *metadata.Image, name string, index int32) error {
	if img.TopicByName(name) == nil {
		return refuse(kerr.UnknownTopicOrPartition, "there is no such topic")
	}
	return refuse(kerr.UnknownTopicOrPartition, fmt.Sprintf("the topic has no partition %d", index))
}

func everyPartition(img *metadata.Image) []kmsg.ElectLeadersRequestTopic {
	var out []kmsg.ElectLeadersRequestTopic
	for _, t := range img.Topics() {
		rt := kmsg.NewElectLeadersRequestTopic()
		rt.Topic = t.Name
		for i := range t.Partitions {
			rt.Partitions = append(rt.Partitions, int32(i))
		}
		out = append(out, rt)
	}
	return out
}
