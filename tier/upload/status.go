package upload

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/firnlog/firn/tier/topic"
)

// Status is what is known of one partition's uploads.
type Status struct {
	Partition  topic.Partition
	Enabled    bool   // remote.storage.enable
	Leader     bool   // this broker leads it
	Archived   int64  // the ledger's next: all below is in the archive
	Confirmed  int64  // all below was confirmed after its commit, and may be trimmed locally
	Stable     int64  // what may be uploaded ends here
	LagRecords int64  // Stable - Archived
	LagBytes   int64  // estimate of their bytes
	LagMs      int64  // age of the oldest record that is not archived, 0 when there is none
	Uploading  bool   // a job runs
	Waiting    string // what the partition waits for, in a sentence
	LastError  string // of the last failure since the last success, else empty
	LastErrAt  time.Time
}

// Status of one partition; false when it is not in care here.
func (m *Manager) Status(p topic.Partition) (Status, bool) {
	m.mu.Lock()
	h := m.parts[p]
	m.mu.Unlock()
	if h == nil {
		return Status{}, false
	}
	return m.status(h), true
}

// Statuses of all partitions in care, in no order.
func (m *Manager) Statuses() []Status {
	m.mu.Lock()
	hs := make([]*Handle, 0, len(m.parts))
	for _, h := range m.parts {
		hs = append(hs, h)
	}
	m.mu.Unlock()
	out := make([]Status, 0, len(hs))
	for _, h := range hs {
		out = append(out, m.status(h))
	}
	return out
}

func (m *Manager) status(h *Handle) Status {
	now := m.o.Now()
	s := h.state(m.o.Ledgers.CachedLedger(h.p), now.UnixMilli())
	d := Plan(s, now.UnixMilli())
	st := Status{
		Partition: h.p, Enabled: s.Config.Enabled, Leader: s.Leader, Archived: s.Next, Stable: s.Stable,
		Waiting: d.Reason(),
	}
	if s.Config.Enabled && s.Stable > s.Next {
		st.LagRecords, st.LagBytes = s.Stable-s.Next, s.PendingBytes
		if s.SinceKnown {
			st.LagMs = max(now.UnixMilli()-s.SinceMs, 0)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	st.Confirmed = h.job.confirmed.Load()
	st.Uploading = h.running
	if h.failures > 0 {
		st.LastError, st.LastErrAt = h.lastErr, h.lastErrAt
		if d.Action != Stuck {
			st.Waiting += "; the last attempt failed: " + h.lastErr
			if h.notBefore.After(now) {
				st.Waiting += "; the next one is at " + h.notBefore.UTC().Format(time.RFC3339)
			}
		}
	} else if h.queued {
		st.Waiting += "; other partitions' uploads go first"
	}
	return st
}

type metrics struct {
	reg      prometheus.Registerer
	all      []prometheus.Collector
	uploads  prometheus.Counter
	bytes    prometheus.Counter
	failures prometheus.Counter
	refused  prometheus.Counter
	seconds  prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, m *Manager) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	x := &metrics{
		reg:      reg,
		uploads:  counter("firn_upload_segments_total", "Segments uploaded and committed."),
		bytes:    counter("firn_upload_bytes_total", "Bytes of uploaded and committed segments, as stored."),
		failures: counter("firn_upload_failures_total", "Upload jobs that failed and are tried again."),
		refused:  counter("firn_upload_refused_total", "Uploaded segments that the ledger refused: orphans."),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "firn_upload_duration_seconds",
			Help: "Time from the ledger read to the confirmed commit of a segment.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 14)}),
	}
	x.all = []prometheus.Collector{x.uploads, x.bytes, x.failures, x.refused, x.seconds, lagCollector{m}}
	if reg != nil {
		for _, c := range x.all {
			reg.MustRegister(c)
		}
	}
	return x
}

func (x *metrics) close() {
	if x.reg != nil {
		for _, c := range x.all {
			x.reg.Unregister(c)
		}
	}
}

// lagCollector computes the lag figures when they are asked for, so that they cost nothing otherwise.
type lagCollector struct{ m *Manager }

var (
	lagRecords = prometheus.NewDesc("firn_upload_lag_records", "Records that may be uploaded and are not, all partitions.", nil, nil)
	lagBytes   = prometheus.NewDesc("firn_upload_lag_bytes", "Estimated bytes of the records that are not uploaded.", nil, nil)
	lagSeconds = prometheus.NewDesc("firn_upload_lag_max_seconds", "Age of the oldest record that is not uploaded.", nil, nil)
	failing    = prometheus.NewDesc("firn_upload_failing_partitions", "Partitions whose last upload failed.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c lagCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{lagRecords, lagBytes, lagSeconds, failing} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c lagCollector) Collect(ch chan<- prometheus.Metric) {
	var records, bytes, oldest, bad int64
	for _, s := range c.m.Statuses() {
		records += s.LagRecords
		bytes += s.LagBytes
		oldest = max(oldest, s.LagMs)
		if s.LastError != "" {
			bad++
		}
	}
	gauge := func(d *prometheus.Desc, v float64) { ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	gauge(lagRecords, float64(records))
	gauge(lagBytes, float64(bytes))
	gauge(lagSeconds, float64(oldest)/1000)
	gauge(failing, float64(bad))
}
