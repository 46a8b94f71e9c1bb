package api

import (
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/tier/disk"
)

// Requests for many partitions allocate as little as those for one.
func TestWideRequestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random, so allocations can't be counted")
	}
	const partitions, topic = 300, "wide"
	e := newEnvOn(t, metatestBroker(t), inFolder{disk.OS(), t.TempDir()}, quietLog)
	e.create(topic, partitions, "flush.messages", "9223372036854775807", "remote.storage.enable", "false",
		"index.interval.bytes", "1073741824") // the indexes of 300 segments grow
	e.a.Configs = settled{e.a.Configs, e.a.Configs.Values()}
	c := dialRaw(t, serve(t, e))
	produce := produceFrame(topic, partitions, 1)
	noAllocationsIn(t, 100, "produce to 300 partitions", func() {
		c.send(produce)
		c.accepted(topic)
	})

	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxBytes, req.SessionEpoch = 1, 10_000_000, -1
	asked := kmsg.NewFetchRequestTopic()
	asked.Topic = topic
	for p := range int32(partitions) {
		q := kmsg.NewFetchRequestTopicPartition()
		q.Partition, q.PartitionMaxBytes, q.CurrentLeaderEpoch = p, 1200, -1 // a record of each
		asked.Partitions = append(asked.Partitions, q)
	}
	req.Topics = []kmsg.FetchRequestTopic{asked}
	fetch := frameOf(req, 12)
	noAllocationsIn(t, 100, "fetch of 300 partitions", func() {
		c.send(fetch)
		if b := c.answer(); binary.BigEndian.Uint16(b[1+4:]) != 0 || len(b) < partitions*1000 {
			t.Fatalf("refused, or too little: %d bytes", len(b))
		}
	})
}
