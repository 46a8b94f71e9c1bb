// Package unpack bounds what the decompression of record batches may take, wherever a client can cause it: how far one
// batch may grow, and how many are decompressed at once, so that all together stay within a known amount of memory
// (I-32). A small batch can claim, and really have, thousands of times its size.
//
// firn decompresses only when it must: firn.validate.records, bounds of record timestamps, keys of compacted topics,
// a compression.type that is not the batch's, lookups by time. A producer's batch that grows beyond the bound is refused with MESSAGE_TOO_LARGE; one that is stored
// already is taken as a whole by a lookup.
//
// Metrics: firn_decompression_refused_total, firn_decompression_waits_total, firn_decompression_running and
// firn_decompression_limit_bytes.
package unpack

import (
	"errors"
	"runtime"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/firnlog/firn/tier/record"
)

// Options configure a Gate.
type Options struct {
	MaxBytes   int                   // that one batch may decompress to; 0: record.DefaultMaxDecoded
	AtOnce     int                   // batches that are decompressed at once; 0: as many as there are processors
	Registerer prometheus.Registerer // nil: no metrics
}

// Gate lets so many decompress at once, and says how much each may take. Its methods may be called concurrently. A nil
// Gate has the default size and no bound on how many.
type Gate struct {
	max     atomic.Int64
	slots   chan struct{}
	refused prometheus.Counter
	waits   prometheus.Counter
}

// New makes a Gate.
func New(o Options) *Gate {
	if o.AtOnce <= 0 {
		o.AtOnce = runtime.GOMAXPROCS(0)
	}
	g := &Gate{slots: make(chan struct{}, o.AtOnce)}
	g.SetMax(o.MaxBytes)
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "firn", Subsystem: "decompression", Name: name, Help: help}
	}
	g.refused = prometheus.NewCounter(prometheus.CounterOpts(opts("refused_total", "Batches that decompress to more than the limit.")))
	g.waits = prometheus.NewCounter(prometheus.CounterOpts(opts("waits_total", "Decompressions that waited for others.")))
	if o.Registerer != nil {
		o.Registerer.MustRegister(g.refused, g.waits,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("running", "Batches being decompressed.")), func() float64 { return float64(len(g.slots)) }),
			prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("limit_bytes", "What a batch may decompress to.")), func() float64 { return float64(g.max.Load()) }))
	}
	return g
}

// SetMax changes what one batch may decompress to, in bytes; 0 is the default.
func (g *Gate) SetMax(bytes int) {
	if bytes <= 0 {
		bytes = record.DefaultMaxDecoded
	}
	g.max.Store(int64(bytes))
}

// Max is what a producer's batch may decompress to, in bytes.
func (g *Gate) Max() int {
	if g == nil {
		return record.DefaultMaxDecoded
	}
	return int(g.max.Load())
}

// MaxCleaned is what a batch may decompress to for the log cleaner: not less than the default, so that what was
// accepted under a higher limit can mostly still be cleaned under a lower one.
func (g *Gate) MaxCleaned() int { return max(g.Max(), record.DefaultMaxDecoded) }

// Do calls fn, which decodes a batch of codec c that a producer sent, with the bytes that it may decompress to, and
// returns its error. It waits for others before it if too many decompress.
func (g *Gate) Do(c record.Codec, fn func(maxDecoded int) error) error { return g.do(c, g.Max(), fn) }

// DoStored is Do for a batch that is stored. It may always decompress to record.DefaultMaxDecoded: whoever looks into
// it, hot or cold, now or later, must find the same (I-18).
func (g *Gate) DoStored(c record.Codec, fn func(maxDecoded int) error) error {
	return g.do(c, record.DefaultMaxDecoded, fn)
}

func (g *Gate) do(c record.Codec, most int, fn func(int) error) error {
	if g == nil || c == record.None {
		return fn(most)
	}
	select {
	case g.slots <- struct{}{}:
	default:
		g.waits.Inc()
		g.slots <- struct{}{}
	}
	defer func() { <-g.slots }() // also if a reader of the records panics
	err := fn(most)
	if errors.Is(err, record.ErrTooLarge) {
		g.refused.Inc()
	}
	return err
}
