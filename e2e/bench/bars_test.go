package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
)

// What must hold, by case, written out by hand: a bar that is dropped, loosened, added or turned to other sides stands here
// too, or the test below fails.
const (
	// Large batches: beside the sink at least 80% of its throughput and at most 1.4 times its CPU, beside Kafka in the same
	// mode never slower and at most 60% of its CPU; flushed, and Kafka not, at least equal.
	plainBars = `
		MB/s of firn flush ÷ sink flush ≥ 0.8
		CPU-s/GB of firn flush ÷ sink flush ≤ 1.4
		MB/s of firn flush ÷ kafka flush ≥ 1
		CPU-s/GB of firn flush ÷ kafka flush ≤ 0.6
		MB/s of firn page cache ÷ sink page cache ≥ 0.8
		CPU-s/GB of firn page cache ÷ sink page cache ≤ 1.4
		MB/s of firn page cache ÷ kafka page cache ≥ 1
		CPU-s/GB of firn page cache ÷ kafka page cache ≤ 0.6
		MB/s of firn flush ÷ kafka page cache ≥ 1, where the device allows it`
	// Compressed ones: at most a third of Kafka's CPU.
	zstdBars = `
		MB/s of firn flush ÷ kafka flush ≥ 1
		CPU-s/GB of firn flush ÷ kafka flush ≤ 0.333
		MB/s of firn page cache ÷ kafka page cache ≥ 1
		CPU-s/GB of firn page cache ÷ kafka page cache ≤ 0.333
		MB/s of firn flush ÷ kafka page cache ≥ 1, where the device allows it`
	// To many partitions, both flushing, at least 1.5 times Kafka's throughput.
	manyBars = `
		MB/s of firn flush ÷ kafka flush ≥ 1.5, where the device allows it`

	// A hot fetch: at least 90% of the source, at most 1.2 times its CPU, not below Kafka.
	fetchBars = `
		MB/s of firn ÷ source ≥ 0.9
		CPU-s/GB of firn ÷ source ≤ 1.2
		CPU-s/GB of firn ÷ kafka ≤ 1
		MB/s of firn ÷ kafka ≥ 1`

	// Acknowledged and end to end, in both modes, at most a third of Kafka's.
	latencyBars = `
		p50 ms of firn flush ÷ kafka flush ≤ 0.333
		p99 ms of firn flush ÷ kafka flush ≤ 0.333
		p99.9 ms of firn flush ÷ kafka flush ≤ 0.333
		e2e p50 ms of firn flush ÷ kafka flush ≤ 0.333
		e2e p99 ms of firn flush ÷ kafka flush ≤ 0.333
		e2e p99.9 ms of firn flush ÷ kafka flush ≤ 0.333
		p50 ms of firn page cache ÷ kafka page cache ≤ 0.333
		p99 ms of firn page cache ÷ kafka page cache ≤ 0.333
		p99.9 ms of firn page cache ÷ kafka page cache ≤ 0.333
		e2e p50 ms of firn page cache ÷ kafka page cache ≤ 0.333
		e2e p99 ms of firn page cache ÷ kafka page cache ≤ 0.333
		e2e p99.9 ms of firn page cache ÷ kafka page cache ≤ 0.333`

	// A cold read with an empty cache: at least 80% of the reader's bandwidth, at most 1.3 times its CPU.
	coldBars = `
		MB/s of firn empty cache ÷ reader empty cache ≥ 0.8
		CPU-s/GB of firn empty cache ÷ reader empty cache ≤ 1.3`
)

// theBars are the bars of each case. Recovery's numbers are the bench's own: what may be read follows from constants of the
// log's, which the case explains.
var theBars = map[string]string{
	"a produce, 1 partition, plain":    plainBars,
	"a produce, 16 partitions, plain":  plainBars + manyBars,
	"a produce, 256 partitions, plain": plainBars + manyBars,
	"a produce, 1 partition, zstd":     zstdBars,
	"a produce, 16 partitions, zstd":   zstdBars + manyBars,
	"a produce, 256 partitions, zstd":  zstdBars + manyBars,

	"b small batches in flight": `
		CPU µs/request of firn page cache ÷ sink page cache ≤ 1.6
		CPU µs/request of firn page cache ÷ kafka page cache ≤ 0.4`,
	"b 200 producers of single records": `
		CPU-s/M records of firn page cache ÷ sink page cache ≤ 1.8
		p50 ms of firn page cache ÷ kafka page cache ≤ 0.2
		p99 ms of firn page cache ÷ kafka page cache ≤ 0.2`,

	"c hot fetch, 1 partition, 1 consumer":     fetchBars,
	"c hot fetch, 1 partition, 10 consumers":   fetchBars,
	"c hot fetch, 16 partitions, 1 consumer":   fetchBars,
	"c hot fetch, 16 partitions, 10 consumers": fetchBars,

	"d latency at 10 MB/s, 1 partition":   latencyBars,
	"d latency at 10 MB/s, 16 partitions": latencyBars,

	"e cold read, MinIO, 1 partition":               coldBars,
	"e cold read, MinIO, 1 partition, compressible": coldBars,
	"e cold read, MinIO, 6 partitions":              "",
	"e cold read, local files, 1 partition": `
		MB/s of firn empty cache ÷ kafka tiered ≥ 3
		MB/s of firn warm cache ÷ kafka tiered ≥ 3
		CPU-s/GB of firn warm cache ÷ kafka tiered ≤ 0.2`,

	"f produce at 50 MB/s while two consumers replay the archive": `
		p99 ms of firn and two replays ÷ firn alone ≤ 1.3`,

	"g upload keeps pace with produce": "",

	"h start-up on a used folder": `
		slowest s of firn, 1 partition ≤ 0.5, every time
		slowest s of firn, 1 partition, killed ≤ 0.5, every time`,
	"h idle": `
		VmRSS MB of firn, 1 partition ≤ 80
		CPU % of firn, 1 partition ≤ 1.5`,

	"i recovery after kill -9": `
		all partitions s of firn, killed ≤ 5
		read MB of firn, killed ≤ 1611, every time
		read beyond MB of firn, killed ≤ 64, every time
		all partitions s of firn, as after a power cut ≤ 5
		read MB of firn, as after a power cut ≤ 1611, every time
		read beyond MB of firn, as after a power cut ≤ 64, every time`,
}

// TestBars holds each case's bars to the list above, and what a verdict takes to what it must.
func TestBars(t *testing.T) {
	here := map[string]bool{}
	for _, c := range cases() {
		here[c.Name] = true
		listed, ok := theBars[c.Name]
		assert.True(t, ok, "%s: a case of which nothing is said here", c.Name)
		want := strings.FieldsFunc(strings.ReplaceAll(listed, "\t", ""), func(r rune) bool { return r == '\n' })
		var have []string
		for _, b := range c.Bars {
			have = append(have, b.String())
			assert.Equal(t, strings.HasPrefix(c.Name, "i "), b.Own, "%s: %s", c.Name, b)
		}
		assert.ElementsMatch(t, want, have, c.Name)
	}
	for name := range theBars {
		assert.True(t, here[name], "%s: there is no such case any more", name)
	}
	assert.Equal(t, 9, judge.Enough)
	assert.InDelta(t, 1.25, judge.DeviceMargin, 0)
}
