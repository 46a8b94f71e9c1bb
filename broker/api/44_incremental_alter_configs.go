package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/topicconfig"
)

// IncrementalAlterConfigs 0-1, for topics: SET, DELETE, APPEND, SUBTRACT, and validate only.
//
// Deliberate gaps: broker configs cannot be changed while the broker runs; other resources do not exist. Both are refused with
// INVALID_REQUEST.
var incrementalAlterConfigsHandler = handler{44, 0, 1, blocking((*API).incrementalAlterConfigs)}

func (a *API) incrementalAlterConfigs(ctx context.Context, req *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	ctx, cancel := deadline(ctx, 0)
	defer cancel()
	type resource struct {
		kind kmsg.ConfigResourceType
		name string
	}
	times := map[resource]int{}
	for _, r := range req.Resources {
		times[resource{r.ResourceType, r.ResourceName}]++
	}
	for i := range req.Resources {
		r := &req.Resources[i]
		var err error
		switch {
		case times[resource{r.ResourceType, r.ResourceName}] > 1:
			err = refuse(kerr.InvalidRequest, "each resource may be named once")
		case r.ResourceType == kmsg.ConfigResourceTypeTopic:
			err = a.alterTopic(ctx, r, req.ValidateOnly)
		case r.ResourceType == kmsg.ConfigResourceTypeBroker:
			err = refuse(kerr.InvalidRequest, "broker configs cannot be changed while the broker runs")
		default:
			err = refuse(kerr.InvalidRequest, "only configs of topics can be changed")
		}
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
		out.ErrorCode, out.ErrorMessage = code(err), message(err)
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

// alterTopic works the operations into a topic's configs, by the rules of topicconfig.Change.
func (a *API) alterTopic(ctx context.Context, r *kmsg.IncrementalAlterConfigsRequestResource, validateOnly bool) error {
	ops, err := alterOps(r)
	if err != nil {
		return err
	}
	return a.retryConflicts(ctx, func(img *metadata.Image) (metadata.Edit, error) {
		t := img.TopicByName(r.ResourceName)
		if t == nil {
			return nil, kerr.UnknownTopicOrPartition
		}
		next, err := topicconfig.Alter(t.Configs, a.Config.TopicDefaults, ops)
		if err != nil {
			return nil, err
		}
		ch, err := topicconfig.Change(t.Configs, next, a.Config.TopicDefaults, t.Internal, a.hasArchive(t))
		if err != nil || validateOnly || len(ch.Set)+len(ch.Delete) == 0 {
			return nil, err
		}
		if err := a.moveArchive(ctx, t, ch); err != nil {
			return nil, err
		}
		return metadata.AlterTopicConfigs{ID: t.ID, Version: t.Version, Set: ch.Set, Delete: ch.Delete, Unarchived: ch.Unarchived}, nil
	})
}

func alterOps(r *kmsg.IncrementalAlterConfigsRequestResource) ([]topicconfig.Op, error) {
	var ops []topicconfig.Op
	seen := map[string]bool{}
	for _, c := range r.Configs {
		op := topicconfig.Op{Key: c.Name, Kind: topicconfig.OpKind(c.Op)}
		switch {
		case seen[c.Name]:
			return nil, refuse(kerr.InvalidRequest, fmt.Sprintf("config %s is named more than once", c.Name))
		case c.Op < 0 || c.Op > 3:
			return nil, refuse(kerr.InvalidRequest, fmt.Sprintf("unknown operation %d on config %s", c.Op, c.Name))
		case c.Value == nil && op.Kind != topicconfig.Delete:
			return nil, refuse(kerr.InvalidRequest, fmt.Sprintf("config %s has no value", c.Name))
		case c.Value != nil:
			op.Value = *c.Value
		}
		seen[c.Name] = true
		ops = append(ops, op)
	}
	return ops, nil
}

func (a *API) hasArchive(t *metadata.Topic) bool {
	for i := range t.Partitions {
		if !a.Cluster.CachedLedger(t.Partition(int32(i))).Empty() {
			return true
		}
	}
	return false
}

// moveArchive settles, before the configs change, where each partition's log starts on the other side of the change:
// turning remote storage off drops what is only archived, turning it on begins the archive where the log does.
func (a *API) moveArchive(ctx context.Context, t *metadata.Topic, ch topicconfig.Changed) error {
	was, err := topicconfig.Resolve(t.Configs, a.Config.TopicDefaults)
	begins := err == nil && !was.RemoteStorage && ch.Values.RemoteStorage
	if !begins && !ch.DropsArchive {
		return nil
	}
	for i := range t.Partitions {
		p, err := a.Partitions.ByID(t.ID, int32(i))
		if err != nil {
			return err
		}
		if ch.DropsArchive {
			a.Logger.Warn("remote storage is being turned off: what is only archived is dropped", "partition", p.ID())
		}
		if err := p.StartAtLocal(ctx); err != nil {
			return fmt.Errorf("partition %d: %w", i, err)
		}
	}
	return nil
}
