package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/metatest"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

type fate int

const (
	deliver  fate = iota
	loseBoth      // neither request nor answer gets through
	loseBack      // the request is applied, the answer is lost
	late          // the answer is lost now, the request is applied after some later reads
)

// faulty stands between a store and etcd and decides the fate of each transaction that writes.
type faulty struct {
	clientv3.KV
	mu    sync.Mutex
	next  func() fate
	queue []func()
	stall bool // late requests arrive only when the test says so
}

var errGone = status.Error(codes.Unavailable, "the network ate it")

func (f *faulty) Txn(ctx context.Context) clientv3.Txn {
	// A request on its way does not end with the call that made it.
	return &faultyTxn{now: f.KV.Txn(ctx), late: f.KV.Txn(context.Background()), f: f}
}

func (f *faulty) Get(ctx context.Context, key string, o ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	f.mu.Lock()
	release := !f.stall && len(f.queue) > 0 && rand.IntN(3) == 0
	var run func()
	if release {
		run, f.queue = f.queue[0], f.queue[1:]
	}
	f.mu.Unlock()
	if run != nil {
		run()
	}
	return f.KV.Get(ctx, key, o...)
}

func (f *faulty) drain() {
	f.mu.Lock()
	q := f.queue
	f.queue = nil
	f.mu.Unlock()
	for _, run := range q {
		run()
	}
}

type faultyTxn struct {
	now, late clientv3.Txn
	f         *faulty
	writes    bool
}

func (t *faultyTxn) If(c ...clientv3.Cmp) clientv3.Txn {
	t.now, t.late = t.now.If(c...), t.late.If(c...)
	return t
}

func (t *faultyTxn) Then(o ...clientv3.Op) clientv3.Txn {
	for _, op := range o {
		t.writes = t.writes || op.IsPut() || op.IsDelete() || op.IsTxn()
	}
	t.now, t.late = t.now.Then(o...), t.late.Then(o...)
	return t
}

func (t *faultyTxn) Else(o ...clientv3.Op) clientv3.Txn {
	t.now, t.late = t.now.Else(o...), t.late.Else(o...)
	return t
}

func (t *faultyTxn) Commit() (*clientv3.TxnResponse, error) {
	if !t.writes {
		return t.now.Commit()
	}
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	switch t.f.next() {
	case loseBoth:
		return nil, errGone
	case loseBack:
		if _, err := t.now.Commit(); err != nil {
			return nil, err
		}
		return nil, errGone
	case late:
		t.f.queue = append(t.f.queue, func() { t.late.Commit() }) // nobody hears
		return nil, errGone
	}
	return t.now.Commit()
}

// faultyStore is a store on s whose transactions meet the fates that next gives.
func faultyStore(t *testing.T, s *Server, next func() fate) (*Store, *faulty) {
	t.Helper()
	c := v3client.New(s.etcd.Server)
	f := &faulty{KV: c.KV, next: func() fate { return deliver }}
	c.KV = f
	st := store(t, &Client{c: c, ops: maxTxnOps, log: quiet(), embedded: s}, "")
	f.mu.Lock()
	f.next = next
	f.mu.Unlock()
	return st, f
}

func script(fates ...fate) func() fate {
	return func() fate {
		if len(fates) == 0 {
			return deliver
		}
		f := fates[0]
		fates = fates[1:]
		return f
	}
}

// I-09: whatever becomes of the answers, CommitLedger tells the truth.
func TestAmbiguousLedgerCommit(t *testing.T) {
	srv := embedded(t, "")
	plain := store(t, srv.Client(), "")
	for name, fates := range map[string][]fate{
		"answer lost":         {loseBack},
		"request lost":        {loseBoth},
		"answer lost twice":   {loseBoth, loseBack},
		"request late":        {late},
		"late, then again":    {late, late, loseBoth},
		"late, then answered": {late, loseBack},
	} {
		t.Run(name, func(t *testing.T) {
			id := topic.NewID()
			require.NoError(t, plain.Commit(t.Context(), metadata.CreateTopic{ID: id, Name: id.String(), Partitions: metatest.Partitions(1, 0)})[0])
			p := topic.Partition{ID: id, Topic: id.String()}
			st, f := faultyStore(t, srv, script(fates...))
			l, err := st.CommitLedger(t.Context(), p, ledger.Append{Segment: metatest.Segment(0, 10, 0)})
			require.NoError(t, err)
			l, err = st.CommitLedger(t.Context(), p, ledger.Fence{From: l.Fence})
			require.NoError(t, err)
			f.drain()
			now, err := plain.Ledger(t.Context(), p)
			require.NoError(t, err)
			require.Equal(t, l, now)
			require.Equal(t, int64(2), now.Version, "an edit went in twice")
		})
	}
}

// I-09: a fence raised by a lost attempt is ours only if our mark says so; somebody else's is a conflict.
func TestAmbiguousFenceAgainstAnother(t *testing.T) {
	srv := embedded(t, "")
	plain := store(t, srv.Client(), "")
	id := topic.NewID()
	require.NoError(t, plain.Commit(t.Context(), metadata.CreateTopic{ID: id, Name: "a", Partitions: metatest.Partitions(1, 0)})[0])
	p := topic.Partition{ID: id, Topic: "a"}
	st, _ := faultyStore(t, srv, func() fate {
		_, err := plain.CommitLedger(context.Background(), p, ledger.Fence{From: 0})
		if err != nil && !errors.Is(err, ledger.ErrConflict) {
			t.Error(err)
		}
		return loseBoth
	})
	_, err := st.CommitLedger(t.Context(), p, ledger.Fence{From: 0})
	require.ErrorIs(t, err, ledger.ErrConflict)
	require.NotErrorIs(t, err, metadata.ErrAmbiguous)
}

// I-09: the lost request arrives between the read that did not find it and the next attempt.
func TestAmbiguousArrivesJustBefore(t *testing.T) {
	srv := embedded(t, "")
	plain := store(t, srv.Client(), "")
	id := topic.NewID()
	require.NoError(t, plain.Commit(t.Context(), metadata.CreateTopic{ID: id, Name: "a", Partitions: metatest.Partitions(1, 0)})[0])
	p := topic.Partition{ID: id, Topic: "a"}
	var f *faulty
	calls := 0
	st, f := faultyStore(t, srv, func() fate {
		if calls++; calls == 1 {
			return late
		}
		for _, run := range f.queue {
			run()
		}
		f.queue = nil
		return deliver
	})
	f.stall = true
	l, err := st.CommitLedger(t.Context(), p, ledger.Fence{From: 0})
	require.NoError(t, err)
	require.Equal(t, 2, calls)
	require.Equal(t, int64(1), l.Fence)
	now, err := plain.Ledger(t.Context(), p)
	require.NoError(t, err)
	require.Equal(t, l, now)
}

// I-09: when it cannot be settled in time, the error says so, and the same edit may be committed again.
func TestAmbiguousBeyondContext(t *testing.T) {
	srv := embedded(t, "")
	plain := store(t, srv.Client(), "")
	id := topic.NewID()
	require.NoError(t, plain.Commit(t.Context(), metadata.CreateTopic{ID: id, Name: "a", Partitions: metatest.Partitions(1, 0)})[0])
	p := topic.Partition{ID: id, Topic: "a"}
	ctx, cancel := context.WithCancel(t.Context())
	fates := script(loseBack)
	st, _ := faultyStore(t, srv, func() fate { cancel2 := cancel; defer cancel2(); return fates() })
	edit := ledger.Append{Segment: metatest.Segment(0, 10, 0)}
	_, err := st.CommitLedger(ctx, p, edit)
	require.ErrorIs(t, err, metadata.ErrAmbiguous)
	l, err := st.CommitLedger(t.Context(), p, edit)
	require.NoError(t, err)
	require.Equal(t, []ledger.Segment{edit.Segment}, l.Recent)
}

// I-09, I-11, I-14: two uploaders on a bad network. What CommitLedger says is in, is in, once; what it refused,
// is not, and does not turn up later.
func TestLedgerOnBadNetwork(t *testing.T) {
	srv := embedded(t, "")
	plain := store(t, srv.Client(), "")
	id := topic.NewID()
	require.NoError(t, plain.Commit(t.Context(), metadata.CreateTopic{ID: id, Name: "a", Partitions: metatest.Partitions(1, 0)})[0])
	p := topic.Partition{ID: id, Topic: "a"}
	var mu sync.Mutex
	in, out := map[string]bool{}, map[string]bool{}
	var wg sync.WaitGroup
	var fs []*faulty
	for w := range 2 {
		r := rand.New(rand.NewPCG(uint64(w), 7))
		st, f := faultyStore(t, srv, func() fate {
			if r.IntN(2) == 0 {
				return deliver
			}
			return fate(r.IntN(4))
		})
		fs = append(fs, f)
		wg.Go(func() {
			for i := range 40 {
				l, err := st.Ledger(t.Context(), p)
				if err != nil {
					t.Error(err)
					return
				}
				s := metatest.Segment(l.Next, l.Next+5, 0)
				s.Key = fmt.Sprintf("w%d/%d", w, i)
				_, err = st.CommitLedger(t.Context(), p, ledger.Append{Base: l.Next, Fence: l.Fence, Segment: s})
				mu.Lock()
				switch {
				case err == nil:
					in[s.Key] = true
				case errors.Is(err, ledger.ErrArchived), errors.Is(err, ledger.ErrConflict):
					out[s.Key] = true
				default:
					t.Errorf("%v", err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, f := range fs {
		f.drain()
	}
	l, err := plain.Ledger(t.Context(), p)
	require.NoError(t, err)
	require.NoError(t, l.Check())
	got := map[string]bool{}
	for _, s := range l.Recent {
		require.False(t, got[s.Key])
		require.False(t, out[s.Key], "%s was refused and is in", s.Key)
		got[s.Key] = true
	}
	require.Equal(t, in, got)
	t.Logf("%d in, %d refused", len(in), len(out))
}

// The same for edits of the cluster.
func TestAmbiguousEdits(t *testing.T) {
	srv := embedded(t, "")
	for name, fates := range map[string][]fate{"answer lost": {loseBack}, "request lost": {loseBoth}, "late": {late, late}} {
		t.Run(name, func(t *testing.T) {
			quietly := func(edit metadata.Edit, after func(img *metadata.Image) bool) {
				st, f := faultyStore(t, srv, script(fates...))
				require.NoError(t, st.Commit(t.Context(), edit)[0])
				require.True(t, after(st.Image()))
				f.drain()
				require.NoError(t, st.refresh(t.Context()))
				require.True(t, after(st.Image()))
			}
			id := topic.NewID()
			quietly(metadata.CreateTopic{ID: id, Name: id.String(), Partitions: metatest.Partitions(2, 0)},
				func(img *metadata.Image) bool { return img.TopicByID(id) != nil })
			quietly(metadata.AddPartitions{ID: id, From: 2, Partitions: metatest.Partitions(1, 0)},
				func(img *metadata.Image) bool { return len(img.TopicByID(id).Partitions) == 3 })
			quietly(metadata.AlterTopicConfigs{ID: id, Set: map[string]string{"a": "b"}},
				func(img *metadata.Image) bool { return img.TopicByID(id).Configs["a"] == "b" })
			quietly(metadata.AlterBrokerConfigs{Broker: 3, Set: map[string]string{"a": name}},
				func(img *metadata.Image) bool { return img.BrokerConfigs[3].Configs["a"] == name })
			st := store(t, srv.Client(), "")
			part, _ := st.Image().Partition(id, 1)
			next := part
			next.LeaderEpoch++
			quietly(metadata.ChangePartition{ID: id, Index: 1, Version: part.Version, State: next},
				func(img *metadata.Image) bool { p, _ := img.Partition(id, 1); return p.LeaderEpoch == 1 })
			quietly(metadata.DeleteTopic{ID: id}, func(img *metadata.Image) bool { return img.TopicByID(id) == nil && img.Tombstone(id) != nil })
		})
	}
}

// A creation in many steps that breaks off shows nothing, leaves a tombstone, and does not block the name.
func TestCreationBreaksOff(t *testing.T) {
	srv := embedded(t, "")
	n := 0
	ctx, cancel := context.WithCancel(t.Context())
	st, _ := faultyStore(t, srv, func() fate {
		if n++; n == 4 {
			cancel()
			return loseBoth
		}
		return deliver
	})
	id := topic.NewID()
	err := st.Commit(ctx, metadata.CreateTopic{ID: id, Name: "big", Partitions: metatest.Partitions(2000, 0)})[0]
	require.ErrorIs(t, err, metadata.ErrAmbiguous)
	plain := store(t, srv.Client(), "")
	require.Nil(t, plain.Image().TopicByName("big"))
	tombs, err := plain.Tombstones(t.Context())
	require.NoError(t, err)
	require.Len(t, tombs, 1)
	require.True(t, tombs[0].Creating)
	require.NoError(t, plain.ForgetTombstone(t.Context(), id))
	require.NoError(t, plain.Commit(t.Context(), metadata.CreateTopic{ID: topic.NewID(), Name: "big", Partitions: metatest.Partitions(2000, 0)})[0])
}

// The collector forgets a creation that takes long, at its very last step: it is made again, whole.
func TestCreationIsForgottenMidway(t *testing.T) {
	srv := embedded(t, "")
	plain := store(t, srv.Client(), "")
	id := topic.NewID()
	n := 0
	st, _ := faultyStore(t, srv, func() fate {
		if n++; n == 22 { // the tombstone, 20 chunks, the head
			if err := plain.ForgetTombstone(context.Background(), id); err != nil {
				t.Error(err)
			}
		}
		return deliver
	})
	require.NoError(t, st.Commit(t.Context(), metadata.CreateTopic{ID: id, Name: "big", Partitions: metatest.Partitions(2000, 0)})[0])
	require.Greater(t, n, 22)
	require.NotNil(t, st.Image().TopicByName("big"))
	require.Len(t, st.Image().TopicByName("big").Partitions, 2000)
}

// The watch loses its place: etcd compacted it away. Everything is read again; nothing is missed.
func TestWatchAfterCompaction(t *testing.T) {
	srv := embedded(t, "")
	plain := store(t, srv.Client(), "")
	st, _ := faultyStore(t, srv, script())
	// Close the follower's watch and keep it from coming back until history is gone.
	st.stop()
	st.done.Wait()
	for i := range 5 {
		require.NoError(t, plain.Commit(t.Context(), metadata.CreateTopic{ID: topic.NewID(), Name: fmt.Sprintf("t%d", i), Partitions: metatest.Partitions(1, 0)})[0])
	}
	t1 := plain.Image().TopicByName("t1")
	l, err := plain.CommitLedger(t.Context(), t1.Partition(0), ledger.Append{Segment: metatest.Segment(0, 10, 0)})
	require.NoError(t, err)
	_, err = srv.client.c.Compact(t.Context(), plain.Image().Revision)
	require.NoError(t, err)

	told := make(chan topic.Partition, 10)
	defer st.OnLedger(func(p topic.Partition, _ *ledger.Ledger) { told <- p })()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	old := st.Image().Revision
	st.done.Go(func() { st.follow(ctx, newMirror(st.keys, st.log), old) })
	require.NoError(t, st.hub.wait(t.Context(), plain.Image().Revision))
	require.Len(t, st.Image().Topics(), 5)
	require.Equal(t, t1.Partition(0), <-told)
	require.Equal(t, l, st.CachedLedger(t1.Partition(0)))
	require.NoError(t, plain.Commit(t.Context(), metadata.DeleteTopic{ID: t1.ID})[0])
	require.NoError(t, st.hub.wait(t.Context(), plain.Image().Revision))
	require.Nil(t, st.Image().TopicByName("t1"))
	cancel()
	st.done.Wait()
}
