package api

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/topic"
)

// The ranges are those of Apache Kafka 4.3.1: its jar's message files without unstable versions.
func TestVersionsAreKafkas(t *testing.T) {
	want := map[int16][2]int16{0: {0, 13}, 1: {4, 18}, 2: {1, 11}, 3: {0, 13}, 8: {2, 10}, 9: {1, 10}, 10: {0, 6}, 11: {0, 9},
		12: {0, 4}, 13: {0, 5}, 14: {0, 5}, 15: {0, 6}, 16: {0, 5}, 18: {0, 4}, 19: {2, 7}, 20: {1, 6},
		21: {0, 2}, 22: {0, 5}, 23: {2, 4}, 32: {1, 4}, 33: {0, 2}, 34: {1, 2}, 35: {1, 5}, 37: {0, 3}, 42: {0, 2}, 43: {0, 2},
		44: {0, 1}, 45: {0, 1}, 46: {0, 0}, 47: {0, 0}, 60: {0, 2}, 61: {0, 0}, 74: {0, 1}, 75: {0, 0}}
	e := newEnv(t)
	for v := int16(0); v <= 4; v++ {
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "a-client", "1.0"
		resp := call[*kmsg.ApiVersionsResponse](e, req, v)
		require.Zero(t, resp.ErrorCode)
		got := map[int16][2]int16{}
		for _, k := range resp.ApiKeys {
			got[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
		}
		require.Equal(t, want, got)
	}
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName = "no spaces"
	require.Equal(t, kerr.InvalidRequest.Code, call[*kmsg.ApiVersionsResponse](e, req, 3).ErrorCode)
}

// Every version of every kmsg-coded key is answered with something that a client can read.
func TestEveryVersionAnswers(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	for _, h := range handlers() {
		if h.key == 0 || h.key == 1 {
			continue
		}
		for v := h.min; v <= h.max; v++ {
			req := kmsg.RequestForKey(h.key)
			call[kmsg.Response](e, req, v)
		}
	}
}

func create(topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics, req.TimeoutMillis = topics, 5000
	return req
}

func spec(name string, partitions int32, rf int16, configs ...string) kmsg.CreateTopicsRequestTopic {
	s := kmsg.NewCreateTopicsRequestTopic()
	s.Topic, s.NumPartitions, s.ReplicationFactor = name, partitions, rf
	for i := 0; i < len(configs); i += 2 {
		s.Configs = append(s.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: configs[i], Value: &configs[i+1]})
	}
	return s
}

func manual(name string, replicas ...[]int32) kmsg.CreateTopicsRequestTopic {
	s := spec(name, -1, -1)
	for i, r := range replicas {
		s.ReplicaAssignment = append(s.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: int32(i), Replicas: r})
	}
	return s
}

func TestCreateTopics(t *testing.T) {
	e := newEnv(t, "num.partitions", "4")
	e.create("a.b", 1)
	gap := manual("x", []int32{1}, []int32{1})
	gap.ReplicaAssignment[1].Partition = 2
	both := manual("x", []int32{1})
	both.NumPartitions = 1
	factor := manual("x", []int32{1})
	factor.ReplicationFactor = 1
	null := spec("x", 1, 1)
	null.Configs = append(null.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: "retention.ms"})
	for name, c := range map[string]struct {
		spec kmsg.CreateTopicsRequestTopic
		want *kerr.Error
	}{
		"exists":              {spec("a.b", 1, 1), kerr.TopicAlreadyExists},
		"collides":            {spec("a_b", 1, 1), kerr.InvalidTopicException},
		"empty name":          {spec("", 1, 1), kerr.InvalidTopicException},
		"dots":                {spec("..", 1, 1), kerr.InvalidTopicException},
		"long name":           {spec(strings.Repeat("x", 250), 1, 1), kerr.InvalidTopicException},
		"bad character":       {spec("a b", 1, 1), kerr.InvalidTopicException},
		"no partitions":       {spec("x", 0, 1), kerr.InvalidPartitions},
		"negative partitions": {spec("x", -2, 1), kerr.InvalidPartitions},
		"too many partitions": {spec("x", 20000, 1), kerr.PolicyViolation},
		"factor 0":            {spec("x", 1, 0), kerr.InvalidReplicationFactor},
		"factor 2":            {spec("x", 1, 2), kerr.InvalidReplicationFactor},
		"bad config":          {spec("x", 1, 1, "retention.ms", "soon"), kerr.InvalidConfig},
		"unknown config":      {spec("x", 1, 1, "retention.millis", "1"), kerr.InvalidConfig},
		"null config":         {null, kerr.InvalidConfig},
		"gap in assignment":   {gap, kerr.InvalidReplicaAssignment},
		"unknown broker":      {manual("x", []int32{9}), kerr.InvalidReplicaAssignment},
		"nobody":              {manual("x", []int32{}), kerr.InvalidReplicaAssignment},
		"number and manual":   {both, kerr.InvalidRequest},
		"factor and manual":   {factor, kerr.InvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			for _, only := range []bool{true, false} {
				req := create(c.spec)
				req.ValidateOnly = only
				resp := call[*kmsg.CreateTopicsResponse](e, req, 7)
				require.Len(t, resp.Topics, 1)
				require.Equal(t, c.want.Code, resp.Topics[0].ErrorCode)
				require.NotNil(t, resp.Topics[0].ErrorMessage)
			}
		})
	}

	resp := call[*kmsg.CreateTopicsResponse](e, create(spec("twice", 1, 1), spec("once", -1, -1, "retention.ms", "5000"), spec("twice", 1, 1)), 7)
	require.Len(t, resp.Topics, 2)
	require.Equal(t, kerr.InvalidRequest.Code, resp.Topics[0].ErrorCode)
	require.Zero(t, resp.Topics[1].ErrorCode)
	require.EqualValues(t, 4, resp.Topics[1].NumPartitions)
	require.EqualValues(t, 1, resp.Topics[1].ReplicationFactor)
	once := e.store.Image().TopicByName("once")
	require.EqualValues(t, once.ID, resp.Topics[1].TopicID)
	configs := map[string]kmsg.CreateTopicsResponseTopicConfig{}
	for _, c := range resp.Topics[1].Configs {
		configs[c.Name] = c
	}
	require.Equal(t, "5000", *configs["retention.ms"].Value)
	require.EqualValues(t, kmsg.ConfigSourceDynamicTopicConfig, configs["retention.ms"].Source)
	require.EqualValues(t, kmsg.ConfigSourceDefaultConfig, configs["max.message.bytes"].Source)

	// Validation alone makes nothing.
	req := create(spec("dry", 2, 1))
	req.ValidateOnly = true
	resp = call[*kmsg.CreateTopicsResponse](e, req, 7)
	require.Zero(t, resp.Topics[0].ErrorCode)
	require.EqualValues(t, 2, resp.Topics[0].NumPartitions)
	require.Nil(t, e.store.Image().TopicByName("dry"))

	// A topic that is there can be used at once.
	require.Zero(t, call[*kmsg.CreateTopicsResponse](e, create(manual("m", []int32{1}, []int32{1})), 4).Topics[0].ErrorCode)
	require.Zero(t, e.produce(produceRequest("m", 1, -1, batchOf(1)), 9).ErrorCode)
}

func TestAdminWithoutMetadataTimesOut(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	require.Zero(t, e.produce(produceRequest("t", 0, -1, batchOf(1)), 9).ErrorCode)
	e.store.Fail(metadata.ErrUnavailable)
	require.Equal(t, kerr.RequestTimedOut.Code, call[*kmsg.CreateTopicsResponse](e, create(spec("x", 1, 1)), 7).Topics[0].ErrorCode)
	require.Equal(t, kerr.CoordinatorLoadInProgress.Code, call[*kmsg.InitProducerIDResponse](e, kmsg.NewPtrInitProducerIDRequest(), 4).ErrorCode)
	require.Zero(t, e.produce(produceRequest("t", 0, -1, batchOf(1)), 9).ErrorCode, "produce goes on")
}

func TestDeleteTopics(t *testing.T) {
	e := newEnv(t)
	e.create("a", 1)
	e.create("b", 1)
	e.create("c", 1)
	ids := map[string]topic.ID{}
	for _, tp := range e.store.Image().Topics() {
		ids[tp.Name] = tp.ID
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: ptr("a")}, {TopicID: ids["b"]}, {Topic: ptr("nope")}, {TopicID: topic.NewID()},
		{Topic: ptr("c")}, {TopicID: ids["c"]}, {}, {Topic: ptr("a"), TopicID: ids["a"]}}
	resp := call[*kmsg.DeleteTopicsResponse](e, req, 6)
	var codes []int16
	for _, r := range resp.Topics {
		codes = append(codes, r.ErrorCode)
	}
	bad := kerr.InvalidRequest.Code
	require.Equal(t, []int16{0, 0, kerr.UnknownTopicOrPartition.Code, kerr.UnknownTopicID.Code, bad, bad, bad, bad}, codes)
	require.Equal(t, "b", *resp.Topics[1].Topic)
	require.EqualValues(t, ids["a"], resp.Topics[0].TopicID)
	require.NotNil(t, e.store.Image().TopicByName("c"))
	old := kmsg.NewPtrDeleteTopicsRequest()
	old.TopicNames = []string{"c"}
	require.Zero(t, call[*kmsg.DeleteTopicsResponse](e, old, 3).Topics[0].ErrorCode)
	require.Empty(t, e.store.Image().Topics())
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, e.produce(produceRequest("a", 0, -1, batchOf(1)), 9).ErrorCode)
}

func TestCreatePartitions(t *testing.T) {
	e := newEnv(t)
	e.create("t", 2)
	ask := func(name string, count int32, validate bool, assignment ...[]int32) int16 {
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.ValidateOnly, req.TimeoutMillis = validate, 1000
		rt := kmsg.CreatePartitionsRequestTopic{Topic: name, Count: count}
		for _, a := range assignment {
			rt.Assignment = append(rt.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: a})
		}
		req.Topics = append(req.Topics, rt)
		return call[*kmsg.CreatePartitionsResponse](e, req, 3).Topics[0].ErrorCode
	}
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, ask("nope", 3, false))
	require.Equal(t, kerr.InvalidPartitions.Code, ask("t", 2, false))
	require.Equal(t, kerr.InvalidPartitions.Code, ask("t", 1, false))
	require.Equal(t, kerr.InvalidReplicaAssignment.Code, ask("t", 4, false, []int32{1}))
	require.Equal(t, kerr.InvalidReplicaAssignment.Code, ask("t", 3, false, []int32{7}))
	require.Zero(t, ask("t", 3, true))
	require.Len(t, e.store.Image().TopicByName("t").Partitions, 2)
	require.Zero(t, ask("t", 4, false, []int32{1}, []int32{1}))
	require.Zero(t, ask("t", 5, false))
	require.Zero(t, e.produce(produceRequest("t", 4, -1, batchOf(1)), 9).ErrorCode)
}

func TestMetadata(t *testing.T) {
	e := newEnv(t)
	e.create("a", 2)
	id := e.store.Image().TopicByName("a").ID
	ask := func(v int16, auto bool, topics ...kmsg.MetadataRequestTopic) *kmsg.MetadataResponse {
		req := kmsg.NewPtrMetadataRequest()
		req.AllowAutoTopicCreation, req.Topics = auto, topics
		return call[*kmsg.MetadataResponse](e, req, v)
	}
	named := func(n string) kmsg.MetadataRequestTopic { return kmsg.MetadataRequestTopic{Topic: &n} }
	all := ask(12, false)
	require.Len(t, all.Topics, 1)
	require.Len(t, all.Topics[0].Partitions, 2)
	require.EqualValues(t, 1, all.Topics[0].Partitions[0].Leader)
	require.Equal(t, "localhost", all.Brokers[0].Host)
	require.EqualValues(t, noOperations, all.Topics[0].AuthorizedOperations)
	require.Equal(t, e.store.Image().ClusterID, *all.ClusterID)
	none := kmsg.NewPtrMetadataRequest()
	none.Topics = []kmsg.MetadataRequestTopic{}
	require.Empty(t, call[*kmsg.MetadataResponse](e, none, 4).Topics, "from version 1 an empty list asks for none")
	require.Len(t, call[*kmsg.MetadataResponse](e, none, 0).Topics, 1, "in version 0 for all")

	require.Equal(t, kerr.UnknownTopicOrPartition.Code, ask(12, false, named("x")).Topics[0].ErrorCode)
	require.Nil(t, e.store.Image().TopicByName("x"))
	require.Equal(t, kerr.InvalidTopicException.Code, ask(12, true, named("x y")).Topics[0].ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, ask(12, true, named("__consumer_offsets")).Topics[0].ErrorCode)
	require.Equal(t, kerr.UnknownTopicID.Code, ask(12, true, kmsg.MetadataRequestTopic{TopicID: topic.NewID()}).Topics[0].ErrorCode)
	require.Equal(t, "a", *ask(12, true, kmsg.MetadataRequestTopic{TopicID: id}).Topics[0].Topic)
	made := ask(12, true, named("x"), named("x")).Topics
	require.Len(t, made, 1)
	require.Zero(t, made[0].ErrorCode)
	require.Len(t, made[0].Partitions, 1)
	require.Zero(t, e.produce(produceRequest("x", 0, -1, batchOf(1)), 9).ErrorCode, "what is listed is servable")
	require.Zero(t, ask(3, false, named("y")).Topics[0].ErrorCode, "versions 0 to 3 always create")
	e.a.Configs.(liveConfigs).static["auto.create.topics.enable"] = "false"
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, ask(12, true, named("z")).Topics[0].ErrorCode)
}

func describe(e *env, kind kmsg.ConfigResourceType, name string, keys ...string) kmsg.DescribeConfigsResponseResource {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms, req.IncludeDocumentation = true, true
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name, ConfigNames: keys}}
	return call[*kmsg.DescribeConfigsResponse](e, req, 4).Resources[0]
}

func TestDescribeConfigs(t *testing.T) {
	e := newEnv(t, "log.segment.bytes", "2000000")
	e.create("t", 1, "retention.ms", "777")
	all := describe(e, kmsg.ConfigResourceTypeTopic, "t")
	require.Greater(t, len(all.Configs), 20)
	one := describe(e, kmsg.ConfigResourceTypeTopic, "t", "retention.ms").Configs
	require.Len(t, one, 1)
	require.Equal(t, "777", *one[0].Value)
	require.Equal(t, kmsg.ConfigSourceDynamicTopicConfig, one[0].Source)
	require.Equal(t, kmsg.ConfigTypeLong, one[0].ConfigType)
	require.NotEmpty(t, *one[0].Documentation)
	require.Len(t, one[0].ConfigSynonyms, 2)
	require.Equal(t, "log.retention.ms", one[0].ConfigSynonyms[1].Name)
	seg := describe(e, kmsg.ConfigResourceTypeTopic, "t", "segment.bytes").Configs[0]
	require.Equal(t, "2000000", *seg.Value)
	require.Equal(t, kmsg.ConfigSourceStaticBrokerConfig, seg.Source)
	flush := describe(e, kmsg.ConfigResourceTypeTopic, "t", "flush.messages").Configs[0]
	require.Equal(t, "1", *flush.Value)
	require.Equal(t, kmsg.ConfigSourceDefaultConfig, flush.Source)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, describe(e, kmsg.ConfigResourceTypeTopic, "nope").ErrorCode)
	require.Equal(t, kerr.InvalidTopicException.Code, describe(e, kmsg.ConfigResourceTypeTopic, "").ErrorCode)
	require.Equal(t, kerr.InvalidRequest.Code, describe(e, kmsg.ConfigResourceTypeBroker, "2").ErrorCode)
	require.Equal(t, kerr.InvalidRequest.Code, describe(e, kmsg.ConfigResourceTypeBroker, "x").ErrorCode)
	require.Zero(t, describe(e, kmsg.ConfigResourceTypeBroker, "").ErrorCode)
	require.Equal(t, "2000000", *describe(e, kmsg.ConfigResourceTypeBroker, "1", "log.segment.bytes").Configs[0].Value)
	require.Equal(t, "true", *describe(e, kmsg.ConfigResourceTypeBroker, "1", "auto.create.topics.enable").Configs[0].Value)
}

func TestIncrementalAlterConfigs(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1, "retention.ms", "777")
	op := func(name string, op kmsg.IncrementalAlterConfigOp, value *string) kmsg.IncrementalAlterConfigsRequestResourceConfig {
		return kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: name, Op: op, Value: value}
	}
	alter := func(kind kmsg.ConfigResourceType, name string, validate bool, ops ...kmsg.IncrementalAlterConfigsRequestResourceConfig) int16 {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.ValidateOnly = validate
		req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kind, ResourceName: name, Configs: ops}}
		return call[*kmsg.IncrementalAlterConfigsResponse](e, req, 1).Resources[0].ErrorCode
	}
	const tp, set, del, app, sub = kmsg.ConfigResourceTypeTopic, kmsg.IncrementalAlterConfigOpSet, kmsg.IncrementalAlterConfigOpDelete,
		kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract
	stored := func(name string) string { return e.store.Image().TopicByName("t").Configs[name] }

	require.Zero(t, alter(tp, "t", true, op("retention.ms", set, ptr("5"))))
	require.Equal(t, "777", stored("retention.ms"), "validated only")
	require.Zero(t, alter(tp, "t", false, op("retention.ms", set, ptr("5")), op("max.message.bytes", set, ptr("50"))))
	require.Equal(t, "5", stored("retention.ms"))
	require.Equal(t, kerr.MessageTooLarge.Code, e.produce(produceRequest("t", 0, -1, batchOf(1)), 9).ErrorCode, "in force with the answer")
	require.Zero(t, alter(tp, "t", false, op("max.message.bytes", del, nil)))
	require.Empty(t, stored("max.message.bytes"))
	require.Zero(t, alter(tp, "t", false, op("leader.replication.throttled.replicas", app, ptr("0:1"))))
	require.Zero(t, alter(tp, "t", false, op("leader.replication.throttled.replicas", sub, ptr("0:1"))))
	require.Equal(t, kerr.InvalidConfig.Code, alter(tp, "t", false, op("retention.ms", app, ptr("5"))))
	require.Equal(t, kerr.InvalidConfig.Code, alter(tp, "t", false, op("retention.ms", set, ptr("x"))))
	require.Equal(t, kerr.InvalidConfig.Code, alter(tp, "t", false, op("nope", set, ptr("x"))))
	require.Equal(t, kerr.InvalidRequest.Code, alter(tp, "t", false, op("retention.ms", set, nil)))
	require.Equal(t, kerr.InvalidRequest.Code, alter(tp, "t", false, op("retention.ms", 9, ptr("1"))))
	require.Equal(t, kerr.InvalidRequest.Code, alter(tp, "t", false, op("retention.ms", set, ptr("1")), op("retention.ms", del, nil)))
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, alter(tp, "nope", false, op("retention.ms", set, ptr("1"))))
	require.Equal(t, kerr.InvalidRequest.Code, alter(kmsg.ConfigResourceTypeBroker, "1", false, op("num.partitions", set, ptr("1"))))
	require.Equal(t, kerr.InvalidConfig.Code, alter(tp, "t", false, op("remote.storage.enable", set, ptr("false"))), "not without saying so")
	require.Zero(t, alter(tp, "t", false, op("remote.storage.enable", set, ptr("false")), op("remote.log.delete.on.disable", set, ptr("true"))))
}

func TestLookups(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	for range 3 {
		e.produce(produceRequest("t", 0, -1, batchOf(2)), 9) // timestamps 1000 and 1001, thrice
	}
	list := func(v int16, ts int64, name string) kmsg.ListOffsetsResponseTopicPartition {
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID = -1
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp, p.CurrentLeaderEpoch = ts, -1
		req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
		return call[*kmsg.ListOffsetsResponse](e, req, v).Topics[0].Partitions[0]
	}
	for ts, want := range map[int64]int64{-1: 6, -2: 0, -3: 1, -4: 0, -5: -1, -6: 0, 1000: 0, 1001: 1, 1002: -1} {
		got := list(11, ts, "t")
		require.Zero(t, got.ErrorCode)
		require.Equal(t, want, got.Offset, "timestamp %d", ts)
	}
	for ts, v := range map[int64]int16{-3: 6, -4: 7, -5: 8, -6: 10, -7: 11} {
		require.Equal(t, kerr.UnsupportedVersion.Code, list(v, ts, "t").ErrorCode)
	}
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, list(11, -1, "nope").ErrorCode)

	epoch := kmsg.NewPtrOffsetForLeaderEpochRequest()
	epoch.ReplicaID = -1
	ep := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	ep.CurrentLeaderEpoch, ep.LeaderEpoch = -1, 0
	epoch.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{ep}}}
	got := call[*kmsg.OffsetForLeaderEpochResponse](e, epoch, 4).Topics[0].Partitions[0]
	require.Zero(t, got.ErrorCode)
	require.EqualValues(t, 6, got.EndOffset)

	del := kmsg.NewPtrDeleteRecordsRequest()
	del.TimeoutMillis = 1000
	del.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "t", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: 3}, {Partition: 5, Offset: 1}}}}
	dr := call[*kmsg.DeleteRecordsResponse](e, del, 2).Topics[0].Partitions
	require.Zero(t, dr[0].ErrorCode)
	require.EqualValues(t, 3, dr[0].LowWatermark)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, dr[1].ErrorCode)
	require.EqualValues(t, 3, list(11, -2, "t").Offset)
}

func TestCoordinatorsAndProducerIDs(t *testing.T) {
	e := newEnv(t)
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{"a", "b"}
	resp := call[*kmsg.FindCoordinatorResponse](e, find, 4)
	require.Len(t, resp.Coordinators, 2)
	require.Zero(t, resp.Coordinators[1].ErrorCode)
	require.EqualValues(t, 9092, resp.Coordinators[1].Port)
	require.NotNil(t, e.store.Image().TopicByName("__consumer_offsets"), "the first question makes the offsets topic")
	find.CoordinatorKey = "g"
	require.EqualValues(t, 1, call[*kmsg.FindCoordinatorResponse](e, find, 2).NodeID)
	find.CoordinatorType = 1
	require.Equal(t, kerr.CoordinatorNotAvailable.Code, call[*kmsg.FindCoordinatorResponse](e, find, 2).ErrorCode)
	find.CoordinatorType = 2
	require.Equal(t, kerr.InvalidRequest.Code, call[*kmsg.FindCoordinatorResponse](e, find, 2).ErrorCode)

	pid := kmsg.NewPtrInitProducerIDRequest()
	pid.ProducerID, pid.ProducerEpoch = -1, -1
	a := call[*kmsg.InitProducerIDResponse](e, pid, 4)
	b := call[*kmsg.InitProducerIDResponse](e, pid, 4)
	require.Zero(t, a.ErrorCode)
	require.NotEqual(t, a.ProducerID, b.ProducerID)
	pid.ProducerID = 4
	require.Equal(t, kerr.InvalidRequest.Code, call[*kmsg.InitProducerIDResponse](e, pid, 4).ErrorCode)
	pid.ProducerID, pid.TransactionalID = -1, ptr("txn")
	require.Equal(t, kerr.CoordinatorNotAvailable.Code, call[*kmsg.InitProducerIDResponse](e, pid, 4).ErrorCode)
	pid.TransactionalID = ptr("")
	require.Equal(t, kerr.InvalidRequest.Code, call[*kmsg.InitProducerIDResponse](e, pid, 4).ErrorCode)
}

func TestDescribeCluster(t *testing.T) {
	e := newEnv(t)
	req := kmsg.NewPtrDescribeClusterRequest()
	req.IncludeClusterAuthorizedOperations, req.EndpointType = true, 1
	resp := call[*kmsg.DescribeClusterResponse](e, req, 2)
	require.Zero(t, resp.ErrorCode)
	require.Len(t, resp.Brokers, 1)
	require.EqualValues(t, clusterOperations, resp.ClusterAuthorizedOperations)
	req.EndpointType = 2
	require.Equal(t, kerr.MismatchedEndpointType.Code, call[*kmsg.DescribeClusterResponse](e, req, 1).ErrorCode)
}

// A garbage body closes the connection and nothing else.
func TestGarbageCloses(t *testing.T) {
	e := newEnv(t)
	for _, h := range handlers() {
		got := make(chan error, 1)
		e.garbage(h.key, h.max, func(err error) { got <- err })
		require.Error(t, <-got, "key %d", h.key)
	}
	require.NoError(t, context.Background().Err())
}
