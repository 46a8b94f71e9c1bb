package metatest

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

func testLedger(t *testing.T, e *env) {
	tp := e.create("a", 2)
	p := tp.Partition(1)
	var mu sync.Mutex
	var told []int64
	stop := e.s.OnLedger(func(q topic.Partition, l *ledger.Ledger) {
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, p, q)
		told = append(told, l.Version)
	})
	l := e.s.CachedLedger(p)
	require.Equal(t, &ledger.Ledger{Topic: tp.ID, Index: 1}, l)
	for range 5 {
		n, err := e.s.CommitLedger(e.ctx, p, appendOf(l, 10, 0))
		require.NoError(t, err)
		require.Equal(t, l.Version+1, n.Version)
		require.Equal(t, n, e.s.CachedLedger(p), "CachedLedger includes own commits")
		l = n
	}
	require.Equal(t, int64(50), l.Next)
	got, err := e.second().Ledger(e.ctx, p)
	require.NoError(t, err)
	require.Equal(t, l, got, "every field comes back from the store")

	// I-08: only the leader of the present epoch appends, without gap, with the fence that holds.
	_, err = e.s.CommitLedger(e.ctx, p, appendOf(l, 10, 1))
	require.ErrorIs(t, err, metadata.ErrStaleEpoch)
	st := tp.Partitions[1]
	st.LeaderEpoch = 1
	e.commit(metadata.ChangePartition{ID: tp.ID, Index: 1, Version: st.Version, State: st})
	_, err = e.s.CommitLedger(e.ctx, p, appendOf(l, 10, 0))
	require.ErrorIs(t, err, metadata.ErrStaleEpoch, "I-26: the deposed leader's append")
	ahead := appendOf(l, 10, 1)
	ahead.Base, ahead.Segment.Base, ahead.Segment.Next = 60, 60, 70
	_, err = e.s.CommitLedger(e.ctx, p, ahead)
	require.ErrorIs(t, err, ledger.ErrGap)
	slow := appendOf(l, 10, 1)
	l, err = e.s.CommitLedger(e.ctx, p, ledger.Fence{From: 0})
	require.NoError(t, err)
	_, err = e.s.CommitLedger(e.ctx, p, slow)
	require.ErrorIs(t, err, ledger.ErrFenced, "I-10: an uploader that slept through the fence")
	again := appendOf(l, 10, 1)
	l, err = e.s.CommitLedger(e.ctx, p, again)
	require.NoError(t, err)
	same, err := e.s.CommitLedger(e.ctx, p, again)
	require.NoError(t, err, "the same append again is already in")
	require.Equal(t, l.Version, same.Version)

	l = foldAndTrim(t, e, p, l)
	got, err = e.second().Ledger(e.ctx, p)
	require.NoError(t, err)
	require.Equal(t, l, got)
	stop()
	mu.Lock()
	defer mu.Unlock()
	for i := 1; i < len(told); i++ {
		require.Greater(t, told[i], told[i-1])
	}
}

func foldAndTrim(t *testing.T, e *env, p topic.Partition, l *ledger.Ledger) *ledger.Ledger {
	segs := l.PlanFold(2, 1)
	ref, _, err := ledger.NewFold("folds/1", ledger.FoldFile{Partition: p, Segments: segs})
	require.NoError(t, err)
	l, err = e.s.CommitLedger(e.ctx, p, ledger.Fold{Fence: l.Fence, Ref: ref, Inputs: segs})
	require.NoError(t, err)
	require.Len(t, l.Recent, 2)
	out := []ledger.Segment{Segment(l.Recent[0].Base, l.Recent[1].Next, 1)}
	_, err = e.s.CommitLedger(e.ctx, p, ledger.Replace{Fence: l.Fence, Inputs: l.Recent, Outputs: out})
	require.NoError(t, err)
	_, err = e.s.CommitLedger(e.ctx, p, ledger.TrimStart{To: 45})
	require.NoError(t, err)
	_, err = e.s.CommitLedger(e.ctx, p, ledger.Expire{Below: 46})
	require.ErrorIs(t, err, ledger.ErrConflict)
	l, err = e.s.CommitLedger(e.ctx, p, ledger.Expire{Below: 45})
	require.NoError(t, err)
	require.Empty(t, l.Folds)
	require.Equal(t, out, l.Recent)
	l, err = e.s.CommitLedger(e.ctx, p, ledger.TrimStart{To: 1000})
	require.NoError(t, err)
	require.Equal(t, int64(1000), l.Next)
	l, err = e.s.CommitLedger(e.ctx, p, ledger.Expire{Below: 1000})
	require.NoError(t, err)
	require.True(t, l.Empty())
	return l
}

// testLedgerRaces: uploader, trimmer and fencer at once, through two stores (I-14).
func testLedgerRaces(t *testing.T, e *env) {
	tp := e.create("a", 1)
	p := tp.Partition(0)
	other := e.second()
	const n = 30
	var wg sync.WaitGroup
	wg.Go(func() {
		for done := 0; done < n; {
			l := e.s.CachedLedger(p)
			_, err := e.s.CommitLedger(e.ctx, p, appendOf(l, 10, 0))
			switch {
			case err == nil:
				done++
			case errors.Is(err, ledger.ErrFenced), errors.Is(err, ledger.ErrArchived), errors.Is(err, ledger.ErrGap):
				if _, err := e.s.Ledger(e.ctx, p); err != nil {
					t.Error(err)
					return
				}
			default:
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() {
		for i := range n {
			if _, err := other.CommitLedger(e.ctx, p, ledger.TrimStart{To: int64(i * 3)}); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		for range n {
			l, err := other.Ledger(e.ctx, p)
			if err == nil {
				_, err = other.CommitLedger(e.ctx, p, ledger.Fence{From: l.Fence})
			}
			if err != nil && !errors.Is(err, ledger.ErrConflict) {
				t.Error(err)
			}
			if _, err = other.CommitLedger(e.ctx, p, ledger.Expire{}); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	l, err := e.s.Ledger(e.ctx, p)
	require.NoError(t, err)
	require.NoError(t, l.Check())
	require.Equal(t, int64((n-1)*3), l.Start)
	require.GreaterOrEqual(t, l.Next, int64(n*10))
	l2, err := other.Ledger(e.ctx, p)
	require.NoError(t, err)
	require.Equal(t, l, l2)
}

// testTombstones: the ledger outlives its topic until it is forgotten (I-19).
func testTombstones(t *testing.T, e *env) {
	tp := e.create("a", 1)
	p := tp.Partition(0)
	l, err := e.s.CommitLedger(e.ctx, p, appendOf(&ledger.Ledger{}, 10, 0))
	require.NoError(t, err)
	e.commit(metadata.DeleteTopic{ID: tp.ID})
	tombs, err := e.s.Tombstones(e.ctx)
	require.NoError(t, err)
	require.Len(t, tombs, 1)
	require.Equal(t, tp.ID, tombs[0].ID)
	require.Equal(t, "a", tombs[0].Name)
	require.Equal(t, int32(1), tombs[0].Partitions)
	require.NotZero(t, tombs[0].DeletedAt)
	require.NotNil(t, e.s.Image().Tombstone(tp.ID))

	got, err := e.s.Ledger(e.ctx, p)
	require.NoError(t, err)
	require.Equal(t, l, got)
	_, err = e.s.CommitLedger(e.ctx, p, appendOf(l, 10, 0))
	require.ErrorIs(t, err, metadata.ErrUnknownTopic, "I-38: nothing is appended to a deleted topic")
	_, err = e.s.CommitLedger(e.ctx, p, ledger.Fence{From: l.Fence})
	require.NoError(t, err)

	require.NoError(t, e.s.ForgetTombstone(e.ctx, tp.ID))
	require.NoError(t, e.s.ForgetTombstone(e.ctx, tp.ID))
	tombs, err = e.s.Tombstones(e.ctx)
	require.NoError(t, err)
	require.Empty(t, tombs)
	got, err = e.s.Ledger(e.ctx, p)
	require.NoError(t, err)
	require.Zero(t, got.Version)
	_, err = e.s.CommitLedger(e.ctx, p, ledger.TrimStart{To: 5})
	require.ErrorIs(t, err, metadata.ErrUnknownTopic, "a ledger must not come back after it was forgotten")
}

func testUnarchived(t *testing.T, e *env) {
	tp := e.create("a", 2)
	alter := metadata.AlterTopicConfigs{ID: tp.ID, Set: map[string]string{"cleanup.policy": "compact", "remote.storage.enable": "false"}, Unarchived: true}
	_, err := e.s.CommitLedger(e.ctx, tp.Partition(1), ledger.TrimStart{To: 7})
	require.NoError(t, err)
	_, err = e.s.CommitLedger(e.ctx, tp.Partition(0), appendOf(&ledger.Ledger{}, 10, 0))
	require.NoError(t, err)
	require.ErrorIs(t, e.one(alter), metadata.ErrArchived)
	require.NotContains(t, e.s.Image().TopicByName("a").Configs, "cleanup.policy")
	_, err = e.s.CommitLedger(e.ctx, tp.Partition(0), ledger.TrimStart{To: 10})
	require.NoError(t, err)
	l, err := e.s.CommitLedger(e.ctx, tp.Partition(0), ledger.Expire{Below: 10})
	require.NoError(t, err)
	e.commit(alter)
	_, err = e.s.CommitLedger(e.ctx, tp.Partition(0), appendOf(l, 10, 0))
	require.ErrorIs(t, err, metadata.ErrNotRemote, "an upload that was under way when the topic turned local")
}

// testProducerIDs: no id twice, whoever asks (seed of I-39).
func testProducerIDs(t *testing.T, e *env) {
	stores := []metadata.Store{e.s, e.second()}
	var mu sync.Mutex
	seen := map[int64]bool{}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 50 {
				n := int64(1)
				if k == 7 {
					n = 2500
				}
				first, err := stores[i%2].NextProducerIDs(e.ctx, n)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for id := first; id < first+n; id++ {
					if seen[id] {
						t.Errorf("producer id %d handed out twice", id)
					}
					seen[id] = true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	_, err := e.s.NextProducerIDs(e.ctx, 0)
	require.ErrorIs(t, err, metadata.ErrInvalid)
}
