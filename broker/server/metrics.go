package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metrics of the listeners. Those of an API key are looked up once, when the server is made.
type metrics struct {
	byKey       [kmsg.MaxKey + 1]*apiMetrics
	connections prometheus.Gauge
	limit       prometheus.Gauge
	accepted    prometheus.Counter
	refused     *prometheus.CounterVec
	closed      *prometheus.CounterVec
	panics      prometheus.Counter

	acceptPauses, requestPauses, inFlightPauses, answerPauses, memoryWaits prometheus.Counter
}

type apiMetrics struct {
	requests, failures, received, sent prometheus.Counter
	seconds                            prometheus.Observer
}

func newMetrics(reg prometheus.Registerer, keys []int16, memory, answers func() float64) (*metrics, error) {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "firn", Subsystem: "server", Name: name, Help: help}
	}
	api := []string{"api"}
	requests := prometheus.NewCounterVec(opts("requests_total", "Requests answered or dropped, by API."), api)
	failures := prometheus.NewCounterVec(opts("request_errors_total", "Requests answered with an error code (the first of a Produce or Fetch) or by closing the connection."), api)
	received := prometheus.NewCounterVec(opts("received_bytes_total", "Bytes of request frames."), api)
	sent := prometheus.NewCounterVec(opts("sent_bytes_total", "Bytes of answers sent."), api)
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "firn", Subsystem: "server", Name: "request_seconds",
		Help:    "Time from a complete request frame to its answer being sent.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30},
	}, api)
	counter := func(name, help string) prometheus.Counter { return prometheus.NewCounter(opts(name, help)) }
	m := &metrics{
		limit:          prometheus.NewGauge(prometheus.GaugeOpts(opts("connections_limit", "Open client connections that are allowed, in all."))),
		accepted:       counter("accepted_connections_total", "Connections accepted, those refused at once included."),
		acceptPauses:   counter("accept_pauses_total", "Times that accepting paused because connections came faster than the limit of their rate."),
		requestPauses:  counter("request_rate_pauses_total", "Times that reading a connection paused because its requests came faster than the limit of their rate."),
		inFlightPauses: counter("in_flight_pauses_total", "Times that reading a connection paused because too many of its requests waited for their answer."),
		answerPauses:   counter("answer_pauses_total", "Times that reading a connection paused because its client had not taken the answers before."),
		memoryWaits:    counter("request_memory_waits_total", "Times that a request waited until others left it memory."),
		connections:    prometheus.NewGauge(prometheus.GaugeOpts(opts("connections", "Open client connections."))),
		refused:        prometheus.NewCounterVec(opts("refused_connections_total", "Connections refused at once, by reason."), []string{"reason"}),
		closed:         prometheus.NewCounterVec(opts("closed_connections_total", "Connections closed, by reason."), []string{"reason"}),
		panics:         prometheus.NewCounter(opts("handler_panics_total", "Panics of a request handler where its connection is read; each closed that. Those of fetches and of logs count in firn_partition_panics_total.")),
	}
	gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("request_memory_bytes", "Bytes of requests in memory.")), memory)
	untaken := prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("answer_memory_bytes", "Bytes of answers in memory that clients have not taken.")), answers)
	if reg != nil {
		for _, c := range []prometheus.Collector{requests, failures, received, sent, seconds, m.connections, m.limit, m.accepted, m.refused, m.closed, m.panics,
			m.acceptPauses, m.requestPauses, m.inFlightPauses, m.answerPauses, m.memoryWaits, gauge, untaken} {
			if err := reg.Register(c); err != nil {
				return nil, err
			}
		}
	}
	for _, key := range keys {
		name := kmsg.NameForKey(key)
		m.byKey[key] = &apiMetrics{
			requests: requests.WithLabelValues(name), failures: failures.WithLabelValues(name),
			received: received.WithLabelValues(name), sent: sent.WithLabelValues(name),
			seconds: seconds.WithLabelValues(name),
		}
	}
	return m, nil
}

// request counts one that ended. key is in the version table.
func (m *metrics) request(key int16, in int, out int64, failed bool, took time.Duration) {
	a := m.byKey[key]
	a.requests.Inc()
	a.received.Add(float64(in))
	a.sent.Add(float64(out))
	if failed {
		a.failures.Inc()
	}
	a.seconds.Observe(took.Seconds())
}
