package hot

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/record"
)

// BenchmarkFlush appends a batch of so many bytes to each of so many logs and waits until all are durable, with the
// journal and without: what an operation costs is what a round costs. The disk is that of the temporary folder.
func BenchmarkFlush(b *testing.B) {
	for _, c := range []struct{ logs, bytes int }{{1, 1 << 10}, {1, 16 << 10}, {1, 64 << 10}, {1, 1 << 20}, {16, 1 << 10}, {16, 16 << 10}, {16, 32 << 10}, {16, 64 << 10}, {256, 1 << 10}} {
		for _, mode := range []struct {
			name  string
			bytes int64
		}{{"journal", 64 << 20}, {"perfile", -1}} {
			b.Run(fmt.Sprintf("logs=%d/bytes=%d/%s", c.logs, c.bytes, mode.name), func(b *testing.B) {
				benchFlush(b, c.logs, c.bytes, mode.bytes)
			})
		}
	}
}

func benchFlush(b *testing.B, n, bytes int, journal int64) {
	o, _ := testOptions(b, disk.OS(), b.TempDir())
	o.JournalBytes = journal
	d, err := OpenDir(o)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, d.Close()) })
	logs := make([]*Log, n)
	cfg := DefaultConfig()
	cfg.TimestampAfterMaxMs = Forever
	wake := make(chan struct{}, 1)
	for i := range logs {
		logs[i], err = d.Open(part(int32(i)), &cfg)
		require.NoError(b, err)
		logs[i].OnAdvance(func() {
			select {
			case wake <- struct{}{}:
			default:
			}
		})
	}
	data := batch(1, bytes-80, startMs)
	h, err := record.Check(data)
	require.NoError(b, err)
	round := func() {
		for _, l := range logs {
			if _, err := l.Append(data, []record.Header{h}, AppendOptions{Now: startMs, Check: true}); err != nil {
				b.Fatal(err)
			}
		}
		for _, l := range logs {
			for l.Stable() < l.End() {
				<-wake
			}
		}
	}
	for warm := 0; warm < 3 || journal > 0 && bytes < 64<<10 && d.journal.Stats().Rounds.Load() < 3; warm++ {
		round() // folders are made, the journal's first part is filled
	}
	before, wrote := cpuTime(), deviceBytes()
	b.SetBytes(int64(n * len(data)))
	for b.Loop() {
		round()
	}
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(deviceBytes()-wrote)/float64(b.N)/float64(n*len(data)), "device-B/B")
}

func cpuTime() time.Duration {
	var r unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkFlushMany is 200 producers, each of which waits for its batch of 1 KiB before it sends the next.
func BenchmarkFlushMany(b *testing.B) {
	for _, mode := range []struct {
		name  string
		bytes int64
	}{{"journal", 64 << 20}, {"perfile", -1}} {
		for _, n := range []int{1, 16} {
			b.Run(fmt.Sprintf("logs=%d/%s", n, mode.name), func(b *testing.B) { benchFlushMany(b, n, mode.bytes) })
		}
	}
}

func benchFlushMany(b *testing.B, n int, journal int64) {
	o, _ := testOptions(b, disk.OS(), b.TempDir())
	o.JournalBytes = journal
	d, err := OpenDir(o)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, d.Close()) })
	cfg := DefaultConfig()
	cfg.TimestampAfterMaxMs = Forever
	type waiter struct {
		sync.Mutex
		cond sync.Cond
		l    *Log
	}
	logs := make([]*waiter, n)
	for i := range logs {
		w := &waiter{}
		w.cond.L = w
		w.l, err = d.Open(part(int32(i)), &cfg)
		require.NoError(b, err)
		w.l.OnAdvance(func() { w.Lock(); w.cond.Broadcast(); w.Unlock() })
		logs[i] = w
	}
	data := batch(1, 1000, startMs)
	b.SetBytes(int64(len(data)))
	before := cpuTime()
	b.SetParallelism(100)
	var next, mu = 0, sync.Mutex{}
	b.RunParallel(func(pb *testing.PB) {
		mu.Lock()
		w := logs[next%n]
		next++
		mu.Unlock()
		own := append([]byte(nil), data...)
		h, _ := record.Check(own)
		for pb.Next() {
			a, err := w.l.Append(own, []record.Header{h}, AppendOptions{Now: startMs, Check: true})
			if err != nil {
				b.Error(err)
				return
			}
			w.Lock()
			for w.l.Stable() < a.NextOffset {
				w.cond.Wait()
			}
			w.Unlock()
		}
	})
	b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// deviceBytes is what this process made the kernel write to disks so far, as far as the kernel counts that.
func deviceBytes() (n int64) {
	b, err := os.ReadFile("/sys/block/vda/stat")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	sectors, _ := strconv.ParseInt(f[6], 10, 64)
	return sectors * 512
}
