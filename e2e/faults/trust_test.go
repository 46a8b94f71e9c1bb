package faults

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firnlog/firn/e2e/harness"
)

// eager makes the collector delete what it may delete at once, so that what is still there was spared on purpose.
var eager = []string{"--archive-grace", "500ms", "--archive-interval", "100ms"}

// eagerRounds are so many rounds that an eager collector lists the bucket three times, and so deletes an orphan that it
// saw at the first and that is old enough at the third at the latest.
const eagerRounds = 20

// waitRounds waits until eager collectors have had time to do all that they would do.
func waitRounds(t *testing.T, bs ...*harness.Broker) {
	t.Helper()
	from := make([]float64, len(bs))
	for i, b := range bs {
		from[i] = b.Metric("firn_gc_rounds_total")
	}
	for i, b := range bs {
		harness.Eventually(t, time.Minute, "the collector makes no rounds", func() bool {
			return b.Metric("firn_gc_rounds_total") >= from[i]+eagerRounds
		})
	}
}

// files reads a dir store: path to content. Markers and probes, which come and go, are left out.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".firn" || d.Name() == "markers"):
			return fs.SkipDir
		case d.IsDir() || strings.HasPrefix(d.Name(), "probe-"):
			return nil
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	}))
	return all
}

// plantOrphan puts a copy of one of these objects, a segment, beside it, under a name that no ledger has.
func plantOrphan(t *testing.T, among map[string]string) string {
	t.Helper()
	for path, content := range among {
		if harness.IsSegment(path) {
			orphan := path[:len(path)-32] + strings.Repeat("0", 32)
			require.NoError(t, os.WriteFile(orphan, []byte(content), 0o600))
			return orphan
		}
	}
	t.Fatal("there is no segment")
	return ""
}

// since gives what came into the store after before was read.
func since(t *testing.T, store string, before map[string]string) map[string]string {
	t.Helper()
	all := files(t, store)
	for path := range before {
		delete(all, path)
	}
	return all
}

// requireCollects proves that this collector deletes orphans within eagerRounds, so that the tests below mean something.
func requireCollects(t *testing.T, b *harness.Broker, store string) {
	t.Helper()
	orphan := plantOrphan(t, files(t, store))
	waitRounds(t, b)
	require.NoFileExists(t, orphan, "the collector would not have deleted anything anyway")
}

// requireSpared checks that all of before is there as it was.
func requireSpared(t *testing.T, store string, before map[string]string) {
	t.Helper()
	require.NotEmpty(t, before)
	after := files(t, store)
	for path, content := range before {
		now, there := after[path]
		require.True(t, there, "object %s was deleted", path)
		require.True(t, now == content, "object %s was overwritten", path)
	}
}

// requireDistrust waits for the sentence: it names the bucket and says why.
func requireDistrust(t *testing.T, b *harness.Broker, store, why string) {
	t.Helper()
	harness.Eventually(t, time.Minute, "the broker does not say that it distrusts the bucket", func() bool {
		for line := range strings.Lines(b.Log()) {
			if strings.Contains(line, "not trusted") && strings.Contains(line, store) && strings.Contains(line, why) {
				return true
			}
		}
		return false
	})
	require.InDelta(t, 1, b.Metric("firn_gc_distrust"), 0)
}

// archived creates a topic if need be, produces lines [from, from+n) to it and waits until they are archived.
func archived(t *testing.T, b *harness.Broker, topic string, from, n int) {
	t.Helper()
	if from == 0 {
		b.MustRun("", "topic", "create", topic, "-p", "1", "-c", "firn.remote.upload.max.lag.ms=100")
	}
	b.MustRun(lines(topic, from, n), "produce", topic)
	b.WaitArchived(t, topic, time.Minute)
}

func consumed(b *harness.Broker, topic string) string {
	return b.MustRun("", "consume", topic, "--from", "earliest", "--to", "latest")
}

// TestEmptyMetadataDeletesNothing (I-35): an empty etcd on a used bucket deletes nothing and overwrites nothing; the
// broker starts, serves new topics, and says which bucket it distrusts and why.
func TestEmptyMetadataDeletesNothing(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	first := harness.Start(t, harness.Options{Store: "dir://" + store, Args: eager})
	archived(t, first, "old", 0, 100)
	requireCollects(t, first, store)
	first.Stop()
	before := files(t, store)

	second := harness.Start(t, harness.Options{Store: "dir://" + store, Args: eager})
	archived(t, second, "new", 0, 100)
	requireDistrust(t, second, store, "already held other data")
	orphan := plantOrphan(t, since(t, store, before))
	waitRounds(t, second)
	require.Equal(t, lines("new", 0, 100), consumed(second, "new"))
	requireSpared(t, store, before)
	require.FileExists(t, orphan, "something was deleted from a bucket that is not trusted")

	// The next start knows it still, with a bucket that now has an owner of its own.
	second.Stop()
	second.Launch()
	second.WaitReady()
	waitRounds(t, second)
	require.InDelta(t, 1, second.Metric("firn_gc_distrust"), 0)
	requireSpared(t, store, before)
	require.FileExists(t, orphan)
}

// TestOlderMetadataDeletesNothing (I-35): an etcd that was set back knows nothing of the segments and topics that came
// later. To it they look like orphans, and a log start that retention moves would drop what it still names.
func TestOlderMetadataDeletesNothing(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	b := harness.Start(t, harness.Options{Store: "dir://" + store, Args: eager})
	archived(t, b, "old", 0, 100)
	requireCollects(t, b, store)
	b.Stop()
	metadata, backup := filepath.Join(b.Options.Data, "metadata"), filepath.Join(t.TempDir(), "backup")
	require.NoError(t, os.CopyFS(backup, os.DirFS(metadata)))

	b.Launch()
	b.WaitReady()
	archived(t, b, "old", 100, 100)
	archived(t, b, "later", 0, 100)
	waitRounds(t, b)
	b.Stop()
	before := files(t, store)
	require.NoError(t, os.RemoveAll(metadata))
	require.NoError(t, os.CopyFS(metadata, os.DirFS(backup)))

	b.Launch()
	b.WaitReady()
	archived(t, b, "new", 0, 100)
	requireDistrust(t, b, store, "older than the bucket")
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Kafka))
	require.NoError(t, err)
	defer cl.Close()
	short := "1"
	changed, err := kadm.NewClient(cl).AlterTopicConfigs(context.Background(), []kadm.AlterConfig{{Name: "retention.ms", Value: &short}}, "old")
	require.NoError(t, err)
	require.NoError(t, changed[0].Err)
	waitRounds(t, b)
	requireSpared(t, store, before)
	rows, err := b.Tiers("old")
	require.NoError(t, err)
	require.Zero(t, rows[0].LogStart, "retention moved the log start")
	require.Equal(t, lines("old", 0, 200), consumed(b, "old"))
	require.Equal(t, lines("new", 0, 100), consumed(b, "new"))
}

// TestSecondClusterDeletesNothing (I-35): a second cluster on the same bucket touches nothing of the first, which goes on
// as if it were alone.
func TestSecondClusterDeletesNothing(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	first := harness.Start(t, harness.Options{Store: "dir://" + store, Args: eager})
	archived(t, first, "events", 0, 100)
	waitRounds(t, first)
	before := files(t, store)

	second := harness.Start(t, harness.Options{Store: "dir://" + store, Args: eager})
	archived(t, second, "events", 0, 50)
	requireDistrust(t, second, store, "give this cluster a prefix of its own")
	plantOrphan(t, since(t, store, before)) // in the second's own folders, which it leaves alone as well
	archived(t, first, "events", 100, 100)
	all := files(t, store)
	waitRounds(t, first, second)
	requireSpared(t, store, before)
	requireSpared(t, store, all)

	// The first still collects what is its own, and only that.
	mine := plantOrphan(t, before)
	waitRounds(t, first)
	require.NoFileExists(t, mine)
	require.Zero(t, first.Metric("firn_gc_distrust"))
	requireSpared(t, store, all)

	for _, b := range []*harness.Broker{first, second} {
		b.Stop()
		require.NoError(t, os.RemoveAll(filepath.Join(b.Options.Data, "cache")))
		b.Launch()
		b.WaitReady()
	}
	require.Equal(t, lines("events", 0, 200), consumed(first, "events"))
	require.Equal(t, lines("events", 0, 50), consumed(second, "events"))
}
