package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

type fakeBroker struct{ ready, healthy error }

func (f fakeBroker) TierStatus(_ context.Context, topic string) ([]PartitionTiers, error) {
	switch topic {
	case "":
		return nil, nil
	case "events":
		return []PartitionTiers{{Topic: topic, Partition: 3, ColdEnd: 42}}, nil
	}
	return nil, fmt.Errorf("topic %s: %w", topic, ErrNotFound)
}

func (f fakeBroker) TierExplain(_ context.Context, topic string, partition int32, offset int64) (Explanation, error) {
	if topic == "broken" {
		return Explanation{}, errors.New("disk on fire")
	}
	return Explanation{Topic: topic, Partition: partition, Offset: offset, Sentences: []string{"It is here."}}, nil
}
func (f fakeBroker) Ready() error   { return f.ready }
func (f fakeBroker) Healthy() error { return f.healthy }

func TestHandler(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "firn_test_gauge"}))
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	h := Handler(fakeBroker{ready: errors.New("still recovering logs")}, reg, logger)
	for _, c := range []struct {
		path   string
		status int
		body   string
	}{
		{"/healthz", 200, "ok\n"},
		{"/readyz", 503, "still recovering logs\n"},
		{"/v1/tiers", 200, "[]\n"},
		{"/v1/tiers/nosuch", 404, `{"error":"topic nosuch: not found"}` + "\n"},
		{"/v1/tiers/events/x/explain", 400, `{"error":"partition \"x\" is no number"}` + "\n"},
		{"/v1/tiers/events/1/explain?offset=-4", 400, `{"error":"offset \"-4\" is no number from 0"}` + "\n"},
		{"/v1/tiers/broken/1/explain", 500, `{"error":"disk on fire"}` + "\n"},
		{"/v1/tiers/events/1/explain", 200, `{"topic":"events","partition":1,"offset":-1,"sentences":["It is here."]}` + "\n"},
		{"/v1/tiers/events/1/explain?offset=7", 200, `{"topic":"events","partition":1,"offset":7,"sentences":["It is here."]}` + "\n"},
	} {
		t.Run(c.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, c.path, nil))
			require.Equal(t, c.status, w.Code)
			require.Equal(t, c.body, w.Body.String())
		})
	}

	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/tiers/events", nil))
	var rows []PartitionTiers
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &rows))
	require.Equal(t, []PartitionTiers{{Topic: "events", Partition: 3, ColdEnd: 42}}, rows)

	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Contains(t, w.Body.String(), "firn_test_gauge 0")
}
