package api

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/tier/disk"
)

// sessionConn is a client with a fetch session of a topic's 300 partitions, in which nothing happens.
type sessionConn struct {
	*rawConn
	frame []byte
	at    int // where the session's epoch stands
	epoch uint32
}

func newSessionConn(t testing.TB) *sessionConn {
	const partitions = 300
	e := newEnvOn(t, metatestBroker(t), inFolder{disk.OS(), t.TempDir()}, quietLog)
	e.create("quiet", partitions)
	e.a.Configs = settled{e.a.Configs, e.a.Configs.Values()}
	c := &sessionConn{rawConn: dialRaw(t, serve(t, e))}
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionEpoch = 1<<20, 0
	topic := kmsg.FetchRequestTopic{Topic: "quiet"}
	for p := range int32(partitions) {
		q := kmsg.NewFetchRequestTopicPartition()
		q.Partition, q.PartitionMaxBytes, q.CurrentLeaderEpoch = p, 1<<20, -1
		topic.Partitions = append(topic.Partitions, q)
	}
	req.Topics = []kmsg.FetchRequestTopic{topic}
	c.send(frameOf(req, 12))
	id := c.answer()[1+4+2:][:4]
	req.SessionID, req.Topics = int32(binary.BigEndian.Uint32(id)), nil
	require.Positive(t, req.SessionID)
	c.frame = frameOf(req, 12)
	for i := range len(c.frame) - 8 {
		if string(c.frame[i:i+4]) == string(id) {
			c.at = i + 4
		}
	}
	return c
}

// next is the session's next fetch.
func (c *sessionConn) next() {
	c.epoch++
	binary.BigEndian.PutUint32(c.frame[c.at:], c.epoch)
	c.send(c.frame)
	if b := c.answer(); binary.BigEndian.Uint16(b[1+4:]) != 0 {
		c.t.Fatalf("refused: %x", b)
	}
}

// What a fetch takes from the budget for the partitions that it does not name costs no allocation.
func TestSessionAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop at random, so allocations can't be counted")
	}
	c := newSessionConn(t)
	noAllocations(t, "incremental fetch of 300 partitions", c.next)
}

// BenchmarkSession is a round trip of a fetch that names none of the 300 partitions of its session.
func BenchmarkSession(b *testing.B) {
	c := newSessionConn(b)
	b.ReportAllocs()
	for b.Loop() {
		c.next()
	}
}
