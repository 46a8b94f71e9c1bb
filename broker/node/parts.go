package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/firnlog/firn/broker/partition"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/disk"
)

// producerIDs hands out producer ids one at a time; the store takes them from etcd in blocks.
type producerIDs struct{ store metadata.Store }

func (p producerIDs) Next(ctx context.Context) (int64, error) { return p.store.NextProducerIDs(ctx, 1) }

// space tells the partitions how full the log's disk is.
func (n *Node) space() (partition.SpaceInfo, error) {
	total, free, err := disk.Free(n.cfg.logDir())
	if err != nil {
		return partition.SpaceInfo{}, err
	}
	return partition.SpaceInfo{Total: int64(total), Free: int64(free)}, nil
}

// room tells the cache whether its disk may take so many bytes more without touching the reserve.
func (n *Node) room(bytes int64) bool {
	total, free, err := disk.Free(n.cfg.DataDir)
	return err == nil && int64(free)-bytes > partition.ReserveOf(int64(total))
}

// drawID draws a random name for a data folder or one life of the process.
func drawID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: the program would not go on
	return hex.EncodeToString(b[:])
}

// directoryID names the data folder for as long as it lives, so that a broker's id cannot be taken over by
// another folder by mistake. It is drawn at the first start.
func directoryID(dir string) (string, error) {
	name := filepath.Join(dir, "directory.id")
	id, err := disk.ReadFile(disk.OS(), name)
	if err == nil {
		return string(id), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("data folder: %w", err)
	}
	drawn := drawID()
	if err := disk.WriteFileSync(disk.OS(), name, []byte(drawn)); err != nil {
		return "", fmt.Errorf("data folder: %w", err)
	}
	return drawn, nil
}
