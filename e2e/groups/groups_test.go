// Package groups holds consumer groups to what their members rely on, with real clients, members that die and a
// coordinator that is killed.
package groups

import (
	"context"
	"encoding/json"
	"fmt"
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

func TestMain(m *testing.M) {
	if args := os.Getenv(memberEnv); args != "" {
		memberMain(args)
	}
	harness.Main(m)
}

// TestGroupCommands: list, describe, reset and delete by firn's own command line, and resuming anywhere in the archive.
func TestGroupCommands(t *testing.T) {
	b := harness.Start(t, harness.Options{})
	b.MustRun("", "topic", "create", "events", "-p", "1", "-c", "firn.remote.upload.max.lag.ms=500", "-c", "local.retention.ms=1000")
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "k\t%d\tvalue %d\n", 1_600_000_000_000+int64(i)*1000, i)
	}
	b.MustRun(text.String(), "produce", "events", "--format", "key-time-value")
	require.Equal(t, []string{"value 0", "value 1"}, consume(t, b.Kafka, 2))

	require.Contains(t, b.MustRun("", "group", "list"), "readers")
	var described struct {
		State   string
		Offsets []struct{ Committed, End, Lag int64 }
	}
	require.NoError(t, json.Unmarshal([]byte(b.MustRun("", "group", "describe", "readers", "-o", "json")), &described))
	require.Equal(t, "Empty", described.State)
	require.Equal(t, int64(2), described.Offsets[0].Committed)
	require.Equal(t, int64(98), described.Offsets[0].Lag)

	b.WaitTiers(t, "events", time.Minute, "the local copy is not gone", func(p harness.Tiers) bool { return p.HotStart == 100 })
	file := filepath.Join(t.TempDir(), "offsets.csv")
	dry := b.MustRun("", "group", "reset", "readers", "--to", "2020-09-13T12:26:50Z", "--export", file)
	require.Contains(t, dry, "Nothing was changed")
	require.Equal(t, []string{"value 2"}, consume(t, b.Kafka, 1))
	b.MustRun("", "group", "reset", "readers", "--from-file", file, "--execute")
	require.Equal(t, []string{"value 10"}, consume(t, b.Kafka, 1))
	b.MustRun("", "group", "reset", "readers", "--shift-by=-6", "--execute")
	require.Equal(t, []string{"value 5"}, consume(t, b.Kafka, 1))
	b.MustRun("", "group", "reset", "readers", "--to", "latest", "--execute")
	b.MustRun("", "group", "reset", "readers", "--to", "earliest", "--topic", "events", "--execute")
	require.Equal(t, []string{"value 0"}, consume(t, b.Kafka, 1))
	_, err := b.Run("", "group", "reset", "readers")
	require.ErrorContains(t, err, "--to")

	require.Contains(t, b.MustRun("", "group", "delete", "readers"), "deleted")
	_, err = b.Run("", "group", "describe", "readers")
	require.ErrorContains(t, err, "does not exist")
}

// TestGroupCommandsForScripts: what the group commands say as JSON, to an offset and from and to files of several
// partitions, and what they refuse.
func TestGroupCommandsForScripts(t *testing.T) {
	t.Parallel()
	b := harness.Start(t, harness.Options{})
	b.MustRun("", "topic", "create", "events", "-p", "3")
	b.MustRun(strings.Repeat("a\tx\nb\tx\nc\tx\nd\tx\ne\tx\nf\tx\n", 20), "produce", "events", "--format", "key-value")
	type offset struct {
		Topic     string
		Partition int32
		From, To  int64
	}
	type reset struct {
		Executed bool
		Offsets  []offset
	}
	run := func(into any, args ...string) {
		t.Helper()
		require.NoError(t, json.Unmarshal([]byte(b.MustRun("", append([]string{"group", "-o", "json"}, args...)...)), into))
	}
	refused := func(why string, args ...string) {
		t.Helper()
		_, err := b.Run("", append([]string{"group"}, args...)...)
		require.ErrorContains(t, err, why)
	}
	refused("does not exist", "describe", "jobs")
	refused("no offsets to move: name the topics", "reset", "jobs", "--to", "earliest")

	var dry, done reset
	run(&dry, "reset", "jobs", "--to", "5", "--topic", "events")
	require.False(t, dry.Executed)
	require.Equal(t, []offset{{"events", 0, -1, 5}, {"events", 1, -1, 5}, {"events", 2, -1, 5}}, dry.Offsets)
	refused("does not exist", "describe", "jobs") // a dry run changes nothing
	run(&done, "reset", "jobs", "--to", "5", "--topic", "events", "--execute")
	require.True(t, done.Executed)
	require.Equal(t, dry.Offsets, done.Offsets)

	file := filepath.Join(t.TempDir(), "offsets.csv")
	run(&done, "reset", "jobs", "--to", "1000000", "--export", file) // a plan for later, held to where the logs end
	ends := done.Offsets
	require.Less(t, ends[0].To, int64(1000))
	run(&done, "reset", "jobs", "--shift-by=-3", "--execute")
	require.Equal(t, []offset{{"events", 0, 5, 2}, {"events", 1, 5, 2}, {"events", 2, 5, 2}}, done.Offsets)
	run(&done, "reset", "jobs", "--from-file", file, "--execute")
	for i, o := range done.Offsets {
		require.Equal(t, offset{"events", int32(i), 2, ends[i].To}, o)
	}
	run(&done, "reset", "jobs", "--to", "2001-01-01", "--execute")
	require.Equal(t, int64(0), done.Offsets[1].To)
	require.NoError(t, os.WriteFile(file, []byte("events,0,1\nevents,x,1\n"), 0o600))
	refused("line 2: want topic,partition,offset", "reset", "jobs", "--from-file", file)
	require.NoError(t, os.WriteFile(file, []byte("events,3,1\n"), 0o600))
	refused("partition events-3 does not exist", "reset", "jobs", "--from-file", file)
	refused("can't be used together", "reset", "jobs", "--from-file", file, "--to", "latest")

	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Kafka), kgo.ConsumerGroup("jobs"), kgo.ConsumeTopics("events"), kgo.ClientID("worker"), kgo.InstanceID("w1"))
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, cl.PollFetches(ctx).Err())
	var described struct {
		State   string
		Members []struct {
			Instance, Client string
			Partitions       []string
		}
	}
	run(&described, "describe", "jobs")
	require.Equal(t, "Stable", described.State)
	require.Len(t, described.Members, 1)
	require.Equal(t, []string{"w1", "worker"}, []string{described.Members[0].Instance, described.Members[0].Client})
	require.ElementsMatch(t, []string{"events-0", "events-1", "events-2"}, described.Members[0].Partitions)
	require.Regexp(t, `w1 +worker +\S+ +events-0 events-1 events-2`, b.MustRun("", "group", "describe", "jobs", "--members"))
	refused("has 1 member(s): stop them first", "reset", "jobs", "--to", "latest", "--execute")
	refused("it has members; stop them first", "delete", "jobs")

	// A static member stays when its process ends, so it is told to leave by name.
	_, err = kadm.NewClient(cl).LeaveGroup(ctx, kadm.LeaveGroup("jobs").InstanceIDs("w1"))
	require.NoError(t, err)
	cl.Close()
	harness.Eventually(t, time.Minute, "the group keeps its member", func() bool {
		run(&described, "describe", "jobs")
		return len(described.Members) == 0
	})
	var list []struct{ Group, State string }
	run(&list, "list")
	require.Len(t, list, 1)
	require.Equal(t, "jobs", list[0].Group)
	var deleted struct{ Deleted []string }
	run(&deleted, "delete", "jobs")
	require.Equal(t, []string{"jobs"}, deleted.Deleted)
	refused("does not exist", "delete", "jobs")
}

// consume reads n records as the group "readers", commits just those and leaves.
func consume(t *testing.T, addr string, n int) []string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumerGroup("readers"), kgo.ConsumeTopics("events"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fetches := cl.PollRecords(ctx, n)
	require.NoError(t, fetches.Err())
	require.NoError(t, cl.CommitRecords(ctx, fetches.Records()...))
	var values []string
	for _, r := range fetches.Records() {
		values = append(values, string(r.Value))
	}
	return values
}
