package node

import (
	"context"
	"fmt"
	"sort"

	httpapi "github.com/firnlog/firn/broker/api/http"
	"github.com/firnlog/firn/broker/partition"
	"github.com/firnlog/firn/tier/topic"
)

// TierStatus implements httpapi.Broker.
func (n *Node) TierStatus(_ context.Context, name string) ([]httpapi.PartitionTiers, error) {
	if !n.ready.Load() {
		return nil, errNotServing
	}
	if name != "" && n.meta.Image().TopicByName(name) == nil {
		return nil, fmt.Errorf("topic %s: %w", name, httpapi.ErrNotFound)
	}
	var rows []httpapi.PartitionTiers
	for _, p := range n.partitions.All() {
		if name != "" && p.ID().Topic != name {
			continue
		}
		s, err := p.Status()
		if err != nil {
			rows = append(rows, httpapi.PartitionTiers{Topic: p.ID().Topic, Partition: p.ID().Index, LastError: err.Error()})
			continue
		}
		rows = append(rows, tiersOf(s))
	}
	sort.Slice(rows, func(i, j int) bool {
		if rows[i].Topic != rows[j].Topic {
			return rows[i].Topic < rows[j].Topic
		}
		return rows[i].Partition < rows[j].Partition
	})
	return rows, nil
}

func tiersOf(s partition.Status) httpapi.PartitionTiers {
	r := httpapi.PartitionTiers{
		Topic: s.Partition.Topic, Partition: s.Partition.Index, Remote: s.Remote, LogStart: s.LogStart,
		HotStart: s.HotStart, HotEnd: s.End, HotBytes: s.HotBytes,
		ColdStart: s.ColdStart, ColdEnd: s.ColdEnd, ColdBytes: s.ColdBytes, ColdSegments: s.ColdSegments,
	}
	if u := s.Upload; u != nil {
		r.LagRecords, r.LagBytes, r.LagSeconds = u.LagRecords, u.LagBytes, float64(u.LagMs)/1000
		r.Waiting, r.LastError = u.Waiting, u.LastError
	}
	return r
}

// TierExplain implements httpapi.Broker.
func (n *Node) TierExplain(ctx context.Context, name string, index int32, offset int64) (httpapi.Explanation, error) {
	if !n.ready.Load() {
		return httpapi.Explanation{}, errNotServing
	}
	p, err := n.partitions.ByName(name, index)
	if err != nil {
		return httpapi.Explanation{}, fmt.Errorf("partition %s-%d: %w", name, index, httpapi.ErrNotFound)
	}
	say, err := p.Explain(ctx, offset)
	if err != nil {
		return httpapi.Explanation{}, err
	}
	return httpapi.Explanation{Topic: name, Partition: index, Offset: offset, Sentences: say}, nil
}

// HotBytesFrom tells the bytes of a partition's local log at and above an offset.
func (n *Node) HotBytesFrom(p topic.Partition, offset int64) int64 {
	hot, err := n.partitions.ByID(p.ID, p.Index)
	if err != nil {
		return 0
	}
	return hot.HotBytesFrom(offset)
}
