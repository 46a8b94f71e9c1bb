// Package kafkatools runs Apache Kafka's own tools, unmodified, against firn.
package kafkatools

import (
	"crypto/sha512"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/e2e/javatools"
)

const (
	topics          = "org.apache.kafka.tools.TopicCommand"
	consoleProducer = "org.apache.kafka.tools.ConsoleProducer"
	consoleConsumer = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	getOffsets      = "org.apache.kafka.tools.GetOffsetShell"
	deleteRecords   = "org.apache.kafka.tools.DeleteRecordsCommand"
	producerPerf    = "org.apache.kafka.tools.ProducerPerformance"
	dumpLog         = "org.apache.kafka.tools.DumpLogSegments"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestToolsUnmodified follows one topic through its life with Kafka's tools alone.
func TestToolsUnmodified(t *testing.T) {
	javatools.Libs(t)
	b := harness.Start(t, harness.Options{})
	at := []string{"--bootstrap-server", b.Kafka}
	tool := func(stdin, class string, args ...string) string {
		t.Helper()
		return javatools.MustTool(t, stdin, class, append(append([]string{}, at...), args...)...)
	}

	require.Contains(t, tool("", topics, "--create", "--topic", "orders", "--partitions", "2", "--replication-factor", "1", "--config", "segment.bytes=1048576"), "Created topic orders")
	require.Contains(t, tool("", topics, "--list"), "orders\n")
	described := tool("", topics, "--describe", "--topic", "orders")
	require.Contains(t, described, "PartitionCount: 2")
	require.Contains(t, described, "segment.bytes=1048576")
	require.Contains(t, described, "Leader: ")
	tool("", topics, "--alter", "--topic", "orders", "--partitions", "3")
	require.Contains(t, tool("", topics, "--describe", "--topic", "orders"), "PartitionCount: 3")

	var lines strings.Builder
	for i := range 300 {
		fmt.Fprintf(&lines, "key%d\tvalue %d\n", i, i)
	}
	tool(lines.String(), consoleProducer, "--topic", "orders", "--reader-property", "parse.key=true")

	ends := tool("", getOffsets, "--topic", "orders")
	total, perPartition := 0, map[int]int{}
	for _, line := range strings.Fields(ends) {
		var p, n int
		_, err := fmt.Sscanf(line, "orders:%d:%d", &p, &n)
		require.NoError(t, err, line)
		perPartition[p] = n
		total += n
	}
	require.Equal(t, 300, total, ends)

	read := 0
	for p := range 3 {
		out := tool("", consoleConsumer, "--topic", "orders", "--partition", fmt.Sprint(p), "--from-beginning",
			"--max-messages", fmt.Sprint(perPartition[p]), "--timeout-ms", "20000", "--formatter-property", "print.key=true")
		for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
			require.Contains(t, lines.String(), line+"\n")
			read++
		}
	}
	require.Equal(t, 300, read)

	file := filepath.Join(t.TempDir(), "delete.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"partitions":[{"topic":"orders","partition":1,"offset":5}],"version":1}`), 0o600))
	require.Contains(t, tool("", deleteRecords, "--offset-json-file", file), "low_watermark: 5")
	require.Contains(t, tool("", getOffsets, "--topic", "orders", "--time", "-2"), "orders:1:5")

	perf := tool("", producerPerf, "--topic", "orders", "--num-records", "20000", "--record-size", "500", "--throughput", "-1",
		"--command-property", "acks=all", "--command-property", "enable.idempotence=true")
	require.Contains(t, perf, "20000 records sent")

	tool("", topics, "--delete", "--topic", "orders")
	require.NotContains(t, tool("", topics, "--list"), "orders")
}

// TestDumpLogSegments lets Kafka's checker read the files of a log that rolled several times.
func TestDumpLogSegments(t *testing.T) {
	javatools.Libs(t)
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
		out := javatools.MustTool(t, "", dumpLog, "--deep-iteration", "--print-data-log", "--files", log)
		records += strings.Count(out, "| offset: ")
		require.NotContains(t, out, "isvalid: false")
	}
	require.Equal(t, 10_000, records)
	for _, pattern := range []string{"*.index", "*.timeindex"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		require.NoError(t, err)
		require.Len(t, files, len(logs))
		out := javatools.MustTool(t, "", dumpLog, "--verify-index-only", "--files", strings.Join(files, ","))
		for _, complaint := range []string{"Mismatches in", "Index offsets", "not found", "out of order", "unequal"} {
			require.NotContains(t, out, complaint)
		}
		out = javatools.MustTool(t, "", dumpLog, "--files", strings.Join(files, ","))
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
