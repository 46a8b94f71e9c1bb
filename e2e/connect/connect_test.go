// Package connect runs Kafka Connect in distributed mode, unmodified, against firn: lines of a file become records and
// lines of another file, while workers and the broker die.
package connect

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/e2e/javatools"
)

func TestMain(m *testing.M) { harness.Main(m) }

// worker is one process of the Connect cluster.
type worker struct {
	*javatools.Process
	name, rest string
}

// cluster is a Connect cluster of two workers that carries lines from one file through a topic to another file.
type cluster struct {
	t       *testing.T
	b       *harness.Broker
	program javatools.Program
	dir     string
	workers [2]*worker
	written int // lines in the source file so far
}

const (
	source = "lines-in"
	sink   = "lines-out"
	topic  = "lines"
)

func newCluster(t *testing.T) *cluster {
	libs, plugins := javatools.Kafka.Fetch(t), javatools.ConnectFile.Fetch(t)
	c := &cluster{t: t, b: harness.Start(t, harness.Options{}), dir: t.TempDir()}
	c.program = javatools.Program{ClassPath: javatools.ClassPath(libs), Class: "org.apache.kafka.connect.cli.ConnectDistributed"}
	c.b.MustRun("", "topic", "create", topic, "-p", "1")
	for i := range c.workers {
		w := &worker{name: fmt.Sprintf("worker %d", i), rest: harness.FreeAddr(t)}
		c.workers[i] = w
		config := fmt.Sprintf(`bootstrap.servers=%s
group.id=connect
listeners=http://%s
plugin.path=%s
plugin.discovery=service_load
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
config.storage.topic=connect-configs
offset.storage.topic=connect-offsets
status.storage.topic=connect-status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.storage.partitions=5
offset.flush.interval.ms=300
scheduled.rebalance.max.delay.ms=500
session.timeout.ms=6000
heartbeat.interval.ms=1000
consumer.session.timeout.ms=6000
consumer.heartbeat.interval.ms=1000
`, c.b.Kafka, w.rest, plugins)
		require.NoError(t, os.WriteFile(c.file(w.name), []byte(config), 0o600))
		c.start(w)
	}
	return c
}

func (c *cluster) file(name string) string { return filepath.Join(c.dir, name) }

func (c *cluster) start(w *worker) {
	p := c.program
	p.Name, p.Args = w.name, []string{c.file(w.name)}
	w.Process = p.Start(c.t)
}

// call asks a worker; an answer that is not of the 200s is an error.
func (w *worker) call(method, path string, body any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second) // longer than a worker's own patience
	defer cancel()
	payload, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+w.rest+path, bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode, answer)
	}
	return answer, err
}

// must calls again while workers agree on who leads, which they answer with 409 and 500.
func (c *cluster) must(w *worker, method, path string, body any) []byte {
	c.t.Helper()
	var (
		answer []byte
		err    error
	)
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if answer, err = w.call(method, path, body); err == nil {
			return answer
		}
	}
	c.t.Fatal(err)
	return nil
}

// running waits until a connector and its one task run, as a worker tells, and returns the index of the task's worker.
func (c *cluster) running(ask *worker, connector string) int {
	c.t.Helper()
	var (
		last []byte
		err  error
	)
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		var status struct {
			Connector struct{ State string }
			Tasks     []struct {
				State    string
				WorkerID string `json:"worker_id"`
			}
		}
		if last, err = ask.call(http.MethodGet, "/connectors/"+connector+"/status", nil); err != nil || json.Unmarshal(last, &status) != nil {
			continue
		}
		if status.Connector.State != "RUNNING" || len(status.Tasks) != 1 || status.Tasks[0].State != "RUNNING" {
			continue
		}
		for i, w := range c.workers {
			if status.Tasks[0].WorkerID == w.rest {
				return i
			}
		}
	}
	c.t.Fatalf("%s does not run: %s %v", connector, last, err)
	return 0
}

// write appends lines to the source file, each in one write, so that the source never sees half a line as a whole one.
func (c *cluster) write(n int) {
	c.t.Helper()
	f, err := os.OpenFile(c.file("in"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(c.t, err)
	defer func() { require.NoError(c.t, f.Close()) }()
	var lines strings.Builder
	for range n {
		lines.WriteString(line(c.written) + "\n")
		c.written++
	}
	_, err = f.WriteString(lines.String())
	require.NoError(c.t, err)
}

func line(i int) string { return fmt.Sprintf("<line %07d>", i) }

var token = regexp.MustCompile(`<line \d{7}>`)

// arrived counts each line of the sink's file. A sink that dies between a line and its end leaves two lines in one,
// which is why lines are looked for by their form.
func (c *cluster) arrived() map[string]int {
	b, err := os.ReadFile(c.file("out"))
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	counts := make(map[string]int)
	for _, l := range token.FindAllString(string(b), -1) {
		counts[l]++
	}
	return counts
}

// carried waits until the sink has written each line, and then demands that there is no other.
func (c *cluster) carried() map[string]int {
	c.t.Helper()
	harness.Eventually(c.t, 3*time.Minute, "the sink has not written every line", func() bool { return len(c.arrived()) >= c.written })
	counts := c.arrived()
	require.Len(c.t, counts, c.written)
	for i := range c.written {
		require.NotZero(c.t, counts[line(i)], line(i))
	}
	return counts
}

// TestDistributed: lines of a file become lines of another through a topic. Each arrives just once while nothing dies,
// and at least once, which is what Connect promises, when workers and the broker do; nothing else arrives.
func TestDistributed(t *testing.T) {
	c := newCluster(t)
	lines := harness.Count(2000, 50_000)
	one, two := c.workers[0], c.workers[1]
	c.must(one, http.MethodPut, "/connectors/"+source+"/config", map[string]string{
		"connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector", "tasks.max": "1", "file": c.file("in"), "topic": topic, "batch.size": "50",
	})
	c.must(two, http.MethodPut, "/connectors/"+sink+"/config", map[string]string{
		"connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector", "tasks.max": "1", "file": c.file("out"), "topics": topic,
	})
	c.running(two, source)
	c.running(one, sink)
	c.write(lines)
	for l, n := range c.carried() {
		require.Equal(t, 1, n, l)
	}
	c.internalTopics()

	for round := range harness.Count(1, 5) {
		t.Logf("round %d: the worker of the source dies, then the broker, then the worker of the sink", round)
		c.lose(source, sink, lines)
		c.write(lines)
		c.b.Kill()
		c.b.Launch()
		c.b.WaitReady()
		c.write(lines)
		c.lose(sink, source, lines)
		c.carried()
	}
	c.offsets()
	require.Equal(t, int64(c.written), c.distinctRecords())
	c.resetSink()
}

// lose kills the worker of a connector's task at work, waits until the other one has taken over, and starts it again.
func (c *cluster) lose(connector, other string, lines int) {
	c.t.Helper()
	victim := c.running(c.workers[0], connector)
	c.write(lines)
	c.workers[victim].Kill()
	c.write(lines)
	survivor := c.workers[1-victim]
	harness.Eventually(c.t, 2*time.Minute, "the other worker has not taken over", func() bool { return c.running(survivor, connector) == 1-victim })
	require.Equal(c.t, 1-victim, c.running(survivor, other))
	c.start(c.workers[victim])
	c.must(c.workers[victim], http.MethodGet, "/connectors", nil)
	c.running(survivor, connector)
}

// internalTopics: the three topics in which Connect keeps its own state are compacted.
func (c *cluster) internalTopics() {
	c.t.Helper()
	adm := c.admin()
	for name, partitions := range map[string]int{"connect-configs": 1, "connect-offsets": 5, "connect-status": 5} {
		topics, err := adm.ListTopics(context.Background(), name)
		require.NoError(c.t, err)
		require.Len(c.t, topics[name].Partitions, partitions, name)
		configs, err := adm.DescribeTopicConfigs(context.Background(), name)
		require.NoError(c.t, err)
		rc, err := configs.On(name, nil)
		require.NoError(c.t, err)
		for _, e := range rc.Configs {
			if e.Key == "cleanup.policy" {
				require.Equal(c.t, "compact", e.MaybeValue(), name)
			}
		}
	}
}

func (c *cluster) admin() *kadm.Client {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.b.Kafka))
	require.NoError(c.t, err)
	c.t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

// offsets: what the workers know of the connectors' offsets is the end of the file and the end of the topic.
func (c *cluster) offsets() {
	c.t.Helper()
	info, err := os.Stat(c.file("in"))
	require.NoError(c.t, err)
	ends, err := c.admin().ListEndOffsets(context.Background(), topic)
	require.NoError(c.t, err)
	want := map[string]string{
		source: fmt.Sprintf(`"position":%d}`, info.Size()),
		sink:   fmt.Sprintf(`"kafka_offset":%d}`, ends[topic][0].Offset),
	}
	for connector, text := range want {
		var answer []byte
		harness.Eventually(c.t, time.Minute, connector+" has not committed its last offset", func() bool {
			answer = c.must(c.workers[0], http.MethodGet, "/connectors/"+connector+"/offsets", nil)
			return strings.Contains(string(answer), text)
		})
	}
}

// distinctRecords reads the topic and counts the lines in it without their repetitions.
func (c *cluster) distinctRecords() int64 {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	ends, err := c.admin().ListEndOffsets(ctx, topic)
	require.NoError(c.t, err)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.b.Kafka), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(c.t, err)
	defer cl.Close()
	seen := make(map[string]bool)
	for next := int64(0); next < ends[topic][0].Offset; {
		f := cl.PollFetches(ctx)
		require.NoError(c.t, f.Err())
		f.EachRecord(func(r *kgo.Record) {
			seen[token.FindString(string(r.Value))] = true
			next = r.Offset + 1
		})
	}
	return int64(len(seen))
}

// resetSink: a stopped sink whose offsets are taken away (its group is deleted) begins anew and writes all again.
func (c *cluster) resetSink() {
	c.t.Helper()
	w := c.workers[0]
	c.must(w, http.MethodPut, "/connectors/"+sink+"/stop", nil)
	c.must(w, http.MethodDelete, "/connectors/"+sink+"/offsets", nil)
	require.NoError(c.t, os.Rename(c.file("out"), c.file("out.before")))
	c.must(w, http.MethodPut, "/connectors/"+sink+"/resume", nil)
	c.carried()
}
