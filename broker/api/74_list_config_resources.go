package api

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListConfigResources 0-1 (KIP-1142): what configs can be described for. Version 0 lists client metrics alone.
//
// Deliberate gaps: client metrics do not exist here, so none are listed; as in Kafka, groups are listed that have
// configs, whether they have members or not.
var listConfigResourcesHandler = handler{74, 0, 1, quick((*API).listConfigResources)}

func (a *API) listConfigResources(_ context.Context, req *kmsg.ListConfigResourcesRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ListConfigResourcesResponse)
	if req.Version == 0 {
		return resp
	}
	known := []kmsg.ConfigResourceType{kmsg.ConfigResourceTypeBrokerLogger, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeTopic,
		kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig}
	for _, t := range req.ResourceTypes {
		if !slices.Contains(known, kmsg.ConfigResourceType(t)) {
			resp.ErrorCode = kerr.UnsupportedVersion.Code
			return resp
		}
	}
	for _, kind := range known {
		if len(req.ResourceTypes) > 0 && !slices.Contains(req.ResourceTypes, int8(kind)) {
			continue
		}
		for _, name := range a.configResources(kind) {
			r := kmsg.NewListConfigResourcesResponseConfigResource()
			r.Name, r.Type = name, int8(kind)
			resp.ConfigResources = append(resp.ConfigResources, r)
		}
	}
	return resp
}

func (a *API) configResources(kind kmsg.ConfigResourceType) (names []string) {
	img := a.Cluster.Image()
	switch kind {
	case kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger:
		for _, b := range sortedBrokers(img) {
			names = append(names, strconv.Itoa(int(b.ID)))
		}
	case kmsg.ConfigResourceTypeTopic:
		for _, t := range img.Topics() {
			names = append(names, t.Name)
		}
	case kmsg.ConfigResourceTypeGroupConfig:
		names = slices.Sorted(maps.Keys(img.GroupConfigs))
	}
	return names
}
