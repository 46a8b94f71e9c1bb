package server

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firnlog/firn/broker/wire"
)

// BenchmarkProduce is a round trip of a 1 KiB Produce through a socket to a handler that does nothing with it.
func BenchmarkProduce(b *testing.B) {
	for name, size := range map[string]int{"1KiB": 1 << 10, "1MiB": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			answer := &wire.ProduceResponse{Topics: []wire.ProduceTopicResponse{{Name: "t", Partitions: make([]wire.ProducePartitionResponse, 1)}}}
			s := start(b, HandlerFunc(func(_ context.Context, req *wire.Request, reply *wire.Reply) {
				if _, err := req.Produce(); err != nil {
					reply.Close(err)
					return
				}
				reply.Produce(answer)
			}), Limits{})
			c := dial(b, s)
			m := kmsg.NewPtrProduceRequest()
			m.Version, m.Acks = 9, -1
			m.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: bytes.Repeat([]byte("r"), size)}}}}
			request := kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench")).AppendRequest(nil, m, 1)
			in := make([]byte, 4096)
			b.SetBytes(int64(len(request)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(request); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadAtLeast(c, in, 4); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
