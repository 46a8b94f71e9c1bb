package api

import (
	"bytes"
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
	id := e.store.Image().TopicByName(topic).ID
	for version, named := range map[int16]string{9: topic, 13: string(id[:])} { // version 13 names it by its id
		produce := frameOf(produceOf(topic, id, partitions, 1), version)
		noAllocationsIn(t, 100, "produce to 300 partitions", func() {
			c.send(produce)
			b := c.answer()
			if at := bytes.Index(b, []byte(named)); at < 0 || binary.BigEndian.Uint16(b[at+len(named)+2+4:]) != 0 {
				t.Fatalf("refused: %x", b[:100])
			}
		})
	}

	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxBytes, req.SessionEpoch = 1, 10_000_000, -1
	asked := kmsg.NewFetchRequestTopic()
	asked.Topic, asked.TopicID = topic, id
	for p := range int32(partitions) {
		q := kmsg.NewFetchRequestTopicPartition()
		q.Partition, q.PartitionMaxBytes, q.CurrentLeaderEpoch = p, 1200, -1 // a record of each
		asked.Partitions = append(asked.Partitions, q)
	}
	req.Topics = []kmsg.FetchRequestTopic{asked}
	for _, version := range []int16{12, 18} {
		fetch := frameOf(req, version)
		noAllocationsIn(t, 100, "fetch of 300 partitions", func() {
			c.send(fetch)
			if b := c.answer(); binary.BigEndian.Uint16(b[1+4:]) != 0 || len(b) < partitions*1000 {
				t.Fatalf("refused, or too little: %d bytes", len(b))
			}
		})
	}
}
