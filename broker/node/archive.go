package node

import (
	"golang.org/x/sys/unix"

	"github.com/firnlog/firn/tier/topic"
)

// SetArchiveNotes gives `tier explain` what is known beside the node of a partition's archived data: why nothing is
// deleted, what waits for its grace period. fn may be called at any time, concurrently.
func (n *Node) SetArchiveNotes(fn func(p topic.Partition) []string) { n.partitions.SetArchiveNotes(fn) }

// HotDue tells where retention wants the log start of a partition of which nothing is archived and nothing will be, and
// why; 0: where it is.
func (n *Node) HotDue(p topic.Partition) (to int64, why string) {
	hot, err := n.partitions.ByID(p.ID, p.Index)
	if err != nil {
		return 0, ""
	}
	return hot.HotDue()
}

// beside tells what the node uses of the local log's disk besides the log: the chunk cache, if it is on that disk.
func (n *Node) beside() int64 {
	if !sameDisk(n.cfg.logDir(), n.cfg.cacheDir()) {
		return 0
	}
	return n.cold.UsedBytes()
}

func sameDisk(a, b string) bool {
	var x, y unix.Stat_t
	return unix.Stat(a, &x) == nil && unix.Stat(b, &y) == nil && x.Dev == y.Dev
}
