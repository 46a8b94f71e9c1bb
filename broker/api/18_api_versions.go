package api

import (
	"context"
	"regexp"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/wire"
)

// ApiVersions 0-4. A newer version is answered with the version 0 form by package server (KIP-511).
//
// From version 3 on the answer carries features (KIP-584). metadata.version says as which release of Kafka the cluster
// behaves, which is what administrative tools read from it; it is fixed, for firn has no metadata log whose format could be
// of another level.
//
// Deliberate gaps: group.version, transaction.version, share.version and streams.version are neither supported nor
// finalized, because clients use what they stand for as soon as they see them; kraft.version and
// eligible.leader.replicas.version are switches of a controller that firn does not have.
var apiVersionsHandler = handler{18, 0, 4, quick((*API).apiVersions)}

// Kafka refuses software names and versions of another form (ApiVersionsRequest.isValid, KIP-511).
var softwareName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

func (a *API) apiVersions(_ context.Context, req *kmsg.ApiVersionsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
	if req.Version >= 3 && !(softwareName.MatchString(req.ClientSoftwareName) && softwareName.MatchString(req.ClientSoftwareVersion)) {
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	}
	for _, r := range advertised.Advertised() {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = r.Key, r.Min, r.Max
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	s := kmsg.NewApiVersionsResponseSupportedFeature()
	s.Name, s.MinVersion, s.MaxVersion = metadataVersion, metadataLevel, metadataLevel
	f := kmsg.NewApiVersionsResponseFinalizedFeature()
	f.Name, f.MinVersionLevel, f.MaxVersionLevel = metadataVersion, metadataLevel, metadataLevel
	resp.SupportedFeatures, resp.FinalizedFeatures = append(resp.SupportedFeatures, s), append(resp.FinalizedFeatures, f)
	// Clients believe the answer with the largest epoch; the image's revision never goes back.
	resp.FinalizedFeaturesEpoch = a.Cluster.Image().Revision
	return resp
}

// The only feature, at the level of Kafka 4.3 (MetadataVersion.IBP_4_3_IV0).
const (
	metadataVersion = "metadata.version"
	metadataLevel   = 30
)

// advertised is the table that clients see: what is served, but Produce from version 0, because librdkafka
// otherwise switches its codecs off (KAFKA-18659).
var advertised *wire.Versions

func init() {
	var err error
	if advertised, err = wire.NewVersions(Versions()); err != nil {
		panic(err) // a mistake in the table above, found by any test
	}
}
