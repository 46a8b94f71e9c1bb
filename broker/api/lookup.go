package api

import (
	"github.com/firnlog/firn/broker/partition"
	"github.com/firnlog/firn/broker/wire"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/topic"
)

// partition finds a partition as the client names it.
func (a *API) partition(name string, id topic.ID, index int32, byID bool) (*partition.Partition, error) {
	if byID {
		return a.Partitions.ByID(id, index)
	}
	return a.Partitions.ByName(name, index)
}

// newLeader tells a client who leads a partition that it asked the wrong broker for (KIP-951), and adds that broker's
// address to those of the answer. nil when nobody is known.
func (a *API) newLeader(name string, id topic.ID, index int32, known []wire.NodeEndpoint) (*wire.Leader, []wire.NodeEndpoint) {
	img := a.Cluster.Image()
	t := img.TopicByID(id)
	if t == nil {
		t = img.TopicByName(name)
	}
	if t == nil || index < 0 || int(index) >= len(t.Partitions) {
		return nil, known
	}
	p := t.Partitions[index]
	l := &wire.Leader{ID: p.Leader, Epoch: p.LeaderEpoch}
	b := img.Brokers[p.Leader]
	if p.Leader == metadata.NoLeader || b == nil {
		return l, known
	}
	for _, e := range known {
		if e.NodeID == b.ID {
			return l, known
		}
	}
	at := a.listener(b)
	return l, append(known, wire.NodeEndpoint{NodeID: b.ID, Host: at.Host, Port: at.Port, Rack: b.Rack})
}
