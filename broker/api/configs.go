package api

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/loglevel"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/brokerconfig"
	"github.com/firnlog/firn/metadata/configdef"
	"github.com/firnlog/firn/metadata/groupconfig"
	"github.com/firnlog/firn/metadata/topicconfig"
)

// configResource is what a client wants to change the configs of.
type configResource struct {
	kind kmsg.ConfigResourceType
	name string
}

// configOps gives the operations that a client wants, once it is known what is stored: those that it sent, or those that
// make of what is stored what it sent. kept is a config that stays unless it is named, "" for none.
type configOps func(stored map[string]string, kept string) []configdef.Op

// changing are the operations of IncrementalAlterConfigs. To delete what is not there is no mistake, whatever its name.
func changing(ops []configdef.Op) configOps {
	return func(stored map[string]string, _ string) []configdef.Op {
		return slices.DeleteFunc(slices.Clone(ops), func(op configdef.Op) bool {
			_, there := stored[op.Key]
			return op.Kind == configdef.Delete && !there
		})
	}
}

// replacing are the operations that AlterConfigs stands for.
func replacing(next map[string]string) configOps {
	return func(stored map[string]string, kept string) (ops []configdef.Op) {
		for _, k := range slices.Sorted(maps.Keys(next)) {
			ops = append(ops, configdef.Op{Key: k, Kind: configdef.Set, Value: next[k]})
		}
		for _, k := range slices.Sorted(maps.Keys(stored)) {
			if _, stays := next[k]; !stays && k != kept {
				ops = append(ops, configdef.Op{Key: k, Kind: configdef.Delete})
			}
		}
		return ops
	}
}

// alterResource changes the stored configs of one resource, or, with validateOnly, says whether that could be done.
func (a *API) alterResource(ctx context.Context, r configResource, ops configOps, validateOnly bool) error {
	switch r.kind {
	case kmsg.ConfigResourceTypeTopic:
		if r.name == "" {
			return refuse(kerr.InvalidRequest, "a topic's name must not be empty; defaults for all topics are configs of the broker")
		}
		if err := metadata.ValidateTopicName(r.name); err != nil {
			return err
		}
		return a.alterTopic(ctx, r.name, ops, validateOnly)
	case kmsg.ConfigResourceTypeBroker:
		return a.alterBroker(ctx, r.name, ops, validateOnly)
	case kmsg.ConfigResourceTypeGroupConfig:
		if r.name == "" {
			return refuse(kerr.InvalidRequest, "a group's name must not be empty; defaults for all groups are configs of the broker")
		}
		return a.alterGroup(ctx, r.name, ops, validateOnly)
	}
	return unknownResource(r.kind)
}

// alterTopic works the operations into a topic's configs, by the rules of topicconfig.Change.
func (a *API) alterTopic(ctx context.Context, name string, ops configOps, validateOnly bool) error {
	return a.retryConflicts(ctx, func(img *metadata.Image) (metadata.Edit, error) {
		t := img.TopicByName(name)
		if t == nil {
			return nil, a.unknownTopicConfigs(name, ops)
		}
		defaults := a.Configs.Values().TopicDefaults
		next, err := topicconfig.Alter(t.Configs, defaults, ops(t.Configs, topicconfig.RemoteStorageEnable))
		if err != nil {
			return nil, err
		}
		ch, err := topicconfig.Change(t.Configs, next, defaults, t.Internal, a.hasArchive(t))
		if err != nil || validateOnly || len(ch.Set)+len(ch.Delete) == 0 {
			return nil, err
		}
		if err := a.moveArchive(ctx, t, ch); err != nil {
			return nil, err
		}
		return metadata.AlterTopicConfigs{ID: t.ID, Version: t.Version, Set: ch.Set, Delete: ch.Delete, Unarchived: ch.Unarchived}, nil
	})
}

// unknownTopicConfigs says what is wrong with changing a topic that does not exist. As in Kafka, what is wrong with the
// values goes first.
func (a *API) unknownTopicConfigs(name string, ops configOps) error {
	defaults := a.Configs.Values().TopicDefaults
	next, err := topicconfig.Alter(nil, defaults, ops(nil, ""))
	if err == nil {
		_, err = topicconfig.Resolve(next, defaults)
	}
	if err != nil {
		return err
	}
	return refuse(kerr.UnknownTopicOrPartition, fmt.Sprintf("topic %q does not exist", name))
}

func (a *API) hasArchive(t *metadata.Topic) bool {
	for i := range t.Partitions {
		if !a.Cluster.CachedLedger(t.Partition(int32(i))).Empty() {
			return true
		}
	}
	return false
}

// moveArchive settles, before the configs change, where each partition's log starts on the other side of the change:
// turning remote storage off drops what is only archived, turning it on begins the archive where the log does.
func (a *API) moveArchive(ctx context.Context, t *metadata.Topic, ch topicconfig.Changed) error {
	was, err := topicconfig.Resolve(t.Configs, a.Configs.Values().TopicDefaults)
	begins := err == nil && !was.RemoteStorage && ch.Values.RemoteStorage
	if !begins && !ch.DropsArchive {
		return nil
	}
	for i := range t.Partitions {
		p, err := a.Partitions.ByID(t.ID, int32(i))
		if err != nil {
			return err
		}
		if ch.DropsArchive {
			a.Logger.Warn("remote storage is being turned off: what is only archived is dropped", "partition", p.ID())
		}
		if err := p.StartAtLocal(ctx); err != nil {
			return fmt.Errorf("partition %d: %w", i, err)
		}
	}
	return nil
}

// alterBroker changes the dynamic configs of this broker, or, without a name, those of all.
func (a *API) alterBroker(ctx context.Context, name string, ops configOps, validateOnly bool) error {
	id := metadata.ClusterDefaults
	if name != "" {
		if err := a.thisBroker(name); err != nil {
			return err
		}
		id = a.Config.BrokerID
	}
	return a.retryConflicts(ctx, func(img *metadata.Image) (metadata.Edit, error) {
		var stored map[string]string
		if c := img.BrokerConfigs[id]; c != nil {
			stored = c.Configs
		}
		set, deleted, err := brokerconfig.Alter(stored, ops(stored, ""), name != "", a.Configs.Layers())
		if err != nil || validateOnly || len(set)+len(deleted) == 0 {
			return nil, err
		}
		return metadata.AlterBrokerConfigs{Broker: id, Set: set, Delete: deleted}, nil
	})
}

// alterGroup changes the configs of a group, which need not exist.
func (a *API) alterGroup(ctx context.Context, group string, ops configOps, validateOnly bool) error {
	return a.retryConflicts(ctx, func(img *metadata.Image) (metadata.Edit, error) {
		stored := storedForGroup(img, group)
		set, deleted, err := groupconfig.Alter(stored, ops(stored, ""), a.Configs.Layers())
		if err != nil || validateOnly || len(set)+len(deleted) == 0 {
			return nil, err
		}
		return metadata.AlterGroupConfigs{Group: group, Set: set, Delete: deleted}, nil
	})
}

// alterLoggers changes levels for as long as the broker runs: all of them, or, when one is wrong, none.
func (a *API) alterLoggers(broker string, ops []configdef.Op, validateOnly bool) error {
	if err := a.thisBroker(broker); err != nil {
		return err
	}
	for _, op := range ops {
		if err := a.checkLogger(op); err != nil {
			return err
		}
	}
	if validateOnly {
		return nil
	}
	for _, op := range ops {
		var err error
		if op.Kind == configdef.Delete {
			err = a.Loggers.Unset(op.Key)
		} else {
			err = a.Loggers.Set(op.Key, op.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *API) checkLogger(op configdef.Op) error {
	if _, _, known := a.Loggers.Level(op.Key); !known {
		return fmt.Errorf("%w: %q", loglevel.ErrUnknownLogger, configdef.Clip(op.Key))
	}
	switch op.Kind {
	case configdef.Set:
		if !slices.Contains(loglevel.LevelNames(), op.Value) {
			return fmt.Errorf("%w: logger %s cannot have level %q, allowed are %v", loglevel.ErrUnknownLevel, op.Key,
				configdef.Clip(op.Value), loglevel.LevelNames())
		}
	case configdef.Delete:
		if op.Key == loglevel.Root {
			return fmt.Errorf("%w: set another one instead", loglevel.ErrRoot)
		}
	default:
		return refuse(kerr.InvalidRequest, "a logger's level can be set and deleted; it is no list")
	}
	return nil
}
