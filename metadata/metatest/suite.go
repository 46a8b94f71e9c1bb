package metatest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

// Suite is what every metadata.Store must pass. open gives a store on an empty cluster. again gives another
// store on the same cluster, with the first still open, or nil where that cannot be.
func Suite(t *testing.T, open func(t *testing.T) (store metadata.Store, again func() metadata.Store)) {
	tests := map[string]func(t *testing.T, e *env){
		"identity":            testIdentity,
		"topics":              testTopics,
		"names":               testNames,
		"many partitions":     testManyPartitions,
		"many topics":         testManyTopics,
		"configs":             testConfigs,
		"group configs":       testGroupConfigs,
		"partitions":          testPartitions,
		"watch":               testWatch,
		"brokers":             testBrokers,
		"ledger":              testLedger,
		"ledger races":        testLedgerRaces,
		"ledger of a deleted": testTombstones,
		"archived":            testUnarchived,
		"producer ids":        testProducerIDs,
	}
	for name, fn := range tests {
		t.Run(name, func(t *testing.T) {
			s, again := open(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			fn(t, &env{T: t, ctx: ctx, s: s, again: again})
		})
	}
}

type env struct {
	*testing.T
	ctx   context.Context
	s     metadata.Store
	again func() metadata.Store
}

// second is another store on the same cluster, the first one where there can be no other.
func (e *env) second() metadata.Store {
	if e.again == nil {
		return e.s
	}
	return e.again()
}

func (e *env) commit(edits ...metadata.Edit) {
	e.Helper()
	for _, err := range e.s.Commit(e.ctx, edits...) {
		require.NoError(e, err)
	}
}

func (e *env) one(edit metadata.Edit) error {
	return e.s.Commit(e.ctx, edit)[0]
}

// Partitions gives n partitions led by broker 1 at the given epoch.
func Partitions(n int, epoch int32) []metadata.Partition {
	ps := make([]metadata.Partition, n)
	for i := range ps {
		ps[i] = metadata.Partition{Leader: 1, LeaderEpoch: epoch, Replicas: []int32{1}, ISR: []int32{1}}
	}
	return ps
}

func (e *env) create(name string, n int) *metadata.Topic {
	e.Helper()
	id := topic.NewID()
	e.commit(metadata.CreateTopic{ID: id, Name: name, Partitions: Partitions(n, 0), Configs: map[string]string{"remote.storage.enable": "true"}})
	tp := e.s.Image().TopicByID(id)
	require.NotNil(e, tp, "Commit returned before the image had the topic")
	return tp
}

// Segment gives a valid ledger entry.
func Segment(base, next int64, epoch int32) ledger.Segment {
	return ledger.Segment{Base: base, Next: next, Key: fmt.Sprintf("seg/%d-%d-%s", base, epoch, topic.NewID()), Length: 100,
		DataBytes: (next - base) * 10, IndexLength: 10, Epoch: epoch, MinTimestamp: base, MaxTimestamp: next - 1, MaxTimestampOffset: next - 1}
}

func appendOf(l *ledger.Ledger, n int64, epoch int32) ledger.Append {
	return ledger.Append{Epoch: epoch, Base: l.Next, Fence: l.Fence, Segment: Segment(l.Next, l.Next+n, epoch)}
}

func testIdentity(t *testing.T, e *env) {
	img := e.s.Image()
	require.Len(t, img.ClusterID, 22)
	require.NotEmpty(t, img.Generation)
	other := e.second().Image()
	require.Equal(t, img.ClusterID, other.ClusterID)
	require.Equal(t, img.Generation, other.Generation)
	require.NoError(t, e.s.Health())
}

func testTopics(t *testing.T, e *env) {
	a := e.create("a", 3)
	require.Equal(t, "a", a.Name)
	require.Len(t, a.Partitions, 3)
	require.Equal(t, int32(1), a.Partitions[2].Leader)
	require.NotZero(t, a.Version)
	require.NotZero(t, a.Partitions[2].Version)

	require.ErrorIs(t, e.one(metadata.CreateTopic{ID: topic.NewID(), Name: "a", Partitions: Partitions(1, 0)}), metadata.ErrTopicExists)
	require.ErrorIs(t, e.one(metadata.CreateTopic{ID: topic.NewID(), Name: "b"}), metadata.ErrPartitions)
	require.ErrorIs(t, e.one(metadata.CreateTopic{ID: a.ID, Name: "b", Partitions: Partitions(1, 0)}), metadata.ErrInvalid)
	require.ErrorIs(t, e.one(metadata.DeleteTopic{ID: topic.NewID()}), metadata.ErrUnknownTopic)

	e.commit(metadata.AddPartitions{ID: a.ID, From: 3, Partitions: Partitions(2, 0)})
	require.Len(t, e.s.Image().TopicByName("a").Partitions, 5)
	require.ErrorIs(t, e.one(metadata.AddPartitions{ID: a.ID, From: 3, Partitions: Partitions(2, 0)}), metadata.ErrConflict)

	e.create("c", 1)
	e.create("b", 1)
	var names []string
	for _, tp := range e.s.Image().Topics() {
		names = append(names, tp.Name)
	}
	require.Equal(t, []string{"a", "b", "c"}, names)

	// I-38: a topic of the same name is another topic.
	e.commit(metadata.DeleteTopic{ID: a.ID})
	require.Nil(t, e.s.Image().TopicByID(a.ID))
	require.Nil(t, e.s.Image().TopicByName("a"))
	again := e.create("a", 1)
	require.NotEqual(t, a.ID, again.ID)
	require.Len(t, e.s.Image().TopicByName("a").Partitions, 1)
	require.Nil(t, e.s.Image().TopicByID(a.ID))

	other := e.second()
	require.Equal(t, again, other.Image().TopicByName("a"))
}

func testNames(t *testing.T, e *env) {
	e.create("x.y", 1)
	err := e.one(metadata.CreateTopic{ID: topic.NewID(), Name: "x_y", Partitions: Partitions(1, 0)})
	require.ErrorIs(t, err, metadata.ErrInvalidTopic)
	require.ErrorContains(t, err, "x.y")
	require.Nil(t, e.s.Image().TopicByName("x_y"))
	for _, bad := range []string{"", ".", "..", "a/b", "ä", "a b", string(slices.Repeat([]byte("a"), 250))} {
		require.ErrorIs(t, e.one(metadata.CreateTopic{ID: topic.NewID(), Name: bad, Partitions: Partitions(1, 0)}), metadata.ErrInvalidTopic, bad)
	}
}

// testManyTopics: topics that are made together come into being each on its own, whole, and those that cannot fail alone.
func testManyTopics(t *testing.T, e *env) {
	e.create("there", 1)
	var edits []metadata.Edit
	for i := range 40 {
		edits = append(edits, metadata.CreateTopic{ID: topic.NewID(), Name: fmt.Sprintf("many-%d", i), Partitions: Partitions(100, 0)})
	}
	edits[7] = metadata.CreateTopic{ID: topic.NewID(), Name: "there", Partitions: Partitions(100, 0)}
	edits[8] = metadata.CreateTopic{ID: topic.NewID(), Name: "long", Partitions: Partitions(1500, 0)}
	twice := []metadata.Edit{
		metadata.CreateTopic{ID: topic.NewID(), Name: "same.name", Partitions: Partitions(3, 0)},
		metadata.CreateTopic{ID: topic.NewID(), Name: "other", Partitions: Partitions(3, 0)},
		metadata.CreateTopic{ID: topic.NewID(), Name: "same_name", Partitions: Partitions(3, 0)},
	}
	var watched []*metadata.Image
	cancel := e.s.Watch(func(img *metadata.Image) { watched = append(watched, img) })
	errs := append(e.s.Commit(e.ctx, edits...), e.s.Commit(e.ctx, twice...)...)
	cancel()
	for i, edit := range append(edits, twice...) {
		want := edit.(metadata.CreateTopic)
		got := e.s.Image().TopicByID(want.ID)
		switch want.Name {
		case "there":
			require.ErrorIs(t, errs[i], metadata.ErrTopicExists)
			require.Nil(t, got)
		case "same_name":
			require.ErrorIs(t, errs[i], metadata.ErrInvalidTopic)
			require.Nil(t, got)
		default:
			require.NoError(t, errs[i], want.Name)
			require.Len(t, got.Partitions, len(want.Partitions))
		}
		for _, img := range watched {
			if got := img.TopicByID(want.ID); got != nil {
				require.Len(t, got.Partitions, len(want.Partitions), "a topic is seen whole or not at all")
			}
		}
	}
}

func testManyPartitions(t *testing.T, e *env) {
	const n = 1500
	var mu sync.Mutex
	sizes := map[int]bool{}
	cancel := e.s.Watch(func(img *metadata.Image) {
		mu.Lock()
		defer mu.Unlock()
		if tp := img.TopicByName("big"); tp != nil {
			sizes[len(tp.Partitions)] = true
		}
	})
	defer cancel()
	big := e.create("big", n)
	require.Len(t, big.Partitions, n)
	e.commit(metadata.AddPartitions{ID: big.ID, From: n, Partitions: Partitions(n, 0)})
	cancel()
	require.Equal(t, map[int]bool{n: true, 2 * n: true}, sizes, "a topic showed before it was complete")
	require.Empty(t, e.s.Image().Tombstones())

	// Many changes travel together; one that conflicts fails alone.
	big = e.s.Image().TopicByName("big")
	var edits []metadata.Edit
	for i := range 250 {
		st := Partitions(1, 1)[0]
		v := big.Partitions[i].Version
		if i == 77 {
			v--
		}
		edits = append(edits, metadata.ChangePartition{ID: big.ID, Index: int32(i), Version: v, State: st})
	}
	for i, err := range e.s.Commit(e.ctx, edits...) {
		p, _ := e.s.Image().Partition(big.ID, int32(i))
		if i == 77 {
			require.ErrorIs(t, err, metadata.ErrConflict)
			require.Equal(t, int32(0), p.LeaderEpoch)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, int32(1), p.LeaderEpoch)
		require.Equal(t, int32(1), p.PartitionEpoch)
	}
}

func testConfigs(t *testing.T, e *env) {
	a := e.create("a", 2)
	e.commit(metadata.AlterTopicConfigs{ID: a.ID, Version: a.Version, Set: map[string]string{"retention.ms": "1", "x": "y"}})
	b := e.s.Image().TopicByName("a")
	require.Equal(t, map[string]string{"remote.storage.enable": "true", "retention.ms": "1", "x": "y"}, b.Configs)
	require.Equal(t, a.Partitions, b.Partitions)
	require.ErrorIs(t, e.one(metadata.AlterTopicConfigs{ID: a.ID, Version: a.Version, Set: map[string]string{"x": "z"}}), metadata.ErrConflict)
	e.commit(metadata.AlterTopicConfigs{ID: a.ID, Delete: []string{"x", "never set"}})
	require.NotContains(t, e.s.Image().TopicByName("a").Configs, "x")
	require.Contains(t, b.Configs, "x", "an image that was given out has changed")

	e.commit(metadata.AlterBrokerConfigs{Broker: metadata.ClusterDefaults, Set: map[string]string{"k": "v"}}, metadata.AlterBrokerConfigs{Broker: 1, Set: map[string]string{"k": "w"}})
	e.commit(metadata.AlterBrokerConfigs{Broker: 1, Set: map[string]string{"l": "m"}, Delete: []string{"k"}})
	require.Equal(t, map[string]string{"k": "v"}, e.s.Image().BrokerConfigs[metadata.ClusterDefaults].Configs)
	require.Equal(t, map[string]string{"l": "m"}, e.second().Image().BrokerConfigs[1].Configs)
}

func testGroupConfigs(t *testing.T, e *env) {
	require.Empty(t, e.s.Image().GroupConfigs)
	require.ErrorIs(t, e.one(metadata.AlterGroupConfigs{Set: map[string]string{"k": "v"}}), metadata.ErrInvalid)
	const odd = "a group/with everything: ä"
	e.commit(metadata.AlterGroupConfigs{Group: odd, Set: map[string]string{"k": "v", "l": "m"}}, metadata.AlterGroupConfigs{Group: "h", Set: map[string]string{"k": "w"}})
	e.commit(metadata.AlterGroupConfigs{Group: odd, Set: map[string]string{"k": "x"}, Delete: []string{"l", "never set"}})
	was := e.s.Image()
	require.Equal(t, map[string]string{"k": "x"}, was.GroupConfigs[odd].Configs)
	require.Equal(t, map[string]string{"k": "w"}, e.second().Image().GroupConfigs["h"].Configs)
	e.commit(metadata.AlterGroupConfigs{Group: odd, Delete: []string{"k"}})
	e.commit(metadata.AlterGroupConfigs{Group: "never seen", Delete: []string{"k"}})
	require.Equal(t, []string{"h"}, slices.Collect(maps.Keys(e.s.Image().GroupConfigs)), "a group without configs is forgotten")
	require.Contains(t, was.GroupConfigs, odd, "an image that was given out has changed")
	e.commit(metadata.AlterGroupConfigs{Group: odd, Set: map[string]string{"k": "again"}})
	require.Equal(t, "again", e.second().Image().GroupConfigs[odd].Configs["k"])
}

func testPartitions(t *testing.T, e *env) {
	a := e.create("a", 2)
	st := a.Partitions[1]
	st.LeaderEpoch, st.Leader = 5, metadata.NoLeader
	e.commit(metadata.ChangePartition{ID: a.ID, Index: 1, Version: st.Version, State: st})
	p, ok := e.s.Image().Partition(a.ID, 1)
	require.True(t, ok)
	require.Equal(t, int32(5), p.LeaderEpoch)
	require.Equal(t, metadata.NoLeader, p.Leader)
	require.ErrorIs(t, e.one(metadata.ChangePartition{ID: a.ID, Index: 1, Version: st.Version, State: p}), metadata.ErrConflict)
	back := p
	back.LeaderEpoch = 4
	require.ErrorIs(t, e.one(metadata.ChangePartition{ID: a.ID, Index: 1, Version: p.Version, State: back}), metadata.ErrInvalid)
	odd := p
	odd.ISR = []int32{9}
	require.ErrorIs(t, e.one(metadata.ChangePartition{ID: a.ID, Index: 1, Version: p.Version, State: odd}), metadata.ErrInvalid)
	require.ErrorIs(t, e.one(metadata.ChangePartition{ID: a.ID, Index: 2, Version: 1, State: p}), metadata.ErrUnknownTopic)
}

func testWatch(t *testing.T, e *env) {
	other := e.second()
	var mu sync.Mutex
	var revs []int64
	seen := make(chan struct{}, 100)
	cancel := other.Watch(func(img *metadata.Image) {
		mu.Lock()
		defer mu.Unlock()
		revs = append(revs, img.Revision)
		if img.TopicByName("t9") != nil {
			seen <- struct{}{}
		}
	})
	require.Len(t, revs, 1, "Watch calls with the present image before it returns")
	for i := range 10 {
		e.create(fmt.Sprintf("t%d", i), 1)
	}
	select {
	case <-seen:
	case <-e.ctx.Done():
		t.Fatal("the other store never saw the last topic")
	}
	cancel()
	mu.Lock()
	n := len(revs)
	require.True(t, slices.IsSorted(revs))
	mu.Unlock()
	e.create("after", 1)
	mu.Lock()
	require.Len(t, revs, n, "called after cancel")
	mu.Unlock()

	// Commit returns after watchers of this store have seen the edit.
	saw := false
	stop := e.s.Watch(func(img *metadata.Image) { saw = img.TopicByName("mine") != nil })
	e.create("mine", 1)
	stop()
	require.True(t, saw)
}

func testBrokers(t *testing.T, e *env) {
	b := metadata.Broker{ID: 1, Incarnation: "i1", Directory: "d1", Listeners: []metadata.Listener{{Name: "PLAINTEXT", Host: "h", Port: 9092, Protocol: "PLAINTEXT"}}}
	require.ErrorIs(t, e.s.Register(e.ctx, metadata.Broker{ID: 1}), metadata.ErrInvalid)
	require.NoError(t, e.s.Register(e.ctx, b))
	got := e.s.Image().Brokers[1]
	require.NotNil(t, got)
	require.Equal(t, b.Listeners, got.Listeners)
	first := got.Epoch
	require.NotZero(t, first)
	require.NoError(t, e.s.Health())

	other := e.second()
	stranger := b
	stranger.Directory = "d2"
	require.ErrorIs(t, other.Register(e.ctx, stranger), metadata.ErrBrokerID)
	b.Incarnation = "i2"
	require.NoError(t, other.Register(e.ctx, b), "the same data folder may take over")
	require.Equal(t, "i2", other.Image().Brokers[1].Incarnation)
	require.Greater(t, other.Image().Brokers[1].Epoch, first)
}
