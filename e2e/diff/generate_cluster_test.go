package diff

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// clusterCalls are those about replicas, of which one broker has little to say, and about what all programs share.
func clusterCalls() []call {
	return []call{
		{3, kmsg.ElectLeaders, (*generator).electLeaders},
		{3, kmsg.AlterPartitionAssignments, (*generator).alterPartitionReassignments},
		{2, kmsg.ListPartitionReassignments, (*generator).listPartitionReassignments},
		{3, kmsg.AlterReplicaLogDirs, (*generator).alterReplicaLogDirs},
		{2, kmsg.IncrementalAlterConfigs, (*generator).alterShared},
	}
}

func (g *generator) electLeaders() {
	req := kmsg.NewPtrElectLeadersRequest()
	req.ElectionType, req.TimeoutMillis = mostly(g, int8(0), 1, 2, -1), 30_000
	for _, name := range g.topics() {
		t := kmsg.NewElectLeadersRequestTopic()
		t.Topic, t.Partitions = name, g.partitions()
		req.Topics = append(req.Topics, t)
	}
	g.do(g.actor(), req)
}

func (g *generator) alterPartitionReassignments() {
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.TimeoutMillis = 30_000
	for _, name := range g.topics() {
		t := kmsg.NewAlterPartitionAssignmentsRequestTopic()
		t.Topic = name
		for _, index := range g.partitions() {
			p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
			p.Partition, p.Replicas = index, mostly(g, []int32{1}, nil, []int32{}, []int32{2}, []int32{1, 1}, []int32{1, 2}, []int32{-1})
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	g.do(0, req)
}

func (g *generator) listPartitionReassignments() {
	req := kmsg.NewPtrListPartitionReassignmentsRequest()
	req.TimeoutMillis = 30_000
	if g.chance(80) {
		for _, name := range g.topics() {
			t := kmsg.NewListPartitionReassignmentsRequestTopic()
			t.Topic, t.Partitions = name, g.partitions()
			req.Topics = append(req.Topics, t)
		}
	}
	g.do(g.actor(), req)
}

func (g *generator) alterReplicaLogDirs() {
	req := kmsg.NewPtrAlterReplicaLogDirsRequest()
	for _, dir := range distinct(g, func() string { return mostly(g, logDir, "/nowhere", "relative", "") }) {
		d := kmsg.NewAlterReplicaLogDirsRequestDir()
		d.Dir = dir
		for _, name := range g.topics() {
			t := kmsg.NewAlterReplicaLogDirsRequestDirTopic()
			t.Topic, t.Partitions = name, g.partitions()
			d.Topics = append(d.Topics, t)
		}
		req.Dirs = append(req.Dirs, d)
	}
	g.do(g.actor(), req)
}

// shared are broker configs that programs really change. Nothing else in a program depends on them, and a program has
// one for itself while it runs.
var shared = map[string][]string{
	"log.cleaner.backoff.ms":              {"15000", "20000", "0", "-1", "x"},
	"log.cleaner.io.buffer.load.factor":   {"0.9", "0.8", "0.7", "x", ""}, // 1 is refused here: a full table ends no search; Kafka takes it
	"log.cleaner.io.max.bytes.per.second": {"1000000000.5", "2000000000", "x"},
	"producer.id.expiration.ms":           {"80000000", "86400000", "0", "1.5"},
	"max.connection.creation.rate":        {"100000", "200000", "x"},
}

var sharedNames = slices.Sorted(maps.Keys(shared))

// alterShared changes a config of this broker or of all, and asks what both have then.
func (g *generator) alterShared() {
	if g.own == "" {
		g.own = one(g, sharedNames...)
	}
	of := one(g, "", "1")
	for range 1 + g.r.IntN(2) {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, of
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value = g.own, ptr(one(g, shared[g.own]...))
		if g.chance(25) {
			c.Op, c.Value = kmsg.IncrementalAlterConfigOpDelete, nil
		}
		r.Configs = append(r.Configs, c)
		req.Resources = append(req.Resources, r)
		g.do(0, req)
		if g.chance(50) {
			of = one(g, "", "1")
		}
	}
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms = g.chance(80)
	for _, name := range []string{"", "1"} {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeBroker, name, []string{g.own}
		req.Resources = append(req.Resources, r)
	}
	g.do(0, req)
}
