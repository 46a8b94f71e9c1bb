package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/etcd"
	"github.com/firnlog/firn/tier/disk"
)

// takeoverWait is how long a start waits for another data folder's registration to run out, when it has the broker's id:
// twice what one lasts, since an embedded etcd counts from its own start.
const takeoverWait = 2 * etcd.DefaultLeaseTTL

// register announces the broker.
func (n *Node) register(ctx context.Context) error {
	listener, err := n.cfg.advertised(n.kafkaListener.Addr())
	if err != nil {
		return err
	}
	id, err := directoryID(disk.OS(), n.cfg.DataDir)
	if err != nil {
		return err
	}
	b := metadata.Broker{
		ID: n.cfg.BrokerID, Directory: id, Incarnation: drawID(), Rack: n.configs.Values().Rack, Version: n.cfg.Version,
		Listeners: []metadata.Listener{listener},
	}
	err = n.meta.Register(ctx, b)
	if !errors.Is(err, metadata.ErrBrokerID) {
		return err
	}
	n.log.Warn("another data folder is registered with this broker's id; waiting for that to run out, as it does if the folder was lost",
		"broker", b.ID, "at most", takeoverWait)
	for end := time.Now().Add(takeoverWait); errors.Is(err, metadata.ErrBrokerID) && time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
		err = n.meta.Register(ctx, b)
	}
	if errors.Is(err, metadata.ErrBrokerID) {
		return fmt.Errorf("%w: give this one another broker.id, or stop the other", err)
	}
	return err
}
