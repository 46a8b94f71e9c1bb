package etcd

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/topic"
)

// mirror holds what etcd holds of the cluster, as raw material for images. It belongs to the follower's
// goroutine. Values that cannot be read are reported and left out: an older firn must not fall over what a
// newer one wrote.
type mirror struct {
	keys   keys
	log    *slog.Logger
	img    *metadata.Image
	build  *metadata.Builder // begun with the first change after an image, nil otherwise
	topics map[topic.ID]*rawTopic
	names  map[string]topic.ID // by the name in the topic key
	dirty  map[topic.ID]bool
}

// rawTopic gathers a topic's keys in whatever order they come; it is visible once complete.
type rawTopic struct {
	head    *topicHead
	version int64
	parts   []metadata.Partition // by index; Version 0 where the key is missing
}

func newMirror(k keys, log *slog.Logger) *mirror {
	return &mirror{keys: k, log: log, img: metadata.Empty("", ""), topics: make(map[topic.ID]*rawTopic), names: make(map[string]topic.ID), dirty: make(map[topic.ID]bool)}
}

func (m *mirror) builder() *metadata.Builder {
	if m.build == nil {
		m.build = m.img.Edit()
	}
	return m.build
}

// image finishes the changes since the last image.
func (m *mirror) image(rev int64) *metadata.Image {
	b := m.builder()
	for id := range m.dirty {
		r := m.topics[id]
		if r == nil || r.head == nil || !r.complete() {
			b.DeleteTopic(id)
			continue
		}
		n := r.head.Partitions
		b.PutTopic(&metadata.Topic{ID: id, Name: r.head.Name, Configs: r.head.Configs, Internal: r.head.Internal,
			CreatedAt: r.head.CreatedAt, Version: r.version, Partitions: slices.Clone(r.parts[:n:n])})
	}
	clear(m.dirty)
	b.SetRevision(rev)
	m.img, m.build = b.Image(), nil
	return m.img
}

func (r *rawTopic) complete() bool {
	n := int(r.head.Partitions)
	if n > len(r.parts) {
		return false
	}
	return !slices.ContainsFunc(r.parts[:n], func(p metadata.Partition) bool { return p.Version == 0 })
}

// apply takes in one key; deleted is whether it is gone. It reports whether the image changes.
func (m *mirror) apply(kv *mvccpb.KeyValue, deleted bool) bool {
	key := strings.TrimPrefix(string(kv.Key), m.keys.prefix)
	kind, rest, _ := strings.Cut(key, "/")
	var err error
	switch kind + "/" {
	case kTopic:
		err = m.topic(rest, kv, deleted)
	case kPart:
		err = m.part(rest, kv, deleted)
	case kTomb:
		err = m.tomb(rest, kv, deleted)
	case kBroker:
		err = m.broker(rest, kv, deleted)
	case kConfig:
		err = m.config(rest, kv, deleted)
	case kGroup:
		err = m.groupConfig(rest, kv, deleted)
	case kCluster + "/":
		var id identity
		if err = json.Unmarshal(kv.Value, &id); err == nil && !deleted {
			m.builder().SetIdentity(id.ClusterID, id.Generation)
		}
	case kController + "/":
		n := int64(metadata.NoLeader)
		if !deleted {
			n, err = strconv.ParseInt(string(kv.Value), 10, 32)
		}
		if err == nil {
			m.builder().SetController(int32(n))
		}
	default:
		return false
	}
	if err != nil {
		m.log.Error("a metadata key cannot be read and is left out", "key", string(kv.Key), "revision", kv.ModRevision, "err", err)
		return false
	}
	return true
}

func (m *mirror) raw(id topic.ID) *rawTopic {
	r := m.topics[id]
	if r == nil {
		r = &rawTopic{}
		m.topics[id] = r
	}
	m.dirty[id] = true
	return r
}

func (m *mirror) topic(name string, kv *mvccpb.KeyValue, deleted bool) error {
	var h topicHead
	if !deleted {
		if err := json.Unmarshal(kv.Value, &h); err != nil {
			return err
		}
		if h.ID.IsZero() || h.Partitions <= 0 || h.Partitions > metadata.MaxPartitions || metadata.CanonicalName(h.Name) != name {
			return fmt.Errorf("topic %q with id %s and %d partitions", h.Name, h.ID, h.Partitions)
		}
	}
	if old, ok := m.names[name]; ok && old != h.ID {
		m.raw(old).head = nil
		m.drop(old)
		delete(m.names, name)
	}
	if deleted {
		return nil
	}
	r := m.raw(h.ID)
	r.head, r.version = &h, kv.ModRevision
	m.names[name] = h.ID
	return nil
}

func (m *mirror) part(rest string, kv *mvccpb.KeyValue, deleted bool) error {
	k, _, ok := parsePart(rest)
	if !ok || k.index >= metadata.MaxPartitions {
		return fmt.Errorf("not a partition's key")
	}
	var p metadata.Partition
	if !deleted {
		var err error
		if p, err = decodePartition(kv.Value, kv.ModRevision); err != nil {
			return err
		}
	}
	r := m.raw(k.id)
	for int(k.index) >= len(r.parts) {
		r.parts = append(r.parts, metadata.Partition{})
	}
	r.parts[k.index] = p
	m.drop(k.id)
	return nil
}

// drop lets go of a topic of which no key is left.
func (m *mirror) drop(id topic.ID) {
	r := m.topics[id]
	if r.head == nil && !slices.ContainsFunc(r.parts, func(p metadata.Partition) bool { return p.Version != 0 }) {
		delete(m.topics, id)
	}
}

func (m *mirror) tomb(rest string, kv *mvccpb.KeyValue, deleted bool) error {
	id, err := topic.ParseID(rest)
	if err != nil {
		return err
	}
	if deleted {
		m.builder().DeleteTombstone(id)
		return nil
	}
	var t metadata.TopicTombstone
	if err := json.Unmarshal(kv.Value, &t); err != nil {
		return err
	}
	t.Version = kv.ModRevision
	m.builder().PutTombstone(&t)
	return nil
}

func (m *mirror) broker(rest string, kv *mvccpb.KeyValue, deleted bool) error {
	id, err := strconv.ParseInt(rest, 10, 32)
	if err != nil {
		return err
	}
	if deleted {
		m.builder().DeleteBroker(int32(id))
		return nil
	}
	var b metadata.Broker
	if err := json.Unmarshal(kv.Value, &b); err != nil {
		return err
	}
	b.Epoch = kv.ModRevision
	m.builder().PutBroker(&b)
	return nil
}

func (m *mirror) config(rest string, kv *mvccpb.KeyValue, deleted bool) error {
	id := int64(metadata.ClusterDefaults)
	if rest != defaultsID {
		var err error
		if id, err = strconv.ParseInt(rest, 10, 32); err != nil {
			return err
		}
	}
	if deleted {
		m.builder().DeleteBrokerConfig(int32(id))
		return nil
	}
	c := metadata.BrokerConfig{Version: kv.ModRevision}
	if err := json.Unmarshal(kv.Value, &c.Configs); err != nil {
		return err
	}
	m.builder().PutBrokerConfig(int32(id), &c)
	return nil
}

func (m *mirror) groupConfig(group string, kv *mvccpb.KeyValue, deleted bool) error {
	if deleted {
		m.builder().DeleteGroupConfig(group)
		return nil
	}
	c := metadata.GroupConfig{Version: kv.ModRevision}
	if err := json.Unmarshal(kv.Value, &c.Configs); err != nil {
		return err
	}
	m.builder().PutGroupConfig(group, &c)
	return nil
}
