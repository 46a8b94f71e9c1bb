package api

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firnlog/firn/broker/server"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/metatest"
	"github.com/firnlog/firn/tier/disk"
)

// A real client over a real socket and a real disk: idempotent produce with every codec, and everything back in order.
func TestFranzGo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	n, _ := strconv.Atoi(port)
	store := metatest.NewMemory()
	require.NoError(t, store.Register(context.Background(), metadata.Broker{ID: 1, Directory: "d", Incarnation: "i",
		Listeners: []metadata.Listener{{Name: "PLAINTEXT", Host: "127.0.0.1", Port: int32(n)}}}))
	e := newEnvOn(t, store, inFolder{disk.OS(), t.TempDir()}, quietLog)
	s, err := server.New(server.Options{Listener: l, Handler: e.a, Versions: Versions()})
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer func() {
		_ = s.Shutdown(ctx)
		<-served
	}()

	const perCodec = 200
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	for c, codec := range codecs {
		cl, err := kgo.NewClient(kgo.SeedBrokers(l.Addr().String()), kgo.ProducerBatchCompression(codec), kgo.AllowAutoTopicCreation())
		require.NoError(t, err)
		for i := range perCodec {
			cl.Produce(ctx, &kgo.Record{Topic: "t", Key: []byte("one partition"), Value: fmt.Appendf(nil, "%d/%d", c, i)}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Errorf("produce: %v", err)
				}
			})
		}
		require.NoError(t, cl.Flush(ctx))
		cl.Close()
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(l.Addr().String()), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer cl.Close()
	got := 0
	for got < perCodec*len(codecs) {
		f := cl.PollFetches(ctx)
		require.NoError(t, f.Err())
		f.EachRecord(func(r *kgo.Record) {
			require.Equal(t, fmt.Sprintf("%d/%d", got/perCodec, got%perCodec), string(r.Value))
			require.EqualValues(t, got, r.Offset)
			got++
		})
	}
	adm := kadm.NewClient(cl)
	ends, err := adm.ListEndOffsets(ctx, "t")
	require.NoError(t, err)
	o, _ := ends.Lookup("t", 0)
	require.EqualValues(t, got, o.Offset)
	created, err := adm.CreateTopic(ctx, 3, 1, nil, "u")
	require.NoError(t, err)
	require.NoError(t, created.Err)
	_, err = adm.CreateTopic(ctx, 3, 1, nil, "u")
	require.ErrorIs(t, err, kerr.TopicAlreadyExists)
	_, err = adm.DeleteTopic(ctx, "u")
	require.NoError(t, err)
}
