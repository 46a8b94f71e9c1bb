package etcd

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/metatest"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

// etcd goes away and comes back (seed of I-29): what is known stays readable, edits say that the store is not
// there, and all goes on by itself afterwards.
func TestEtcdGoesAndComesBack(t *testing.T) {
	dir := t.TempDir()
	srv, err := Embedded(t.Context(), EmbeddedOptions{Dir: dir, Logger: quiet(), Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	at := srv.Endpoint()
	cl, err := Connect(t.Context(), []string{at}, ConnectOptions{Logger: quiet()})
	require.NoError(t, err)
	defer cl.Close() // a test's client
	st := store(t, cl, "")
	id := topic.NewID()
	require.NoError(t, st.Commit(t.Context(), metadata.CreateTopic{ID: id, Name: "a", Partitions: metatest.Partitions(1, 0)})[0])
	p := topic.Partition{ID: id, Topic: "a"}

	require.NoError(t, srv.Close())
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	edit := ledger.Append{Segment: metatest.Segment(0, 10, 0)}
	_, err = st.CommitLedger(short, p, edit)
	require.ErrorIs(t, err, metadata.ErrAmbiguous)
	_, err = st.Ledger(short, p)
	require.ErrorIs(t, err, metadata.ErrUnavailable)
	require.Error(t, st.Commit(short, metadata.DeleteTopic{ID: id})[0])
	_, err = st.NextProducerIDs(short, 1)
	require.ErrorIs(t, err, metadata.ErrUnavailable)
	st.checkHealth(short)
	require.ErrorIs(t, st.Health(), metadata.ErrUnavailable)
	require.NotNil(t, st.Image().TopicByName("a"))
	require.NotNil(t, st.CachedLedger(p))

	srv, err = Embedded(t.Context(), EmbeddedOptions{Dir: dir, Logger: quiet(), Listen: at})
	require.NoError(t, err)
	defer srv.Close() // a test's server
	l, err := st.CommitLedger(t.Context(), p, edit)
	require.NoError(t, err)
	require.Equal(t, []ledger.Segment{edit.Segment}, l.Recent)
	require.NoError(t, st.Commit(t.Context(), metadata.CreateTopic{ID: topic.NewID(), Name: "b", Partitions: metatest.Partitions(1, 0)})[0])
	require.NotNil(t, st.Image().TopicByName("b"))
	st.checkHealth(t.Context())
	require.NoError(t, st.Health())
}

// A broker whose lease ran out is gone from the image, and registers again by itself, with a higher epoch.
func TestLeaseRunsOut(t *testing.T) {
	srv := embedded(t, "")
	st, err := OpenStore(t.Context(), srv.Client(), StoreOptions{Logger: quiet(), LeaseTTL: 2 * time.Second})
	require.NoError(t, err)
	defer st.Close() // a test's store
	gone := make(chan struct{}, 1)
	back := make(chan int64, 10)
	defer st.Watch(func(img *metadata.Image) {
		if b := img.Brokers[4]; b != nil {
			back <- b.Epoch
		} else if len(back) == 0 && img.Revision > 0 {
			select {
			case gone <- struct{}{}:
			default:
			}
		}
	})()
	require.NoError(t, st.Register(t.Context(), metadata.Broker{ID: 4, Incarnation: "i", Directory: "d"}))
	first := <-back
	<-gone
	st.reg.mu.Lock()
	lease := st.reg.lease
	st.reg.mu.Unlock()
	_, err = srv.client.c.Revoke(t.Context(), lease)
	require.NoError(t, err)
	<-gone
	require.Greater(t, <-back, first)
	require.NoError(t, st.Health())

	// With the answers lost, the broker knows by itself when its lease is over.
	st.reg.mu.Lock()
	st.reg.until = time.Now().Add(-time.Millisecond)
	st.reg.mu.Unlock()
	require.ErrorIs(t, st.Health(), metadata.ErrLeaseLost)
}

// The controller's key and a new generation reach the image.
func TestIdentityFollows(t *testing.T) {
	srv := embedded(t, "")
	st := store(t, srv.Client(), "")
	require.Equal(t, metadata.NoLeader, st.Image().Controller)
	r, err := srv.client.c.Txn(t.Context()).Then(clientv3.OpPut("/firn/controller", "3"),
		clientv3.OpPut("/firn/cluster", encode(identity{ClusterID: st.Image().ClusterID, Generation: "restored"}))).Commit()
	require.NoError(t, err)
	require.NoError(t, st.hub.wait(t.Context(), r.Header.Revision))
	require.Equal(t, int32(3), st.Image().Controller)
	require.Equal(t, "restored", st.Image().Generation)
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		s, err := Embedded(b.Context(), EmbeddedOptions{Dir: b.TempDir(), Logger: quiet()})
		require.NoError(b, err)
		st, err := OpenStore(b.Context(), s.Client(), StoreOptions{Logger: quiet()})
		require.NoError(b, err)
		b.StopTimer()
		require.NoError(b, st.Close())
		require.NoError(b, s.Close())
		b.StartTimer()
	}
}

func BenchmarkLedgerAppend(b *testing.B) {
	s, err := Embedded(b.Context(), EmbeddedOptions{Dir: b.TempDir(), Logger: quiet()})
	require.NoError(b, err)
	defer s.Close() // a benchmark's server
	st, err := OpenStore(b.Context(), s.Client(), StoreOptions{Logger: quiet()})
	require.NoError(b, err)
	defer st.Close() // a benchmark's store
	id := topic.NewID()
	require.NoError(b, st.Commit(b.Context(), metadata.CreateTopic{ID: id, Name: "a", Partitions: metatest.Partitions(1, 0)})[0])
	p := topic.Partition{ID: id, Topic: "a"}
	for b.Loop() {
		l := st.CachedLedger(p)
		if len(l.Recent) > 100 {
			segs := l.PlanFold(10, 1)
			ref, _, err := ledger.NewFold("f", ledger.FoldFile{Partition: p, Segments: segs})
			require.NoError(b, err)
			l, err = st.CommitLedger(b.Context(), p, ledger.Fold{Ref: ref, Inputs: segs})
			require.NoError(b, err)
		}
		_, err := st.CommitLedger(b.Context(), p, ledger.Append{Base: l.Next, Fence: l.Fence, Segment: metatest.Segment(l.Next, l.Next+1, 0)})
		require.NoError(b, err)
	}
}

func BenchmarkCreate1000Partitions(b *testing.B) {
	s, err := Embedded(b.Context(), EmbeddedOptions{Dir: b.TempDir(), Logger: quiet()})
	require.NoError(b, err)
	defer s.Close() // a benchmark's server
	st, err := OpenStore(b.Context(), s.Client(), StoreOptions{Logger: quiet()})
	require.NoError(b, err)
	defer st.Close() // a benchmark's store
	for b.Loop() {
		id := topic.NewID()
		require.NoError(b, st.Commit(b.Context(), metadata.CreateTopic{ID: id, Name: id.String(), Partitions: metatest.Partitions(1000, 0)})[0])
	}
}
