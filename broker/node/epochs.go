package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/firnlog/firn/metadata"
)

// beginEpochs begins a new leader epoch for each partition whose page cache was lost and had been acknowledged from:
// offsets that were handed out before may be handed out again, and the epoch is how everybody tells them apart (I-03).
// In flush mode nobody was told of what is gone. A start that does not come to the end of this leaves it to the next.
func (n *Node) beginEpochs(ctx context.Context) error {
	if !n.dir.PowerLost() {
		return nil
	}
	if err := n.commitEpochs(ctx); err != nil {
		return err
	}
	if err := n.dir.PowerLossSettled(); err != nil {
		n.log.Warn("the next start begins new leader epochs again", "error", err)
	}
	return nil
}

func (n *Node) commitEpochs(ctx context.Context) error {
	settings := n.TopicSettings()
	edits := newEpochs(n.meta.Image(), n.cfg.BrokerID, func(t *metadata.Topic) bool { return settings(t).Log.FlushMessages != 1 })
	if len(edits) == 0 {
		return nil
	}
	if err := errors.Join(n.meta.Commit(ctx, edits...)...); err != nil {
		return fmt.Errorf("begin new leader epochs after a crash: %w", err)
	}
	n.log.Warn("the page cache was lost: topics that do not flush before they acknowledge may have lost records", "partitions", len(edits))
	return nil
}

// newEpochs gives the edits that begin an epoch of this broker's partitions of the topics concerned.
func newEpochs(img *metadata.Image, broker int32, concerned func(*metadata.Topic) bool) []metadata.Edit {
	var edits []metadata.Edit
	for _, t := range img.Topics() {
		if !concerned(t) {
			continue
		}
		for i, p := range t.Partitions {
			if p.Leader != broker {
				continue
			}
			next := p
			next.LeaderEpoch++
			edits = append(edits, metadata.ChangePartition{ID: t.ID, Index: int32(i), Version: p.Version, State: next})
		}
	}
	return edits
}
