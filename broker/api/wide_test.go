package api

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/tier/disk"
)

// Requests for many partitions allocate as little as those for one, whether the page cache is enough, the flush journal takes
// what they bring, or so much of it comes to each partition that the flusher syncs all of their logs.
func TestWideRequestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random, so allocations can't be counted")
	}
	const partitions, topic, never = 300, "wide", "9223372036854775807"
	e := newEnvOn(t, metatestBroker(t), inFolder{disk.OS(), t.TempDir()}, quietLog)
	e.a.Configs = settled{e.a.Configs, e.a.Configs.Values()}
	c := dialRaw(t, serve(t, e))
	for _, load := range []struct {
		topic, flush        string
		partitions, records int
		runs, most          int
	}{
		{topic, never, partitions, 1, 100, 10},
		// The journal has a list of the logs of each of its files, and one made after each 4 MiB of those that are to write back.
		{"wide-flushed", "1", partitions, 1, 100, 100},
		{"wide-synced", "1", 32, 40, 20, 2}, // 40 KB to each
	} {
		e.create(load.topic, int32(load.partitions), "flush.messages", load.flush, "remote.storage.enable", "false",
			"index.interval.bytes", "1073741824") // the indexes of 300 segments grow
		id := e.store.Image().TopicByName(load.topic).ID
		for version, named := range map[int16]string{9: load.topic, 13: string(id[:])} { // version 13 names it by its id
			produce := frameOf(produceOf(load.topic, id, load.partitions, load.records), version)
			code := len(named) + len(binary.AppendUvarint(nil, uint64(load.partitions+1))) + 4 // behind it, of the first partition
			fewAllocationsIn(t, load.runs, load.most, fmt.Sprintf("produce to %d partitions of %s", load.partitions, load.topic), func() {
				c.send(produce)
				b := c.answer()
				if at := bytes.Index(b, []byte(named)); at < 0 || binary.BigEndian.Uint16(b[at+code:]) != 0 {
					t.Fatalf("refused: %x", b[:100])
				}
			})
		}
	}

	id := e.store.Image().TopicByName(topic).ID
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
