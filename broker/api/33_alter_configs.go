package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterConfigs 0-2, for topics, brokers ("": all of them) and groups: what is sent replaces everything that was set.
// Kafka deprecates it in favour of IncrementalAlterConfigs; older clients and kafkajs still use it.
//
// Deliberate gaps: a topic's remote.storage.enable stays as it is unless it is named, because what is stored was decided
// when the topic was made and need not have been set. Loggers are refused, as in Kafka, and so are client metrics.
var alterConfigsHandler = handler{33, 0, 2, blocking((*API).alterConfigs)}

func (a *API) alterConfigs(ctx context.Context, req *kmsg.AlterConfigsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	ctx, cancel := deadline(ctx, 0)
	defer cancel()
	once := namedOnce(req.Resources, func(r *kmsg.AlterConfigsRequestResource) configResource {
		return configResource{r.ResourceType, r.ResourceName}
	})
	for i := range req.Resources {
		r := &req.Resources[i]
		res := configResource{r.ResourceType, r.ResourceName}
		err := once(res)
		if err == nil {
			err = a.replaceConfigs(ctx, res, r.Configs, req.ValidateOnly)
		}
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
		out.ErrorCode, out.ErrorMessage = code(err), message(err)
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

func (a *API) replaceConfigs(ctx context.Context, r configResource, configs []kmsg.AlterConfigsRequestResourceConfig, validateOnly bool) error {
	if r.kind == kmsg.ConfigResourceTypeBrokerLogger {
		return refuse(kerr.InvalidRequest, "levels of loggers are changed one by one, with IncrementalAlterConfigs")
	}
	next := make(map[string]string, len(configs))
	for _, c := range configs {
		if _, again := next[c.Name]; again {
			return refuse(kerr.InvalidRequest, fmt.Sprintf("config %s is named more than once", c.Name))
		}
		if c.Value == nil {
			return refuse(kerr.InvalidRequest, fmt.Sprintf("config %s has no value", c.Name))
		}
		next[c.Name] = *c.Value
	}
	return a.alterResource(ctx, r, replacing(next), validateOnly)
}
