package api

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/server"
	"github.com/firnlog/firn/broker/wire"
	"github.com/firnlog/firn/tier/disk"
)

// peakHeap is the most that was in memory, garbage included, while fn ran.
func peakHeap(fn func()) int64 {
	stop, peak := make(chan struct{}), make(chan int64, 1)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for most := int64(0); ; {
			metrics.Read(sample)
			most = max(most, int64(sample[0].Value.Uint64()))
			select {
			case <-tick.C:
			case <-stop:
				peak <- most
				return
			}
		}
	}()
	func() {
		defer close(stop)
		fn()
	}()
	return <-peak
}

// exchange sends a request on a connection of its own and decodes the answer. An error says that there was none.
func exchange(t *testing.T, addr string, req kmsg.Request, version int16) (kmsg.Response, error) {
	t.Helper()
	const most = 8 << 20
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(2*time.Minute)))
	if _, err = c.Write(frameOf(req, version)); err != nil {
		return nil, err
	}
	var head [4]byte
	if _, err = io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(head[:]))
	if n > most {
		_, _ = io.CopyN(io.Discard, c, n)
		t.Fatalf("an answer of %d bytes", n)
	}
	body := make([]byte, n)
	if _, err = io.ReadFull(c, body); err != nil {
		return nil, err
	}
	body = body[4:]
	if req.IsFlexible() {
		body = body[1:]
	}
	resp := req.ResponseKind()
	resp.SetVersion(version)
	require.NoError(t, resp.ReadFrom(body))
	return resp, nil
}

// repeat is a request's list of the same thing.
func repeat[T any](n int, v T) []T { return slices.Repeat([]T{v}, n) }

// upTo are so many partitions.
func upTo(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(i)
	}
	return out
}

// withMuchToTell fills a broker: a topic "wide" of 1,000 partitions, a log "t" of 300 producers, a group "g" with long notes
// to its offsets, and a group "m" with a large member.
func withMuchToTell(t *testing.T) *env {
	e := newEnvOn(t, metatestBroker(t), inFolder{disk.OS(), t.TempDir()}, quietLog)
	e.create("wide", 1000)
	e.create("t", 1, "flush.messages", pageCacheOnly)
	for id := range int64(300) {
		require.Zero(t, e.produce(produceRequest("t", 0, -1, idempotentBatch(1000+id, 0, 0, 1)), 9).ErrorCode)
	}
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{"g"}
	require.Zero(t, call[*kmsg.FindCoordinatorResponse](e, find, 4).Coordinators[0].ErrorCode)

	commit := commitOf("wide", [16]byte{}, 0, 1)
	note := strings.Repeat("n", 4000)
	of := &commit.Topics[0]
	of.Partitions[0].Metadata = &note
	for i := int32(1); i < 50; i++ {
		p := of.Partitions[0]
		p.Partition = i
		of.Partitions = append(of.Partitions, p)
	}
	for _, p := range call[*kmsg.OffsetCommitResponse](e, commit, 8).Topics[0].Partitions {
		require.Zero(t, p.ErrorCode)
	}

	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = "m", "consumer", 300_000, 300_000
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range"}}
	joined := call[*kmsg.JoinGroupResponse](e, join, 3)
	require.Zero(t, joined.ErrorCode)
	assign := kmsg.NewPtrSyncGroupRequest()
	assign.Group, assign.MemberID, assign.Generation = "m", joined.MemberID, joined.Generation
	assign.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: joined.MemberID, MemberAssignment: make([]byte, 200_000)}}
	require.Zero(t, call[*kmsg.SyncGroupResponse](e, assign, 2).ErrorCode)
	return e
}

const pageCacheOnly = "9223372036854775807"

// I-32: what a small request names again and again is answered once, however much there is to tell of it, and an answer to
// many partitions does not repeat the long name of their topic.
func TestHostileRepetition(t *testing.T) {
	const most = 64 << 20
	e := withMuchToTell(t)
	addr := serve(t, e, func(o *server.Options) { o.Limits = server.Limits{MemoryBytes: 16 << 20} })
	wide := e.store.Image().TopicByName("wide").ID
	long := strings.Repeat("n", 30_000)

	configs := kmsg.NewPtrDescribeConfigsRequest()
	configs.Resources = repeat(12_000, kmsg.DescribeConfigsRequestResource{ResourceType: brokerKind, ResourceName: "1"})
	meta := kmsg.NewPtrMetadataRequest()
	meta.Topics = repeat(3500, kmsg.MetadataRequestTopic{TopicID: wide})
	producers := kmsg.NewPtrDescribeProducersRequest()
	producers.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: repeat(8000, int32(0))}, {Topic: "t", Partitions: repeat(8000, int32(0))}}
	logDirs := kmsg.NewPtrDescribeLogDirsRequest()
	logDirs.Topics = repeat(4, kmsg.DescribeLogDirsRequestTopic{Topic: "wide", Partitions: repeat(4000, int32(0))})
	offsets := kmsg.NewPtrOffsetFetchRequest()
	offsets.Group = "g"
	offsets.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "wide", Partitions: repeat(16_000, int32(0))}}
	offsets.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g", Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "wide", Partitions: repeat(16_000, int32(0))}}}}
	groupsOffsets := kmsg.NewPtrOffsetFetchRequest()
	groupsOffsets.Groups = repeat(10_000, kmsg.OffsetFetchRequestGroup{Group: "g"})
	groups := kmsg.NewPtrDescribeGroupsRequest()
	groups.Groups = repeat(16_000, "m")
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = repeat(60_000, "")
	elect := kmsg.NewPtrElectLeadersRequest()
	elect.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: long, Partitions: upTo(4000)}}
	reassign := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	reassign.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: long}}
	for _, p := range upTo(4000) {
		reassign.Topics[0].Partitions = append(reassign.Topics[0].Partitions, kmsg.AlterPartitionAssignmentsRequestTopicPartition{Partition: p})
	}

	for name, c := range map[string]struct {
		req     kmsg.Request
		version int16
		counts  func(kmsg.Response) []int // of the things in the answer, and of what is told of the first
		want    []int
	}{
		"configs": {configs, 4, func(r kmsg.Response) []int {
			rs := r.(*kmsg.DescribeConfigsResponse).Resources
			return []int{len(rs), min(len(rs[0].Configs), 100)}
		}, []int{1, 100}},
		"metadata by id": {meta, 12, func(r kmsg.Response) []int {
			ts := r.(*kmsg.MetadataResponse).Topics
			return []int{len(ts), len(ts[0].Partitions)}
		}, []int{1, 1000}},
		"producers": {producers, 0, func(r kmsg.Response) []int {
			ts := r.(*kmsg.DescribeProducersResponse).Topics
			return []int{len(ts), len(ts[0].Partitions), len(ts[0].Partitions[0].ActiveProducers)}
		}, []int{1, 1, 300}},
		"log directories": {logDirs, 4, func(r kmsg.Response) []int {
			ts := r.(*kmsg.DescribeLogDirsResponse).Dirs[0].Topics
			return []int{len(ts), len(ts[0].Partitions)}
		}, []int{1, 1}},
		"offsets of a group": {offsets, 7, func(r kmsg.Response) []int {
			ts := r.(*kmsg.OffsetFetchResponse).Topics
			return []int{len(ts), len(ts[0].Partitions), len(*ts[0].Partitions[0].Metadata)}
		}, []int{1, 1, 4000}},
		"offsets of groups": {offsets, 9, func(r kmsg.Response) []int {
			ts := r.(*kmsg.OffsetFetchResponse).Groups[0].Topics
			return []int{len(ts), len(ts[0].Partitions), len(*ts[0].Partitions[0].Metadata)}
		}, []int{1, 1, 4000}},
		"all offsets of groups": {groupsOffsets, 9, func(r kmsg.Response) []int {
			gs := r.(*kmsg.OffsetFetchResponse).Groups
			return []int{len(gs), len(gs[0].Topics[0].Partitions)}
		}, []int{1, 50}},
		"groups": {groups, 5, func(r kmsg.Response) []int {
			gs := r.(*kmsg.DescribeGroupsResponse).Groups
			return []int{len(gs), len(gs[0].Members[0].MemberAssignment)}
		}, []int{1, 200_000}},
		"coordinators": {find, 4, func(r kmsg.Response) []int {
			return []int{len(r.(*kmsg.FindCoordinatorResponse).Coordinators)}
		}, []int{1}},
		"elections": {elect, 1, func(r kmsg.Response) []int {
			ts := r.(*kmsg.ElectLeadersResponse).Topics
			return []int{len(ts), len(ts[0].Partitions)}
		}, []int{1, 4000}},
		"reassignments": {reassign, 0, func(r kmsg.Response) []int {
			ts := r.(*kmsg.AlterPartitionAssignmentsResponse).Topics
			return []int{len(ts), len(ts[0].Partitions)}
		}, []int{1, 4000}},
	} {
		t.Run(name, func(t *testing.T) {
			before := heap()
			var resp kmsg.Response
			var err error
			peak := peakHeap(func() { resp, err = exchange(t, addr, c.req, c.version) })
			require.Less(t, peak-before, int64(most))
			require.NoError(t, err)
			require.Equal(t, c.want, c.counts(resp))
		})
	}
}

// I-32: an answer of many parts is not made beyond what a request may take, although the request that names them is small; one
// that may be made is, and gives its memory back.
func TestHostileConfigs(t *testing.T) {
	e := newEnv(t)
	reg := prometheus.NewRegistry()
	addr := serve(t, e, func(o *server.Options) {
		o.Limits, o.Registerer = server.Limits{MemoryBytes: 16 << 20, MaxRequestBytes: 1 << 20}, reg // 32 MiB beside its frame
	})
	spelled := func(ways int) *kmsg.DescribeConfigsRequest { // broker 1
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.IncludeSynonyms, req.IncludeDocumentation = true, true
		for i := range ways {
			req.Resources = append(req.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: brokerKind, ResourceName: strings.Repeat("0", i) + "1"})
		}
		return req
	}
	resp, err := exchange(t, addr, spelled(20), 4)
	require.NoError(t, err)
	require.Len(t, resp.(*kmsg.DescribeConfigsResponse).Resources, 20)
	_, err = exchange(t, addr, spelled(800), 4)
	require.ErrorIs(t, err, io.EOF, "the connection is closed")
	require.Eventually(t, func() bool { return gauge(t, reg, "firn_server_request_memory_bytes") == 0 }, 20*time.Second, time.Millisecond)
}

// counter is a client that counts the memory that its request takes.
type counter struct{ taken int }

func (*counter) Watch(wire.Goner) bool { return true }
func (*counter) SendHeld()             {}

func (c *counter) Reserve(n int) error {
	c.taken += n
	return nil
}

// I-32: what an answer takes, made and encoded, is taken from the budget, whatever it is that there is much of.
func TestAnswersAreCounted(t *testing.T) {
	e := withMuchToTell(t)
	long := strings.Repeat("g", 30_000)
	all := kmsg.NewPtrMetadataRequest()
	named := kmsg.NewPtrMetadataRequest()
	named.Topics = []kmsg.MetadataRequestTopic{{Topic: ptr("wide")}}
	configs := kmsg.NewPtrDescribeConfigsRequest()
	configs.IncludeSynonyms, configs.IncludeDocumentation = true, true
	configs.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: brokerKind, ResourceName: "1"}, {ResourceType: topicKind, ResourceName: "t"}}
	made := create()
	made.ValidateOnly = true
	for i := range 100 {
		made.Topics = append(made.Topics, spec(fmt.Sprintf("new-%d", i), 1, 1))
	}
	offsets := kmsg.NewPtrOffsetFetchRequest()
	offsets.Group = "g"
	offsets.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "wide", Partitions: upTo(10_000)}}
	commit := commitOf("wide", [16]byte{}, 0, 1)
	commit.Group = long
	commit.Topics[0].Partitions = repeat(100, commit.Topics[0].Partitions[0])
	forget := kmsg.NewPtrOffsetDeleteRequest()
	forget.Group = long
	forget.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: "wide", Partitions: make([]kmsg.OffsetDeleteRequestTopicPartition, 100)}}
	for name, c := range map[string]struct {
		req     kmsg.Request
		version int16
		made    int // beside the encoded answer
	}{
		"all metadata": {all, 12, 1000 * 96},
		"metadata":     {named, 12, 1000 * 96},
		"configs":      {configs, 4, 300 * 80},
		"topics":       {made, 7, 100 * 30 * 48},
		"offsets":      {offsets, 7, 10_000 * 56},
		"commit":       {commit, 8, 2 * 100 * len(long)},
		"deletion":     {forget, 0, 2 * 100 * len(long)},
		"log dirs":     {kmsg.NewPtrDescribeLogDirsRequest(), 4, 1000 * 2 * 40},
	} {
		t.Run(name, func(t *testing.T) {
			c.req.SetVersion(c.version)
			r := &wire.Request{Key: c.req.Key(), Version: c.version, Body: c.req.AppendTo(nil)}
			client := new(counter)
			r.From(client)
			answered := make(chan int64, 1)
			e.a.Serve(context.Background(), r, wire.NewReply(r, wire.SinkFunc(func(_ *wire.Request, resp *wire.Response, err error) {
				if err != nil {
					t.Error(err)
					answered <- 0
					return
				}
				answered <- resp.Size()
				resp.Free()
			})))
			require.GreaterOrEqual(t, int64(client.taken), <-answered+int64(c.made))
		})
	}
}
