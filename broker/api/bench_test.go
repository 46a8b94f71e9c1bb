package api

import "testing"

// BenchmarkHotPaths is a round trip from the socket to the file and back.
func BenchmarkHotPaths(b *testing.B) {
	e, addr := newHotEnv(b)
	c := dialRaw(b, addr)
	c.trip(b, "produce/1KiB/page-cache", produceFrame("cached", 1, 1))
	c.trip(b, "produce/16KiB/page-cache", produceFrame("cached", 1, 16))
	c.trip(b, "produce/256KiB/page-cache", produceFrame("cached", 1, 256))
	c.trip(b, "produce/1KiB/flush", produceFrame("flushed", 1, 1))
	c.trip(b, "produce/1KiB/default", produceFrame("archived", 1, 1))
	id := e.store.Image().TopicByName("cached").ID
	c.trip(b, "produce/1KiB/by-id", frameOf(produceOf("", id, 1, 1), 13))
	c.trip(b, "fetch/10KB", fetchFrame("cached", 0, -1, 0, 0, 10_000))
	c.trip(b, "fetch/10KB/by-id", frameOf(fetchOf("", id, 0, -1, 0, 0, 10_000), 18))
	c.trip(b, "fetch/1MB", fetchFrame("cached", 0, -1, 0, 0, 1_000_000))
}

// BenchmarkWide is a round trip of a request for 300 partitions, of a record each.
func BenchmarkWide(b *testing.B) {
	e, c := wideEnv(b)
	id := e.createWide("wide", widePartitions, false)
	c.trip(b, "produce/page-cache", frameOf(produceOf("", id, widePartitions, 1), 13))
	byDefault := e.createWide("default", widePartitions, true)
	c.trip(b, "produce/default", frameOf(produceOf("", byDefault, widePartitions, 1), 13))
	c.trip(b, "fetch", frameOf(wideFetch("", id), 18))
}

// trip is the benchmark of a request and its answer. The first one, which may make logs, does not count.
func (c *rawConn) trip(b *testing.B, name string, frame []byte) {
	b.Run(name, func(b *testing.B) {
		c.send(frame)
		c.answer()
		b.SetBytes(int64(len(frame)))
		b.ReportAllocs()
		for b.Loop() {
			c.send(frame)
			c.answer()
		}
	})
}

// BenchmarkFetchThatWaits is from sending a record to having it at a consumer whose fetch waits for it.
func BenchmarkFetchThatWaits(b *testing.B) {
	w := newWaiting(b, hotEnv(b))
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		w.ask()
		b.StartTimer()
		w.wake()
	}
}
