// Package metadata is the cluster's state as every broker sees it: an immutable Image, the edits that change
// it, and Store, the seam behind which it is kept (metadata/etcd, or metatest's in memory). Planning an edit is
// pure: (image, edit, now) in, (changes, or why not) out; the store compares the versions that the plan was
// made from and writes. The package holds no goroutine, lock or clock and does no I/O. It does not know etcd, does not
// decide who leads (metadata/controller will), and does not interpret topic configs (metadata/topicconfig).
package metadata

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/firnlog/firn/tier/topic"
)

// NoLeader is the leader of a partition that has none.
const NoLeader int32 = -1

// ClusterDefaults is the broker id under which configs for all brokers are kept.
const ClusterDefaults int32 = -1

// Image is an immutable snapshot of the cluster. Everything reachable from it is shared and must not be
// written to. Images are copy-on-write in two levels: shards of topics, then topics; a change copies one shard.
type Image struct {
	ClusterID  string // random, given at the cluster's birth, 22 characters like a topic id
	Generation string // one life of the cluster's metadata; a restore claims a new one
	Revision   int64  // the store's revision that this image includes
	Controller int32  // broker id of the controller, NoLeader if there is none

	Brokers       map[int32]*Broker
	BrokerConfigs map[int32]*BrokerConfig // by broker id; ClusterDefaults for all brokers
	GroupConfigs  map[string]*GroupConfig // by group id; only groups that have any

	topics [shards]map[topic.ID]*Topic
	names  [shards]map[string]*Topic // by canonical name: at most one topic of those that collide
	tombs  map[topic.ID]*TopicTombstone
	sorted atomic.Pointer[[]*Topic] // Topics, worked out on first use; never changes once set
}

const shards = 64

// Broker is a live, registered broker.
type Broker struct {
	ID          int32             `json:"id"`
	Incarnation string            `json:"incarnation"` // one life of the process
	Directory   string            `json:"directory"`   // id of its data folder: who may take over a registration
	Rack        string            `json:"rack,omitempty"`
	Version     string            `json:"version,omitempty"` // of firn
	Listeners   []Listener        `json:"listeners"`
	Labels      map[string]string `json:"labels,omitempty"` // anything else worth showing (http address and the like)
	Epoch       int64             `json:"-"`                // the registration's revision: grows with each one (KIP-903)
}

// Listener is an address that a broker announces to clients.
type Listener struct {
	Name     string `json:"name"`
	Host     string `json:"host"`
	Port     int32  `json:"port"`
	Protocol string `json:"protocol"` // PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL
}

// BrokerConfig holds dynamic configs of one broker or of all.
type BrokerConfig struct {
	Configs map[string]string
	Version int64
}

// GroupConfig holds the configs of one group.
type GroupConfig struct {
	Configs map[string]string
	Version int64
}

// Topic is one life of a topic.
type Topic struct {
	ID         topic.ID
	Name       string
	Configs    map[string]string // those that were set, and those resolved at creation
	Partitions []Partition
	Internal   bool
	CreatedAt  int64 // ms, by the clock of the broker that made it
	Version    int64 // changes with every edit of the topic itself (configs, partition count)
}

// Partition is who replicates and who leads.
type Partition struct {
	Leader         int32   `json:"leader"`
	LeaderEpoch    int32   `json:"-"` // kept apart so that it can be compared as bytes; grows with each leader
	Replicas       []int32 `json:"replicas"`
	ISR            []int32 `json:"isr"`
	ELR            []int32 `json:"elr,omitempty"`
	LastKnownELR   []int32 `json:"lastKnownElr,omitempty"`
	PartitionEpoch int32   `json:"epoch"` // grows with each change of this partition
	Version        int64   `json:"-"`     // the store's revision of this state
}

// TopicTombstone remembers a deleted topic until its objects are gone. A topic whose creation broke off
// leaves one as well; it never had an object.
type TopicTombstone struct {
	ID         topic.ID `json:"id"`
	Name       string   `json:"name"`
	Partitions int32    `json:"partitions"`
	DeletedAt  int64    `json:"deletedAt"`          // ms, by the clock of the broker that deleted it
	Creating   bool     `json:"creating,omitempty"` // stands for a creation under way
	Version    int64    `json:"-"`
}

// Empty gives an image without topics and brokers.
func Empty(clusterID, generation string) *Image {
	return &Image{ClusterID: clusterID, Generation: generation, Controller: NoLeader}
}

func shardOf(id topic.ID) int { return int(id[0]^id[5]^id[15]) % shards }

func shardOfName(canonical string) int {
	h := uint32(2166136261)
	for i := range len(canonical) {
		h = (h ^ uint32(canonical[i])) * 16777619
	}
	return int(h % shards)
}

// TopicByID gives nil for an unknown (or deleted) topic.
func (i *Image) TopicByID(id topic.ID) *Topic { return i.topics[shardOf(id)][id] }

// TopicByName gives nil for an unknown topic.
func (i *Image) TopicByName(name string) *Topic {
	if t := i.colliding(name); t != nil && t.Name == name {
		return t
	}
	return nil
}

// colliding gives the topic whose name is the same but for '.' and '_'.
func (i *Image) colliding(name string) *Topic {
	c := CanonicalName(name)
	return i.names[shardOfName(c)][c]
}

// Topics gives all topics sorted by name. The slice is shared.
func (i *Image) Topics() []*Topic {
	if p := i.sorted.Load(); p != nil {
		return *p
	}
	var all []*Topic
	for _, s := range i.topics {
		all = slices.AppendSeq(all, maps.Values(s))
	}
	slices.SortFunc(all, func(a, b *Topic) int {
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		}
		return 0
	})
	i.sorted.Store(&all)
	return all
}

// Tombstone gives nil when the id is not that of a deleted topic that is still remembered.
func (i *Image) Tombstone(id topic.ID) *TopicTombstone { return i.tombs[id] }

// Tombstones gives the deleted topics that are still remembered, oldest first.
func (i *Image) Tombstones() []TopicTombstone {
	all := make([]TopicTombstone, 0, len(i.tombs))
	for _, t := range i.tombs {
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b TopicTombstone) int {
		if a.DeletedAt != b.DeletedAt {
			return int(min(max(a.DeletedAt-b.DeletedAt, -1), 1))
		}
		return slices.Compare(a.ID[:], b.ID[:])
	})
	return all
}

// Partition gives the state of one partition, and false when topic or partition is unknown.
func (i *Image) Partition(id topic.ID, index int32) (Partition, bool) {
	t := i.TopicByID(id)
	if t == nil || index < 0 || int(index) >= len(t.Partitions) {
		return Partition{}, false
	}
	return t.Partitions[index], true
}

// Partition names a partition of the topic.
func (t *Topic) Partition(index int32) topic.Partition {
	return topic.Partition{ID: t.ID, Topic: t.Name, Index: index}
}

// Builder makes the next image from one. It is not safe for concurrent use.
type Builder struct {
	img    *Image
	copied map[any]bool
}

// Edit begins a new image with i's content.
func (i *Image) Edit() *Builder {
	n := &Image{ClusterID: i.ClusterID, Generation: i.Generation, Revision: i.Revision, Controller: i.Controller,
		Brokers: i.Brokers, BrokerConfigs: i.BrokerConfigs, GroupConfigs: i.GroupConfigs, topics: i.topics, names: i.names, tombs: i.tombs}
	n.sorted.Store(i.sorted.Load())
	return &Builder{img: n, copied: make(map[any]bool)}
}

type shardKey struct {
	names bool
	n     int
}

// own copies a map once per builder, before its first change.
func own[K comparable, V any](b *Builder, key any, m *map[K]V) map[K]V {
	if !b.copied[key] {
		b.copied[key] = true
		c := make(map[K]V, len(*m)+1)
		maps.Copy(c, *m)
		*m = c
	}
	return *m
}

// SetRevision says up to which revision of the store the image is.
func (b *Builder) SetRevision(rev int64) { b.img.Revision = rev }

// SetController names the controller.
func (b *Builder) SetController(id int32) { b.img.Controller = id }

// PutTopic adds or replaces a topic.
func (b *Builder) PutTopic(t *Topic) {
	s, c := shardOf(t.ID), CanonicalName(t.Name)
	n := shardOfName(c)
	own(b, shardKey{false, s}, &b.img.topics[s])[t.ID] = t
	own(b, shardKey{true, n}, &b.img.names[n])[c] = t
	b.img.sorted.Store(nil)
}

// DeleteTopic removes a topic; an unknown one is no mistake.
func (b *Builder) DeleteTopic(id topic.ID) {
	t := b.img.TopicByID(id)
	if t == nil {
		return
	}
	s, c := shardOf(id), CanonicalName(t.Name)
	n := shardOfName(c)
	delete(own(b, shardKey{false, s}, &b.img.topics[s]), id)
	if b.img.names[n][c] == t { // a new life of the name may have come first
		delete(own(b, shardKey{true, n}, &b.img.names[n]), c)
	}
	b.img.sorted.Store(nil)
}

// PutBroker adds or replaces a live broker.
func (b *Builder) PutBroker(br *Broker) { own(b, "brokers", &b.img.Brokers)[br.ID] = br }

// DeleteBroker removes a broker.
func (b *Builder) DeleteBroker(id int32) { delete(own(b, "brokers", &b.img.Brokers), id) }

// PutBrokerConfig replaces the dynamic configs of a broker (or of all: ClusterDefaults).
func (b *Builder) PutBrokerConfig(id int32, c *BrokerConfig) {
	own(b, "configs", &b.img.BrokerConfigs)[id] = c
}

// DeleteBrokerConfig removes them.
func (b *Builder) DeleteBrokerConfig(id int32) { delete(own(b, "configs", &b.img.BrokerConfigs), id) }

// PutGroupConfig replaces the configs of a group.
func (b *Builder) PutGroupConfig(group string, c *GroupConfig) {
	own(b, "groups", &b.img.GroupConfigs)[group] = c
}

// DeleteGroupConfig removes them.
func (b *Builder) DeleteGroupConfig(group string) {
	delete(own(b, "groups", &b.img.GroupConfigs), group)
}

// PutTombstone remembers a deleted topic.
func (b *Builder) PutTombstone(t *TopicTombstone) { own(b, "tombs", &b.img.tombs)[t.ID] = t }

// DeleteTombstone forgets it.
func (b *Builder) DeleteTombstone(id topic.ID) { delete(own(b, "tombs", &b.img.tombs), id) }

// Image gives the new image; the builder must not be used afterwards.
func (b *Builder) Image() *Image { return b.img }

// SetIdentity says which cluster, and which life of it, the image is of.
func (b *Builder) SetIdentity(clusterID, generation string) {
	b.img.ClusterID, b.img.Generation = clusterID, generation
}
