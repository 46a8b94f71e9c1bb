package kafkatools

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// cluster asks what the cluster is and can do.
func (k *bench) cluster(t *testing.T) {
	k.fill(t, "weighed", 1000)
	folder := t.TempDir()
	move := filepath.Join(folder, "move.json")
	require.NoError(t, os.WriteFile(move, []byte(`{"version":1,"partitions":[{"topic":"weighed","partition":0,"replicas":[1]}]}`), 0o600))
	wanted := filepath.Join(folder, "topics.json")
	require.NoError(t, os.WriteFile(wanted, []byte(`{"version":1,"topics":[{"topic":"weighed"}]}`), 0o600))
	k.steps(t, []step{
		{run: "cluster cluster-id", want: []string{"Cluster ID: "}},
		{run: "cluster list-endpoints", want: []string{"1 127.0.0.1 ", " null unfenced broker"}},
		// No level of a protocol that does not work yet is finalized.
		{run: "features describe", want: []string{"Feature: metadata.version"}, not: []string{"Feature: group.version", "Feature: transaction.version", "Feature: share.version", "Feature: streams.version"}},
		{run: "api-versions", want: []string{
			"(id: 1 rack: null isFenced: false) -> (", "Produce(0): 0 to 13 [usable: 13]", "Fetch(1): 4 to 18 [usable: 18]", "ListOffsets(2): 1 to 11 [usable: 11]",
			"OffsetCommit(8): 2 to 10 [usable: 10]", "DescribeConfigs(32): 1 to 4 [usable: 4]", "IncrementalAlterConfigs(44): 0 to 1 [usable: 1]",
			"DescribeLogDirs(35): 1 to 5 [usable: 5]", "DescribeProducers(61): 0 [usable: 0]", "ListConfigResources(74): 0 to 1 [usable: 1]", "DescribeTopicPartitions(75): 0 [usable: 0]",
			"AddPartitionsToTxn(24): UNSUPPORTED", "ConsumerGroupHeartbeat(68): UNSUPPORTED",
		}},
		{run: "log-dirs --describe --broker-list 7", code: 1, want: []string{"7"}},
		{run: "leader-election --election-type preferred --all-topic-partitions"},
		{run: "leader-election --election-type unclean --topic weighed --partition 0", want: []string{"Valid replica already elected for partitions weighed-0"}},
		{run: "leader-election --election-type preferred --topic nonesuch --partition 0", code: 1, want: []string{"nonesuch"}},
		{run: "reassign --list", want: []string{"No partition reassignments found."}},
		{run: "reassign --generate --topics-to-move-json-file " + wanted + " --broker-list 1", want: []string{"Proposed partition reassignment configuration", `"topic":"weighed","partition":1,"replicas":[1]`}},
		{run: "reassign --execute --reassignment-json-file " + move, want: []string{"Successfully started partition reassignment for weighed-0"}},
		{run: "reassign --verify --reassignment-json-file " + move, want: []string{"Reassignment of partition weighed-0 is completed."}},
		{run: "transactions find-hanging --broker-id 1", want: []string{"Topic Partition ProducerId"}},
		{run: "transactions describe-producers --topic weighed --partition 0", want: []string{"ProducerId ProducerEpoch LatestCoordinatorEpoch LastSequence"}},
		{run: "transactions list", code: 1, want: []string{"does not support LIST_TRANSACTIONS"}},
		{run: "client-metrics --list"},
		{run: "configs --entity-type users --describe", code: 1, want: []string{"does not support DESCRIBE_CLIENT_QUOTAS"}},
	})
	t.Run("log-dirs --describe --topic-list", k.logDirs)
}

// logDir is one folder in what the log-dirs tool prints.
type logDir struct {
	LogDir     string
	Error      *string
	Partitions []struct {
		Partition       string
		Size, OffsetLag int64
		IsFuture        bool
	}
}

// logDirs: the tool's own JSON names the folder and each replica with its size, and the archive likewise.
func (k *bench) logDirs(t *testing.T) {
	code, out := k.call(t, "", "topics --create --topic shipped --partitions 2")
	require.Equal(t, 0, code, out)
	// The topics tool refuses configs that are not Kafka's before it asks the broker; this one does not.
	code, out = k.call(t, "", "configs --topic shipped --alter --add-config firn.remote.upload.max.lag.ms=1000")
	require.Equal(t, 0, code, out)
	for p := range 2 {
		k.b.MustRun(strings.Repeat("a line that is archived\n", 500), "produce", "shipped", "--partition", fmt.Sprint(p))
	}
	k.b.WaitArchived(t, "shipped", time.Minute)
	code, out = k.call(t, "", "log-dirs --describe --broker-list 1 --topic-list weighed,shipped")
	require.Equal(t, 0, code, out)
	var told struct {
		Brokers []struct{ LogDirs []logDir }
	}
	at := strings.Index(out, "{")
	require.GreaterOrEqual(t, at, 0, out)
	require.NoError(t, json.NewDecoder(strings.NewReader(out[at:])).Decode(&told))
	require.Len(t, told.Brokers, 1)
	sizes := map[string]map[string]int64{}
	for _, dir := range told.Brokers[0].LogDirs {
		require.Nil(t, dir.Error)
		sizes[dir.LogDir] = map[string]int64{}
		for _, p := range dir.Partitions {
			require.Zero(t, p.OffsetLag)
			require.False(t, p.IsFuture)
			sizes[dir.LogDir][p.Partition] = p.Size
		}
	}
	local := sizes[filepath.Join(k.b.Options.Data, "log")]
	require.Len(t, local, 4, out)
	for name, size := range local {
		require.Greater(t, size, int64(500*len("1 of partition 1")), name)
	}
	archive := sizes["dir://"+filepath.Join(k.b.Options.Data, "store")]
	require.NotNil(t, archive, out)
	for _, name := range []string{"shipped-0", "shipped-1"} {
		require.Positive(t, archive[name], out)
	}
}
