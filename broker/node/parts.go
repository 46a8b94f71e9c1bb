package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/broker/coord"
	"github.com/firnlog/firn/broker/group"
	"github.com/firnlog/firn/broker/partition"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/clean"
	"github.com/firnlog/firn/tier/topic"
)

// room tells the cache whether its disk may take so many bytes more without touching the reserve.
func (n *Node) room(bytes int64) bool {
	m := n.hearing.Load()
	return m == nil || m.Room(bytes)
}

// startGroups begins to coordinate the groups of the partitions of the offsets topic that this broker leads.
func (n *Node) startGroups() *coord.Groups {
	o := group.DefaultOptions()
	o.NewMemberSuffix = uuid.NewString
	return coord.NewGroups(coord.GroupsOptions{
		BrokerID: n.cfg.BrokerID, Cluster: n.meta, Group: o, Logger: n.log,
		Open: func(index int32) (coord.Log, error) {
			p, err := n.partitions.ByName(coord.OffsetsTopic, index)
			if err != nil {
				return nil, kerr.NotCoordinator
			}
			return p.Committed()
		},
	})
}

// TopicSettings says what a topic's configs mean on this broker.
func (n *Node) TopicSettings() func(t *metadata.Topic) *partition.Settings {
	return partition.SettingsOf(n.settings.topics, n.log)
}

// startCleaner begins to compact the logs of topics that ask for it, internal ones included.
func (n *Node) startCleaner() {
	c := clean.New(clean.Options{Dir: n.dir, Policy: n.cleanPolicy, Unpack: n.unpack, Logger: n.log, Registerer: n.registry})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	n.onStop("cleaner", func(context.Context) error { cancel(); <-done; return nil })
}

func (n *Node) cleanPolicy(p topic.Partition) (clean.Policy, bool) {
	hot, err := n.partitions.ByID(p.ID, p.Index)
	if err != nil {
		return clean.Policy{}, false
	}
	return hot.Settings().Clean, true
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
