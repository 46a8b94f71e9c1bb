package hot

import (
	"os"
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
