package clean

import "github.com/prometheus/client_golang/prometheus"

// metrics work without a registry, too.
type metrics struct {
	runs           prometheus.Counter
	read, written  prometheus.Counter
	freed, keyless prometheus.Counter
	utilization    prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, c *Cleaner) *metrics {
	m := &metrics{}
	m.runs = counter("firn_clean_logs_total", "Cleanings of logs, finished or not.")
	m.read = counter("firn_clean_read_bytes_total", "Bytes of segments that the cleaner rewrote.")
	m.written = counter("firn_clean_written_bytes_total", "Bytes of segments that the cleaner wrote.")
	m.freed = counter("firn_clean_freed_bytes_total", "Bytes by which the cleaner made logs smaller.")
	m.keyless = counter("firn_clean_keyless_records_total", "Records without a key that were dropped from compacted logs.")
	m.utilization = prometheus.NewGauge(prometheus.GaugeOpts{Name: "firn_clean_key_map_ratio",
		Help: "Share of the key map that the last cleaning filled."})
	all := []prometheus.Collector{m.runs, m.read, m.written, m.freed, m.keyless, m.utilization,
		gauge("firn_clean_uncleanable_partitions", "Partitions that are set aside because their cleaning failed.", func() float64 {
			return float64(len(c.Uncleanable()))
		}),
		gauge("firn_clean_uncleanable_bytes", "Bytes of those partitions that are not clean.", func() float64 {
			return float64(c.uncleanableBytes())
		}),
		gauge("firn_clean_dirty_ratio", "Share of the dirtiest log that could be cleaned, at the last look.", func() float64 {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.ratio
		}),
		gauge("firn_clean_overdue_seconds", "For how long the oldest record waits to be cleaned beyond max.compaction.lag.ms.", func() float64 {
			c.mu.Lock()
			defer c.mu.Unlock()
			return float64(c.delay) / 1000
		})}
	if reg != nil {
		reg.MustRegister(all...)
	}
	return m
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func gauge(name, help string, fn func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, fn)
}

func (m *metrics) cleaned(r *result) {
	m.runs.Inc()
	m.read.Add(float64(r.read))
	m.written.Add(float64(r.written))
	m.freed.Add(max(0, float64(r.freed)))
	m.keyless.Add(float64(r.keyless))
	m.utilization.Set(r.utilization)
}
