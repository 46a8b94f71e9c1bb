package hostile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func createRequest(topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis, req.Topics = 30_000, topics
	return req
}

func newTopic(name string, partitions int32, replicas int16, configs ...string) kmsg.CreateTopicsRequestTopic {
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, partitions, replicas
	for i := 0; i < len(configs); i += 2 {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = configs[i], &configs[i+1]
		rt.Configs = append(rt.Configs, config)
	}
	return rt
}

func assignment(partition int32, replicas ...int32) kmsg.CreateTopicsRequestTopicReplicaAssignment {
	a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
	a.Partition, a.Replicas = partition, replicas
	return a
}

func TestCreateTopics(t *testing.T) {
	c := dial(t, start(t, harness.Options{}).addr)
	exists := c.create("exists", 1)
	manual := func(partitions int32, replicas int16, as ...kmsg.CreateTopicsRequestTopicReplicaAssignment) kmsg.CreateTopicsRequestTopic {
		rt := newTopic(topicName("manual"), partitions, replicas)
		rt.ReplicaAssignment = as
		return rt
	}
	null := newTopic(topicName("null"), 1, 1, "retention.ms", "")
	null.Configs[0].Value = nil
	for _, at := range []struct {
		name  string
		topic kmsg.CreateTopicsRequestTopic
		want  *kerr.Error
	}{
		{"no name", newTopic("", 1, 1), kerr.InvalidTopicException},
		{"a dot", newTopic(".", 1, 1), kerr.InvalidTopicException},
		{"two dots", newTopic("..", 1, 1), kerr.InvalidTopicException},
		{"a slash", newTopic("a/b", 1, 1), kerr.InvalidTopicException},
		{"a path", newTopic("../../etc/passwd", 1, 1), kerr.InvalidTopicException},
		{"a space", newTopic("a b", 1, 1), kerr.InvalidTopicException},
		{"a NUL", newTopic("a\x00b", 1, 1), kerr.InvalidTopicException},
		{"no ASCII", newTopic("größe", 1, 1), kerr.InvalidTopicException},
		{"no UTF-8", newTopic("a\xff", 1, 1), kerr.InvalidTopicException},
		{"250 letters", newTopic(strings.Repeat("x", 250), 1, 1), kerr.InvalidTopicException},
		{"that exists", newTopic(exists, 1, 1), kerr.TopicAlreadyExists},
		{"that exists but for a dot", newTopic(strings.Replace(exists, "-", ".", 1), 1, 1), nil},
		{"no partitions", newTopic(topicName("p"), 0, 1), kerr.InvalidPartitions},
		{"-2 partitions", newTopic(topicName("p"), -2, 1), kerr.InvalidPartitions},
		{"no replicas", newTopic(topicName("p"), 1, 0), kerr.InvalidReplicationFactor},
		{"-2 replicas", newTopic(topicName("p"), 1, -2), kerr.InvalidReplicationFactor},
		{"more replicas than brokers", newTopic(topicName("p"), 1, 3), kerr.InvalidReplicationFactor},
		{"defaults", newTopic(topicName("p"), -1, -1), nil},
		{"an unknown config", newTopic(topicName("p"), 1, 1, "no.such.config", "1"), kerr.InvalidConfig},
		{"a config that is no number", newTopic(topicName("p"), 1, 1, "retention.ms", "soon"), kerr.InvalidConfig},
		{"a config out of range", newTopic(topicName("p"), 1, 1, "retention.ms", "-2"), kerr.InvalidConfig},
		{"a config of no known value", newTopic(topicName("p"), 1, 1, "cleanup.policy", "shred"), kerr.InvalidConfig},
		{"a config without value", null, kerr.InvalidConfig},
		{"an assignment", manual(-1, -1, assignment(0, 1)), nil},
		{"an assignment to nobody", manual(-1, -1, assignment(0, 99)), kerr.InvalidReplicaAssignment},
		{"an assignment with a gap", manual(-1, -1, assignment(0, 1), assignment(2, 1)), kerr.InvalidReplicaAssignment},
		{"an assignment given twice", manual(-1, -1, assignment(0, 1), assignment(0, 1)), kerr.InvalidReplicaAssignment},
		{"an assignment of one broker twice", manual(-1, -1, assignment(0, 1, 1)), kerr.InvalidReplicaAssignment},
		{"an assignment without brokers", manual(-1, -1, assignment(0)), kerr.InvalidReplicaAssignment},
		{"an assignment and a number", manual(1, -1, assignment(0, 1)), kerr.InvalidRequest},
		{"an assignment and a factor", manual(-1, 1, assignment(0, 1)), kerr.InvalidRequest},
	} {
		t.Run(at.name, func(t *testing.T) {
			for _, dry := range []bool{true, false} {
				req := createRequest(at.topic)
				req.ValidateOnly = dry
				out := do[*kmsg.CreateTopicsResponse](c, req, 7).Topics[0]
				wantCode(t, fmt.Sprintf("validate only %v (%s)", dry, str(out.ErrorMessage)), out.ErrorCode, at.want)
				if at.want != nil && out.ErrorMessage == nil {
					t.Error("no message says why")
				}
			}
		})
	}
	t.Run("twice in one request", func(t *testing.T) {
		n := topicName("twice")
		resp := do[*kmsg.CreateTopicsResponse](c, createRequest(newTopic(n, 1, 1), newTopic(n, 1, 1)), 7)
		for _, out := range resp.Topics {
			wantCode(t, n, out.ErrorCode, kerr.InvalidRequest)
		}
	})
}

func TestDeleteTopics(t *testing.T) {
	c := dial(t, start(t, harness.Options{}).addr)
	topic := c.create("doomed", 1)
	id := c.topicID(topic)
	remove := func(name *string, id [16]byte) int16 {
		t.Helper()
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.TimeoutMillis = 30_000
		rt := kmsg.NewDeleteTopicsRequestTopic()
		rt.Topic, rt.TopicID = name, id
		req.Topics = append(req.Topics, rt)
		return do[*kmsg.DeleteTopicsResponse](c, req, 6).Topics[0].ErrorCode
	}
	wantCode(t, "an unknown name", remove(kmsg.StringPtr("nobody-has-this"), [16]byte{}), kerr.UnknownTopicOrPartition)
	wantCode(t, "an unknown id", remove(nil, [16]byte{9}), kerr.UnknownTopicID)
	wantCode(t, "neither", remove(nil, [16]byte{}), kerr.InvalidRequest)
	wantCode(t, "both", remove(&topic, id), kerr.InvalidRequest)
	wantCode(t, "by id", remove(nil, id), nil)
	wantCode(t, "again", remove(nil, id), kerr.UnknownTopicID)
	wantCode(t, "by name", remove(&topic, [16]byte{}), kerr.UnknownTopicOrPartition)
	wantCode(t, "produce", c.produce(topic, 0, values("x").bytes()).ErrorCode, kerr.UnknownTopicOrPartition)
	wantCode(t, "fetch", c.fetch(topic, 0, 0).ErrorCode, kerr.UnknownTopicOrPartition)
	wantCode(t, "list offsets", c.listOffset(topic, 0, -1).ErrorCode, kerr.UnknownTopicOrPartition)
}

func TestCreatePartitions(t *testing.T) {
	c := dial(t, start(t, harness.Options{}).addr)
	topic := c.create("grow", 2)
	grow := func(topic string, count int32, dry bool, as ...[]int32) int16 {
		t.Helper()
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.TimeoutMillis, req.ValidateOnly = 30_000, dry
		rt := kmsg.NewCreatePartitionsRequestTopic()
		rt.Topic, rt.Count = topic, count
		for _, a := range as {
			ra := kmsg.NewCreatePartitionsRequestTopicAssignment()
			ra.Replicas = a
			rt.Assignment = append(rt.Assignment, ra)
		}
		req.Topics = append(req.Topics, rt)
		return do[*kmsg.CreatePartitionsResponse](c, req, 3).Topics[0].ErrorCode
	}
	wantCode(t, "an unknown topic", grow("nobody-has-this", 3, false), kerr.UnknownTopicOrPartition)
	wantCode(t, "fewer", grow(topic, 1, false), kerr.InvalidPartitions)
	wantCode(t, "as many", grow(topic, 2, false), kerr.InvalidPartitions)
	wantCode(t, "negative", grow(topic, -1, false), kerr.InvalidPartitions)
	wantCode(t, "an assignment too many", grow(topic, 3, false, []int32{1}, []int32{1}), kerr.InvalidReplicaAssignment)
	wantCode(t, "an assignment to nobody", grow(topic, 3, false, []int32{99}), kerr.InvalidReplicaAssignment)
	wantCode(t, "an assignment of two", grow(topic, 3, false, []int32{1, 1}), kerr.InvalidReplicaAssignment)
	wantCode(t, "a dry run", grow(topic, 3, true), nil)
	wantCode(t, "what the dry run did not make", c.produce(topic, 2, values("x").bytes()).ErrorCode, kerr.UnknownTopicOrPartition)
	wantCode(t, "one more", grow(topic, 3, false), nil)
	harness.Eventually(t, patience, "the new partition is not served", func() bool {
		return c.produce(topic, 2, values("x").bytes()).ErrorCode == 0
	})
}

func TestConfigs(t *testing.T) {
	broker := start(t, harness.Options{})
	c := dial(t, broker.addr)
	topic := c.create("configs", 1)
	const topicType, brokerType = kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker
	describe := func(kind kmsg.ConfigResourceType, n string, keys ...string) kmsg.DescribeConfigsResponseResource {
		t.Helper()
		req := kmsg.NewPtrDescribeConfigsRequest()
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kind, n, keys
		req.Resources = append(req.Resources, r)
		return do[*kmsg.DescribeConfigsResponse](c, req, 4).Resources[0]
	}
	wantCode(t, "an unknown topic", describe(topicType, "nobody-has-this").ErrorCode, kerr.UnknownTopicOrPartition)
	wantCode(t, "a bad name", describe(topicType, "a/b").ErrorCode, kerr.InvalidTopicException)
	wantCode(t, "a broker that is no number", describe(brokerType, "one").ErrorCode, kerr.InvalidRequest)
	wantCode(t, "another broker", describe(brokerType, "99").ErrorCode, kerr.InvalidRequest)
	wantCode(t, "an unknown kind", describe(77, "x").ErrorCode, kerr.InvalidRequest)
	if got := describe(topicType, topic, "no.such.config"); got.ErrorCode != 0 || len(got.Configs) != 0 {
		t.Errorf("an unknown key: %s, %d configs", name(got.ErrorCode), len(got.Configs))
	}
	wantCode(t, "broker 1", describe(brokerType, "1").ErrorCode, nil)

	type change struct {
		key   string
		op    kmsg.IncrementalAlterConfigOp
		value *string
	}
	alter := func(kind kmsg.ConfigResourceType, n string, dry bool, changes ...change) int16 {
		t.Helper()
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.ValidateOnly = dry
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kind, n
		for _, ch := range changes {
			rc := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			rc.Name, rc.Op, rc.Value = ch.key, ch.op, ch.value
			r.Configs = append(r.Configs, rc)
		}
		req.Resources = append(req.Resources, r)
		return do[*kmsg.IncrementalAlterConfigsResponse](c, req, 1).Resources[0].ErrorCode
	}
	const set, del, add = 0, 1, 2
	s := kmsg.StringPtr
	for _, at := range []struct {
		name    string
		topic   string
		changes []change
		want    *kerr.Error
		own     bool // Kafka does not look at it without remote storage, or says UNKNOWN_SERVER_ERROR
	}{
		{"an unknown topic", "nobody-has-this", []change{{"retention.ms", set, s("1")}}, kerr.UnknownTopicOrPartition, false},
		{"an unknown key", topic, []change{{"no.such.config", set, s("1")}}, kerr.InvalidConfig, false},
		{"no number", topic, []change{{"retention.ms", set, s("soon")}}, kerr.InvalidConfig, false},
		{"out of range", topic, []change{{"retention.ms", set, s("-2")}}, kerr.InvalidConfig, false},
		{"local beyond total retention", topic, []change{{"retention.ms", set, s("1000")}, {"local.retention.ms", set, s("2000")}}, kerr.InvalidConfig, true},
		{"append to a number", topic, []change{{"retention.ms", add, s("1")}}, kerr.InvalidConfig, false},
		{"an unknown operation", topic, []change{{"retention.ms", 9, s("1")}}, kerr.InvalidRequest, true},
		{"a key twice", topic, []change{{"retention.ms", set, s("1")}, {"retention.ms", del, nil}}, kerr.InvalidRequest, false},
		{"set without value", topic, []change{{"retention.ms", set, nil}}, kerr.InvalidRequest, false},
		{"one bad of two", topic, []change{{"segment.bytes", set, s("2000000")}, {"retention.ms", set, s("x")}}, kerr.InvalidConfig, false},
	} {
		t.Run(at.name, func(t *testing.T) {
			if at.own && broker.firn == nil {
				t.Skip("Kafka is no model here")
			}
			wantCode(t, "validate only", alter(topicType, at.topic, true, at.changes...), at.want)
			wantCode(t, "for real", alter(topicType, at.topic, false, at.changes...), at.want)
		})
	}
	value := func(key string) string {
		t.Helper()
		got := describe(topicType, topic, key)
		if len(got.Configs) != 1 {
			t.Fatalf("%s: %d configs", key, len(got.Configs))
		}
		return str(got.Configs[0].Value)
	}
	before := value("segment.bytes")
	wantCode(t, "a dry run", alter(topicType, topic, true, change{"segment.bytes", set, s("3000000")}), nil)
	if got := value("segment.bytes"); got != before || got == "2000000" {
		t.Errorf("segment.bytes is %s after changes that were refused or not meant, was %s", got, before)
	}
	wantCode(t, "a change", alter(topicType, topic, false, change{"segment.bytes", set, s("3000000")}), nil)
	harness.Eventually(t, patience, "the change does not show", func() bool { return value("segment.bytes") == "3000000" })
	wantCode(t, "taken back", alter(topicType, topic, false, change{"segment.bytes", del, nil}), nil)
	harness.Eventually(t, patience, "the default does not return", func() bool { return value("segment.bytes") == before })
}

// TestMetadataNames: what Metadata says of names, and which it makes topics of.
func TestMetadataNames(t *testing.T) {
	c := dial(t, start(t, harness.Options{}).addr)
	ask := func(version int16, auto bool, n string) kmsg.MetadataResponseTopic {
		t.Helper()
		req := kmsg.NewPtrMetadataRequest()
		req.AllowAutoTopicCreation = auto
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &n
		req.Topics = append(req.Topics, rt)
		return do[*kmsg.MetadataResponse](c, req, version).Topics[0]
	}
	for _, bad := range []string{"a/b", "..", strings.Repeat("x", 250), "größe"} {
		wantCode(t, bad, ask(12, true, bad).ErrorCode, kerr.InvalidTopicException)
		wantCode(t, bad, ask(1, false, bad).ErrorCode, kerr.InvalidTopicException)
	}
	quiet := topicName("quiet")
	wantCode(t, "a topic that nobody wants made", ask(12, false, quiet).ErrorCode, kerr.UnknownTopicOrPartition)
	wantCode(t, "still", ask(12, false, quiet).ErrorCode, kerr.UnknownTopicOrPartition)
	for v := range int16(14) {
		n := topicName("auto")
		ask(v, true, n)
		harness.Eventually(t, patience, fmt.Sprintf("version %d does not make a topic", v), func() bool {
			return ask(12, false, n).ErrorCode == 0
		})
	}
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.TopicID = [16]byte{1, 2, 3}
	req.Topics = append(req.Topics, rt)
	wantCode(t, "an unknown id", do[*kmsg.MetadataResponse](c, req, 12).Topics[0].ErrorCode, kerr.UnknownTopicID)
}

// TestNoTransactionCoordinator: until there are transactions, clients are told to ask again.
func TestNoTransactionCoordinator(t *testing.T) {
	c := dial(t, onlyFirn(t, harness.Options{}).addr)
	for v := int16(1); v < 7; v++ {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorType = 1
		req.CoordinatorKey, req.CoordinatorKeys = "g", []string{"g", "h"}
		resp := do[*kmsg.FindCoordinatorResponse](c, req, v)
		if v < 4 {
			wantCode(t, "FindCoordinator", resp.ErrorCode, kerr.CoordinatorNotAvailable)
			continue
		}
		if len(resp.Coordinators) != 2 {
			t.Fatalf("%d answers to 2 keys", len(resp.Coordinators))
		}
		for _, k := range resp.Coordinators {
			wantCode(t, "FindCoordinator", k.ErrorCode, kerr.CoordinatorNotAvailable)
		}
	}
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKeys = 9, []string{"g"}
	wantCode(t, "an unknown kind", do[*kmsg.FindCoordinatorResponse](c, req, 6).Coordinators[0].ErrorCode, kerr.InvalidRequest)
}
