package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/lanes"
	"github.com/firnlog/firn/broker/partition"
)

// ListOffsets 1-11, with every special timestamp: -1 latest, -2 earliest, -3 max timestamp (7), -4 earliest local (8),
// -5 latest tiered (9), -6 earliest pending upload (11); in brackets the version from which each is allowed.
//
// Deliberate gaps: none.
var listOffsetsHandler = handler{2, 1, 11, blocking((*API).listOffsets)}

// since says from which version on a special timestamp is allowed.
var since = map[int64]int16{partition.Latest: 1, partition.Earliest: 1, partition.MaxTimestamp: 7,
	partition.EarliestLocal: 8, partition.LatestTiered: 9, partition.EarliestPendingUpload: 11}

func (a *API) listOffsets(ctx context.Context, req *kmsg.ListOffsetsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	ctx, cancel := deadline(ctx, req.TimeoutMillis)
	defer cancel()
	slow := lanes.New(8) // lookups in the archive side by side; the manager bounds them for all
	for _, t := range askedOffsets(req) {
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic = t.name
		rt.Partitions = make([]kmsg.ListOffsetsResponseTopicPartition, len(t.partitions))
		for i, p := range t.partitions {
			out := &rt.Partitions[i]
			*out = kmsg.NewListOffsetsResponseTopicPartition()
			out.Partition, out.Timestamp, out.Offset, out.LeaderEpoch = p.Partition, -1, -1, -1
			pt, err := a.askedOffset(req.Version, t.name, p)
			if err != nil {
				out.ErrorCode = code(err)
				continue
			}
			q := partition.OffsetQuery{Timestamp: p.Timestamp, LeaderEpoch: p.CurrentLeaderEpoch,
				Committed: req.IsolationLevel == 1, Replica: req.ReplicaID >= 0}
			if !pt.Blocks(q) {
				a.listOffset(ctx, pt, q, out)
				continue
			}
			slow.Go(func() { a.listOffset(ctx, pt, q, out) })
		}
		resp.Topics = append(resp.Topics, rt)
	}
	slow.Wait()
	return resp
}

// askedTopic is what a request asks of one topic, wherever in the request.
type askedTopic struct {
	name       string
	partitions []askedPartition
}

type askedPartition struct {
	kmsg.ListOffsetsRequestTopicPartition
	again bool // asked for more than once
}

// askedOffsets puts together what a request asks for, each topic and each partition once.
func askedOffsets(req *kmsg.ListOffsetsRequest) []askedTopic {
	type place struct{ topic, partition int }
	type key struct {
		name  string
		index int32
	}
	var out []askedTopic
	topics, parts := map[string]int{}, map[key]place{}
	for _, t := range req.Topics {
		n, ok := topics[t.Topic]
		if !ok {
			n = len(out)
			topics[t.Topic] = n
			out = append(out, askedTopic{name: t.Topic})
		}
		for _, p := range t.Partitions {
			k := key{t.Topic, p.Partition}
			if at, again := parts[k]; again {
				out[at.topic].partitions[at.partition].again = true
				continue
			}
			parts[k] = place{n, len(out[n].partitions)}
			out[n].partitions = append(out[n].partitions, askedPartition{p, false})
		}
	}
	return out
}

// askedOffset finds a partition that may be asked what p asks.
func (a *API) askedOffset(version int16, name string, p askedPartition) (*partition.Partition, error) {
	if p.again {
		return nil, kerr.InvalidRequest
	}
	if v, ok := since[p.Timestamp]; p.Timestamp < 0 && (!ok || version < v) {
		return nil, kerr.UnsupportedVersion
	}
	return a.Partitions.ByName(name, p.Partition)
}

func (a *API) listOffset(ctx context.Context, pt *partition.Partition, q partition.OffsetQuery, out *kmsg.ListOffsetsResponseTopicPartition) {
	pos, err := pt.ListOffset(ctx, q)
	if err != nil {
		out.ErrorCode = code(err)
		if out.ErrorCode == kerr.KafkaStorageError.Code || out.ErrorCode == kerr.UnknownServerError.Code {
			a.Logger.Warn("cannot look an offset up", "partition", pt.ID(), "timestamp", q.Timestamp, "error", err)
		}
		return
	}
	out.Timestamp, out.Offset, out.LeaderEpoch = pos.Timestamp, pos.Offset, pos.Epoch
}
