package metadata

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/firnlog/firn/tier/topic"
)

func one(n int) []Partition {
	ps := make([]Partition, n)
	for i := range ps {
		ps[i] = Partition{Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}
	}
	return ps
}

// An image never changes once it was given out, whatever is built from it, and lookups agree with each other.
func TestImagesAreImmutable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		img := Empty("c", "g")
		model := map[string]topic.ID{}
		type snapshot struct {
			img  *Image
			want map[string]topic.ID
		}
		var history []snapshot
		serial := byte(0)
		for range rapid.IntRange(1, 40).Draw(t, "edits") {
			name := fmt.Sprintf("t%d", rapid.IntRange(0, 9).Draw(t, "topic"))
			var e Edit
			switch id, ok := model[name]; {
			case !ok:
				serial++
				id = topic.ID{serial, 15: 1}
				e = CreateTopic{ID: id, Name: name, Partitions: one(2)}
				model[name] = id
			case rapid.Bool().Draw(t, "delete"):
				e = DeleteTopic{ID: id}
				delete(model, name)
			case rapid.Bool().Draw(t, "grow"):
				e = AddPartitions{ID: id, From: int32(len(img.TopicByID(id).Partitions)), Partitions: one(1)}
			default:
				e = AlterTopicConfigs{ID: id, Set: map[string]string{"n": fmt.Sprint(len(history))}}
			}
			c, err := Plan(img, e, 1)
			require.NoError(t, err)
			b := img.Edit()
			c.Apply(b, img.Revision+1)
			img = b.Image()
			require.True(t, Holds(img, e))
			history = append(history, snapshot{img, maps.Clone(model)})
		}
		for i, h := range history {
			require.Equal(t, int64(i+1), h.img.Revision)
			var names []string
			for _, tp := range h.img.Topics() {
				names = append(names, tp.Name)
				require.Same(t, tp, h.img.TopicByName(tp.Name))
				require.Same(t, tp, h.img.TopicByID(tp.ID))
				require.Equal(t, h.want[tp.Name], tp.ID)
			}
			require.Equal(t, slices.Sorted(maps.Keys(h.want)), names)
		}
	})
}

// I-38: what was planned from an image with the old topic does not touch the new one of that name.
func TestReplacedTopicKeepsItsName(t *testing.T) {
	a, b := topic.ID{1}, topic.ID{2}
	bd := Empty("c", "g").Edit()
	bd.PutTopic(&Topic{ID: a, Name: "x", Partitions: one(1)})
	bd.PutTopic(&Topic{ID: b, Name: "x", Partitions: one(1)})
	bd.DeleteTopic(a)
	img := bd.Image()
	require.Equal(t, b, img.TopicByName("x").ID)
	require.Nil(t, img.TopicByID(a))
}

func TestTopicNames(t *testing.T) {
	for _, ok := range []string{"a", "A-1_2.3", "...", "__consumer_offsets", string(slices.Repeat([]byte("x"), 249))} {
		require.NoError(t, ValidateTopicName(ok), ok)
	}
	for _, bad := range []string{"", ".", "..", "a b", "a/b", "a\x00", "é", "a:b", string(slices.Repeat([]byte("x"), 250))} {
		require.ErrorIs(t, ValidateTopicName(bad), ErrInvalidTopic, bad)
	}
	require.True(t, IsInternal("__consumer_offsets"))
	require.False(t, IsInternal("consumer_offsets"))
}

func TestPlanRefuses(t *testing.T) {
	img := Empty("c", "g")
	bad := map[string]Partition{
		"no replicas":       {Leader: NoLeader},
		"replica twice":     {Leader: 1, Replicas: []int32{1, 1}, ISR: []int32{1}},
		"negative replica":  {Leader: NoLeader, Replicas: []int32{-1}},
		"ISR not a replica": {Leader: 1, Replicas: []int32{1}, ISR: []int32{2}},
		"strange leader":    {Leader: 2, Replicas: []int32{1}, ISR: []int32{1}},
		"negative epoch":    {Leader: 1, LeaderEpoch: -1, Replicas: []int32{1}, ISR: []int32{1}},
	}
	for name, p := range bad {
		_, err := Plan(img, CreateTopic{ID: topic.ID{1}, Name: "x", Partitions: []Partition{p}}, 0)
		require.ErrorIs(t, err, ErrInvalid, name)
	}
	_, err := Plan(img, CreateTopic{ID: topic.ID{1}, Name: "x", Partitions: make([]Partition, MaxPartitions+1)}, 0)
	require.ErrorIs(t, err, ErrPartitions)
	_, err = Plan(img, CreateTopic{Name: "x", Partitions: one(1)}, 0)
	require.ErrorIs(t, err, ErrInvalid)
	_, err = Plan(img, AlterBrokerConfigs{Broker: -2}, 0)
	require.ErrorIs(t, err, ErrInvalid)
}

func BenchmarkImageOneTopicOf10000(b *testing.B) {
	bd := Empty("c", "g").Edit()
	ids := make([]topic.ID, 10000)
	for i := range ids {
		ids[i] = topic.NewID()
		bd.PutTopic(&Topic{ID: ids[i], Name: fmt.Sprintf("topic-%d", i), Partitions: one(3)})
	}
	img := bd.Image()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		t := *img.TopicByID(ids[i%len(ids)])
		e := img.Edit()
		e.PutTopic(&t)
		img = e.Image()
	}
}
