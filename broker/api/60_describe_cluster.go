package api

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/metadata"
)

// DescribeCluster 0-2.
//
// Deliberate gaps: controllers (endpoint type 2) have no endpoints of their own; fenced brokers do not exist, a broker
// that lost its registration is not listed.
var describeClusterHandler = handler{60, 0, 2, quick((*API).describeCluster)}

// Bit fields of the operations that anybody may do while there are no ACLs (AclEntry.supportedOperations, by AclOperation code).
const (
	topicOperations   = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	clusterOperations = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
	noOperations      = math.MinInt32 // not asked for
)

func (a *API) describeCluster(_ context.Context, req *kmsg.DescribeClusterRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.ClusterAuthorizedOperations = noOperations
	if req.Version >= 1 && req.EndpointType != 1 {
		err := refuse(kerr.UnsupportedEndpointType, "unknown endpoint type")
		if req.EndpointType == 2 {
			err = refuse(kerr.MismatchedEndpointType, "this is a broker's endpoint, not a controller's")
		}
		resp.ErrorCode, resp.ErrorMessage = code(err), message(err)
		return resp
	}
	img := a.Cluster.Image()
	resp.ClusterID, resp.ControllerID, resp.EndpointType = img.ClusterID, a.controller(img), 1
	for _, b := range sortedBrokers(img) {
		l := a.listener(b)
		n := kmsg.NewDescribeClusterResponseBroker()
		n.NodeID, n.Host, n.Port, n.Rack = b.ID, l.Host, l.Port, rack(b)
		resp.Brokers = append(resp.Brokers, n)
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	return resp
}

// controller is the broker that clients send admin requests to: any live one may be named.
func (a *API) controller(img *metadata.Image) int32 {
	if img.Brokers[img.Controller] != nil {
		return img.Controller
	}
	if img.Brokers[a.Config.BrokerID] != nil {
		return a.Config.BrokerID
	}
	return metadata.NoLeader
}

func sortedBrokers(img *metadata.Image) []*metadata.Broker {
	out := make([]*metadata.Broker, 0, len(img.Brokers))
	for _, b := range img.Brokers {
		out = append(out, b)
	}
	slices.SortFunc(out, func(x, y *metadata.Broker) int { return cmp.Compare(x.ID, y.ID) })
	return out
}

// listener is the address of a broker that clients of this listener are told.
func (a *API) listener(b *metadata.Broker) metadata.Listener {
	for _, l := range b.Listeners {
		if l.Name == a.Config.Listener {
			return l
		}
	}
	if len(b.Listeners) > 0 {
		return b.Listeners[0]
	}
	return metadata.Listener{}
}

func rack(b *metadata.Broker) *string {
	if b.Rack == "" {
		return nil
	}
	return &b.Rack
}
