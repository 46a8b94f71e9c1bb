package compaction_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/compaction"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

// setBack is metadata whose ledgers are those of an earlier moment.
type setBack struct {
	compaction.Metadata
	then map[topic.Partition]*ledger.Ledger
}

func (s setBack) CachedLedger(p topic.Partition) *ledger.Ledger { return s.then[p] }

func (s setBack) Ledger(_ context.Context, p topic.Partition) (*ledger.Ledger, error) {
	return s.then[p], nil
}

// I-35: metadata that was set back by less than the time between two listings. The one segment that it lacks looks
// like an upload that was never committed, so only a marker can tell.
func TestMetadataSetBackBetweenListings(t *testing.T) {
	w := newWorld(t)
	w.opts.ListEvery = 24 * time.Hour
	p := w.topic("t")
	w.segment(p, 10)
	c := w.collector()
	w.round(c)
	then := map[topic.Partition]*ledger.Ledger{p: w.meta.CachedLedger(p)}
	forgotten := w.segment(p, 10)
	w.clock.advance(time.Minute)
	w.round(c)

	w.opts.Meta, w.opts.ListEvery = setBack{w.meta, then}, grace
	c = w.collector()
	w.settle(c)
	require.True(t, w.has(forgotten.Key), "committed, and perhaps trimmed from the local log")
	require.Contains(t, c.Distrust(), "older than the bucket")
}

// A bucket without a trace of a cluster that has archived something is not its bucket (a wrong --store, a disk that is not
// mounted), or was emptied. It is not claimed either: the next start would take it for the right one.
func TestAnotherBucket(t *testing.T) {
	w := newWorld(t)
	w.segment(w.topic("t"), 10)
	w.round(w.collector())
	right := w.store
	other := newWorld(t)
	w.store, w.opts.Store = other.store, other.store
	for range 2 {
		c := w.collector()
		w.round(c)
		require.Contains(t, c.Distrust(), "not mounted")
		require.False(t, w.has(w.layout().OwnerKey()))
	}
	w.store, w.opts.Store = right, right
	c := w.collector()
	w.round(c)
	require.Empty(t, c.Distrust())
}
