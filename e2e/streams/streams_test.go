// Package streams runs a word count of Kafka Streams, unmodified, against firn, and kills both.
package streams

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
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

const (
	partitions  = 4
	application = "wordcount"
	repartition = application + "-words-repartition"
)

// app is the application: what it reads, what it must come to, and its instances.
type app struct {
	t       *testing.T
	b       *harness.Broker
	program javatools.Program
	dir     string
	cl      *kgo.Client
	adm     *kadm.Client
	rng     *rand.Rand
	next    [partitions]int // number of the next line of each partition
	truth   map[string]int
	from    map[string]kadm.ListedOffsets // where the outputs of the application's present life begin
}

func newApp(t *testing.T) *app {
	jars := javatools.Streams.Fetch(t)
	classes := javatools.Compile(t, javatools.ClassPath(jars), "testdata/WordCount.java")
	a := &app{t: t, b: harness.Start(t, harness.Options{}), dir: t.TempDir(), rng: rand.New(rand.NewPCG(3, 1)), truth: map[string]int{},
		from: map[string]kadm.ListedOffsets{}}
	a.program = javatools.Program{ClassPath: javatools.ClassPath(classes, jars), Class: "WordCount"}
	for _, topic := range []string{"lines", "plain", "exact"} {
		a.b.MustRun("", "topic", "create", topic, "-p", fmt.Sprint(partitions))
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(a.b.Kafka), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic("lines"))
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	a.cl, a.adm = cl, kadm.NewClient(cl)
	return a
}

// instance starts an instance of the application, whose state directory outlives it.
func (a *app) instance(name string) *javatools.Process {
	p := a.program
	p.Name, p.Args = "instance "+name, []string{a.b.Kafka, filepath.Join(a.dir, name)}
	return p.Start(a.t)
}

// write sends lines and keeps the truth about them.
func (a *app) write(lines int) {
	a.t.Helper()
	var records []*kgo.Record
	for range lines {
		p := a.rng.IntN(partitions)
		line := fmt.Sprintf("%d:%d", p, a.next[p])
		a.next[p]++
		for range 1 + a.rng.IntN(8) {
			word := fmt.Sprintf("word%d", int(a.rng.ExpFloat64()*20))
			a.truth[word]++
			line += " " + word
		}
		records = append(records, &kgo.Record{Partition: int32(p), Value: []byte(line)})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	require.NoError(a.t, a.cl.ProduceSync(ctx, records...).FirstErr())
}

// caughtUp waits until the application has committed all of its input: first the lines, for what they became is in the
// repartition topic by then, then that. Streams flushes what it wrote, stores and output, before it commits.
func (a *app) caughtUp() {
	a.t.Helper()
	for _, topic := range []string{"lines", repartition} {
		var state string
		for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
			var done bool
			if done, state = a.committed(topic); done {
				break
			}
			if time.Now().After(deadline) {
				a.t.Fatalf("the application does not get to the end of %s: %s", topic, state)
			}
		}
	}
}

func (a *app) committed(topic string) (bool, string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ends, err := a.adm.ListEndOffsets(ctx, topic)
	if err != nil || ends.Error() != nil || len(ends[topic]) != partitions {
		return false, fmt.Sprint(err, ends.Error())
	}
	commits, err := a.adm.FetchOffsets(ctx, application)
	if err != nil {
		return false, err.Error()
	}
	for p, end := range ends[topic] {
		if at, ok := commits.Lookup(topic, p); end.Offset > 0 && (!ok || at.At != end.Offset) {
			return false, fmt.Sprintf("partition %d committed %d of %d", p, at.At, end.Offset)
		}
	}
	return true, ""
}

// latest folds an output topic by key: the last count of each word in the application's present life.
func (a *app) latest(topic string) map[string]int {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ends, err := a.adm.ListEndOffsets(ctx, topic)
	require.NoError(a.t, err)
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	cl, err := kgo.NewClient(kgo.SeedBrokers(a.b.Kafka), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(a.t, err)
	defer cl.Close()
	counts := make(map[string]int)
	for left > 0 {
		f := cl.PollFetches(ctx)
		require.NoError(a.t, f.Err())
		f.EachRecord(func(r *kgo.Record) {
			n, err := strconv.Atoi(string(r.Value))
			require.NoError(a.t, err)
			if first, ok := a.from[topic].Lookup(topic, r.Partition); !ok || r.Offset >= first.Offset {
				counts[string(r.Key)] = n
			}
			left--
		})
	}
	return counts
}

// TestWordCount: an application of two instances ends with the right counts, although instances die, one with its
// state directory, and the broker dies.
//
// Streams promises at-least-once here. Where an instance dies with everything committed the plain count must be exact;
// where it dies in the middle of its work, the plain count may only be too high, and the one that skips what it has seen
// must be exact.
func TestWordCount(t *testing.T) {
	a := newApp(t)
	lines := harness.Count(1000, 30_000)
	one, two := a.instance("one"), a.instance("two")
	a.write(lines)
	one.Until(2*time.Minute, "state RUNNING")
	two.Until(2*time.Minute, "state RUNNING")
	a.caughtUp()
	require.Equal(t, a.truth, a.latest("plain"))
	require.Equal(t, a.truth, a.latest("exact"))
	a.internalTopics()

	t.Log("both die with everything committed; one loses its state directory and restores from the changelogs")
	one.Kill()
	two.Kill()
	require.NoError(t, os.RemoveAll(filepath.Join(a.dir, "one")))
	one, two = a.instance("one"), a.instance("two")
	a.write(lines)
	a.caughtUp()
	require.Equal(t, a.truth, a.latest("plain"))
	require.Equal(t, a.truth, a.latest("exact"))
	require.Contains(t, one.Output(), "restored plain")
	require.Contains(t, one.Output(), "restored exact")

	for round := range harness.Count(1, 6) {
		t.Logf("round %d: an instance dies at work, comes back without its state, and the broker dies at work", round)
		a.write(lines)
		one.Kill()
		require.NoError(t, os.RemoveAll(filepath.Join(a.dir, "one")))
		a.write(lines)
		one = a.instance("one")
		a.b.Kill()
		a.b.Launch()
		a.b.WaitReady()
		a.write(lines)
		a.caughtUp()
		require.Equal(t, a.truth, a.latest("exact"))
		plain := a.latest("plain")
		for word, n := range a.truth {
			require.GreaterOrEqual(t, plain[word], n, word)
		}
		one, two = two, one
	}
	for _, instance := range []*javatools.Process{one, two} {
		instance.Stop()
		require.Contains(t, instance.Output(), "closed in state NOT_RUNNING")
	}
	a.reset()
}

// reset takes the application back to its beginning with Kafka's tool for that, which moves its group and deletes its
// internal topics, and lets it count everything once more.
func (a *app) reset() {
	a.t.Helper()
	javatools.MustTool(a.t, "", "org.apache.kafka.tools.StreamsResetter", "--bootstrap-server", a.b.Kafka, "--application-id", application,
		"--input-topics", "lines", "--force")
	topics, err := a.adm.ListTopics(context.Background())
	require.NoError(a.t, err)
	require.NotContains(a.t, topics, repartition)
	require.NoError(a.t, os.RemoveAll(filepath.Join(a.dir, "one")))
	for _, topic := range []string{"plain", "exact"} {
		a.from[topic], err = a.adm.ListEndOffsets(context.Background(), topic)
		require.NoError(a.t, err)
	}
	one := a.instance("one")
	one.Until(2*time.Minute, "state RUNNING")
	a.caughtUp()
	require.Equal(a.t, a.truth, a.latest("plain"))
	require.Equal(a.t, a.truth, a.latest("exact"))
}

// internalTopics: what Streams has created is what it asked for.
func (a *app) internalTopics() {
	a.t.Helper()
	want := map[string]string{repartition: "delete", application + "-plain-changelog": "compact", application + "-exact-changelog": "compact"}
	topics, err := a.adm.ListTopics(context.Background())
	require.NoError(a.t, err)
	for name, policy := range want {
		require.Contains(a.t, topics, name)
		require.Len(a.t, topics[name].Partitions, partitions)
		configs, err := a.adm.DescribeTopicConfigs(context.Background(), name)
		require.NoError(a.t, err)
		rc, err := configs.On(name, nil)
		require.NoError(a.t, err)
		for _, c := range rc.Configs {
			if c.Key == "cleanup.policy" {
				require.Equal(a.t, policy, strings.TrimSpace(c.MaybeValue()), name)
			}
		}
	}
}
