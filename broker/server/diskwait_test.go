package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/wire"
	"github.com/firnlog/firn/tier/disk"
)

// stuckFile has nothing in the page cache, and is not read before it is released.
type stuckFile struct {
	disk.File
	begun, released chan struct{}
}

func (stuckFile) OS() *os.File                       { return nil }
func (stuckFile) ReadNow([]byte, int64) (int, error) { return 0, disk.ErrWait }

func (f stuckFile) ReadAt(p []byte, _ int64) (int, error) {
	f.begun <- struct{}{}
	<-f.released
	return copy(p, bytes.Repeat([]byte("z"), len(p))), nil
}

// While the records of an answer are read from the disk, the requests behind it on its connection are served, wherever in
// the answer it is that is not in the page cache.
func TestServesWhileAnAnswerWaitsForTheDisk(t *testing.T) {
	memory, err := disk.NewCrashable(1).OpenFile("/f", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := memory.WriteAt(make([]byte, 40<<10), 0); err != nil {
		t.Fatal(err)
	}
	for _, length := range []int64{1000, 40 << 10} {
		stuck := stuckFile{begun: make(chan struct{}, 1), released: make(chan struct{})}
		served := make(chan int32, 2)
		s := start(t, HandlerFunc(func(_ context.Context, req *wire.Request, reply *wire.Reply) {
			served <- req.CorrelationID
			if req.Key != wire.KeyFetch {
				echo(context.Background(), req, reply)
				return
			}
			q := wire.NewFetchPartition(0, 0)
			for range 40 {
				q.Records = append(q.Records, disk.Region{File: memory, Length: length})
			}
			q.Records = append(q.Records, disk.Region{File: stuck, Length: length})
			reply.Fetch(&wire.FetchResponse{Topics: []wire.FetchTopicResponse{{Name: "t", Partitions: []wire.FetchPartitionResponse{q}}}})
		}), Limits{SendBuffer: -1}) // so that what comes before the stuck file has room, and nobody must read it
		c := dial(t, s)
		fetch := kmsg.NewPtrFetchRequest()
		fetch.Version = 12
		c.send(kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, fetch, 1))
		<-served
		<-stuck.begun
		c.send(frame(2, "behind it"))
		<-served
		close(stuck.released)
		var head [8]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			t.Fatal(err)
		}
		rest := make([]byte, binary.BigEndian.Uint32(head[:])-4)
		if _, err := io.ReadFull(c, rest); err != nil || !bytes.Contains(rest, bytes.Repeat([]byte("z"), int(length))) {
			t.Fatalf("%d bytes: %v, or not those of the file", len(rest), err)
		}
		c.expect(2, "behind it")
	}
}
