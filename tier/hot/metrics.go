package hot

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/firnlog/firn/tier/hot/flush"
)

// metrics of a Dir. All methods work on a Dir without a registry, too.
type metrics struct {
	reg     prometheus.Registerer
	all     []prometheus.Collector
	bytes   prometheus.Counter
	appends prometheus.Counter
	freed   prometheus.Counter
	flushes prometheus.Histogram
}

func newMetrics(d *Dir) *metrics {
	m := &metrics{reg: d.o.Registerer}
	m.bytes = prometheus.NewCounter(prometheus.CounterOpts{Name: "firn_hot_appended_bytes_total",
		Help: "Bytes of record batches appended to local logs."})
	m.appends = prometheus.NewCounter(prometheus.CounterOpts{Name: "firn_hot_appends_total",
		Help: "Appends to local logs."})
	m.freed = prometheus.NewCounter(prometheus.CounterOpts{Name: "firn_hot_trimmed_bytes_total",
		Help: "Bytes of record batches trimmed from local logs."})
	m.flushes = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "firn_hot_flush_seconds",
		Help: "Duration of an fdatasync of a segment.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16)})
	m.all = []prometheus.Collector{m.bytes, m.appends, m.freed, m.flushes,
		gauge("firn_hot_open_files", "Open files of local logs.", func() float64 { return float64(d.files.len()) }),
		gauge("firn_hot_partitions", "Partitions whose local log is open.", func() float64 {
			d.mu.Lock()
			defer d.mu.Unlock()
			return float64(len(d.logs))
		}),
		gauge("firn_hot_size_bytes", "Bytes of record batches in local logs.", func() float64 {
			var n int64
			for _, l := range d.allLogs() {
				n += l.Bytes()
			}
			return float64(n)
		}),
		gauge("firn_hot_offline", "1 if the log directory is offline because a write to it failed.", func() float64 {
			if d.Offline() != nil {
				return 1
			}
			return 0
		})}
	if m.reg != nil {
		m.reg.MustRegister(m.all...)
	}
	return m
}

// journal adds what is told of the flush journal.
func (m *metrics) journal(st *flush.Stats, replayed int64) {
	if m.reg == nil {
		return
	}
	for _, c := range []struct {
		name, help string
		v          *atomic.Int64
	}{
		{"firn_hot_journal_rounds_total", "Flushes of logs in which the journal took something.", &st.Rounds},
		{"firn_hot_journal_writes_total", "Synced writes into the flush journal.", &st.Frames},
		{"firn_hot_journal_bytes_total", "Bytes written into the flush journal, padding included.", &st.Bytes},
		{"firn_hot_direct_syncs_total", "Logs whose own files were synced in a round, because much was pending or the journal had no room.", &st.Direct},
		{"firn_hot_journal_recycled_total", "Files of the flush journal that were let go of, to be used again.", &st.Recycled},
		{"firn_hot_journal_settled_total", "Logs whose own files were synced so that a file of the flush journal could be let go of.", &st.Settled},
	} {
		m.all = append(m.all, prometheus.NewCounterFunc(prometheus.CounterOpts{Name: c.name, Help: c.help},
			func() float64 { return float64(c.v.Load()) }))
	}
	m.all = append(m.all, gauge("firn_hot_journal_files", "Files of the flush journal.", func() float64 { return float64(st.Files.Load()) }))
	m.all = append(m.all, gauge("firn_hot_journal_replayed_bytes", "Bytes of record batches that this start found in the flush journal.",
		func() float64 { return float64(replayed) }))
	m.reg.MustRegister(m.all[len(m.all)-8:]...)
}

func gauge(name, help string, fn func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, fn)
}

// close lets another Dir use the registry.
func (m *metrics) close() {
	if m.reg != nil {
		for _, c := range m.all {
			m.reg.Unregister(c)
		}
	}
}

func (m *metrics) appended(bytes int64, appends int) {
	m.bytes.Add(float64(bytes))
	m.appends.Add(float64(appends))
}

func (m *metrics) trimmed(bytes int64) { m.freed.Add(float64(bytes)) }

// flushing times a flush until the function that it returns is called.
func (m *metrics) flushing() (done func()) {
	from := time.Now() // measures the disk, decides nothing
	return func() { m.flushes.Observe(time.Since(from).Seconds()) }
}
