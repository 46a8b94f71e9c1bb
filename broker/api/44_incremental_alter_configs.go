package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/metadata/configdef"
	"github.com/firnlog/firn/metadata/groupconfig"
	"github.com/firnlog/firn/metadata/topicconfig"
)

// IncrementalAlterConfigs 0-1, for topics, brokers ("": all of them), broker loggers and groups: SET, DELETE, APPEND,
// SUBTRACT, and validate only. What is answered without an error is in force.
//
// Deliberate gaps: client metrics do not exist here (INVALID_REQUEST). A broker config that is not known is refused, and
// a bad value of one is INVALID_CONFIG as that of a topic; Kafka keeps the one for plugins and answers INVALID_REQUEST to
// the other.
var incrementalAlterConfigsHandler = handler{44, 0, 1, blocking((*API).incrementalAlterConfigs)}

func (a *API) incrementalAlterConfigs(ctx context.Context, req *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	ctx, cancel := deadline(ctx, 0)
	defer cancel()
	once := namedOnce(req.Resources, func(r *kmsg.IncrementalAlterConfigsRequestResource) configResource {
		return configResource{r.ResourceType, r.ResourceName}
	})
	for i := range req.Resources {
		r := &req.Resources[i]
		res := configResource{r.ResourceType, r.ResourceName}
		err := once(res)
		var ops []configdef.Op
		if err == nil {
			ops, err = alterOps(r)
		}
		switch {
		case err != nil:
		case res.kind == kmsg.ConfigResourceTypeBrokerLogger:
			err = a.alterLoggers(res.name, ops, req.ValidateOnly)
		default:
			err = a.alterResource(ctx, res, changing(ops), req.ValidateOnly)
		}
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
		out.ErrorCode, out.ErrorMessage = code(err), message(err)
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

// namedOnce returns what refuses each resource that a request names more than once.
func namedOnce[R any](rs []R, of func(*R) configResource) func(configResource) error {
	times := make(map[configResource]int, len(rs))
	for i := range rs {
		times[of(&rs[i])]++
	}
	return func(r configResource) error {
		if times[r] > 1 {
			return refuse(kerr.InvalidRequest, "each resource may be named once")
		}
		return nil
	}
}

// onlyLists refuses to append to what is no list, or to subtract from it. As in Kafka's controller that goes before all
// that is wrong with the resource itself. What is known of brokers is checked with their other rules.
func onlyLists(kind kmsg.ConfigResourceType, ops []configdef.Op) error {
	for _, op := range ops {
		if op.Kind != configdef.Append && op.Kind != configdef.Subtract {
			continue
		}
		var list bool
		switch kind {
		case kmsg.ConfigResourceTypeTopic:
			d, ok := topicconfig.Lookup(op.Key)
			list = ok && d.Type == configdef.List
		case kmsg.ConfigResourceTypeGroupConfig:
			d, ok := groupconfig.Lookup(op.Key)
			list = ok && d.Type == configdef.List
		default:
			continue
		}
		if !list {
			return configdef.Invalid(op.Key, "%s is not a list: only a list can be appended to or subtracted from", configdef.Clip(op.Key))
		}
	}
	return nil
}

// alterOps reads the operations on one resource.
func alterOps(r *kmsg.IncrementalAlterConfigsRequestResource) ([]configdef.Op, error) {
	var ops []configdef.Op
	seen := map[string]bool{}
	for _, c := range r.Configs {
		op := configdef.Op{Key: c.Name, Kind: configdef.OpKind(c.Op)}
		switch {
		case seen[c.Name]:
			return nil, refuse(kerr.InvalidRequest, fmt.Sprintf("config %s is named more than once", c.Name))
		case c.Value == nil && op.Kind != configdef.Delete:
			return nil, refuse(kerr.InvalidRequest, fmt.Sprintf("config %s has no value", c.Name))
		case c.Value != nil:
			op.Value = *c.Value
		}
		seen[c.Name] = true
		ops = append(ops, op)
	}
	if err := onlyLists(r.ResourceType, ops); err != nil {
		return nil, err
	}
	for _, op := range ops {
		if op.Kind < configdef.Set || op.Kind > configdef.Subtract {
			return nil, refuse(kerr.InvalidRequest, fmt.Sprintf("unknown operation %d on config %s", op.Kind, op.Key))
		}
	}
	return ops, nil
}
