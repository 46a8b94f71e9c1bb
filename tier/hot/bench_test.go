package hot

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/record"
)

// benchDir is on a file system in memory where there is one, so that the benchmarks measure this package.
func benchDir(b *testing.B) string {
	dir, err := os.MkdirTemp("/dev/shm", "firn-hot-")
	if err != nil {
		return b.TempDir()
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func benchLog(b *testing.B) *Log {
	d := openDir(b, disk.OS(), benchDir(b))
	b.Cleanup(func() { _ = d.Close() })
	return d.open(0, func(c *Config) { c.SegmentBytes = 256 << 20; c.FlushMessages = Forever })
}

// BenchmarkAppend appends batches of 64 records of 1 KiB.
func BenchmarkAppend(b *testing.B) {
	l := benchLog(b)
	data := batch(64, 1024, startMs)
	h, err := record.Check(data)
	require.NoError(b, err)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	hs := make([]record.Header, 1)
	for b.Loop() {
		hs[0] = h
		if _, err := l.Append(data, hs, AppendOptions{Now: startMs, Check: true}); err != nil {
			b.Fatal(err)
		}
		if l.End()%(64*16384) == 0 { // memory is finite
			if _, err := l.Trim(l.End(), "benchmark"); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkAppendParallel is BenchmarkAppend from many goroutines at once: group commit.
func BenchmarkAppendParallel(b *testing.B) {
	l := benchLog(b)
	b.ReportAllocs()
	b.SetBytes(int64(len(batch(1, 1024, startMs))))
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		data := batch(1, 1024, startMs)
		h, err := record.Check(data)
		if err != nil {
			b.Fatal(err)
		}
		hs := make([]record.Header, 1)
		for pb.Next() {
			hs[0] = h
			if _, err := l.Append(data, hs, AppendOptions{Now: startMs, Check: true}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRead reads on from where the last read ended, in regions of 1 MiB, without copying them.
func BenchmarkRead(b *testing.B) {
	l := benchLog(b)
	data := batch(64, 1024, startMs)
	for range 4096 {
		appendTo(b, l, data)
	}
	b.ReportAllocs()
	at := int64(0)
	for b.Loop() {
		d, err := l.Read(at, l.End(), 1<<20, true)
		if err != nil {
			b.Fatal(err)
		}
		if at = d.Next; at == l.End() {
			at = 0
		}
		d.Release()
	}
}

// BenchmarkReadAnywhere reads 64 KiB at offsets where nobody stopped before.
func BenchmarkReadAnywhere(b *testing.B) {
	l := benchLog(b)
	data := batch(16, 128, startMs)
	for range 40000 {
		appendTo(b, l, data)
	}
	b.ReportAllocs()
	at, end := int64(0), l.End()
	for b.Loop() {
		d, err := l.Read(at, end, 64<<10, true)
		if err != nil {
			b.Fatal(err)
		}
		d.Release()
		at = (at + 7919*13) % end
	}
}

// BenchmarkWalk goes through the headers of 64 MiB, which is what the first append to a log may have to do.
func BenchmarkWalk(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 64 << 10, 128 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l := benchLog(b)
			data := batch(1, size-80, startMs)
			for l.Bytes() < 64<<20 {
				appendTo(b, l, data)
			}
			s := l.active()
			b.SetBytes(s.now().size)
			for b.Loop() {
				if err := s.walk(0, s.now().size, func(*record.Header, int64) {}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSaveState saves the recovery points of 256 logs that all moved, to each of which so many producers wrote.
func BenchmarkSaveState(b *testing.B) {
	for _, producers := range []int64{0, 1, 5, 16} {
		b.Run(fmt.Sprint(producers), func(b *testing.B) {
			d := openDir(b, disk.OS(), benchDir(b))
			b.Cleanup(func() { _ = d.Close() })
			logs := make([]*Log, 256)
			for i := range logs {
				logs[i] = d.open(int32(i), func(c *Config) { c.FlushMessages = Forever })
			}
			seq := int32(0)
			write := func() {
				for _, l := range logs {
					for id := range max(1, producers) {
						data := batch(1, 10, startMs)
						if producers > 0 {
							data = producerBatch(1+id, seq, 1, startMs)
						}
						appendTo(b, l, data)
					}
				}
				seq++
			}
			for range 5 { // of each producer so many batches are remembered
				write()
			}
			for b.Loop() {
				b.StopTimer()
				write()
				for _, l := range logs {
					require.NoError(b, l.Sync())
				}
				write() // recovery points lag behind the ends
				b.StartTimer()
				if err := d.saveState(); err != nil {
					b.Fatal(err)
				}
			}
			info, err := os.Stat(filepath.Join(d.root, stateFile))
			require.NoError(b, err)
			b.ReportMetric(float64(info.Size()), "bytes")
		})
	}
}
