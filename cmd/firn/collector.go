package main

import (
	"context"
	"fmt"

	"github.com/firnlog/firn/broker/node"
	"github.com/firnlog/firn/cmd/firn/config"
	"github.com/firnlog/firn/compaction"
	"github.com/firnlog/firn/metadata"
)

// startCollector runs what tends the archive beside the broker and returns what ends it. It is wired here because
// broker and compaction do not know each other.
func startCollector(n *node.Node, cfg config.Config) (stop func(), err error) {
	settings := n.TopicSettings()
	c, err := compaction.New(compaction.Options{
		Store: n.Store(), Meta: n.Metadata(), HotBytes: n.HotBytesFrom, HotDue: n.HotDue,
		Policy: func(t *metadata.Topic) compaction.Policy {
			s := settings(t)
			return compaction.Policy{Remote: s.Remote, RetentionMs: s.Log.RetentionMs, RetentionBytes: s.Log.RetentionBytes}
		},
		DeleteDelay: cfg.ArchiveDeleteDelay, Grace: cfg.ArchiveGrace, Every: cfg.ArchiveInterval,
		// Seldom, because listing costs, and no more often than orphans can become due.
		ListEvery: max(cfg.ArchiveGrace, cfg.ArchiveInterval),
		Logger:    n.Logger("compaction"), Registerer: n.Registerer(),
	})
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	n.SetArchiveNotes(c.Notes)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	return func() { cancel(); <-done }, nil
}
