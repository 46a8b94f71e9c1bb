package coord

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/group"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/topicconfig"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
)

// OffsetsTopic is where groups and their offsets are kept.
const OffsetsTopic = "__consumer_offsets"

// Cluster is what the group coordinator needs of the metadata. metadata.Store implements it.
type Cluster interface {
	Image() *metadata.Image
	Watch(fn func(*metadata.Image)) (cancel func())
	Commit(ctx context.Context, edits ...metadata.Edit) []error
}

// GroupsOptions configure Groups. BrokerID, Cluster, Open and Group.NewMemberSuffix are needed.
type GroupsOptions struct {
	BrokerID int32
	Cluster  Cluster
	// Open gives the log of a partition of the offsets topic that this broker leads.
	Open func(index int32) (Log, error)
	// Empty reports whether such a partition is known never to have been written to, without I/O: its shard starts with
	// its first request. nil: none is known to be.
	Empty func(index int32) bool
	// Partitions (offsets.topic.num.partitions) and SegmentBytes (offsets.topic.segment.bytes) of the offsets topic when
	// it is made; 0: 50 and 100 MiB.
	Partitions   int32
	SegmentBytes int
	Codec        record.Codec // offsets.topic.compression.codec: how batches are compressed that are written from now on
	Group        group.Options
	Logger       *slog.Logger // nil: slog.Default()
}

// Groups is the group coordinator of one broker: it makes the offsets topic, keeps a shard for each of its partitions
// that this broker leads, and forgets the offsets of deleted topics. All methods may be called concurrently.
type Groups struct {
	o       GroupsOptions
	rt      *Runtime
	unwatch func()
	making  sync.Mutex // one creation of the offsets topic at a time

	mu    sync.Mutex
	known map[topic.ID]string // topics by the last image; guarded by mu
	led   map[int32]bool      // partitions that this broker led by the last image; guarded by mu
}

// NewGroups follows the metadata and begins to load the shards of what this broker leads.
func NewGroups(o GroupsOptions) *Groups {
	if o.Partitions <= 0 {
		o.Partitions = 50
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 100 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	g := &Groups{o: o, known: map[topic.ID]string{}, led: map[int32]bool{}}
	g.rt = New(Options{Open: o.Open, Group: o.Group, Codec: o.Codec, Logger: o.Logger})
	g.unwatch = o.Cluster.Watch(g.follow)
	return g
}

// Close ends all shards; what waits is answered with NOT_COORDINATOR.
func (g *Groups) Close() {
	g.unwatch()
	g.rt.Close()
}

// SetOptions changes the settings of every group.
func (g *Groups) SetOptions(o group.Options) { g.rt.SetOptions(o) }

// Options are the settings in force.
func (g *Groups) Options() group.Options {
	g.rt.mu.Lock()
	defer g.rt.mu.Unlock()
	return g.rt.group
}

// follow takes a new image: shards of partitions that this broker does not lead any more end, those that it leads are
// loaded (those of partitions without a record, when they are needed), and the offsets of topics that are gone are
// forgotten.
func (g *Groups) follow(img *metadata.Image) {
	known := map[topic.ID]string{}
	led := map[int32]bool{}
	for _, t := range img.Topics() {
		known[t.ID] = t.Name
		if t.Name != OffsetsTopic {
			continue
		}
		for i := range t.Partitions {
			if t.Partitions[i].Leader == g.o.BrokerID {
				led[int32(i)] = true
			}
		}
	}
	g.mu.Lock()
	oldKnown, oldLed := g.known, g.led
	g.known, g.led = known, led
	g.mu.Unlock()
	var gone []group.DeletedTopic
	for id, name := range oldKnown {
		if _, ok := known[id]; !ok {
			gone = append(gone, group.DeletedTopic{Name: name, ID: id})
		}
	}
	for p := range oldLed {
		if !led[p] {
			go g.rt.Resign(p) // it waits for the shard, which the image's watcher must not
		}
	}
	for p := range led {
		if !oldLed[p] && !g.empty(p) {
			_ = g.rt.Load(p) // only a closed runtime refuses
		}
	}
	if len(gone) > 0 {
		g.rt.TopicsDeleted(gone)
	}
}

// empty reports whether there is nothing that a shard of this partition could know.
func (g *Groups) empty(p int32) bool { return g.o.Empty != nil && !g.rt.has(p) && g.o.Empty(p) }

// Find tells which broker coordinates a group, making the offsets topic when this is the first to be asked for.
// Errors are Kafka's.
func (g *Groups) Find(ctx context.Context, groupID string) (broker int32, err error) {
	t := g.o.Cluster.Image().TopicByName(OffsetsTopic)
	if t == nil {
		if err := g.make(ctx); err != nil {
			g.o.Logger.Warn("cannot make the offsets topic", "error", err)
			return -1, kerr.CoordinatorNotAvailable
		}
		if t = g.o.Cluster.Image().TopicByName(OffsetsTopic); t == nil {
			return -1, kerr.CoordinatorNotAvailable
		}
	}
	leader := t.Partitions[group.PartitionFor(groupID, int32(len(t.Partitions)))].Leader
	if leader == metadata.NoLeader {
		return -1, kerr.CoordinatorNotAvailable
	}
	return leader, nil
}

// make creates the offsets topic; all of it is led by this broker until there are others to share with.
func (g *Groups) make(ctx context.Context) error {
	g.making.Lock()
	defer g.making.Unlock()
	if g.o.Cluster.Image().TopicByName(OffsetsTopic) != nil {
		return nil
	}
	configs, err := topicconfig.AtCreation(map[string]string{
		topicconfig.CleanupPolicy: "compact", topicconfig.CompressionType: "producer",
		topicconfig.SegmentBytes: fmt.Sprint(g.o.SegmentBytes),
	}, nil, true)
	if err != nil {
		return err
	}
	edit := metadata.CreateTopic{ID: topic.NewID(), Name: OffsetsTopic, Configs: configs, Internal: true}
	for range g.o.Partitions {
		edit.Partitions = append(edit.Partitions, metadata.Partition{
			Leader: g.o.BrokerID, Replicas: []int32{g.o.BrokerID}, ISR: []int32{g.o.BrokerID},
		})
	}
	if err := g.o.Cluster.Commit(ctx, edit)[0]; err != nil && !errors.Is(err, metadata.ErrTopicExists) {
		return err
	}
	return nil
}

// Submit hands a request to the shard of the group. reply is called exactly once.
func (g *Groups) Submit(groupID string, body kmsg.Request, client group.Client, reply func(kmsg.Response)) {
	t := g.o.Cluster.Image().TopicByName(OffsetsTopic)
	if t == nil || !validFor(groupID, body) {
		code := kerr.NotCoordinator.Code
		if t != nil {
			code = kerr.InvalidGroupID.Code
		}
		reply(Refuse(body, code))
		return
	}
	p := group.PartitionFor(groupID, int32(len(t.Partitions)))
	if t.Partitions[p].Leader != g.o.BrokerID {
		reply(Refuse(body, kerr.NotCoordinator.Code))
		return
	}
	g.rt.Submit(p, Request{Body: body, Client: client, Reply: reply})
}

// validFor reports whether a group may be called that. The empty name is one only for offsets, which the oldest
// clients keep without a group (Kafka: GroupCoordinatorService.isGroupIdNotEmpty).
func validFor(groupID string, body kmsg.Request) bool {
	if groupID != "" {
		return true
	}
	switch body.(type) {
	case *kmsg.OffsetCommitRequest, *kmsg.OffsetFetchRequest, *kmsg.DescribeGroupsRequest, *kmsg.DeleteGroupsRequest:
		return true
	}
	return false
}

// List asks every shard of this broker for its groups and joins the answers.
func (g *Groups) List(req *kmsg.ListGroupsRequest, reply func(*kmsg.ListGroupsResponse)) {
	g.mu.Lock()
	var ps []int32
	for p := range g.led {
		ps = append(ps, p)
	}
	g.mu.Unlock()
	ps = slices.DeleteFunc(ps, g.empty)
	whole := kmsg.NewPtrListGroupsResponse()
	whole.Version = req.Version
	if len(ps) == 0 {
		reply(whole)
		return
	}
	var mu sync.Mutex
	left := len(ps)
	for _, p := range ps {
		part := *req
		g.rt.Submit(p, Request{Body: &part, Reply: func(res kmsg.Response) {
			mu.Lock()
			r := res.(*kmsg.ListGroupsResponse)
			if r.ErrorCode != 0 {
				whole.ErrorCode = r.ErrorCode // Kafka, too, gives no partial list
			}
			whole.Groups = append(whole.Groups, r.Groups...)
			left--
			last := left == 0
			mu.Unlock()
			if last {
				if whole.ErrorCode != 0 {
					whole.Groups = nil
				}
				reply(whole)
			}
		}})
	}
}
