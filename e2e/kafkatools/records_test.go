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

// records writes, reads, counts and deletes records.
func (k *bench) records(t *testing.T) {
	var lines strings.Builder
	for i := range 300 {
		fmt.Fprintf(&lines, "h:%d\tkey%d\tvalue %d\n", i, i, i)
	}
	file := filepath.Join(t.TempDir(), "delete.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"partitions":[{"topic":"ledger","partition":0,"offset":5}],"version":1}`), 0o600))
	beyond := filepath.Join(t.TempDir(), "beyond.json")
	require.NoError(t, os.WriteFile(beyond, []byte(`{"partitions":[{"topic":"ledger","partition":0,"offset":5000}],"version":1}`), 0o600))
	k.steps(t, []step{
		{run: "topics --create --topic ledger --partitions 1"},
		{run: "console-producer --topic ledger --reader-property parse.key=true --reader-property parse.headers=true --compression-codec zstd", stdin: lines.String()},
		{run: "console-consumer --topic ledger --from-beginning --max-messages 300 --timeout-ms 60000 --formatter-property print.key=true --formatter-property print.headers=true --formatter-property print.offset=true",
			want: []string{"Offset:0 h:0 key0 value 0\n", "Offset:299 h:299 key299 value 299\n", "Processed a total of 300 messages"}},
		{run: "console-consumer --topic ledger --partition 0 --offset 290 --max-messages 10 --timeout-ms 60000 --isolation-level read_committed",
			want: []string{"value 290\n", "value 299\n", "Processed a total of 10 messages"}, not: []string{"value 289\n"}},
		{run: "console-consumer --include ledg.* --from-beginning --max-messages 300 --timeout-ms 60000", want: []string{"Processed a total of 300 messages"}},
		{run: "get-offsets --topic ledger", want: []string{"ledger:0:300\n"}},
		{run: "get-offsets --topic ledger --time earliest", want: []string{"ledger:0:0\n"}},
		{run: "get-offsets --topic ledger --time max-timestamp", want: []string{"ledger:0:"}},
		{run: "get-offsets --topic ledger --time earliest-local", want: []string{"ledger:0:"}},
		{run: "get-offsets --topic ledger --time latest-tiered"},
		{run: "get-offsets --topic ledger --time 1", want: []string{"ledger:0:0\n"}},
		{run: "get-offsets --topic-partitions ledger:0,__consumer_offsets:0-3", want: []string{"ledger:0:300\n", "__consumer_offsets:2:"}, not: []string{"__consumer_offsets:3"}},
		{run: "get-offsets --exclude-internal-topics", want: []string{"ledger:0:300\n"}, not: []string{"__consumer_offsets"}},
		{run: "delete-records --offset-json-file " + file, want: []string{"partition: ledger-0 low_watermark: 5"}},
		{run: "delete-records --offset-json-file " + beyond, want: []string{"partition: ledger-0 error: org.apache.kafka.common.errors.OffsetOutOfRangeException"}},
		{run: "get-offsets --topic ledger --time -2", want: []string{"ledger:0:5\n"}},
		{run: "console-consumer --topic ledger --from-beginning --max-messages 295 --timeout-ms 60000", want: []string{"value 5\n", "Processed a total of 295 messages"}, not: []string{"value 4\n"}},
		{run: "producer-perf-test --topic ledger --num-records 20000 --record-size 500 --throughput -1 --command-property acks=all --command-property enable.idempotence=true", want: []string{"20000 records sent"}},
		{run: "producer-perf-test --topic ledger --num-records 2000 --record-size 100 --throughput -1 --command-property acks=1 --command-property compression.type=lz4", want: []string{"2000 records sent"}},
		{run: "consumer-perf-test --topic ledger --num-records 22295 --timeout 60000 --group perf", want: []string{"data.consumed.in.nMsg", ", 22295, "}},
		{run: "e2e-latency --topic ledger --num-records 50 --producer-acks all --record-size 100", want: []string{"Avg latency: "}},
		{run: "topics --delete --topic ledger"},
		{run: "topics --create --topic compatible"},
		{run: "compatibility --topic compatible --offsets-for-times-supported true --cluster-id-supported true --num-cluster-nodes 1 --expect-record-too-large-exception false" +
			" --create-topics-supported true --describe-acls-supported false --describe-configs-supported true --idempotent-producer-supported true", want: []string{"SUCCESS."}},
	})
}

// verifiable lets Kafka's verifiable producer and two verifiable consumers of one group work at the same time; what each
// says of itself must agree with what was sent.
func (k *bench) verifiable(t *testing.T) {
	const n = 2000
	code, out := k.call(t, "", "topics --create --topic checked --partitions 4")
	require.Equal(t, 0, code, out)
	consumer := []string{"--topic", "checked", "--group-id", "checkers", "--reset-policy", "earliest", "--verbose", "--session-timeout", "10000"}
	one, two := k.background(t, verifiableConsumer, consumer...), k.background(t, verifiableConsumer, consumer...)
	one.Until(time.Minute, `"name":"partitions_assigned"`)
	two.Until(time.Minute, `"name":"partitions_assigned"`)
	producer := k.background(t, verifiableProducer, "--topic", "checked", "--max-messages", fmt.Sprint(n), "--throughput", "1000", "--acks", "-1")
	require.Equal(t, 0, producer.Wait(time.Minute))
	var sent struct{ Sent, Acked int }
	values := map[string]int{}
	events(t, producer.Output(), func(name string, line []byte) {
		switch name {
		case "tool_data":
			require.NoError(t, json.Unmarshal(line, &sent))
		case "producer_send_success":
			var r struct{ Value string }
			require.NoError(t, json.Unmarshal(line, &r))
			values[r.Value] = 0
		case "producer_send_error":
			t.Errorf("%s", line)
		}
	})
	require.Equal(t, n, sent.Sent)
	require.Equal(t, n, sent.Acked)
	require.Len(t, values, n)

	deadline := time.Now().Add(time.Minute)
	for committed(t, one.Output())+committed(t, two.Output()) < n {
		require.True(t, time.Now().Before(deadline), "the consumers do not commit every record")
		time.Sleep(50 * time.Millisecond)
	}
	one.Stop()
	two.Stop()
	for _, out := range []string{one.Output(), two.Output()} {
		require.Contains(t, out, `"name":"shutdown_complete"`)
		events(t, out, func(name string, line []byte) {
			if name == "record_data" {
				var r struct{ Value string }
				require.NoError(t, json.Unmarshal(line, &r))
				values[r.Value]++
			}
		})
	}
	for value, times := range values {
		require.Equal(t, 1, times, value)
	}
	k.steps(t, []step{{run: "consumer-groups --describe --group checkers", want: []string{"checkers checked "}}})
}

// events calls fn for each line of JSON that a verifiable tool printed.
func events(t *testing.T, out string, fn func(name string, line []byte)) {
	t.Helper()
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "{") || !strings.HasSuffix(line, "}\n") {
			continue
		}
		var e struct{ Name string }
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		fn(e.Name, []byte(line))
	}
}

// committed sums the last offsets that a verifiable consumer says it has committed.
func committed(t *testing.T, out string) int {
	t.Helper()
	last := map[int]int{}
	events(t, out, func(name string, line []byte) {
		if name != "offsets_committed" {
			return
		}
		var e struct {
			Success bool
			Offsets []struct{ Partition, Offset int }
		}
		require.NoError(t, json.Unmarshal(line, &e))
		for _, o := range e.Offsets {
			if e.Success {
				last[o.Partition] = o.Offset
			}
		}
	})
	sum := 0
	for _, offset := range last {
		sum += offset
	}
	return sum
}
