package cold

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	reg prometheus.Registerer
	all []prometheus.Collector

	hits, misses, prefetches, evictions   prometheus.Counter
	gets, retries, errors, fetched, bytes prometheus.Counter
	indexes, yielded                      prometheus.Counter
	fillSeconds                           prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, r *Reader) *metrics {
	m := &metrics{reg: reg}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		m.all = append(m.all, c)
		return c
	}
	gauge := func(name, help string, fn func() float64) {
		m.all = append(m.all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, fn))
	}
	m.hits = counter("firn_cold_cache_hits_total", "Reads of a group of chunks that was cached or on its way.")
	m.misses = counter("firn_cold_cache_misses_total", "Reads that had to begin a fetch.")
	m.prefetches = counter("firn_cold_prefetches_total", "Groups fetched by reading ahead.")
	m.evictions = counter("firn_cold_cache_evictions_total", "Groups evicted from the cache.")
	m.gets = counter("firn_cold_gets_total", "Ranged GETs of data.")
	m.retries = counter("firn_cold_retries_total", "GETs repeated after a fault or bad bytes.")
	m.errors = counter("firn_cold_failed_fills_total", "Fetches of a group that were given up.")
	m.fetched = counter("firn_cold_fetched_bytes_total", "Bytes of data fetched from the store, as stored.")
	m.bytes = counter("firn_cold_read_bytes_total", "Bytes of batches handed to readers.")
	m.indexes = counter("firn_cold_index_loads_total", "Segment indexes fetched.")
	m.yielded = counter("firn_cold_yielded_seconds_total", "Time that reads of the archive waited so that producers find a free processor, of all readers.")
	m.fillSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "firn_cold_fill_duration_seconds",
		Help: "Time to fetch and decode a group.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 15)})
	m.all = append(m.all, m.fillSeconds)
	gauge("firn_cold_cache_bytes", "Decoded bytes in the cache.", func() float64 {
		r.mu.Lock()
		defer r.mu.Unlock()
		return float64(r.policy.used())
	})
	gauge("firn_cold_cache_limit_bytes", "The cache's budget.", func() float64 { return float64(r.CacheBytes()) })
	gauge("firn_cold_memory_bytes", "Cached bytes kept in memory because the disk is full.", func() float64 {
		r.mu.Lock()
		defer r.mu.Unlock()
		return float64(r.memUsed)
	})
	if reg != nil {
		for _, c := range m.all {
			reg.MustRegister(c)
		}
	}
	return m
}

func (m *metrics) close() {
	if m.reg != nil {
		for _, c := range m.all {
			m.reg.Unregister(c)
		}
	}
}
