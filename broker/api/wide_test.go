package api

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/tier/disk"
)

const widePartitions, pageCache = 300, "9223372036854775807"

// wideEnv is a server on a real socket and a real disk, whose topics may have an archive.
func wideEnv(t testing.TB) (*env, *rawConn) {
	store := metatestBroker(t)
	e := newEnvWith(t, store, inFolder{disk.OS(), t.TempDir()}, quietLog, archiveOf(t, store))
	e.a.Configs = settled{e.a.Configs, e.a.Configs.Values()}
	return e, dialRaw(t, serve(t, e))
}

// createWide makes a topic with so many partitions, in flush mode with an archive as by default, or with neither.
func (e *env) createWide(topic string, partitions int, byDefault bool) (id [16]byte) {
	flush, remote := pageCache, "false"
	if byDefault {
		flush, remote = "1", "true"
	}
	e.create(topic, int32(partitions), "flush.messages", flush, "remote.storage.enable", remote,
		"index.interval.bytes", "1073741824") // the indexes of 300 segments grow
	return e.store.Image().TopicByName(topic).ID
}

// Requests for many partitions allocate as little as those for one, whether the page cache is enough, the flush journal takes
// what they bring, or so much of it comes to each partition that the flusher syncs all of their logs.
func TestWideRequestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random, so allocations can't be counted")
	}
	e, c := wideEnv(t)
	id := e.createWide("wide", widePartitions, false)
	for _, load := range []struct {
		topic               string
		id                  [16]byte
		partitions, records int
		runs, most          int
	}{
		{"wide", id, widePartitions, 1, 100, 10},
		// 100 requests are 33 MB. The journal makes a list, after each 4 MiB, of the logs that are to write back: 8. And some 50
		// for each of its files of 64 MiB: the map of the logs that it names grows, and when it is full those are synced.
		{"wide-flushed", e.createWide("wide-flushed", widePartitions, true), widePartitions, 1, 100, 75},
		{"wide-synced", e.createWide("wide-synced", 32, true), 32, 40, 20, 2}, // 40 KB to each
	} {
		for version, named := range map[int16]string{9: load.topic, 13: string(load.id[:])} { // version 13 names it by its id
			produce := frameOf(produceOf(load.topic, load.id, load.partitions, load.records), version)
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
	for _, version := range []int16{12, 18} {
		fetch := frameOf(wideFetch("wide", id), version)
		noAllocationsIn(t, 100, "fetch of 300 partitions", func() {
			c.send(fetch)
			if b := c.answer(); binary.BigEndian.Uint16(b[1+4:]) != 0 || len(b) < widePartitions*1000 {
				t.Fatalf("refused, or too little: %d bytes", len(b))
			}
		})
	}
}

// wideFetch asks for a record of each partition.
func wideFetch(topic string, id [16]byte) kmsg.Request {
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxBytes, req.SessionEpoch = 1, 10_000_000, -1
	asked := kmsg.NewFetchRequestTopic()
	asked.Topic, asked.TopicID = topic, id
	for p := range int32(widePartitions) {
		q := kmsg.NewFetchRequestTopicPartition()
		q.Partition, q.PartitionMaxBytes, q.CurrentLeaderEpoch = p, 1200, -1
		asked.Partitions = append(asked.Partitions, q)
	}
	req.Topics = []kmsg.FetchRequestTopic{asked}
	return req
}
