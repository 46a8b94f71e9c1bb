package api

import "testing"

// BenchmarkHotPaths is a round trip from the socket to the file and back.
func BenchmarkHotPaths(b *testing.B) {
	addr := hotEnv(b)
	c := dialRaw(b, addr)
	trip := func(name string, frame []byte) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				c.send(frame)
				c.answer()
			}
		})
	}
	trip("produce/1KiB/page-cache", produceFrame("cached", 1, 1))
	trip("produce/16KiB/page-cache", produceFrame("cached", 1, 16))
	trip("produce/256KiB/page-cache", produceFrame("cached", 1, 256))
	trip("produce/1KiB/flush", produceFrame("flushed", 1, 1))
	trip("fetch/10KB", fetchFrame("cached", 0, -1, 0, 0, 10_000))
	trip("fetch/1MB", fetchFrame("cached", 0, -1, 0, 0, 1_000_000))
}
