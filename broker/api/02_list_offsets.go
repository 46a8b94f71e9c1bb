package api

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

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
	var slow sync.WaitGroup
	lanes := make(chan struct{}, 8) // lookups in the archive side by side; the manager bounds them for all
	seen := map[string]bool{}
	for _, t := range req.Topics {
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic = t.Topic
		rt.Partitions = make([]kmsg.ListOffsetsResponseTopicPartition, len(t.Partitions))
		for i, p := range t.Partitions {
			out := &rt.Partitions[i]
			*out = kmsg.NewListOffsetsResponseTopicPartition()
			out.Partition, out.Timestamp, out.Offset, out.LeaderEpoch = p.Partition, -1, -1, -1
			key := fmt.Sprintf("%s/%d", t.Topic, p.Partition)
			if seen[key] {
				out.ErrorCode = kerr.InvalidRequest.Code
				continue
			}
			seen[key] = true
			if v, ok := since[p.Timestamp]; p.Timestamp < 0 && (!ok || req.Version < v) {
				out.ErrorCode = kerr.UnsupportedVersion.Code
				continue
			}
			pt, err := a.Partitions.ByName(t.Topic, p.Partition)
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
			lanes <- struct{}{}
			slow.Go(func() {
				defer func() { <-lanes }()
				a.listOffset(ctx, pt, q, out)
			})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	slow.Wait()
	return resp
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
