package harness

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// Tiers is one partition's row of /v1/tiers, as far as tests look at it.
type Tiers struct {
	Topic        string  `json:"topic"`
	Partition    int32   `json:"partition"`
	LogStart     int64   `json:"logStart"`
	HotStart     int64   `json:"hotStart"`
	HotEnd       int64   `json:"hotEnd"`
	HotBytes     int64   `json:"hotBytes"`
	ColdStart    int64   `json:"coldStart"`
	ColdEnd      int64   `json:"coldEnd"`
	ColdSegments int     `json:"coldSegments"`
	LagRecords   int64   `json:"lagRecords"`
	LagSeconds   float64 `json:"lagSeconds"`
	LastError    string  `json:"lastError"`
}

// Tiers asks what of a topic is hot and what is archived.
func (b *Broker) Tiers(topic string) ([]Tiers, error) {
	status, body, err := b.Get("/v1/tiers/" + topic)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("/v1/tiers/%s: %d %s", topic, status, body)
	}
	var rows []Tiers
	return rows, json.Unmarshal([]byte(body), &rows)
}

// WaitTiers waits until cond holds for every partition of the topic.
func (b *Broker) WaitTiers(t testing.TB, topic string, limit time.Duration, sentence string, cond func(Tiers) bool) []Tiers {
	t.Helper()
	var (
		rows []Tiers
		err  error
	)
	deadline := time.Now().Add(limit)
	for time.Now().Before(deadline) {
		if rows, err = b.Tiers(topic); err == nil && all(rows, cond) {
			return rows
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("after %v: %s of %s: %+v %v", limit, sentence, topic, rows, err)
	return nil
}

// WaitArchived waits until everything of the topic is in the archive.
func (b *Broker) WaitArchived(t testing.TB, topic string, limit time.Duration) []Tiers {
	t.Helper()
	return b.WaitTiers(t, topic, limit, "not everything is archived", func(p Tiers) bool { return p.LagRecords == 0 && p.ColdEnd == p.HotEnd })
}

func all(rows []Tiers, cond func(Tiers) bool) bool {
	for _, r := range rows {
		if !cond(r) {
			return false
		}
	}
	return len(rows) > 0
}
