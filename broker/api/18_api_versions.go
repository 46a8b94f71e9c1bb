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
// Deliberate gaps: no features are listed. Kafka's are switches of its controller (metadata.version and the like)
// that firn does not have; clients take the absence as level 0.
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
	return resp
}

// advertised is the table that clients see: what is served, but Produce from version 0, because librdkafka
// otherwise switches its codecs off (KAFKA-18659).
var advertised *wire.Versions

func init() {
	var err error
	if advertised, err = wire.NewVersions(Versions()); err != nil {
		panic(err) // a mistake in the table above, found by any test
	}
}
