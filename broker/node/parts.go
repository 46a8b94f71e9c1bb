package node

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/broker/coord"
	"github.com/firnlog/firn/broker/partition"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/brokerconfig"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/record"
)

// room tells the cache whether its disk may take so many bytes more without touching the reserve.
func (n *Node) room(bytes int64) bool {
	m := n.hearing.Load()
	return m == nil || m.Room(bytes)
}

// startGroups begins to coordinate the groups of the partitions of the offsets topic that this broker leads.
func (n *Node) startGroups() *coord.Groups {
	v := n.configs.Values()
	groups := coord.NewGroups(coord.GroupsOptions{
		BrokerID: n.cfg.BrokerID, Cluster: n.meta, Group: groupOptions(v),
		Partitions: v.OffsetsTopic.Partitions, SegmentBytes: int(v.OffsetsTopic.SegmentBytes), Codec: record.Codec(v.OffsetsTopic.Codec),
		Logger: n.Logger("broker.coord"),
		Open: func(index int32) (coord.Log, error) {
			p, err := n.partitions.ByName(coord.OffsetsTopic, index)
			if err != nil {
				return nil, kerr.NotCoordinator
			}
			return p.Committed()
		},
		Empty: func(index int32) bool {
			p, err := n.partitions.ByName(coord.OffsetsTopic, index)
			return err == nil && !p.Stored()
		},
	})
	n.groups = groups
	n.configs.onChange(func(v *brokerconfig.Values) { groups.SetOptions(groupOptions(v)) })
	return groups
}

// TopicSettings says what a topic's configs mean on this broker at the moment.
func (n *Node) TopicSettings() func(t *metadata.Topic) *partition.Settings {
	return func(t *metadata.Topic) *partition.Settings {
		return partition.SettingsOf(n.configs.Values().TopicDefaults, n.log)(t)
	}
}

// drawID draws a random name for a data folder or one life of the process.
func drawID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: the program would not go on
	return hex.EncodeToString(b[:])
}

// directoryID names the data folder for as long as it lives, so that a broker's id cannot be taken over by
// another folder by mistake. It is drawn at the first start.
func directoryID(fsys disk.FS, dir string) (string, error) {
	name := filepath.Join(dir, "directory.id")
	id, err := disk.ReadFile(fsys, name)
	if err == nil {
		return string(id), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("data folder: %w", err)
	}
	drawn := drawID()
	if err := disk.WriteFileSync(fsys, name, []byte(drawn)); err != nil {
		return "", fmt.Errorf("data folder: %w", err)
	}
	return drawn, nil
}
