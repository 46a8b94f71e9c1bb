package upload_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/archive/archivetest"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
	"github.com/firnlog/firn/tier/upload"
)

// watched counts how often it was looked at.
type watched struct {
	*archivetest.Log
	looks atomic.Int64
}

func (w *watched) PendingBytes(from int64) int64 {
	w.looks.Add(1)
	return w.Log.PendingBytes(from)
}

// nothingArchived makes no ledger for each question.
type nothingArchived struct {
	*archivetest.Ledgers
	l ledger.Ledger
}

func (n *nothingArchived) CachedLedger(topic.Partition) *ledger.Ledger { return &n.l }

// A look at a partition whose records may wait allocates nothing: of ten thousand busy ones, each is looked at a few times a
// second.
func TestLooksAllocateNothing(t *testing.T) {
	b := newBench(t, func(b *bench, o *upload.Options) { o.Ledgers = &nothingArchived{Ledgers: b.led} })
	w := &watched{Log: b.log("t", upload.Config{Enabled: true, SegmentBytes: 1 << 20, MaxLagMs: 3_600_000})}
	w.Append(b.rnd, 1, 100, 1000)
	w.SetSince(time.Now().UnixMilli())
	h := b.m.Add(w)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		before := w.looks.Load()
		h.Notify()
		for w.looks.Load() == before {
			time.Sleep(10 * time.Microsecond)
		}
	}))
	require.Zero(t, b.led.Count("append"), "the records may wait")
}
