package diff

import (
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func adminCalls() []call {
	return []call{
		{2, kmsg.ApiVersions, (*generator).apiVersions},
		{8, kmsg.Metadata, (*generator).metadata},
		{12, kmsg.CreateTopics, (*generator).createTopics},
		{6, kmsg.CreatePartitions, (*generator).createPartitions},
		{5, kmsg.DeleteTopics, (*generator).deleteTopics},
		{5, kmsg.DescribeTopicPartitions, (*generator).describeTopicPartitions},
		{10, kmsg.DescribeConfigs, (*generator).describeConfigs},
		{4, kmsg.AlterConfigs, (*generator).alterConfigs},
		{12, kmsg.IncrementalAlterConfigs, (*generator).incrementalAlterConfigs},
		{1, kmsg.IncrementalAlterConfigs, (*generator).notANumber},
		{2, kmsg.ListConfigResources, (*generator).listConfigResources},
		{2, kmsg.DescribeCluster, (*generator).describeCluster},
		{3, kmsg.DescribeLogDirs, (*generator).describeLogDirs},
	}
}

func (g *generator) apiVersions() {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName = mostly(g, "diff", "", "-x", "ü")
	req.ClientSoftwareVersion = mostly(g, "1.0", "", "1 0")
	g.do(g.actor(), req)
}

func (g *generator) metadata() {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = g.chance(20)
	req.IncludeTopicAuthorizedOperations = g.chance(20)
	req.IncludeClusterAuthorizedOperations = g.chance(20)
	byID := g.chance(20) // all of them: Kafka looks at no name where there is an id
	if g.chance(85) {
		for _, name := range g.topics() {
			t := kmsg.NewMetadataRequestTopic()
			if t.Topic = &name; byID {
				t.Topic, t.TopicID = nil, topicID(name)
			}
			req.Topics = append(req.Topics, t)
		}
	} else if g.chance(20) {
		req.Topics = []kmsg.MetadataRequestTopic{}
	}
	req.SetVersion(g.version(req.Key()))
	if byID && req.Version < 10 { // ids come with version 10, and null names with them
		req.SetVersion(g.versions[req.Key()][1])
	}
	g.steps = append(g.steps, step{actor: g.actor(), req: req, about: creates(req)})
}

func (g *generator) createTopics() {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis, req.ValidateOnly = 30_000, g.chance(25)
	for _, name := range repeated(g, g.topic) {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic = name
		t.NumPartitions = mostly(g, int32(1+g.r.IntN(2)), 0, -1, -2, 3)
		t.ReplicationFactor = mostly(g, int16(1), 0, 2, -1, -2)
		if g.chance(15) {
			t.ReplicaAssignment = g.assignment()
			if g.chance(80) {
				t.NumPartitions, t.ReplicationFactor = -1, -1
			}
		}
		for g.chance(40) {
			name, value := g.topicConfig()
			c := kmsg.NewCreateTopicsRequestTopicConfig()
			c.Name, c.Value = name, value
			t.Configs = append(t.Configs, c)
		}
		req.Topics = append(req.Topics, t)
	}
	g.do(0, req)
}

func (g *generator) assignment() (out []kmsg.CreateTopicsRequestTopicReplicaAssignment) {
	for p := range 1 + g.r.IntN(2) {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition = mostly(g, int32(p), 0, 5, -1)
		a.Replicas = mostly(g, []int32{1}, []int32{1, 1}, []int32{2}, []int32{}, []int32{-1}, []int32{1, 2})
		out = append(out, a)
	}
	return out
}

// topicConfig draws a config of a topic, good or bad.
func (g *generator) topicConfig() (name string, value *string) {
	type kv struct {
		name   string
		values []string
	}
	c := one(g,
		kv{"cleanup.policy", []string{"delete", "compact", "compact,delete", "", "none", "delete,delete", " compact "}},
		kv{"compression.type", []string{"producer", "zstd", "gzip", "lz4", "snappy", "uncompressed", "none", "bzip2", ""}},
		kv{"retention.ms", []string{"1000000000000", "-1", "0", "-2", "x", "", " 5000000000000 ", "99999999999999999999"}},
		kv{"retention.bytes", []string{"-1", "1000000000", "-2", "1.5"}},
		kv{"segment.bytes", []string{"1048576", "1073741824", "1", "0", "-1", "2147483648"}},
		kv{"segment.ms", []string{"604800000", "0", "-1"}},
		kv{"max.message.bytes", []string{"1048588", "3000000", "0", "-1"}},
		kv{"min.insync.replicas", []string{"1", "2", "0", "x"}},
		kv{"message.timestamp.type", []string{"CreateTime", "LogAppendTime", "createtime", ""}},
		kv{"min.cleanable.dirty.ratio", []string{"0.5", "1", "0", "1.1", "-0.1", "x"}},
		kv{"preallocate", []string{"false", "true", "TRUE", "yes", ""}},
		kv{"unclean.leader.election.enable", []string{"false", "true", "maybe"}},
		kv{"delete.retention.ms", []string{"86400000", "-1", "0"}},
		kv{"file.delete.delay.ms", []string{"60000", "-1"}},
		kv{"flush.messages", []string{"9223372036854775807", "1", "0", "-1"}},
		kv{"flush.ms", []string{"9223372036854775807", "1000", "-1"}},
		kv{"index.interval.bytes", []string{"4096", "0", "-1"}},
		kv{"segment.index.bytes", []string{"10485760", "4", "3", "0"}},
		kv{"segment.jitter.ms", []string{"0", "-1", "1000"}},
		kv{"max.compaction.lag.ms", []string{"9223372036854775807", "1", "0"}},
		kv{"min.compaction.lag.ms", []string{"0", "1", "-1"}},
		kv{"message.timestamp.before.max.ms", []string{"9223372036854775807", "-1", "0"}},
		kv{"message.timestamp.after.max.ms", []string{"3600000", "-1"}},
		kv{"local.retention.ms", []string{"-2", "-1", "-3", "1000", "99999999999999"}},
		kv{"local.retention.bytes", []string{"-2", "-1", "-3", "1000"}},
		kv{"remote.storage.enable", []string{"false"}},
		kv{"remote.log.copy.disable", []string{"false", "x"}},
		kv{"remote.log.delete.on.disable", []string{"false", "x"}},
		kv{"leader.replication.throttled.replicas", []string{"", "*", "0:1,1:1", "x", "0:"}},
		kv{"follower.replication.throttled.replicas", []string{"", "*", "none"}},
		kv{"internal.segment.bytes", []string{"1000000"}},
		kv{"message.format.version", []string{"3.0"}},
		kv{"no.such.config", []string{"1", ""}},
		kv{"", []string{"1"}},
	)
	if g.chance(4) {
		return c.name, nil
	}
	if g.chance(50) {
		return c.name, ptr(c.values[0])
	}
	return c.name, ptr(one(g, c.values...))
}

func (g *generator) createPartitions() {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis, req.ValidateOnly = 30_000, g.chance(30)
	for _, name := range repeated(g, g.topic) {
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = name, one(g, int32(2), 3, 3, 3, 1, 0, -1)
		if g.chance(25) {
			for range 1 + g.r.IntN(2) {
				a := kmsg.NewCreatePartitionsRequestTopicAssignment()
				a.Replicas = mostly(g, []int32{1}, []int32{1, 1}, []int32{2}, []int32{}, []int32{1, 2})
				t.Assignment = append(t.Assignment, a)
			}
		}
		req.Topics = append(req.Topics, t)
	}
	g.do(0, req)
}

func (g *generator) deleteTopics() {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 30_000
	for _, name := range distinct(g, func() string { return mostly(g, "~t1", "~t2", "~t3", "~t0", g.topic()) }) {
		req.TopicNames = append(req.TopicNames, name)
		t := kmsg.NewDeleteTopicsRequestTopic()
		if t.Topic = &name; g.chance(35) {
			t.Topic, t.TopicID = nil, g.idOf(name)
		} else if g.chance(5) {
			t.TopicID = g.idOf(name)
		}
		req.Topics = append(req.Topics, t)
	}
	g.do(0, req)
}

func (g *generator) describeTopicPartitions() {
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = mostly(g, int32(2000), 1, 2, 0)
	names := g.topics()
	if slices.Contains(names, "") { // the whole request fails in Kafka
		names = []string{""}
	}
	for _, name := range names {
		t := kmsg.NewDescribeTopicPartitionsRequestTopic()
		t.Topic = name
		req.Topics = append(req.Topics, t)
	}
	if g.chance(20) {
		c := kmsg.NewDescribeTopicPartitionsRequestCursor()
		c.Topic, c.Partition = g.topic(), g.partition()
		req.Cursor = &c
	}
	g.do(g.actor(), req)
}

// resource is what has configs.
type resource struct {
	kind kmsg.ConfigResourceType
	name string
}

// resource draws what has configs. What all programs share is only asked for, or given configs that nothing depends on.
func (g *generator) resource() resource {
	switch n := g.r.IntN(100); {
	case n < 60:
		return resource{kmsg.ConfigResourceTypeTopic, g.topic()}
	case n < 72:
		return resource{kmsg.ConfigResourceTypeBroker, mostly(g, "1", "", "2", "x", "-1")}
	case n < 82:
		return resource{kmsg.ConfigResourceTypeBrokerLogger, mostly(g, "1", "", "2", "x")}
	case n < 94:
		return resource{kmsg.ConfigResourceTypeGroupConfig, mostly(g, "~g0", "", "~g1")}
	}
	return resource{one(g, kmsg.ConfigResourceType(0), 3, 16, 99), one(g, "", "1", "~t0")}
}

// resources draws one to three. One of a kind that does not exist comes alone, for Kafka then looks at no other.
func (g *generator) resources(draw func(*generator, func() resource) []resource) []resource {
	of := draw(g, g.resource)
	for _, r := range of {
		if r.kind == 0 || r.kind == 3 || r.kind > kmsg.ConfigResourceTypeGroupConfig {
			return []resource{r}
		}
	}
	return of
}

func (g *generator) describeConfigs() {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms, req.IncludeDocumentation = g.chance(50), g.chance(30)
	for _, of := range g.resources(distinct) {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = of.kind, of.name
		for g.chance(30) {
			name, _ := g.topicConfig()
			r.ConfigNames = append(r.ConfigNames, name)
		}
		if g.chance(3) {
			r.ConfigNames = []string{}
		}
		req.Resources = append(req.Resources, r)
	}
	g.do(g.actor(), req)
}

// config draws a config of a resource. Configs of brokers are invalid, or only validated.
func (g *generator) config(kind kmsg.ConfigResourceType, about string) (string, *string) {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		for {
			// Remote storage is on in firn and off in Kafka: turning it off is nothing there.
			if name, value := g.topicConfig(); name != "remote.storage.enable" {
				return name, value
			}
		}
	case kmsg.ConfigResourceTypeBroker:
		switch about {
		case aboutUnknown:
			return one(g, "no.such.config", "no.such.other", ""), g.value()
		case aboutThreads:
			return one(g, "log.cleaner.threads", "num.io.threads"), g.value()
		}
		return one(g, "broker.id", "node.id", "log.dirs", "listeners", "log.retention.ms",
			"auto.create.topics.enable", "message.max.bytes", "max.connections", "log.segment.bytes"), g.value()
	case kmsg.ConfigResourceTypeBrokerLogger:
		return one(g, "no.such.logger", "", "root"), ptr(one(g, "INFO", "LOUD", "", "info"))
	}
	return one(g, "consumer.session.timeout.ms", "consumer.heartbeat.interval.ms", "share.session.timeout.ms", "share.auto.offset.reset",
		"share.isolation.level", "streams.num.standby.replicas", "no.such.config", "metrics", "interval.ms", ""), g.value()
}

// aboutBrokers draws what kind of configs a request gives to brokers, if it names any.
func (g *generator) aboutBrokers() string { return mostly(g, "", aboutUnknown, aboutThreads) }

// notANumber asks whether a config of a topic could be NaN.
func (g *generator) notANumber() {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = true
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, "~t0"
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = "min.cleanable.dirty.ratio", ptr("NaN")
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	g.do(0, req)
	g.steps[len(g.steps)-1].about = aboutNaN
}

func (g *generator) value() *string {
	if g.chance(5) {
		return nil
	}
	return ptr(one(g, "1", "45000", "50000", "5000", "-1", "0", "x", "", "true", "latest", "read_committed", "earliest", "6000", "2"))
}

// harmless keeps programs from changing what they share.
func harmless(kind kmsg.ConfigResourceType) bool {
	return kind != kmsg.ConfigResourceTypeBroker && kind != kmsg.ConfigResourceTypeBrokerLogger
}

// alterConfigs names no resource twice: Kafka never answers that.
func (g *generator) alterConfigs() {
	req, about := kmsg.NewPtrAlterConfigsRequest(), g.aboutBrokers()
	req.ValidateOnly = g.chance(25)
	for _, of := range g.resources(distinct) {
		r := kmsg.NewAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = of.kind, of.name
		g.some(func() {
			c := kmsg.NewAlterConfigsRequestResourceConfig()
			c.Name, c.Value = g.config(r.ResourceType, about)
			r.Configs = append(r.Configs, c)
		})
		req.ValidateOnly = req.ValidateOnly || !harmless(r.ResourceType)
		req.Resources = append(req.Resources, r)
	}
	g.do(0, req)
	g.steps[len(g.steps)-1].about = about
}

func (g *generator) incrementalAlterConfigs() {
	req, about := kmsg.NewPtrIncrementalAlterConfigsRequest(), g.aboutBrokers()
	req.ValidateOnly = g.chance(25)
	for _, of := range g.resources(repeated) {
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = of.kind, of.name
		g.some(func() {
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			c.Name, c.Value = g.config(r.ResourceType, about)
			c.Op = mostly(g, kmsg.IncrementalAlterConfigOpSet, kmsg.IncrementalAlterConfigOpDelete, kmsg.IncrementalAlterConfigOpAppend,
				kmsg.IncrementalAlterConfigOpSubtract, 4, -1)
			if c.Op == kmsg.IncrementalAlterConfigOpDelete && g.chance(80) {
				c.Value = nil
			}
			r.Configs = append(r.Configs, c)
		})
		req.ValidateOnly = req.ValidateOnly || !harmless(r.ResourceType)
		req.Resources = append(req.Resources, r)
	}
	g.do(0, req)
	g.steps[len(g.steps)-1].about = about
}

func (g *generator) listConfigResources() {
	req := kmsg.NewPtrListConfigResourcesRequest()
	for g.chance(60) {
		req.ResourceTypes = append(req.ResourceTypes, one(g, int8(2), 4, 8, 16, 32, 0, 99))
	}
	g.do(g.actor(), req)
}

func (g *generator) describeCluster() {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.IncludeClusterAuthorizedOperations, req.IncludeFencedBrokers = g.chance(50), g.chance(50)
	req.EndpointType = mostly(g, int8(1), 2, 0, 3)
	g.do(g.actor(), req)
}

func (g *generator) describeLogDirs() {
	req := kmsg.NewPtrDescribeLogDirsRequest()
	if g.chance(80) {
		for _, name := range g.topics() {
			t := kmsg.NewDescribeLogDirsRequestTopic()
			t.Topic = name
			t.Partitions = g.partitions()
			req.Topics = append(req.Topics, t)
		}
	}
	g.do(g.actor(), req)
}

// offset is mostly one that a small log has.
func (g *generator) offset() int64 {
	return mostly(g, int64(g.r.IntN(6)), -1, -2, 100, math.MaxInt64)
}
