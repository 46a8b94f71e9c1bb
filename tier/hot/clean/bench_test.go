package clean

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/record"
)

// BenchmarkClean cleans 64 MiB of records of 100 bytes in batches of 100, a third of which stays.
func BenchmarkClean(b *testing.B) {
	for _, codec := range []record.Codec{record.None, record.LZ4, record.Zstd} {
		b.Run(codec.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				c := &clock{startMs}
				d := openDir(b, disk.OS(), b.TempDir(), "boot", c, slog.New(slog.DiscardHandler))
				l := openLog(b, d, 0, func(c *hot.Config) {
					c.SegmentBytes, c.IndexIntervalBytes, c.FlushMessages = 16<<20, 4096, hot.Forever
				})
				rng := rand.New(rand.NewPCG(1, 1))
				value := make([]byte, 80)
				raw := 0
				for raw < 64<<20 {
					batch := record.NewBuilder(codec)
					for range 100 {
						for i := range value {
							value[i] = byte('a' + rng.IntN(4))
						}
						batch.Append(startMs, []byte(fmt.Sprintf("key-%08d", rng.IntN(220_000))), value, nil)
					}
					raw += 100 * 100
					put(b, l, batch.Build(0), startMs, false)
				}
				require.NoError(b, l.Roll())
				require.NoError(b, l.Sync())
				cl := New(Options{Dir: d, Policy: always(Policy{Compact: true}), Logger: slog.New(slog.DiscardHandler), Now: c.now})
				b.SetBytes(int64(raw))
				b.StartTimer()
				more, err := cl.Round(context.Background())
				b.StopTimer()
				require.NoError(b, err)
				require.True(b, more)
				require.NoError(b, d.Close())
				b.StartTimer()
			}
		})
	}
}

// BenchmarkIdleRound looks at 10,000 compacted logs that are clean.
func BenchmarkIdleRound(b *testing.B) {
	c := &clock{startMs}
	d := openDir(b, disk.NewCrashable(1), "/log", "boot", c, slog.New(slog.DiscardHandler))
	for i := range int32(10_000) {
		openLog(b, d, i, nil)
	}
	cl := New(Options{Dir: d, Policy: always(Policy{Compact: true, MinDirtyRatio: 0.5}), Now: c.now})
	b.ReportAllocs()
	for b.Loop() {
		more, err := cl.Round(context.Background())
		require.NoError(b, err)
		require.False(b, more)
	}
}

func BenchmarkKeyMap(b *testing.B) {
	keys := make([][]byte, 1_000_000)
	for i := range keys {
		keys[i] = []byte(fmt.Sprintf("some/key/%d", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		m := newKeyMap(int64(len(keys)), 128<<20, 0.9)
		for i, k := range keys {
			m.put(k, int64(i))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(keys)), "ns/key")
}
