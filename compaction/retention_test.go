package compaction_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/compaction"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/topic"
)

// I-35: while the bucket is not trusted no log start moves, neither over archived data nor over what is only local.
func TestDistrustKeepsTheLogStart(t *testing.T) {
	for _, trusted := range []bool{true, false} {
		w := newWorld(t)
		w.opts.Policy = func(*metadata.Topic) compaction.Policy {
			return compaction.Policy{Remote: true, RetentionMs: 1000, RetentionBytes: 1}
		}
		local := w.topic("local")
		w.opts.HotDue = func(p topic.Partition) (int64, string) {
			if p == local {
				return 7, "old"
			}
			return 0, ""
		}
		w.settle(w.collector())
		if !trusted {
			w.owner("other")
		}
		c := w.collector()
		p := w.topic("t")
		w.segment(p, 10)
		more := w.topic("more")
		w.segment(more, 10)
		w.clock.advance(time.Hour)
		w.round(c)
		if trusted {
			require.EqualValues(t, 10, w.meta.CachedLedger(p).Start)
			require.EqualValues(t, 7, w.meta.CachedLedger(local).Start)
			require.EqualValues(t, 7, w.meta.CachedLedger(local).Next)
			continue
		}
		require.NotEmpty(t, c.Distrust())
		require.Zero(t, w.meta.CachedLedger(p).Start)
		local = w.topic("local2")
		w.round(c)
		require.Zero(t, w.meta.CachedLedger(local).Version)
		require.Contains(t, c.Notes(p)[0], "The log start is not moved by retention")
		require.Contains(t, c.Notes(p)[0], w.store.URL())
	}
}

// What is local only and due goes, but never past what is archived, and only with remote storage.
func TestHotDueWaitsForTheArchivedPart(t *testing.T) {
	w := newWorld(t)
	remote := true
	w.opts.Policy = func(*metadata.Topic) compaction.Policy {
		return compaction.Policy{Remote: remote, RetentionMs: -1, RetentionBytes: -1}
	}
	w.opts.HotDue = func(topic.Partition) (int64, string) { return 50, "old" }
	p := w.topic("t")
	w.segment(p, 10)
	c := w.collector()
	w.round(c)
	require.Zero(t, w.meta.CachedLedger(p).Start)
	w.trim(p, 10)
	remote = false
	w.round(c)
	require.EqualValues(t, 10, w.meta.CachedLedger(p).Start)
	remote = true
	w.round(c)
	require.EqualValues(t, 50, w.meta.CachedLedger(p).Start)
}

// Notes tell what of a partition waits for its grace period, and nothing once it is gone.
func TestNotes(t *testing.T) {
	w := newWorld(t)
	p, q := w.topic("t"), w.topic("u")
	w.segment(p, 10)
	w.segment(p, 10)
	c := w.collector()
	w.round(c)
	require.Empty(t, c.Notes(p))
	w.trim(p, 20)
	w.round(c)
	due := w.clock.Now().Add(grace).UTC().Format(time.RFC3339)
	require.Equal(t, []string{"2 objects below the log start are not named any more and are deleted between " + due + " and " + due +
		", when their grace period is over."}, c.Notes(p))
	require.Empty(t, c.Notes(q))
	w.settle(c)
	require.Empty(t, c.Notes(p))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.Error(t, c.Round(ctx))
	require.True(t, strings.HasPrefix(c.Notes(q)[0], "The last round of tending the archive failed: "))
}

// TestListingComesBeforeRetention (I-35): what only a listing shows is seen before the first log start moves.
func TestListingComesBeforeRetention(t *testing.T) {
	w := newWorld(t)
	w.opts.Policy = func(*metadata.Topic) compaction.Policy {
		return compaction.Policy{Remote: true, RetentionMs: 1, RetentionBytes: -1}
	}
	p := w.topic("ahead")
	w.segment(p, 5)
	w.owner(w.layout().Generation)
	w.put(w.layout().SegmentKey(p.ID, 0, 6, 0), "x")
	w.clock.advance(time.Hour)
	c := w.collector()
	w.round(c)
	require.Contains(t, c.Distrust(), "begins at offset 6")
	require.Zero(t, w.meta.CachedLedger(p).Start)
}
