package partition

import "github.com/prometheus/client_golang/prometheus"

// metrics are read from the partitions when they are asked for; nothing but panics is counted on the way.
type metrics struct {
	reg        prometheus.Registerer
	m          *Manager
	partitions *prometheus.Desc
	hot        *prometheus.Desc
	cold       *prometheus.Desc
	refused    *prometheus.Desc
	notOpen    *prometheus.Desc
	damaged    *prometheus.Desc
	panics     *prometheus.Desc
}

func newMetrics(reg prometheus.Registerer, m *Manager) *metrics {
	x := &metrics{reg: reg, m: m,
		partitions: prometheus.NewDesc("firn_partition_leaders", "Partitions that this broker leads.", nil, nil),
		hot:        prometheus.NewDesc("firn_partition_hot_bytes", "Bytes of local log by topic.", []string{"topic"}, nil),
		cold:       prometheus.NewDesc("firn_partition_cold_bytes", "Bytes of archived record batches by topic.", []string{"topic"}, nil),
		refused:    prometheus.NewDesc("firn_partition_disk_full", "1 while produce is refused because the disk is at its reserve.", nil, nil),
		notOpen:    prometheus.NewDesc("firn_partition_not_open", "Partitions whose log could not be opened; tried again all the time.", nil, nil),
		damaged:    prometheus.NewDesc("firn_partition_damaged", "Partitions that are offline because flushed bytes of their log are gone; `firn tier explain` says what to do.", nil, nil),
		panics:     prometheus.NewDesc("firn_partition_panics_total", "Panics while a log was opened, or a fetch read one or the archive; each was answered with an error.", nil, nil),
	}
	if reg != nil {
		reg.MustRegister(x)
	}
	return x
}

// Describe implements prometheus.Collector.
func (x *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{x.partitions, x.hot, x.cold, x.refused, x.notOpen, x.damaged, x.panics} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. Logs that are not open are not opened for it.
func (x *metrics) Collect(ch chan<- prometheus.Metric) {
	leaders, notOpen, damaged := 0, 0, 0
	hot, cold := map[string]int64{}, map[string]int64{}
	for _, p := range x.m.All() {
		n := p.news.Load()
		if n.leader {
			leaders++
		}
		if l := p.log.Load(); l != nil {
			hot[p.id.Topic] += (*l).Bytes()
		} else if p.damaged() != nil {
			damaged++
		} else if p.openErr.Load() != nil {
			notOpen++
		}
		if n.settings.Remote {
			cold[p.id.Topic] += x.m.o.Metadata.CachedLedger(p.id).Bytes()
		}
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(x.partitions, float64(leaders))
	gauge(x.notOpen, float64(notOpen))
	gauge(x.damaged, float64(damaged))
	ch <- prometheus.MustNewConstMetric(x.panics, prometheus.CounterValue, float64(x.m.panics.Load()))
	for t, n := range hot {
		gauge(x.hot, float64(n), t)
	}
	for t, n := range cold {
		gauge(x.cold, float64(n), t)
	}
	full := 0.0
	if x.m.space.full.Load() {
		full = 1
	}
	gauge(x.refused, full)
}

func (x *metrics) close() {
	if x.reg != nil {
		x.reg.Unregister(x)
	}
}
