package compaction

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	reg     prometheus.Registerer
	all     []prometheus.Collector
	deleted *prometheus.CounterVec
	folds   prometheus.Counter
	rounds  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, c *Collector) *metrics {
	m := &metrics{
		reg: reg,
		deleted: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "firn_gc_deleted_objects_total",
			Help: "Objects deleted from the store: expired by retention, orphaned, or of deleted topics."}, []string{"kind"}),
		folds: prometheus.NewCounter(prometheus.CounterOpts{Name: "firn_gc_folds_total", Help: "Ledger folds written."}),
		rounds: prometheus.NewCounter(prometheus.CounterOpts{Name: "firn_gc_rounds_total",
			Help: "Rounds of tending the archive that ended without an error, those that may not delete included."}),
	}
	gauge := func(name, help string, v func(Status) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return v(c.Status()) })
	}
	m.all = []prometheus.Collector{m.deleted, m.folds, m.rounds,
		gauge("firn_gc_distrust", "1 when nothing is deleted because the bucket is not trusted.", func(s Status) float64 {
			if s.Distrust != "" {
				return 1
			}
			return 0
		}),
		gauge("firn_gc_waiting_objects", "Objects that wait for the grace period before they are deleted.", func(s Status) float64 { return float64(s.Waiting) }),
		gauge("firn_gc_orphan_objects", "Objects without a name at the last listing.", func(s Status) float64 { return float64(s.Orphans) }),
		gauge("firn_gc_unknown_objects", "Objects of unknown partitions at the last listing; never deleted.", func(s Status) float64 { return float64(s.Unknown) }),
	}
	if reg != nil {
		for _, x := range m.all {
			reg.MustRegister(x)
		}
	}
	return m
}

func (m *metrics) close() {
	if m.reg != nil {
		for _, x := range m.all {
			m.reg.Unregister(x)
		}
	}
}
