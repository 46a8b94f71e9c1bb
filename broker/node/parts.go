package node

import (
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

// room tells the cache whether its disk may take so many bytes more without touching the reserve.
func (n *Node) room(bytes int64) bool {
	m := n.hearing.Load()
	return m == nil || m.Room(bytes)
}

// TopicSettings says what a topic's configs mean on this broker.
func (n *Node) TopicSettings() func(t *metadata.Topic) *partition.Settings {
	return partition.SettingsOf(n.settings.topics, n.log)
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
