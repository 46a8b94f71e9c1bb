package kafkatools

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// topics follows topics through their lives.
func (k *bench) topics(t *testing.T) {
	k.steps(t, []step{
		{run: "topics --create --topic orders --partitions 2 --replication-factor 1 --config segment.bytes=1048576", want: []string{"Created topic orders."}},
		{run: "topics --create --topic orders", code: 1, want: []string{"already exists"}},
		{run: "topics --create --if-not-exists --topic orders"},
		{run: "topics --create --topic not/a/name", code: 1, want: []string{"not/a/name"}},
		{run: "topics --create --topic x --config nonsense=1", code: 1, want: []string{"Unknown topic config name: nonsense"}},
		{run: "topics --create --topic x --config segment.bytes=much", code: 1, want: []string{"Invalid value much for configuration segment.bytes"}},
		{run: "topics --create --topic x --replication-factor 3", code: 1, want: []string{"replication factor"}},
		{run: "topics --create --topic x --partitions 0", code: 1},
		{run: "topics --create --topic x --replica-assignment 7,7", code: 1, want: []string{"7"}},
		{run: "topics --create --topic assigned --replica-assignment 1,1,1", want: []string{"Created topic assigned."}},
		{run: "topics --list", want: []string{"assigned\norders\n"}, not: []string{"x\n"}},
		{run: "topics --describe --topic orders", want: []string{
			"Topic: orders TopicId: ", "PartitionCount: 2 ReplicationFactor: 1 Configs: remote.storage.enable=true,segment.bytes=1048576\n",
			"Topic: orders Partition: 0 Leader: 1 Replicas: 1 Isr: 1", "Topic: orders Partition: 1 Leader: 1 Replicas: 1 Isr: 1",
		}},
		{run: "topics --describe", want: []string{"Topic: orders TopicId: ", "Topic: assigned TopicId: "}},
		{run: "topics --describe --topic nonesuch", code: 1, want: []string{"Topic 'nonesuch' does not exist as expected"}},
		{run: "topics --describe --under-replicated-partitions", not: []string{"Partition"}},
		{run: "topics --describe --unavailable-partitions", not: []string{"Partition"}},
		{run: "topics --describe --under-min-isr-partitions", not: []string{"Partition"}},
		{run: "topics --describe --at-min-isr-partitions", want: []string{"Topic: orders Partition: 1"}},
		{run: "topics --describe --topics-with-overrides", want: []string{"segment.bytes=1048576"}, not: []string{"Leader"}},
		{run: "topics --describe --partition-size-limit-per-response 1", want: []string{"Topic: orders Partition: 1", "Topic: assigned Partition: 2"}},
		{run: "topics --alter --topic orders --partitions 3"},
		{run: "topics --describe --topic orders", want: []string{"PartitionCount: 3"}},
		{run: "topics --alter --topic orders --partitions 2", code: 1, want: []string{"3 partitions"}},
		{run: "topics --alter --topic nonesuch --partitions 2", code: 1, want: []string{"Topic 'nonesuch' does not exist as expected"}},
		{run: "topics --delete --topic nonesuch", code: 1, want: []string{"Topic 'nonesuch' does not exist as expected"}},
		{run: "topics --delete --if-exists --topic nonesuch"},
		{run: "topics --delete --topic orders"},
		{run: "topics --delete --topic assigned"},
		{run: "topics --list", not: []string{"orders", "assigned"}},
	})
}

// configs reads and changes configs of topics.
func (k *bench) configs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "added.properties")
	require.NoError(t, os.WriteFile(file, []byte("segment.bytes=2097152\nretention.bytes=1000000000\n"), 0o600))
	k.steps(t, []step{
		{run: "topics --create --topic settings --config max.message.bytes=500000"},
		{run: "configs --entity-type topics --entity-name settings --describe", want: []string{
			"Dynamic configs for topic settings are:",
			"max.message.bytes=500000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:max.message.bytes=500000, DEFAULT_CONFIG:message.max.bytes=1048588}",
		}, not: []string{"segment.bytes"}},
		{run: "configs --entity-type topics --entity-name settings --describe --all", want: []string{
			"All configs for topic settings are:", "retention.ms=-1 sensitive=false", "compression.type=producer sensitive=false", "firn.remote.segment.bytes=67108864",
			"segment.ms=604800000 sensitive=false", "unclean.leader.election.enable=false",
		}},
		{run: "configs --entity-type topics --entity-name settings --alter --add-config retention.ms=86400000,cleanup.policy=[compact,delete]", want: []string{"Completed updating config for topic settings."}},
		{run: "configs --topic settings --describe", want: []string{"retention.ms=86400000", "cleanup.policy=compact,delete", "max.message.bytes=500000"}},
		{run: "configs --topic settings --alter --add-config-file " + file},
		{run: "configs --topic settings --describe", want: []string{"segment.bytes=2097152", "retention.bytes=1000000000"}},
		{run: "configs --topic settings --alter --delete-config retention.ms,retention.bytes"},
		{run: "configs --topic settings --describe", want: []string{"segment.bytes=2097152"}, not: []string{"retention.ms", "retention.bytes"}},
		{run: "configs --topic settings --alter --add-config retention.ms=soon", code: 1, want: []string{"InvalidConfigurationException", "Invalid value soon for configuration retention.ms"}},
		{run: "configs --topic settings --alter --add-config cleanup.policy=shred", code: 1, want: []string{"InvalidConfigurationException", "cleanup.policy"}},
		{run: "configs --topic settings --alter --add-config nonsense=1", code: 1, want: []string{"InvalidConfigurationException", "Unknown topic config name: nonsense"}},
		{run: "configs --topic nonesuch --alter --add-config retention.ms=1", code: 1, want: []string{"UnknownTopicOrPartitionException"}},
		{run: "configs --topic nonesuch --describe", want: []string{"The topic 'nonesuch' doesn't exist"}},
		{run: "configs --entity-type topics --describe", want: []string{"Dynamic configs for topic settings are:"}},
		{run: "topics --delete --topic settings"},
	})
}
