package partition

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/unpack"
)

// text builds one batch of n records that compress well.
func text(codec record.Codec, n int) *record.Builder {
	b := record.NewBuilder(codec)
	for i := range n {
		b.Append(1000+int64(i%3), fmt.Appendf(nil, "key %d", i), bytes.Repeat([]byte("value "), 30), []record.RecordHeader{{Key: "h"}})
	}
	return b
}

// set changes a topic's configs, name and value in turn.
func (e *env) set(name string, configs ...string) {
	e.t.Helper()
	tp := e.store.Image().TopicByName(name)
	edit := metadata.AlterTopicConfigs{ID: tp.ID, Version: tp.Version, Set: map[string]string{}}
	for i := 0; i < len(configs); i += 2 {
		edit.Set[configs[i]] = configs[i+1]
	}
	require.NoError(e.t, e.store.Commit(context.Background(), edit)[0])
}

// stored reads the batch at an offset.
func (e *env) stored(p *Partition, offset int64) (record.Header, []byte) {
	e.t.Helper()
	log, err := p.opened()
	require.NoError(e.t, err)
	b, err := log.ReadBytes(offset, p.HighWatermark(), 1<<20)
	require.NoError(e.t, err)
	h, err := record.CheckStored(b)
	require.NoError(e.t, err)
	require.Equal(e.t, offset, h.BaseOffset)
	return h, b[:h.Size()]
}

// What compression.type says counts from the next batch on, for every codec that a batch may come with; a repeated batch
// is still found to be one.
func TestRecompressionFollowsTheTopic(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	p := e.partition("t", 0)
	plain := text(record.None, 200).Build(0)[record.HeaderSize:]
	seq, offset := int32(0), int64(0)
	for _, kind := range []string{"producer", "gzip", "uncompressed", "zstd", "snappy", "lz4", "producer"} {
		e.set("t", "compression.type", kind)
		for from := record.None; from.Known(); from++ {
			sent := text(from, 200).Producer(7, 2, seq).Build(0)
			want := from
			if c := p.Settings().Compression; c != nil {
				want = c.Codec
			}
			again := bytes.Clone(sent)
			require.Equal(t, offset, e.produce(p, bytes.Clone(sent)), "%s sent to %s", from, kind)
			h, got := e.stored(p, offset)
			require.Equal(t, want, h.Codec(), "%s sent to %s", from, kind)
			require.EqualValues(t, []any{int64(7), int16(2), seq, int32(199), int64(1000), int64(1002), int32(3)},
				[]any{h.ProducerID, h.ProducerEpoch, h.BaseSequence, h.LastOffsetDelta, h.BaseTimestamp, h.MaxTimestamp, h.LeaderEpoch})
			if want == from {
				require.Equal(t, sent[record.HeaderSize:], got[record.HeaderSize:], "left as it was sent")
			}
			out, err := record.Decompress(nil, got[record.HeaderSize:], want, 1<<20)
			require.NoError(t, err)
			require.Equal(t, plain, out)
			require.Equal(t, offset, e.produce(p, again), "the same again is the same batch, also of another codec")
			seq, offset = seq+200, offset+200
		}
	}
	require.Equal(t, offset, p.HighWatermark())
}

// Only batches of another codec are compressed anew, not those of another level; LogAppendTime is stamped all the same.
func TestRecompressionLevel(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1, "compression.type", "gzip", "compression.gzip.level", "1")
	p := e.partition("t", 0)
	sizes := map[string]int{}
	for _, level := range []string{"1", "9"} {
		e.set("t", "compression.gzip.level", level)
		h, _ := e.stored(p, e.produce(p, text(record.None, 500).Build(0)))
		sizes[level] = h.Size()
	}
	require.Less(t, sizes["9"], sizes["1"])
	sent := text(record.Gzip, 500).Build(0)
	_, got := e.stored(p, e.produce(p, bytes.Clone(sent)))
	require.Equal(t, sent[record.HeaderSize:], got[record.HeaderSize:])
	e.set("t", "message.timestamp.type", "LogAppendTime")
	h, got := e.stored(p, e.produce(p, text(record.LZ4, 5).Build(0)))
	require.Equal(t, record.LogAppendTime, h.TimestampType())
	require.Equal(t, record.Gzip, h.Codec())
	require.NoError(t, record.ValidateRecords(got, 1<<20))
}

// max.message.bytes holds before and after, as in Kafka.
func TestRecompressionSizes(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1, "compression.type", "zstd", "max.message.bytes", "20000")
	p := e.partition("t", 0)
	refused := func(b []byte, want error) {
		t.Helper()
		h, err := record.Check(b)
		require.NoError(t, err)
		_, err = p.Append(b, h, true)
		require.ErrorIs(t, err, want)
		require.Zero(t, p.HighWatermark())
	}
	refused(text(record.None, 500).Build(0), hot.ErrRecordTooLarge)
	e.set("t", "compression.type", "uncompressed")
	refused(text(record.Gzip, 500).Build(0), record.ErrTooLarge)
	e.set("t", "compression.type", "snappy", "max.message.bytes", "3500")
	b := text(record.Gzip, 500).Build(0)
	require.Less(t, len(b), 3500)
	refused(b, hot.ErrRecordTooLarge)
	e.set("t", "compression.type", "producer")
	e.produce(p, text(record.Gzip, 500).Build(0))
}

// I-32: a bomb is refused within the limit, and bytes that are not of the codec are; the partition goes on.
func TestRecompressionIsBounded(t *testing.T) {
	gate := unpack.New(unpack.Options{MaxBytes: 1 << 20, AtOnce: 1})
	e := newEnv(t, func(o *Options) { o.Unpack = gate })
	e.create("t", 1, "compression.type", "lz4")
	p := e.partition("t", 0)
	bomb := record.NewBuilder(record.Gzip).Append(1, nil, make([]byte, 8<<20), nil).Build(0)
	bad := record.NewBuilder(record.Zstd).Append(1, nil, nil, nil).Build(0)
	clear(bad[record.HeaderSize:])
	record.StampLogAppendTime(bad, 1) // makes the CRC right
	e.set("t", "message.timestamp.type", "LogAppendTime")
	for want, b := range map[error][]byte{record.ErrTooLarge: bomb, hot.ErrInvalidBatch: bad} {
		h, err := record.Check(b)
		require.NoError(t, err)
		_, err = p.Append(b, h, true)
		require.ErrorIs(t, err, want)
	}
	e.produce(p, text(record.Gzip, 1).Build(0))
	h, _ := e.stored(p, 0)
	require.Equal(t, record.LZ4, h.Codec())

	e.create("other", 1, "compression.type", "gzip")
	h, err := record.Check(bad)
	require.NoError(t, err)
	e.partition("other", 0).apply(&news{settings: p.Settings()})
	_, err = e.partition("other", 0).Append(bad, h, true)
	require.ErrorIs(t, err, kerr.NotLeaderForPartition, "who does not lead does not begin to unpack")
}

// swallow is a log that keeps nothing but what it was last given.
type swallow struct {
	Log
	last []byte
}

func (l *swallow) Append(b []byte, _ []record.Header, _ hot.AppendOptions) (hot.Appended, error) {
	l.last = b
	return hot.Appended{}, nil
}
func (*swallow) LocalStart() int64 { return 0 }
func (*swallow) LogStart() int64   { return 0 }
func (*swallow) End() int64        { return 0 }

// swallowing makes a partition whose appends end above the log.
func swallowing(tb testing.TB, c *record.Compression) (*Partition, *swallow) {
	m := New(Options{BrokerID: 1, Logger: quiet})
	tb.Cleanup(m.Close)
	log := &swallow{}
	p := &Partition{m: m}
	p.news.Store(&news{settings: &Settings{Compression: c, Log: hot.DefaultConfig()}, leader: true})
	var l Log = log
	p.log.Store(&l)
	return p, log
}

// compression.type=producer costs nothing: the batch that the log gets is the one that came, and nothing more is allocated
// than an append takes anyway (the list of headers).
func TestNoRecompressionIsFree(t *testing.T) {
	p, log := swallowing(t, nil)
	for codec := record.None; codec.Known(); codec++ {
		b := text(codec, 500).Build(0)
		h, err := record.Check(b)
		require.NoError(t, err)
		n := testing.AllocsPerRun(100, func() {
			if _, err := p.Append(b, h, true); err != nil {
				panic(err)
			}
		})
		require.LessOrEqual(t, n, 1.0, codec)
		require.Same(t, &b[0], &log.last[0], codec)
	}
}

func BenchmarkAppend(b *testing.B) {
	for name, c := range map[string]*record.Compression{"producer": nil, "same": {Codec: record.None}, "lz4": {Codec: record.LZ4}, "zstd": {Codec: record.Zstd}} {
		b.Run(name, func(b *testing.B) {
			p, _ := swallowing(b, c)
			batch := text(record.None, 500).Build(0)
			h, err := record.Check(batch)
			require.NoError(b, err)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Append(batch, h, true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
