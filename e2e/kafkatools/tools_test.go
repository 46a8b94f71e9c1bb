// Package kafkatools runs Apache Kafka's own tools, unmodified, against firn.
package kafkatools

import (
	"crypto/sha512"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/e2e/javatools"
)

// mains are the main classes behind Kafka's scripts.
var mains = map[string]string{
	"topics":             "org.apache.kafka.tools.TopicCommand",
	"configs":            "kafka.admin.ConfigCommand",
	"consumer-groups":    "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
	"groups":             "org.apache.kafka.tools.GroupsCommand",
	"console-producer":   "org.apache.kafka.tools.ConsoleProducer",
	"console-consumer":   "org.apache.kafka.tools.consumer.ConsoleConsumer",
	"get-offsets":        "org.apache.kafka.tools.GetOffsetShell",
	"delete-records":     "org.apache.kafka.tools.DeleteRecordsCommand",
	"producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
	"consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
	"e2e-latency":        "org.apache.kafka.tools.EndToEndLatency",
	"log-dirs":           "org.apache.kafka.tools.LogDirsCommand",
	"api-versions":       "org.apache.kafka.tools.BrokerApiVersionsCommand",
	"leader-election":    "org.apache.kafka.tools.LeaderElectionCommand",
	"reassign":           "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
	"features":           "org.apache.kafka.tools.FeatureCommand",
	"cluster":            "org.apache.kafka.tools.ClusterTool",
	"transactions":       "org.apache.kafka.tools.TransactionsCommand",
	"client-metrics":     "org.apache.kafka.tools.ClientMetricsCommand",
	"compatibility":      "org.apache.kafka.tools.ClientCompatibilityTest",
}

const (
	dumpLog            = "org.apache.kafka.tools.DumpLogSegments"
	verifiableProducer = "org.apache.kafka.tools.VerifiableProducer"
	verifiableConsumer = "org.apache.kafka.tools.VerifiableConsumer"
)

func TestMain(m *testing.M) { harness.Main(m) }

// bench is a broker and a JVM that runs tools against it.
type bench struct {
	b     *harness.Broker
	shell *javatools.Shell
}

// step is one call of a tool and what it must come to.
type step struct {
	run   string   // the tool and its arguments; --bootstrap-server is added
	stdin string   // what it reads
	code  int      // its exit code
	want  []string // what it prints, spaces and tabs as one space
	not   []string // what it must not print
}

// call runs a tool: its name in mains, a subcommand where it has one, its arguments.
func (k *bench) call(t *testing.T, stdin, line string) (int, string) {
	t.Helper()
	words := strings.Fields(line)
	class := mains[words[0]]
	require.NotEmpty(t, class, words[0])
	address := []string{"--bootstrap-server", k.b.Kafka}
	at := 1
	if words[0] == "cluster" {
		at = 2 // after the subcommand
	}
	args := slices.Concat(words[1:at], address, words[at:])
	r := k.shell.Run(t, stdin, class, args...)
	out := regexp.MustCompile(`(?m)^\s+at .*\n`).ReplaceAllString(r.All(), "") // where in the tool an error came up
	return r.Code, regexp.MustCompile(`[ \t]+`).ReplaceAllString(out, " ")
}

// steps runs the calls in order, each as a test of its own.
func (k *bench) steps(t *testing.T, steps []step) {
	t.Helper()
	for _, s := range steps {
		t.Run(s.run, func(t *testing.T) {
			code, out := k.call(t, s.stdin, s.run)
			require.Equal(t, s.code, code, out)
			for _, want := range s.want {
				require.Contains(t, out, want)
			}
			for _, not := range s.not {
				require.NotContains(t, out, not)
			}
		})
	}
}

// background starts a tool that needs a JVM of its own.
func (k *bench) background(t *testing.T, class string, args ...string) *javatools.Process {
	t.Helper()
	return javatools.Program{Name: class, ClassPath: javatools.ClassPath(javatools.Libs(t)), Class: class,
		Args: append([]string{"--bootstrap-server", k.b.Kafka}, args...)}.Start(t)
}

// TestTools runs Kafka's tools, unmodified, each in the ways that people use it.
func TestTools(t *testing.T) {
	k := &bench{shell: javatools.NewShell(t), b: harness.Start(t, harness.Options{})}
	t.Run("topics", k.topics)
	t.Run("records", k.records)
	t.Run("verifiable", k.verifiable)
	t.Run("groups", k.groups)
	t.Run("reset", k.reset)
	t.Run("configs", k.configs)
	t.Run("brokers", k.brokerConfigs)
	t.Run("loggers", k.loggers)
	t.Run("group configs", k.groupConfigs)
	t.Run("cluster", k.cluster)
}

// TestDumpLogSegments lets Kafka's checker read the files of a log that rolled several times.
func TestDumpLogSegments(t *testing.T) {
	shell := javatools.NewShell(t)
	b := harness.Start(t, harness.Options{})
	b.MustRun("", "topic", "create", "dump", "-p", "1", "-c", "segment.bytes=1048576", "-c", "index.interval.bytes=1024", "-c", "remote.storage.enable=false")
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		var lines strings.Builder
		for i := range 2000 {
			fmt.Fprintf(&lines, "key%d\t%s %x %x %x\n", i, codec, sha512.Sum512(fmt.Append(nil, codec, i)), sha512.Sum512(fmt.Append(nil, i, codec)), sha512.Sum512(fmt.Append(nil, i)))
		}
		b.MustRun(lines.String(), "produce", "dump", "--format", "key-value", "--compression", codec)
	}
	b.Stop() // Kafka's tool reads the files of a broker at rest, as its own users do

	dir := findPartition(t, b.Options.Data, "dump-0")
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	require.NoError(t, err)
	require.Greater(t, len(logs), 2, "the log should have rolled")
	records := 0
	for _, log := range logs {
		out := shell.Must(t, "", dumpLog, "--deep-iteration", "--print-data-log", "--files", log)
		records += strings.Count(out, "| offset: ")
		require.NotContains(t, out, "isvalid: false")
	}
	require.Equal(t, 10_000, records)
	for _, pattern := range []string{"*.index", "*.timeindex"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		require.Len(t, files, len(logs))
		out := shell.Must(t, "", dumpLog, "--verify-index-only", "--files", strings.Join(files, ","))
		for _, complaint := range []string{"Mismatches in", "Index offsets", "not found", "out of order", "unequal"} {
			require.NotContains(t, out, complaint)
		}
		out = shell.Must(t, "", dumpLog, "--files", strings.Join(files, ","))
		for _, complaint := range []string{"Found timestamp mismatch", "Found out of order timestamp", "Mismatches", "Found index offset mismatch"} {
			require.NotContains(t, out, complaint)
		}
	}
}

func findPartition(t *testing.T, data, name string) string {
	t.Helper()
	var found string
	err := filepath.WalkDir(data, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == name {
			found = path
		}
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, found, "no folder %s under %s", name, data)
	return found
}
