package api

import (
	"io"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/topic"
)

// I-32: a panic below a handler, in what it does side by side, closes the connection or is answered with an error, and nobody else
// notices.
func TestPanicsBelowHandlers(t *testing.T) {
	var panics atomic.Bool
	e := newEnvWith(t, metatestBroker(t), disk.NewCrashable(1), quietLog, onOpen(func(p topic.Partition) {
		if panics.Load() && p.Topic == "t" {
			panic("nobody has thought of such a file")
		}
	}))
	e.create("t", 2)
	e.create("other", 1)
	addr := serve(t, e)
	bystander := dialRaw(t, addr)

	list := kmsg.NewPtrListOffsetsRequest()
	list.ReplicaID = -1
	del := kmsg.NewPtrDeleteRecordsRequest()
	for i := range int32(2) {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.CurrentLeaderEpoch = i, -1, -1
		list.Topics = append(list.Topics, kmsg.ListOffsetsRequestTopic{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}})
		del.Topics = append(del.Topics, kmsg.DeleteRecordsRequestTopic{Topic: "t", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: i, Offset: -1}}})
	}
	panics.Store(true)
	for name, c := range map[string]struct {
		req     kmsg.Request
		version int16
	}{
		"produce":        {produceOf("t", [16]byte{}, 2, 1), 9},
		"list offsets":   {list, 7},
		"delete records": {del, 2},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := exchange(t, addr, c.req, c.version)
			require.ErrorIs(t, err, io.EOF)
			bystander.send(produceFrame("other", 1, 1))
			bystander.accepted("other")
		})
	}
	resp, err := exchange(t, addr, fetchOf("t", [16]byte{}, 0, -1, 0, 0, 1<<20), 12)
	require.NoError(t, err)
	for _, p := range resp.(*kmsg.FetchResponse).Topics[0].Partitions {
		require.Equal(t, kerr.KafkaStorageError.Code, p.ErrorCode)
	}
	panics.Store(false)
	resp, err = exchange(t, addr, list, 7)
	require.NoError(t, err)
	require.Zero(t, resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].ErrorCode)
}
