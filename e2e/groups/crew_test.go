package groups

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/e2e/harness"
)

const (
	crewGroup     = "crew"
	crewTopic     = "work"
	crewSessionMs = 3000
)

// crew is a group whose members come, go and die.
type crew struct {
	*ledger
	t       *testing.T
	addr    string
	adm     *kadm.Client
	members []*member
	dead    map[string]bool // ids of members that were killed
	ghosts  int             // of which the coordinator still listed so many after their end: nobody had told it
}

func (c *crew) join() {
	c.members = append(c.members, startMember(c.t, fmt.Sprint(c.addr, " ", crewGroup, " ", crewTopic, " ", crewSessionMs), c.hear))
}

// lose takes a member at random out of the crew, which leaves or dies.
func (c *crew) lose(rng *rand.Rand) {
	c.t.Helper()
	i := rng.IntN(len(c.members))
	m := c.members[i]
	c.members = append(c.members[:i], c.members[i+1:]...)
	if rng.IntN(3) == 0 {
		m.leave(c.t)
		return
	}
	m.kill()
	id := m.memberID()
	if id == "" { // it had not got in
		return
	}
	c.dead[id] = true
	if c.listed()[id] {
		c.ghosts++
	}
}

// listed returns the ids of the members whom the coordinator knows.
func (c *crew) listed() map[string]bool {
	c.t.Helper()
	described, err := c.adm.DescribeGroups(context.Background(), crewGroup)
	require.NoError(c.t, err)
	ids := map[string]bool{}
	for _, m := range described[crewGroup].Members {
		ids[m.MemberID] = true
	}
	return ids
}

// TestCrew: members are processes that join, leave and are killed at random while records come in, and the coordinator
// is killed in the middle of rebalances. No partition has two owners in one generation, every record is handled, and no
// committed offset is below one before it.
func TestCrew(t *testing.T) {
	b := harness.Start(t, harness.Options{Args: []string{"--set", fmt.Sprint("group.min.session.timeout.ms=", crewSessionMs)}})
	partitions := harness.Count(20, 100)
	b.MustRun("", "topic", "create", crewTopic, "-p", fmt.Sprint(partitions), "-c", "remote.storage.enable=false")
	producer, err := kgo.NewClient(kgo.SeedBrokers(b.Kafka), kgo.DefaultProduceTopic(crewTopic))
	require.NoError(t, err)
	defer producer.Close()
	c := &crew{ledger: newLedger(), t: t, addr: b.Kafka, adm: kadm.NewClient(producer), dead: map[string]bool{}}
	size := harness.Count(6, 50)
	for range size {
		c.join()
	}
	c.waitNewer(-1)
	rng := rand.New(rand.NewPCG(4, 4))
	produced, coordinators := 0, 0
	for round := range harness.Count(6, 30) {
		for range 500 {
			value := fmt.Sprint("record-", produced)
			produced++
			producer.Produce(context.Background(), &kgo.Record{Key: []byte(value), Value: []byte(value)}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Errorf("produce: %v", err)
				}
			})
		}
		require.NoError(t, producer.Flush(context.Background()))
		before := c.generation()
		for range 1 + rng.IntN(3) {
			c.join()
		}
		if rng.IntN(2) == 0 { // then partitions move to those who came; else they inherit, or a rebalance is disturbed
			c.waitNewer(before)
			before = c.generation()
		}
		for most := size + rng.IntN(3); len(c.members) > most; {
			c.lose(rng)
		}
		if round%6 == 3 {
			b.Kill()
			coordinators++
			b.Launch()
			b.WaitReady()
		}
		c.waitNewer(before)
		require.Empty(t, c.complaints())
	}
	harness.Eventually(t, 2*time.Minute, "not every record was handled", func() bool { return c.records() == produced })
	harness.Eventually(t, time.Minute, "the group does not commit up to the end", func() bool {
		lags, err := c.adm.Lag(context.Background(), crewGroup)
		return err == nil && lags[crewGroup].Lag.Total() == 0
	})
	c.oneOwnerEach(partitions)
	require.Empty(t, c.complaints())
	require.GreaterOrEqual(t, 2*c.ghosts, len(c.dead), "most members that were killed did not stay until their session was over")
	require.Positive(t, c.ghosts)
	commits, moved := c.commitsNeverGoBack(partitions)
	generations, owned := c.claims()
	t.Logf("%d records over %d partitions, all handled; %d members were killed, %d of them still listed when they were dead; the coordinator was killed %d times",
		produced, partitions, len(c.dead), c.ghosts, coordinators)
	t.Logf("%d generations were seen, the last %d, with %d owners of partitions in all; %d commits in the log, %d of them beyond the one before",
		generations, c.generation(), owned, commits, moved)
}

// waitNewer waits until somebody was assigned partitions in a later generation.
func (c *crew) waitNewer(than int32) {
	c.t.Helper()
	harness.Eventually(c.t, 2*time.Minute, "the group does not rebalance", func() bool { return c.generation() > than })
}

// oneOwnerEach waits until the group is stable, with each partition owned by one of the members that live.
func (c *crew) oneOwnerEach(partitions int) {
	c.t.Helper()
	harness.Eventually(c.t, time.Minute, "the partitions do not have one owner each, or dead members stay", func() bool {
		described, err := c.adm.DescribeGroups(context.Background(), crewGroup)
		if err != nil || described[crewGroup].State != "Stable" || len(described[crewGroup].Members) != len(c.members) {
			return false
		}
		alive := map[string]bool{}
		for _, m := range c.members {
			alive[m.memberID()] = true
		}
		owners := map[int32]int{}
		for _, m := range described[crewGroup].Members {
			a, ok := m.Assigned.AsConsumer()
			if !ok || !alive[m.MemberID] || c.dead[m.MemberID] {
				return false
			}
			for _, t := range a.Topics {
				for _, p := range t.Partitions {
					owners[p]++
				}
			}
		}
		for p := range int32(partitions) {
			if owners[p] != 1 {
				return false
			}
		}
		return len(owners) == partitions
	})
}

// commitsNeverGoBack reads everything that the coordinator wrote, which is too little for a segment to be rolled and
// compacted, and holds each commit against the one before it in the log. It counts the commits, and those that moved.
func (c *crew) commitsNeverGoBack(partitions int) (commits, moved int) {
	c.t.Helper()
	highest := map[int32]int64{}
	for _, r := range readOffsetsTopic(c.t, c.addr) {
		require.Equal(c.t, r.gap, int64(0), "records are missing ahead of %d in %d", r.Offset, r.Partition)
		if r.commit.Group != crewGroup {
			continue
		}
		p := r.commit.Partition
		require.NotNil(c.t, r.Value, "the offset of partition %d was deleted", p)
		var v kmsg.OffsetCommitValue
		require.NoError(c.t, v.ReadFrom(r.Value))
		was, ok := highest[p]
		require.True(c.t, !ok || v.Offset >= was, "the committed offset of partition %d went back from %d to %d", p, was, v.Offset)
		commits++
		if !ok || v.Offset > was {
			moved++
		}
		highest[p] = v.Offset
	}
	fetched, err := c.adm.FetchOffsets(context.Background(), crewGroup)
	require.NoError(c.t, err)
	for p, want := range highest {
		o, ok := fetched.Lookup(crewTopic, p)
		require.True(c.t, ok)
		require.Equal(c.t, want, o.At, "partition %d", p)
	}
	ends, err := c.adm.ListEndOffsets(context.Background(), crewTopic)
	require.NoError(c.t, err)
	ends.Each(func(o kadm.ListedOffset) {
		require.Equal(c.t, o.Offset, highest[o.Partition], "partition %d", o.Partition)
	})
	require.Len(c.t, highest, partitions)
	return commits, moved
}
