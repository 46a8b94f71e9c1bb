package cold_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/cold"
	"github.com/firnlog/firn/tier/layout"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/dir"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/segment"
	"github.com/firnlog/firn/tier/topic"
)

// BenchmarkColdScan reads 128 MiB of archive from a folder, 1 MiB a fetch, with an empty cache each time.
func BenchmarkColdScan(b *testing.B) {
	for _, c := range []segment.Compression{segment.CompressionNone, segment.CompressionZstd} {
		b.Run(fmt.Sprint("compression ", c), func(b *testing.B) { benchScan(b, c) })
	}
}

func benchScan(b *testing.B, c segment.Compression) {
	store, p, l := benchArchive(b, c)
	b.SetBytes(l.Bytes())
	b.ReportAllocs()
	for b.Loop() {
		r, err := cold.New(cold.Options{Store: store, CacheDir: b.TempDir()})
		require.NoError(b, err)
		scan(b, r, p, l)
		require.NoError(b, r.Close())
	}
}

// BenchmarkWarmScan reads the same from the cache.
func BenchmarkWarmScan(b *testing.B) {
	store, p, l := benchArchive(b, segment.CompressionNone)
	r, err := cold.New(cold.Options{Store: store, CacheDir: b.TempDir()})
	require.NoError(b, err)
	defer r.Close()
	scan(b, r, p, l)
	b.SetBytes(l.Bytes())
	b.ReportAllocs()
	for b.Loop() {
		scan(b, r, p, l)
	}
}

// scan reads a partition from its beginning to its end.
func scan(b *testing.B, r *cold.Reader, p topic.Partition, l *ledger.Ledger) {
	for o := int64(0); o < l.Next; {
		d, err := r.Read(context.Background(), p, l, o, 1<<20)
		require.NoError(b, err)
		o = d.Next
		d.Release()
	}
}

// benchArchive is 128 MiB in a folder.
func benchArchive(b *testing.B, c segment.Compression) (object.Store, topic.Partition, *ledger.Ledger) {
	store, err := dir.Open(b.TempDir())
	require.NoError(b, err)
	b.Cleanup(func() { _ = store.Close() })
	p := topic.Partition{ID: topic.NewID(), Topic: "t"}
	l := &ledger.Ledger{Topic: p.ID}
	rnd := rand.New(rand.NewPCG(1, 1))
	value := make([]byte, 1000)
	for range 4 {
		var buf bytes.Buffer
		w := segment.NewWriter(&buf, segment.WriterOptions{Meta: segment.Meta{ClusterID: "c", Topic: p, Base: l.Next}, Compression: c})
		for next := l.Next; next < l.Next+32<<10; next += 16 {
			batch := record.NewBuilder(record.None)
			for range 16 {
				for i := range value {
					value[i] = "abcdefghijklmnop"[rnd.IntN(16)] // half of what it could hold
				}
				batch.Append(1, nil, value, nil)
			}
			require.NoError(b, w.Add(batch.Build(next)))
		}
		sum, err := w.Close()
		require.NoError(b, err)
		key := layout.Layout{ClusterID: "c", Generation: "g"}.SegmentKey(p.ID, 0, l.Next, 0)
		_, err = store.Put(context.Background(), key, bytes.NewReader(buf.Bytes()), sum.Length, object.PutOptions{})
		require.NoError(b, err)
		l, err = l.Apply(ledger.Append{Base: l.Next, Segment: ledger.Segment{Base: sum.Base, Next: sum.Next, Key: key, Length: sum.Length,
			CRC32C: sum.CRC32C, DataBytes: sum.DataBytes, IndexLength: sum.IndexLength}})
		require.NoError(b, err)
	}
	return store, p, l
}
