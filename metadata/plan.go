package metadata

import (
	"fmt"
	"maps"
	"slices"

	"github.com/firnlog/firn/tier/topic"
)

// Changes are the outcome of planning an edit: what to write, and what must still be as it was. The store
// writes all of it in one transaction (partitions of a topic that nobody sees yet may go ahead of it).
// A nil pointer means no change of that kind. Versions inside are those that the plan was made from; the store
// compares them, and gives each thing written a new one.
type Changes struct {
	Topic      *Topic // head only: its Partitions below FirstNew are as they were
	NewTopic   bool   // the (canonical) name must be free
	FirstNew   int32  // partitions of Topic from here on are new
	DropTopic  *Topic
	Tombstone  *TopicTombstone
	Unarchived topic.ID // no ledger of this topic may name a segment

	Partition      *Partition // a change of one partition
	PartitionID    topic.ID
	PartitionIndex int32

	Broker       int32 // whose BrokerConfig changes
	BrokerConfig *BrokerConfig

	Group       string // whose GroupConfig changes; without Configs it goes
	GroupConfig *GroupConfig
}

// MaxPartitions is the most that one topic may have; more would make a topic's creation one very long edit.
const MaxPartitions = 100_000

// Plan works out what an edit changes in img, or why it may not be made. now is in ms.
func Plan(img *Image, e Edit, now int64) (Changes, error) {
	c, err := e.plan(img, now)
	if err != nil {
		return Changes{}, fmt.Errorf("%s: %w", e.Kind(), err)
	}
	return c, nil
}

// Holds reports whether img shows the outcome of e.
func Holds(img *Image, e Edit) bool { return e.holds(img) }

// Apply writes the changes into an image, every version set to the builder's revision rev: what a store without etcd does.
func (c Changes) Apply(b *Builder, rev int64) {
	b.SetRevision(rev)
	if c.Topic != nil {
		t := *c.Topic
		t.Version = rev
		t.Partitions = slices.Clone(t.Partitions)
		for i := int(c.FirstNew); i < len(t.Partitions); i++ {
			t.Partitions[i].Version = rev
		}
		b.PutTopic(&t)
	}
	if c.DropTopic != nil {
		b.DeleteTopic(c.DropTopic.ID)
	}
	if c.Tombstone != nil {
		t := *c.Tombstone
		t.Version = rev
		b.PutTombstone(&t)
	}
	if c.Partition != nil {
		t := *b.img.TopicByID(c.PartitionID)
		t.Partitions = slices.Clone(t.Partitions)
		t.Partitions[c.PartitionIndex] = *c.Partition
		t.Partitions[c.PartitionIndex].Version = rev
		b.PutTopic(&t)
	}
	if c.BrokerConfig != nil {
		bc := *c.BrokerConfig
		bc.Version = rev
		b.PutBrokerConfig(c.Broker, &bc)
	}
	if c.GroupConfig != nil {
		gc := *c.GroupConfig
		gc.Version = rev
		if len(gc.Configs) == 0 {
			b.DeleteGroupConfig(c.Group)
		} else {
			b.PutGroupConfig(c.Group, &gc)
		}
	}
}

func (e CreateTopic) plan(img *Image, now int64) (Changes, error) {
	if err := ValidateTopicName(e.Name); err != nil {
		return Changes{}, err
	}
	// A tombstone that says "creating" is left by an earlier attempt of this same edit.
	if tomb := img.Tombstone(e.ID); e.ID.IsZero() || img.TopicByID(e.ID) != nil || tomb != nil && !tomb.Creating {
		return Changes{}, fmt.Errorf("%w: topic id %s is not fresh", ErrInvalid, e.ID)
	}
	if t := img.colliding(e.Name); t != nil {
		if t.Name == e.Name {
			return Changes{}, fmt.Errorf("%w: %s", ErrTopicExists, e.Name)
		}
		return Changes{}, fmt.Errorf("%w: %q collides with %q, names may not differ in '.' and '_' only", ErrInvalidTopic, e.Name, t.Name)
	}
	if len(e.Partitions) == 0 || len(e.Partitions) > MaxPartitions {
		return Changes{}, fmt.Errorf("%w: %d, allowed are 1 to %d", ErrPartitions, len(e.Partitions), MaxPartitions)
	}
	for i, p := range e.Partitions {
		if err := p.check(); err != nil {
			return Changes{}, fmt.Errorf("partition %d: %w", i, err)
		}
	}
	t := &Topic{ID: e.ID, Name: e.Name, Configs: maps.Clone(e.Configs), Partitions: fresh(e.Partitions), Internal: e.Internal, CreatedAt: now}
	return Changes{Topic: t, NewTopic: true}, nil
}

func (e CreateTopic) holds(img *Image) bool {
	return img.TopicByID(e.ID) != nil || img.Tombstone(e.ID) != nil && !img.Tombstone(e.ID).Creating
}

func (e DeleteTopic) plan(img *Image, now int64) (Changes, error) {
	t := img.TopicByID(e.ID)
	if t == nil {
		return Changes{}, fmt.Errorf("%w: id %s", ErrUnknownTopic, e.ID)
	}
	return Changes{DropTopic: t, Tombstone: &TopicTombstone{ID: t.ID, Name: t.Name, Partitions: int32(len(t.Partitions)), DeletedAt: now}}, nil
}

func (e DeleteTopic) holds(img *Image) bool { return img.TopicByID(e.ID) == nil }

func (e AddPartitions) plan(img *Image, _ int64) (Changes, error) {
	t := img.TopicByID(e.ID)
	if t == nil {
		return Changes{}, fmt.Errorf("%w: id %s", ErrUnknownTopic, e.ID)
	}
	if len(e.Partitions) == 0 || len(e.Partitions)+len(t.Partitions) > MaxPartitions {
		return Changes{}, fmt.Errorf("%w: topic %s has %d, %d more were asked for, at most %d are allowed", ErrPartitions, t.Name, len(t.Partitions), len(e.Partitions), MaxPartitions)
	}
	if int(e.From) != len(t.Partitions) {
		return Changes{}, fmt.Errorf("%w: topic %s has %d partitions, not %d", ErrConflict, t.Name, len(t.Partitions), e.From)
	}
	for i, p := range e.Partitions {
		if err := p.check(); err != nil {
			return Changes{}, fmt.Errorf("partition %d: %w", int(e.From)+i, err)
		}
	}
	n := *t
	n.Partitions = slices.Concat(t.Partitions, fresh(e.Partitions))
	return Changes{Topic: &n, FirstNew: e.From}, nil
}

func (e AddPartitions) holds(img *Image) bool {
	t := img.TopicByID(e.ID)
	if t == nil || len(t.Partitions) < int(e.From)+len(e.Partitions) {
		return false
	}
	for i, p := range e.Partitions {
		if !slices.Equal(t.Partitions[int(e.From)+i].Replicas, p.Replicas) {
			return false
		}
	}
	return true
}

func (e AlterTopicConfigs) plan(img *Image, _ int64) (Changes, error) {
	t := img.TopicByID(e.ID)
	if t == nil {
		return Changes{}, fmt.Errorf("%w: id %s", ErrUnknownTopic, e.ID)
	}
	if e.Version != 0 && e.Version != t.Version {
		return Changes{}, fmt.Errorf("%w: topic %s", ErrConflict, t.Name)
	}
	n := *t
	n.Configs = alter(t.Configs, e.Set, e.Delete)
	c := Changes{Topic: &n, FirstNew: int32(len(t.Partitions))}
	if e.Unarchived {
		c.Unarchived = t.ID
	}
	return c, nil
}

func (e AlterTopicConfigs) holds(img *Image) bool {
	t := img.TopicByID(e.ID)
	return t != nil && altered(t.Configs, e.Set, e.Delete)
}

func (e ChangePartition) plan(img *Image, _ int64) (Changes, error) {
	old, ok := img.Partition(e.ID, e.Index)
	if !ok {
		return Changes{}, fmt.Errorf("%w: id %s partition %d", ErrUnknownTopic, e.ID, e.Index)
	}
	if err := e.State.check(); err != nil {
		return Changes{}, err
	}
	if old.Version != e.Version {
		return Changes{}, fmt.Errorf("%w: partition %d of %s", ErrConflict, e.Index, e.ID)
	}
	if e.State.LeaderEpoch < old.LeaderEpoch {
		return Changes{}, fmt.Errorf("%w: leader epoch %d is below %d", ErrInvalid, e.State.LeaderEpoch, old.LeaderEpoch)
	}
	n := e.State
	n.Version, n.PartitionEpoch = old.Version, old.PartitionEpoch+1
	return Changes{Partition: &n, PartitionID: e.ID, PartitionIndex: e.Index}, nil
}

func (e ChangePartition) holds(img *Image) bool {
	p, ok := img.Partition(e.ID, e.Index)
	s := e.State
	return ok && p.Version != e.Version && p.Leader == s.Leader && p.LeaderEpoch == s.LeaderEpoch && slices.Equal(p.Replicas, s.Replicas) &&
		slices.Equal(p.ISR, s.ISR) && slices.Equal(p.ELR, s.ELR) && slices.Equal(p.LastKnownELR, s.LastKnownELR)
}

func (e AlterBrokerConfigs) plan(img *Image, _ int64) (Changes, error) {
	if e.Broker < ClusterDefaults {
		return Changes{}, fmt.Errorf("%w: broker %d", ErrInvalid, e.Broker)
	}
	n := &BrokerConfig{}
	if old := img.BrokerConfigs[e.Broker]; old != nil {
		*n = *old
	}
	n.Configs = alter(n.Configs, e.Set, e.Delete)
	return Changes{Broker: e.Broker, BrokerConfig: n}, nil
}

func (e AlterBrokerConfigs) holds(img *Image) bool {
	c := img.BrokerConfigs[e.Broker]
	return c != nil && altered(c.Configs, e.Set, e.Delete)
}

func (e AlterGroupConfigs) plan(img *Image, _ int64) (Changes, error) {
	if e.Group == "" {
		return Changes{}, fmt.Errorf("%w: a group without a name", ErrInvalid)
	}
	n := &GroupConfig{}
	if old := img.GroupConfigs[e.Group]; old != nil {
		*n = *old
	}
	n.Configs = alter(n.Configs, e.Set, e.Delete)
	return Changes{Group: e.Group, GroupConfig: n}, nil
}

func (e AlterGroupConfigs) holds(img *Image) bool {
	c := img.GroupConfigs[e.Group]
	if c == nil {
		c = &GroupConfig{}
	}
	return altered(c.Configs, e.Set, e.Delete)
}

// check refuses states that no broker could act on.
func (p Partition) check() error {
	if len(p.Replicas) == 0 {
		return fmt.Errorf("%w: no replicas", ErrInvalid)
	}
	for i, r := range p.Replicas {
		if r < 0 || slices.Contains(p.Replicas[:i], r) {
			return fmt.Errorf("%w: replicas %v", ErrInvalid, p.Replicas)
		}
	}
	for i, r := range p.ISR {
		if !slices.Contains(p.Replicas, r) || slices.Contains(p.ISR[:i], r) {
			return fmt.Errorf("%w: ISR %v is not part of replicas %v", ErrInvalid, p.ISR, p.Replicas)
		}
	}
	if p.LeaderEpoch < 0 || p.Leader != NoLeader && !slices.Contains(p.Replicas, p.Leader) {
		return fmt.Errorf("%w: leader %d at epoch %d of replicas %v", ErrInvalid, p.Leader, p.LeaderEpoch, p.Replicas)
	}
	return nil
}

func fresh(ps []Partition) []Partition {
	ps = slices.Clone(ps)
	for i := range ps {
		ps[i].PartitionEpoch, ps[i].Version = 0, 0
	}
	return ps
}

func alter(old, set map[string]string, del []string) map[string]string {
	n := make(map[string]string, len(old)+len(set))
	maps.Copy(n, old)
	for _, k := range del {
		delete(n, k)
	}
	maps.Copy(n, set)
	return n
}

func altered(now, set map[string]string, del []string) bool {
	for k, v := range set {
		if got, ok := now[k]; !ok || got != v {
			return false
		}
	}
	for _, k := range del {
		_, still := now[k]
		_, again := set[k]
		if still && !again {
			return false
		}
	}
	return true
}
