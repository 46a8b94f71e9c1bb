package upload_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/dir"
	"github.com/firnlog/firn/tier/upload"
)

// I-35: a log that began anew at the archive's end, beside a ledger that was set back to before that. Nothing that the
// older ledger names is given up.
func TestPlanAfterTheLedgerWasSetBack(t *testing.T) {
	s := upload.State{Leader: true, Config: upload.Config{Enabled: true}, Start: 0, Next: 50, LogStart: 100, LocalStart: 100, Stable: 120}
	d := upload.Plan(s, 0)
	require.Equal(t, upload.Stuck, d.Action)
	require.Contains(t, d.Reason(), "older")
	s.Start = 50 // nothing readable is archived: the topic was local before
	require.Equal(t, upload.Begin, upload.Plan(s, 0).Action)
}

// I-12: a store that holds nothing of a cluster with an archive, a folder whose disk is not mounted say, does not become
// its archive: nothing is replaced there, nothing uploaded, nothing trimmed.
func TestAnotherStoreGetsNothing(t *testing.T) {
	b := newBench(t, nil)
	l := b.log("t", eager)
	l.Append(b.rnd, 5, 100, 1000)
	b.m.Add(l)
	b.eventually("archived", func() bool { return l.ArchivedTo() == 5 })
	before := b.led.CachedLedger(l.Partition())
	require.NoError(t, b.m.Close(context.Background(), false))

	empty, err := dir.Open(t.TempDir())
	require.NoError(t, err)
	defer empty.Close()
	l.Append(b.rnd, 5, 100, 1000)
	again := newBench(t, func(n *bench, o *upload.Options) { o.Store, o.Ledgers, o.Used = empty, b.led, true })
	again.m.Add(l)
	again.eventually("reported", func() bool { st, _ := again.m.Status(l.Partition()); return st.LastError != "" })
	st, _ := again.m.Status(l.Partition())
	require.Contains(t, st.LastError, "is it mounted")
	require.Same(t, before, b.led.CachedLedger(l.Partition()))
	require.NoError(t, again.m.Close(context.Background(), false))
	require.NoError(t, empty.List(context.Background(), lay.ClusterPrefix(), "", func(i object.Info) error {
		t.Errorf("%s was stored", i.Key)
		return nil
	}))

	right := newBench(t, func(n *bench, o *upload.Options) { o.Store, o.Ledgers, o.Used = b.store, b.led, true })
	right.m.Add(l)
	right.eventually("archived", func() bool { return b.led.CachedLedger(l.Partition()).Next > before.Next })
}

// An object that is lost and cannot be made again, because part of its range has left the local log, holds up what it
// covers and all trimming above it, but not the uploads that follow (I-12).
func TestUploadsGoOnPastALostObject(t *testing.T) {
	b := newBench(t, nil)
	l := b.log("t", eager)
	l.Append(b.rnd, 5, 100, 1000)
	l.Append(b.rnd, 5, 100, 1000)
	b.m.Add(l)
	b.eventually("archived", func() bool { return l.ArchivedTo() == 10 })
	require.NoError(t, b.m.Close(context.Background(), false))
	lost := b.led.CachedLedger(l.Partition()).Recent[0]
	require.NoError(t, b.store.Delete(context.Background(), []string{lost.Key}))
	l.TrimTo(5)
	require.EqualValues(t, 10, lost.Next, "one object with both batches")

	again := newBench(t, func(n *bench, o *upload.Options) { o.Store, o.Ledgers = b.store, b.led })
	var trimmed atomic.Int64
	l.OnArchived = func(to int64) { trimmed.Store(to) }
	again.m.Add(l)
	for range 3 {
		l.Append(again.rnd, 5, 100, 1000)
		again.eventually("uploaded", func() bool { return b.led.CachedLedger(l.Partition()).Next == l.End() })
	}
	again.eventually("reported", func() bool { st, _ := again.m.Status(l.Partition()); return st.LastError != "" })
	st, _ := again.m.Status(l.Partition())
	require.Contains(t, st.LastError, lost.Key)
	require.Zero(t, trimmed.Load())
}
