package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/lanes"
	"github.com/firnlog/firn/metadata"
)

// DeleteRecords 0-2, across both tiers: with an archive the new log start is committed to the ledger before the
// answer.
//
// Deliberate gaps: none.
var deleteRecordsHandler = handler{21, 0, 2, blocking((*API).deleteRecords)}

func (a *API) deleteRecords(ctx context.Context, req *kmsg.DeleteRecordsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
	ctx, cancel := deadline(ctx, req.TimeoutMillis)
	defer cancel()
	all := lanes.New(8)
	for _, t := range req.Topics {
		rt := kmsg.NewDeleteRecordsResponseTopic()
		rt.Topic = t.Topic
		rt.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(t.Partitions))
		for i, p := range t.Partitions {
			out := &rt.Partitions[i]
			*out = kmsg.NewDeleteRecordsResponseTopicPartition()
			out.Partition = p.Partition
			all.Go(func() {
				low, err := a.deleteBefore(ctx, t.Topic, p.Partition, p.Offset)
				out.LowWatermark, out.ErrorCode = low, code(err)
			})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	all.Wait()
	return resp
}

func (a *API) deleteBefore(ctx context.Context, name string, index int32, offset int64) (int64, error) {
	if metadata.IsInternal(name) {
		return -1, kerr.InvalidTopicException
	}
	pt, err := a.Partitions.ByName(name, index)
	if err != nil {
		return -1, err
	}
	return pt.DeleteRecords(ctx, offset)
}
