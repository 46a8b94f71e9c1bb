package etcd

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	revision prometheus.Gauge
	relists  prometheus.Counter
	edits    *prometheus.CounterVec
	took     prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		revision: prometheus.NewGauge(prometheus.GaugeOpts{Name: "firn_metadata_image_revision", Help: "Revision of etcd that the image includes."}),
		relists:  prometheus.NewCounter(prometheus.CounterOpts{Name: "firn_metadata_relists_total", Help: "Times that all metadata was read again because the watch broke."}),
		edits: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "firn_metadata_edits_total",
			Help: "Edits by kind and result: ok, refused (by the rules), ambiguous, error."}, []string{"kind", "result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "firn_metadata_txn_seconds", Help: "How long etcd took for a transaction.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)}),
	}
	if r != nil {
		r.MustRegister(m.revision, m.relists, m.edits, m.took)
	}
	return m
}
