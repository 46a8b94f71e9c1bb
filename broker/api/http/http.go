// Package httpapi is the broker's HTTP side: what Kafka's protocol has no call for, as JSON under /v1, and
// what operators expect of any server: /metrics, /healthz, /readyz, pprof. It holds no state; everything it
// tells comes through the Broker interface. It never changes anything.
package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// ErrNotFound marks answers about a topic or partition that does not exist; it becomes 404.
var ErrNotFound = errors.New("not found")

// Broker is what the HTTP side asks. Implementations are safe for concurrent use.
type Broker interface {
	// TierStatus tells, for each partition of the topic ("" = all topics), what is hot and what is archived.
	TierStatus(ctx context.Context, topic string) ([]PartitionTiers, error)
	// TierExplain tells in sentences where an offset lives and what it waits for; offset -1 asks about the
	// partition as a whole.
	TierExplain(ctx context.Context, topic string, partition int32, offset int64) (Explanation, error)
	// Ready is nil when the broker serves clients.
	Ready() error
	// Healthy is nil unless something needs an operator (a log directory offline, etcd out of space).
	Healthy() error
}

// PartitionTiers is one partition's row of `firn tier status`. Offsets are half-open ranges.
type PartitionTiers struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Remote    bool   `json:"remote"` // remote.storage.enable

	LogStart int64 `json:"logStart"` // nothing below is readable

	HotStart int64 `json:"hotStart"`
	HotEnd   int64 `json:"hotEnd"`
	HotBytes int64 `json:"hotBytes"`

	ColdStart    int64 `json:"coldStart"`
	ColdEnd      int64 `json:"coldEnd"`
	ColdBytes    int64 `json:"coldBytes"`
	ColdSegments int   `json:"coldSegments"`

	LagRecords int64   `json:"lagRecords"` // committed but not archived
	LagBytes   int64   `json:"lagBytes"`
	LagSeconds float64 `json:"lagSeconds"` // age of the oldest of them

	Waiting   string `json:"waiting,omitempty"` // what the next upload waits for
	LastError string `json:"lastError,omitempty"`
}

// Explanation is the answer of `firn tier explain`.
type Explanation struct {
	Topic     string   `json:"topic"`
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Sentences []string `json:"sentences"`
}

// Handler serves the HTTP side. gatherer may be nil (no /metrics).
func Handler(b Broker, gatherer prometheus.Gatherer, logger *slog.Logger) http.Handler {
	h := &handler{broker: b, logger: logger}
	mux := http.NewServeMux()
	if gatherer != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	}
	mux.HandleFunc("GET /healthz", h.check(b.Healthy))
	mux.HandleFunc("GET /readyz", h.check(b.Ready))
	mux.HandleFunc("GET /v1/tiers", h.status)
	mux.HandleFunc("GET /v1/tiers/{topic}", h.status)
	mux.HandleFunc("GET /v1/tiers/{topic}/{partition}/explain", h.explain)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// NewServer wraps the handler with the timeouts that keep a slow client from holding a connection for ever.
// Writes have none: a CPU profile takes as long as was asked for.
func NewServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
}

type handler struct {
	broker Broker
	logger *slog.Logger
}

func (h *handler) check(probe func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := probe(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n")) // a client that left is nobody's problem
	}
}

func (h *handler) status(w http.ResponseWriter, r *http.Request) {
	rows, err := h.broker.TierStatus(r.Context(), r.PathValue("topic"))
	if rows == nil {
		rows = []PartitionTiers{}
	}
	h.answer(w, rows, err)
}

func (h *handler) explain(w http.ResponseWriter, r *http.Request) {
	partition, err := strconv.ParseInt(r.PathValue("partition"), 10, 32)
	if err != nil {
		h.fail(w, http.StatusBadRequest, "partition "+strconv.Quote(r.PathValue("partition"))+" is no number")
		return
	}
	offset := int64(-1)
	if s := r.URL.Query().Get("offset"); s != "" {
		if offset, err = strconv.ParseInt(s, 10, 64); err != nil || offset < 0 {
			h.fail(w, http.StatusBadRequest, "offset "+strconv.Quote(s)+" is no number from 0")
			return
		}
	}
	e, err := h.broker.TierExplain(r.Context(), r.PathValue("topic"), int32(partition), offset)
	h.answer(w, e, err)
}

func (h *handler) answer(w http.ResponseWriter, v any, err error) {
	switch {
	case errors.Is(err, ErrNotFound):
		h.fail(w, http.StatusNotFound, err.Error())
		return
	case err != nil:
		h.logger.Warn("http request failed", "error", err)
		h.fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that left is nobody's problem
}

func (h *handler) fail(w http.ResponseWriter, status int, sentence string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": sentence})
}
