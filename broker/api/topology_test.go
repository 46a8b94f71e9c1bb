package api

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/partition"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/metatest"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
)

func TestDescribeTopicPartitions(t *testing.T) {
	e := newEnv(t)
	e.create("b", 3)
	e.create("a", 1)
	e.create("c", 2)
	ask := func(limit int32, cursor *kmsg.DescribeTopicPartitionsRequestCursor, topics ...string) *kmsg.DescribeTopicPartitionsResponse {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit, req.Cursor = limit, cursor
		for _, n := range topics {
			req.Topics = append(req.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: n})
		}
		return call[*kmsg.DescribeTopicPartitionsResponse](e, req, 0)
	}
	at := func(name string, index int32) *kmsg.DescribeTopicPartitionsRequestCursor {
		c := kmsg.NewDescribeTopicPartitionsRequestCursor()
		c.Topic, c.Partition = name, index
		return &c
	}
	// got tells topics with their partitions, as "b:1,2".
	got := func(r *kmsg.DescribeTopicPartitionsResponse) (out []string) {
		for _, tp := range r.Topics {
			s := *tp.Topic + ":"
			for _, p := range tp.Partitions {
				s += string('0' + p.Partition)
			}
			out = append(out, s)
		}
		return out
	}

	all := ask(2000, nil)
	require.Equal(t, []string{"a:0", "b:012", "c:01"}, got(all))
	require.Nil(t, all.NextCursor)
	b := all.Topics[1]
	require.EqualValues(t, e.store.Image().TopicByName("b").ID, b.TopicID)
	require.EqualValues(t, topicOperations, b.AuthorizedOperations)
	p := b.Partitions[2]
	require.Equal(t, []any{int32(1), []int32{1}, []int32{1}, int16(0)}, []any{p.LeaderID, p.Replicas, p.ISR, p.ErrorCode})
	require.NotNil(t, p.EligibleLeaderReplicas)

	// Every page size gives every partition once.
	for limit := int32(-1); limit <= 7; limit++ {
		var seen []string
		var cursor *kmsg.DescribeTopicPartitionsRequestCursor
		for {
			r := ask(limit, cursor)
			n := 0
			for _, tp := range r.Topics {
				for _, p := range tp.Partitions {
					n++
					seen = append(seen, *tp.Topic+string('0'+p.Partition))
				}
			}
			require.LessOrEqual(t, n, max(int(limit), 1))
			if r.NextCursor == nil {
				break
			}
			cursor = at(r.NextCursor.Topic, r.NextCursor.Partition)
		}
		require.Equal(t, []string{"a0", "b0", "b1", "b2", "c0", "c1"}, seen, "limit %d", limit)
	}

	some := ask(2000, nil, "c", "nope", "b c", "c", "__consumer_offsets")
	require.Equal(t, []string{"__consumer_offsets:", "b c:", "c:01", "nope:"}, got(some))
	require.True(t, some.Topics[0].IsInternal)
	require.Equal(t, kerr.InvalidTopicException.Code, some.Topics[1].ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, some.Topics[3].ErrorCode)

	require.Equal(t, []string{"b:", "c:01"}, got(ask(9, at("b", 7))), "a cursor behind the last partition")
	require.Equal(t, []string{"c:01"}, got(ask(9, at("bb", 1))), "a cursor at a topic that is gone")
	for _, r := range []*kmsg.DescribeTopicPartitionsResponse{ask(9, at("bb", 0), "b", "c"), ask(9, at("b", -1), "b")} {
		require.Equal(t, kerr.InvalidRequest.Code, r.Topics[0].ErrorCode)
		require.EqualValues(t, noOperations, r.Topics[0].AuthorizedOperations)
	}
}

func TestElectLeaders(t *testing.T) {
	e := newEnv(t)
	e.create("t", 2)
	ask := func(v int16, kind int8, topics ...kmsg.ElectLeadersRequestTopic) *kmsg.ElectLeadersResponse {
		req := kmsg.NewPtrElectLeadersRequest()
		req.ElectionType, req.Topics = kind, topics
		return call[*kmsg.ElectLeadersResponse](e, req, v)
	}
	some := []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{1, 9}}, {Topic: "nope", Partitions: []int32{0}}}
	for _, kind := range []int8{electPreferred, electUnclean} {
		r := ask(2, kind, some...)
		require.Zero(t, r.ErrorCode)
		require.Equal(t, kerr.ElectionNotNeeded.Code, r.Topics[0].Partitions[0].ErrorCode)
		require.Equal(t, kerr.UnknownTopicOrPartition.Code, r.Topics[0].Partitions[1].ErrorCode)
		require.Equal(t, kerr.UnknownTopicOrPartition.Code, r.Topics[1].Partitions[0].ErrorCode)
	}
	require.Equal(t, kerr.InvalidRequest.Code, ask(1, 7, some...).ErrorCode)
	all := ask(2, electPreferred)
	require.Len(t, all.Topics, 1)
	require.Empty(t, all.Topics[0].Partitions, "where nothing happened nothing is told")

	gone := metadata.Empty("c", "g").Edit()
	gone.PutTopic(&metadata.Topic{ID: topic.NewID(), Name: "t", Partitions: []metadata.Partition{{Leader: 1, Replicas: []int32{1}}}})
	img := gone.Image()
	require.ErrorIs(t, elect(img, "t", 0, electPreferred), kerr.PreferredLeaderNotAvailable)
	require.ErrorIs(t, elect(img, "t", 0, electUnclean), kerr.EligibleLeadersNotAvailable)
}

func TestReassignments(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	ask := func(name string, index int32, replicas []int32) int16 {
		req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		rt := kmsg.NewAlterPartitionAssignmentsRequestTopic()
		rp := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		rp.Partition, rp.Replicas = index, replicas
		rt.Topic, rt.Partitions = name, append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		resp := call[*kmsg.AlterPartitionAssignmentsResponse](e, req, 1)
		require.Zero(t, resp.ErrorCode)
		return resp.Topics[0].Partitions[0].ErrorCode
	}
	require.Zero(t, ask("t", 0, []int32{1}))
	require.Equal(t, kerr.NoReassignmentInProgress.Code, ask("t", 0, nil))
	for _, bad := range [][]int32{{}, {1, 1}, {2}, {-1}, {1, 2}} {
		require.Equal(t, kerr.InvalidReplicaAssignment.Code, ask("t", 0, bad), "%v", bad)
	}
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, ask("t", 5, []int32{1}))
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, ask("nope", 0, nil))

	list := kmsg.NewPtrListPartitionReassignmentsRequest()
	list.Topics = []kmsg.ListPartitionReassignmentsRequestTopic{{Topic: "nope", Partitions: []int32{0}}}
	resp := call[*kmsg.ListPartitionReassignmentsResponse](e, list, 0)
	require.Zero(t, resp.ErrorCode)
	require.Empty(t, resp.Topics)
}

func TestLogDirs(t *testing.T) {
	e := newEnv(t)
	var broken error
	e.a.Places = Places{LogDir: "/data", Archive: "s3://bucket/prefix", Offline: func() error { return broken },
		Space: func() (partition.SpaceInfo, error) { return partition.SpaceInfo{Total: 1000, Free: 300}, nil }}
	e.create("b", 2)
	e.create("a", 1)
	require.Zero(t, e.produce(produceRequest("b", 1, -1, batchOf(3)), 9).ErrorCode)
	ask := func(v int16, topics ...kmsg.DescribeLogDirsRequestTopic) *kmsg.DescribeLogDirsResponse {
		req := kmsg.NewPtrDescribeLogDirsRequest()
		req.Topics = topics
		return call[*kmsg.DescribeLogDirsResponse](e, req, v)
	}
	all := ask(5)
	require.Len(t, all.Dirs, 1, "with nothing archived there is the log directory alone")
	d := all.Dirs[0]
	require.Equal(t, []any{"/data", int16(0), int64(1000), int64(300), 2}, []any{d.Dir, d.ErrorCode, d.TotalBytes, d.UsableBytes, len(d.Topics)})
	require.Equal(t, "a", d.Topics[0].Topic)
	require.Len(t, d.Topics[1].Partitions, 2)
	require.Zero(t, d.Topics[1].Partitions[0].Size)
	require.EqualValues(t, len(batchOf(3)), d.Topics[1].Partitions[1].Size)
	require.Zero(t, d.Topics[1].Partitions[1].OffsetLag)
	require.EqualValues(t, -1, ask(3).Dirs[0].TotalBytes, "versions below 4 have no room for it")

	some := ask(4, kmsg.DescribeLogDirsRequestTopic{Topic: "b", Partitions: []int32{1, 8}}, kmsg.DescribeLogDirsRequestTopic{Topic: "nope", Partitions: []int32{0}})
	require.Len(t, some.Dirs[0].Topics, 1)
	require.Len(t, some.Dirs[0].Topics[0].Partitions, 1)
	none := kmsg.NewPtrDescribeLogDirsRequest()
	none.Topics = []kmsg.DescribeLogDirsRequestTopic{}
	require.Empty(t, call[*kmsg.DescribeLogDirsResponse](e, none, 4).Dirs[0].Topics)

	b := e.store.Image().TopicByName("b")
	e.archive(b.Partition(1), 2, 77)
	with := ask(5)
	require.Len(t, with.Dirs, 2)
	far := with.Dirs[1]
	require.Equal(t, "s3://bucket/prefix", far.Dir)
	require.Len(t, far.Topics, 1)
	require.Equal(t, "b", far.Topics[0].Topic)
	require.Len(t, far.Topics[0].Partitions, 1)
	p := far.Topics[0].Partitions[0]
	require.Equal(t, []int64{1, 77, 1}, []int64{int64(p.Partition), p.Size, p.OffsetLag}, "two of three records are archived")
	require.False(t, p.IsFuture)

	move := func(dir, name string, index int32) int16 {
		req := kmsg.NewPtrAlterReplicaLogDirsRequest()
		req.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: dir, Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: name, Partitions: []int32{index}}}}}
		return call[*kmsg.AlterReplicaLogDirsResponse](e, req, 2).Topics[0].Partitions[0].ErrorCode
	}
	require.Zero(t, move("/data", "b", 1))
	require.Zero(t, move("s3://bucket/prefix", "b", 1))
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, move("/data", "b", 9))
	require.Equal(t, kerr.LogDirNotFound.Code, move("/other", "b", 1))

	broken = errors.New("write failed")
	require.Equal(t, kerr.KafkaStorageError.Code, ask(5).Dirs[0].ErrorCode)
	require.Equal(t, kerr.KafkaStorageError.Code, move("/data", "b", 1))
}

func TestDescribeProducers(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	ask := func(name string, index int32) kmsg.DescribeProducersResponseTopicPartition {
		req := kmsg.NewPtrDescribeProducersRequest()
		req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: name, Partitions: []int32{index}}}
		return call[*kmsg.DescribeProducersResponse](e, req, 0).Topics[0].Partitions[0]
	}
	require.Empty(t, ask("t", 0).ActiveProducers)
	require.Zero(t, e.produce(produceRequest("t", 0, -1, idempotentBatch(4321, 2, 0, 3)), 9).ErrorCode)
	require.Zero(t, e.produce(produceRequest("t", 0, -1, idempotentBatch(4321, 2, 3, 2)), 9).ErrorCode)
	got := ask("t", 0)
	require.Zero(t, got.ErrorCode)
	require.Len(t, got.ActiveProducers, 1)
	p := got.ActiveProducers[0]
	require.Positive(t, p.LastTimestamp)
	require.Equal(t, []int64{4321, 2, 4, -1, -1}, []int64{p.ProducerID, int64(p.ProducerEpoch), int64(p.LastSequence), int64(p.CoordinatorEpoch), p.CurrentTxnStartOffset})
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, ask("t", 1).ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, ask("nope", 0).ErrorCode)
	require.Equal(t, kerr.InvalidTopicException.Code, ask("no pe", 0).ErrorCode)
}

// While one request has logs opened, another is answered; one whose client has gone opens no more.
func TestDescribeProducersWhileLogsAreOpened(t *testing.T) {
	opening, opened := make(chan topic.Partition, 2), make(chan struct{})
	e := newEnvWith(t, metatestBroker(t), disk.NewCrashable(1), quietLog, onOpen(func(p topic.Partition) {
		if p.Topic == "slow" {
			opening <- p
			<-opened
		}
	}))
	e.create("slow", 2)
	e.create("t", 1)
	ask := func(name string, partitions ...int32) *kmsg.DescribeProducersRequest {
		req := kmsg.NewPtrDescribeProducersRequest()
		req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: name, Partitions: partitions}}
		return req
	}
	slow := make(chan outcome, 1)
	ctx, leave := context.WithCancel(context.Background())
	e.sendUntil(ctx, ask("slow", 0, 1), 0, func(o outcome) { slow <- o })
	require.Zero(t, (<-opening).Index)
	other := make(chan outcome, 1)
	e.send(ask("t", 0), 0, func(o outcome) { other <- o })
	select {
	case o := <-other:
		require.NoError(t, o.err)
	case <-time.After(20 * time.Second):
		t.Error("it waits for the other's log")
	}
	leave()
	close(opened)
	require.ErrorIs(t, (<-slow).err, context.Canceled)
	require.Empty(t, opening)
}

func TestListConfigResources(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	ask := func(v int16, types ...int8) *kmsg.ListConfigResourcesResponse {
		req := kmsg.NewPtrListConfigResourcesRequest()
		req.ResourceTypes = types
		return call[*kmsg.ListConfigResourcesResponse](e, req, v)
	}
	type resource struct {
		kind int8
		name string
	}
	list := func(r *kmsg.ListConfigResourcesResponse) (out []resource) {
		require.Zero(t, r.ErrorCode)
		for _, c := range r.ConfigResources {
			out = append(out, resource{c.Type, c.Name})
		}
		return out
	}
	require.Empty(t, list(ask(0)), "there are no client metrics")
	require.ElementsMatch(t, []resource{{8, "1"}, {4, "1"}, {2, "t"}}, list(ask(1)))
	require.Equal(t, []resource{{2, "t"}}, list(ask(1, 2, 2, 16)))
	require.Equal(t, kerr.UnsupportedVersion.Code, ask(1, 2, 99).ErrorCode)
}

func TestFeatures(t *testing.T) {
	e := newEnv(t)
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "a-client", "1.0"
	for v := int16(3); v <= 4; v++ {
		resp := call[*kmsg.ApiVersionsResponse](e, req, v)
		require.Len(t, resp.SupportedFeatures, 1)
		require.Len(t, resp.FinalizedFeatures, 1, "what clients would use at once must not be finalized")
		require.Equal(t, "metadata.version", resp.FinalizedFeatures[0].Name)
		require.GreaterOrEqual(t, resp.FinalizedFeaturesEpoch, int64(0))
	}
}

func idempotentBatch(id int64, epoch int16, sequence int32, n int) []byte {
	b := record.NewBuilder(record.None).Producer(id, epoch, sequence)
	for range n {
		b.Append(1000, nil, []byte("v"), nil)
	}
	return b.Build(0)
}

// archive notes in the ledger of a partition that its offsets below next are archived, in so many bytes.
func (e *env) archive(p topic.Partition, next, stored int64) {
	e.t.Helper()
	s := metatest.Segment(0, next, 0)
	s.Length = stored
	_, err := e.store.CommitLedger(context.Background(), p, ledger.Append{Segment: s})
	require.NoError(e.t, err)
}
