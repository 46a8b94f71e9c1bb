package api

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/metadata"
)

const (
	topicKind  = kmsg.ConfigResourceTypeTopic
	brokerKind = kmsg.ConfigResourceTypeBroker
	loggerKind = kmsg.ConfigResourceTypeBrokerLogger
	groupKind  = kmsg.ConfigResourceTypeGroupConfig
	opSet      = kmsg.IncrementalAlterConfigOpSet
	opDelete   = kmsg.IncrementalAlterConfigOpDelete
	opAppend   = kmsg.IncrementalAlterConfigOpAppend
)

type configOp = kmsg.IncrementalAlterConfigsRequestResourceConfig

func set(name, value string) configOp { return configOp{Name: name, Op: opSet, Value: &value} }
func unset(name string) configOp      { return configOp{Name: name, Op: opDelete} }

// alter sends IncrementalAlterConfigs for one resource; validate with check.
func (e *env) alter(kind kmsg.ConfigResourceType, name string, check bool, ops ...configOp) kmsg.IncrementalAlterConfigsResponseResource {
	e.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = check
	req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kind, ResourceName: name, Configs: ops}}
	return call[*kmsg.IncrementalAlterConfigsResponse](e, req, 1).Resources[0]
}

// replace sends AlterConfigs for one resource, with names and values in turn.
func (e *env) replace(kind kmsg.ConfigResourceType, name string, check bool, configs ...string) int16 {
	e.t.Helper()
	req := kmsg.NewPtrAlterConfigsRequest()
	req.ValidateOnly = check
	r := kmsg.AlterConfigsRequestResource{ResourceType: kind, ResourceName: name}
	for i := 0; i < len(configs); i += 2 {
		r.Configs = append(r.Configs, kmsg.AlterConfigsRequestResourceConfig{Name: configs[i], Value: &configs[i+1]})
	}
	req.Resources = append(req.Resources, r)
	return call[*kmsg.AlterConfigsResponse](e, req, 2).Resources[0].ErrorCode
}

// synonyms tells a described config's values as "name=value source".
func synonyms(c kmsg.DescribeConfigsResponseResourceConfig) (out []string) {
	for _, s := range c.ConfigSynonyms {
		out = append(out, s.Name+"="+*s.Value+" "+s.Source.String())
	}
	return out
}

func TestBrokerConfigsAreLive(t *testing.T) {
	e := newEnv(t, "log.cleaner.threads", "3")
	e.create("before", 1)
	require.Zero(t, e.alter(brokerKind, "", true, set("message.max.bytes", "60")).ErrorCode)
	require.Empty(t, e.store.Image().BrokerConfigs, "validated only")

	require.Zero(t, e.alter(brokerKind, "", false, set("message.max.bytes", "60"), set("log.cleaner.threads", "2")).ErrorCode)
	require.Zero(t, e.alter(brokerKind, "1", false, set("log.cleaner.threads", "1")).ErrorCode)
	c := describe(e, brokerKind, "1", "log.cleaner.threads").Configs[0]
	require.Equal(t, "1", *c.Value)
	require.Equal(t, []string{"log.cleaner.threads=1 DYNAMIC_BROKER_CONFIG", "log.cleaner.threads=2 DYNAMIC_DEFAULT_BROKER_CONFIG",
		"log.cleaner.threads=3 STATIC_BROKER_CONFIG", "log.cleaner.threads=1 DEFAULT_CONFIG"}, synonyms(c))
	require.False(t, c.ReadOnly)

	all := describe(e, brokerKind, "").Configs
	require.Len(t, all, 2, "what is set for all brokers")
	require.Equal(t, "log.cleaner.threads", all[0].Name)
	require.Equal(t, "2", *all[0].Value)
	require.Equal(t, kmsg.ConfigSourceDynamicDefaultBrokerConfig, all[0].Source)

	// A topic shows the broker's default, and where it comes from.
	c = describe(e, topicKind, "before", "max.message.bytes").Configs[0]
	require.Equal(t, "60", *c.Value)
	require.Equal(t, []string{"message.max.bytes=60 DYNAMIC_DEFAULT_BROKER_CONFIG", "message.max.bytes=1048588 DEFAULT_CONFIG"}, synonyms(c))
	require.Zero(t, e.alter(topicKind, "before", false, set("max.message.bytes", "70")).ErrorCode)
	c = describe(e, topicKind, "before", "max.message.bytes").Configs[0]
	require.Equal(t, "70", *c.Value)
	require.Equal(t, kmsg.ConfigSourceDynamicTopicConfig, c.Source)
	require.Len(t, c.ConfigSynonyms, 3)

	require.Zero(t, e.alter(brokerKind, "1", false, unset("log.cleaner.threads"), unset("no.such")).ErrorCode)
	require.Equal(t, "2", *describe(e, brokerKind, "1", "log.cleaner.threads").Configs[0].Value)
}

func TestBrokerConfigsThatAreRefused(t *testing.T) {
	e := newEnv(t)
	for name, c := range map[string]struct {
		broker string
		op     configOp
		want   *kerr.Error
		say    []string
	}{
		"read-only":         {"1", set("broker.rack", "r"), kerr.InvalidRequest, []string{"broker.rack"}},
		"read-only for all": {"", set("node.id", "2"), kerr.InvalidRequest, []string{"node.id"}},
		"of one broker":     {"", set("listener.name.a.ssl.keystore.location", "/x"), kerr.InvalidRequest, []string{"ssl.keystore.location"}},
		"unknown":           {"1", set("no.such", "2"), kerr.InvalidConfig, []string{"no.such"}},
		"no number":         {"1", set("log.cleaner.threads", "many"), kerr.InvalidConfig, []string{"log.cleaner.threads", "many"}},
		"out of range":      {"", set("log.cleaner.threads", "-1"), kerr.InvalidConfig, []string{"log.cleaner.threads", "-1", "at least"}},
		"no list":           {"", configOp{Name: "log.cleaner.threads", Op: opAppend, Value: ptr("1")}, kerr.InvalidConfig, []string{"list"}},
		"no value":          {"", configOp{Name: "log.cleaner.threads", Op: opSet}, kerr.InvalidRequest, nil},
		"unknown op":        {"", configOp{Name: "log.cleaner.threads", Op: 9, Value: ptr("1")}, kerr.InvalidRequest, nil},
		"another broker":    {"2", set("log.cleaner.threads", "1"), kerr.InvalidRequest, []string{"broker 1"}},
		"not a broker":      {"x", set("log.cleaner.threads", "1"), kerr.InvalidRequest, []string{"x"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, check := range []bool{true, false} {
				got := e.alter(brokerKind, c.broker, check, c.op)
				require.Equal(t, c.want.Code, got.ErrorCode)
				for _, s := range c.say {
					require.Contains(t, *got.ErrorMessage, s)
				}
			}
		})
	}
	require.Empty(t, e.store.Image().BrokerConfigs)
	for _, kind := range []kmsg.ConfigResourceType{0, kmsg.ConfigResourceTypeClientMetrics, 77} {
		require.Equal(t, kerr.InvalidRequest.Code, e.alter(kind, "x", false, set("interval.ms", "1")).ErrorCode)
		require.Equal(t, kerr.InvalidRequest.Code, e.replace(kind, "x", false, "interval.ms", "1"))
		require.Equal(t, kerr.InvalidRequest.Code, describe(e, kind, "x").ErrorCode)
	}
	require.Equal(t, kerr.InvalidRequest.Code, e.alter(topicKind, "", false, set("retention.ms", "1")).ErrorCode)
	require.Equal(t, kerr.InvalidTopicException.Code, e.alter(topicKind, "a b", false, set("retention.ms", "1")).ErrorCode)
}

// What is secret is stored and shown to nobody.
func TestSensitiveConfigsAreHidden(t *testing.T) {
	e := newEnv(t, "ssl.key.password", "from the file")
	const name = "listener.name.plaintext.ssl.keystore.password"
	require.Zero(t, e.alter(brokerKind, "1", false, set(name, "secret")).ErrorCode)
	require.Equal(t, "secret", e.store.Image().BrokerConfigs[1].Configs[name])
	for _, n := range []string{name, "ssl.key.password"} {
		got := describe(e, brokerKind, "1", n).Configs
		require.Len(t, got, 1, n)
		require.True(t, got[0].IsSensitive)
		require.Nil(t, got[0].Value)
		require.NotEmpty(t, got[0].ConfigSynonyms)
		for _, s := range got[0].ConfigSynonyms {
			require.Nil(t, s.Value)
		}
	}
}

func TestEveryConfigIsDescribed(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	for _, r := range []struct {
		kind  kmsg.ConfigResourceType
		name  string
		least int
	}{{topicKind, "t", 30}, {brokerKind, "1", 250}, {groupKind, "g", 10}, {loggerKind, "1", 2}} {
		got := describe(e, r.kind, r.name)
		require.Zero(t, got.ErrorCode)
		require.GreaterOrEqual(t, len(got.Configs), r.least)
		for _, c := range got.Configs {
			require.NotEmpty(t, *c.Documentation, c.Name)
			require.NotZero(t, c.ConfigType, c.Name)
			require.NotZero(t, c.Source, c.Name)
		}
	}
	// What means nothing here says so.
	require.Contains(t, *describe(e, brokerKind, "1", "zookeeper.connect", "num.replica.fetchers").Configs[0].Documentation, "No effect")
	require.Contains(t, *describe(e, topicKind, "t", "leader.replication.throttled.replicas").Configs[0].Documentation, "No effect")
}

func TestGroupConfigs(t *testing.T) {
	e := newEnv(t)
	const name = "consumer.session.timeout.ms"
	require.Zero(t, e.alter(groupKind, "g", true, set(name, "50000")).ErrorCode)
	require.Empty(t, e.store.Image().GroupConfigs)
	require.Zero(t, e.alter(groupKind, "g", false, set(name, "50000")).ErrorCode)
	c := describe(e, groupKind, "g", name).Configs[0]
	require.Equal(t, "50000", *c.Value)
	require.Equal(t, []string{name + "=50000 GROUP_CONFIG", "group.consumer.session.timeout.ms=45000 DEFAULT_CONFIG"}, synonyms(c))
	require.Equal(t, "45000", *describe(e, groupKind, "another", name).Configs[0].Value, "a group need not exist")

	list := kmsg.NewPtrListConfigResourcesRequest()
	list.ResourceTypes = []int8{int8(groupKind)}
	listed := call[*kmsg.ListConfigResourcesResponse](e, list, 1).ConfigResources
	require.Len(t, listed, 1)
	require.Equal(t, "g", listed[0].Name)

	require.Equal(t, kerr.InvalidConfig.Code, e.alter(groupKind, "g", false, set(name, "5")).ErrorCode, "below the broker's least")
	require.Equal(t, kerr.InvalidConfig.Code, e.alter(groupKind, "g", false, set("nope", "5")).ErrorCode)
	require.Equal(t, kerr.InvalidRequest.Code, e.alter(groupKind, "", false, set(name, "50000")).ErrorCode)
	require.Equal(t, kerr.InvalidRequest.Code, describe(e, groupKind, "").ErrorCode)
	require.Zero(t, e.replace(groupKind, "g", false, "consumer.heartbeat.interval.ms", "6000"))
	require.Equal(t, map[string]string{"consumer.heartbeat.interval.ms": "6000"}, e.store.Image().GroupConfigs["g"].Configs)
	require.Zero(t, e.alter(groupKind, "g", false, unset("consumer.heartbeat.interval.ms"), unset(name)).ErrorCode)
	require.Empty(t, e.store.Image().GroupConfigs)
}

func TestLoggers(t *testing.T) {
	e := newEnv(t)
	level := func(name string) string { return *describe(e, loggerKind, "1", name).Configs[0].Value }
	require.Equal(t, "INFO", level("broker.api"))
	require.Equal(t, kmsg.ConfigSourceDynamicBrokerLoggerConfig, describe(e, loggerKind, "1", "root").Configs[0].Source)
	require.Zero(t, e.alter(loggerKind, "1", true, set("broker.api", "DEBUG")).ErrorCode)
	require.Equal(t, "INFO", level("broker.api"))
	require.Zero(t, e.alter(loggerKind, "1", false, set("broker.api", "DEBUG"), set("root", "WARN")).ErrorCode)
	require.Equal(t, []string{"DEBUG", "WARN"}, []string{level("broker.api"), level("root")})
	require.Zero(t, e.alter(loggerKind, "1", false, unset("broker.api")).ErrorCode)
	require.Equal(t, "WARN", level("broker.api"))

	for name, c := range map[string]struct {
		broker string
		op     configOp
		want   *kerr.Error
	}{
		"no such logger":        {"1", set("nope", "INFO"), kerr.InvalidConfig},
		"no such logger, unset": {"1", unset("nope"), kerr.InvalidConfig},
		"no such level":         {"1", set("root", "LOUD"), kerr.InvalidConfig},
		"small letters":         {"1", set("root", "info"), kerr.InvalidConfig},
		"root without a level":  {"1", unset("root"), kerr.InvalidRequest},
		"no list":               {"1", configOp{Name: "root", Op: opAppend, Value: ptr("INFO")}, kerr.InvalidRequest},
		"another broker":        {"2", set("root", "INFO"), kerr.InvalidRequest},
		"no broker":             {"", set("root", "INFO"), kerr.InvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want.Code, e.alter(loggerKind, c.broker, false, set("broker.api", "ERROR"), c.op).ErrorCode)
			require.Equal(t, "WARN", level("broker.api"), "all or nothing")
		})
	}
	require.Equal(t, kerr.InvalidRequest.Code, e.replace(loggerKind, "1", false, "root", "INFO"))
	require.Equal(t, kerr.InvalidRequest.Code, describe(e, loggerKind, "").ErrorCode)
	require.Equal(t, kerr.InvalidRequest.Code, describe(e, loggerKind, "2").ErrorCode)
}

func TestAlterConfigsReplaces(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1, "retention.ms", "777", "segment.bytes", "2000000")
	e.create("local", 1, "remote.storage.enable", "false")
	stored := func(name string) map[string]string { return e.store.Image().TopicByName(name).Configs }
	require.Zero(t, e.replace(topicKind, "t", true, "retention.ms", "5"))
	require.Equal(t, "777", stored("t")["retention.ms"], "validated only")
	require.Zero(t, e.replace(topicKind, "t", false, "retention.ms", "5"))
	require.Equal(t, map[string]string{"retention.ms": "5", "remote.storage.enable": "true"}, stored("t"))
	require.Zero(t, e.replace(topicKind, "local", false))
	require.Equal(t, map[string]string{"remote.storage.enable": "false"}, stored("local"), "what was decided at creation stays")
	require.Zero(t, e.replace(topicKind, "t", false, "cleanup.policy", "compact"))
	require.Equal(t, map[string]string{"cleanup.policy": "compact", "remote.storage.enable": "false"}, stored("t"))

	require.Equal(t, kerr.InvalidConfig.Code, e.replace(topicKind, "t", false, "retention.ms", "soon"))
	require.Equal(t, kerr.InvalidConfig.Code, e.replace(topicKind, "t", false, "nope", "1"))
	require.Equal(t, kerr.InvalidRequest.Code, e.replace(topicKind, "t", false, "retention.ms", "1", "retention.ms", "2"))
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, e.replace(topicKind, "nope", false))
	require.Equal(t, kerr.InvalidRequest.Code, e.replace(topicKind, "", false))
	require.Equal(t, "compact", stored("t")["cleanup.policy"])

	require.Zero(t, e.alter(brokerKind, "", false, set("log.cleaner.threads", "2"), set("num.io.threads", "3")).ErrorCode)
	require.Zero(t, e.replace(brokerKind, "", false, "num.io.threads", "4"))
	require.Equal(t, map[string]string{"num.io.threads": "4"}, e.store.Image().BrokerConfigs[metadata.ClusterDefaults].Configs)
	require.Equal(t, kerr.InvalidRequest.Code, e.replace(brokerKind, "1", false, "broker.rack", "r"))

	twice := kmsg.NewPtrAlterConfigsRequest()
	r := kmsg.AlterConfigsRequestResource{ResourceType: topicKind, ResourceName: "t"}
	null := kmsg.AlterConfigsRequestResource{ResourceType: topicKind, ResourceName: "local", Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms"}}}
	twice.Resources = []kmsg.AlterConfigsRequestResource{r, null, r}
	for _, got := range call[*kmsg.AlterConfigsResponse](e, twice, 2).Resources {
		require.Equal(t, kerr.InvalidRequest.Code, got.ErrorCode)
	}
}

// What the broker goes by when it makes and deletes topics comes from its configs.
func TestConfigsInForce(t *testing.T) {
	e := newEnv(t, "delete.topic.enable", "false", "default.replication.factor", "3", "max.request.partition.size.limit", "2")
	e.create("t", 3)
	got := call[*kmsg.CreateTopicsResponse](e, create(spec("x", 1, -1)), 7).Topics[0]
	require.Equal(t, kerr.InvalidReplicationFactor.Code, got.ErrorCode, "the default asks for more than there is")
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.Topics, del.TopicNames = []kmsg.DeleteTopicsRequestTopic{{Topic: ptr("t")}}, []string{"t"}
	require.Equal(t, kerr.TopicDeletionDisabled.Code, call[*kmsg.DeleteTopicsResponse](e, del, 6).Topics[0].ErrorCode)
	require.Equal(t, kerr.TopicDeletionDisabled.Code, call[*kmsg.DeleteTopicsResponse](e, del, 3).Topics[0].ErrorCode)
	require.Equal(t, kerr.InvalidRequest.Code, call[*kmsg.DeleteTopicsResponse](e, del, 2).Topics[0].ErrorCode)
	require.NotNil(t, e.store.Image().TopicByName("t"))
	page := kmsg.NewPtrDescribeTopicPartitionsRequest()
	require.Len(t, call[*kmsg.DescribeTopicPartitionsResponse](e, page, 0).Topics[0].Partitions, 2)

	defaults := call[*kmsg.CreateTopicsResponse](e, create(spec("y", 1, 1)), 7).Topics[0]
	require.Zero(t, defaults.ErrorCode)
	e.a.Configs.(liveConfigs).static["log.segment.bytes"] = "3000000"
	made := call[*kmsg.CreateTopicsResponse](e, create(spec("z", 1, 1)), 7).Topics[0]
	value := func(r kmsg.CreateTopicsResponseTopic) string {
		for _, c := range r.Configs {
			if c.Name == "segment.bytes" {
				return *c.Value
			}
		}
		return ""
	}
	require.Equal(t, []string{"1073741824", "3000000"}, []string{value(defaults), value(made)})
}

// TestOnlyLists: appending to what is no list is told before what is wrong with the resource, as in Kafka.
func TestOnlyLists(t *testing.T) {
	e := newEnv(t)
	value := "1"
	for _, c := range []struct {
		kind kmsg.ConfigResourceType
		name string
		key  string
		want int16
	}{
		{kmsg.ConfigResourceTypeTopic, "no such/topic", "segment.ms", kerr.InvalidConfig.Code},
		{kmsg.ConfigResourceTypeTopic, "no such/topic", "no.such.config", kerr.InvalidConfig.Code},
		{kmsg.ConfigResourceTypeTopic, "no such/topic", "cleanup.policy", kerr.InvalidTopicException.Code},
		{kmsg.ConfigResourceTypeGroupConfig, "", "consumer.session.timeout.ms", kerr.InvalidConfig.Code},
	} {
		if got := e.alter(c.kind, c.name, true, configOp{Name: c.key, Op: opAppend, Value: &value}).ErrorCode; got != c.want {
			t.Errorf("append to %s of %q: %d, want %d", c.key, c.name, got, c.want)
		}
	}
}

// TestDescribedAsRead: DescribeConfigs gives values as they are read, as Kafka does, and not as they were written.
func TestDescribedAsRead(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1, "min.cleanable.dirty.ratio", "1", "cleanup.policy", "delete,delete", "segment.ms", " 5000 ")
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"}}
	got := map[string]string{}
	for _, c := range call[*kmsg.DescribeConfigsResponse](e, req, 4).Resources[0].Configs {
		got[c.Name] = *c.Value
	}
	for name, want := range map[string]string{"min.cleanable.dirty.ratio": "1.0", "cleanup.policy": "delete", "segment.ms": "5000"} {
		if got[name] != want {
			t.Errorf("%s is described as %q, want %q", name, got[name], want)
		}
	}
}
