package compaction_test

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/compaction"
	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/metatest"
	"github.com/firnlog/firn/tier/archive"
	"github.com/firnlog/firn/tier/layout"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/dir"
	"github.com/firnlog/firn/tier/topic"
)

const grace = time.Hour

// clock is what the test says the time is, for the broker and for the store.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// clockedStore is a store whose clock is the test's.
type clockedStore struct {
	object.Store
	c  *clock
	mu sync.Mutex
	at map[string]time.Time
}

func (s *clockedStore) note(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at[key] = s.c.Now()
}

func (s *clockedStore) List(ctx context.Context, prefix, after string, fn func(object.Info) error) error {
	return s.Store.List(ctx, prefix, after, func(i object.Info) error {
		s.mu.Lock()
		if t, ok := s.at[i.Key]; ok {
			i.LastModified = t
		}
		s.mu.Unlock()
		return fn(i)
	})
}

func (s *clockedStore) Now(context.Context) (time.Time, error) { return s.c.Now(), nil }

// world is a cluster's metadata and its bucket.
type world struct {
	t     *testing.T
	clock *clock
	store *clockedStore
	meta  *metatest.Memory
	opts  compaction.Options
}

func newWorld(t *testing.T) *world {
	plain, err := dir.Open(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { plain.Close() })
	c := &clock{now: time.UnixMilli(1_700_000_000_000)}
	w := &world{t: t, clock: c, store: &clockedStore{Store: plain, c: c, at: map[string]time.Time{}}, meta: metatest.NewMemory()}
	w.meta.Now = func() int64 { return c.Now().UnixMilli() }
	w.opts = compaction.Options{Store: w.store, Meta: w.meta, Grace: grace, DeleteDelay: 7 * 24 * time.Hour,
		Policy: func(*metadata.Topic) compaction.Policy {
			return compaction.Policy{Remote: true, RetentionMs: -1, RetentionBytes: -1}
		},
		FoldAbove: 1000, Now: c.Now, Logger: slog.New(slog.DiscardHandler)}
	return w
}

func (w *world) layout() layout.Layout {
	return layout.Layout{ClusterID: w.meta.Image().ClusterID, Generation: w.meta.Image().Generation}
}

func (w *world) collector() *compaction.Collector {
	o := w.opts
	o.Registerer = prometheus.NewRegistry()
	c, err := compaction.New(o)
	require.NoError(w.t, err)
	return c
}

func (w *world) round(c *compaction.Collector) {
	w.t.Helper()
	require.NoError(w.t, c.Round(context.Background()))
}

// settle makes as many rounds, an hour apart, as it takes for everything nameless to be gone.
func (w *world) settle(c *compaction.Collector) {
	w.t.Helper()
	for range 4 {
		w.round(c)
		w.clock.advance(grace + time.Minute)
	}
	w.round(c)
}

func (w *world) topic(name string) topic.Partition {
	w.t.Helper()
	id := topic.NewID()
	errs := w.meta.Commit(context.Background(), metadata.CreateTopic{ID: id, Name: name,
		Partitions: []metadata.Partition{{Leader: 1, LeaderEpoch: 0, Replicas: []int32{1}, ISR: []int32{1}}}})
	require.NoError(w.t, errs[0])
	return w.meta.Image().TopicByID(id).Partition(0)
}

// put stores an object now.
func (w *world) put(key, body string) {
	w.t.Helper()
	_, err := w.store.Put(context.Background(), key, strings.NewReader(body), int64(len(body)), object.PutOptions{})
	require.NoError(w.t, err)
	w.store.note(key)
}

// segment stores and commits n offsets of the partition, whose newest record is of now.
func (w *world) segment(p topic.Partition, n int64) ledger.Segment {
	w.t.Helper()
	l := w.meta.CachedLedger(p)
	s := ledger.Segment{Base: l.Next, Next: l.Next + n, Length: 100, IndexLength: 60, DataBytes: 100,
		MaxTimestamp: w.clock.Now().UnixMilli(), MinTimestamp: w.clock.Now().UnixMilli(), MaxTimestampOffset: l.Next,
		Key: w.layout().SegmentKey(p.ID, p.Index, l.Next, 0), CommittedAt: w.clock.Now().UnixMilli(),
		Epoch: w.epoch(p)}
	w.put(s.Key, strings.Repeat("x", 100))
	_, err := w.meta.CommitLedger(context.Background(), p, ledger.Append{Epoch: s.Epoch, Base: s.Base, Fence: l.Fence, Segment: s})
	require.NoError(w.t, err)
	return s
}

func (w *world) epoch(p topic.Partition) int32 {
	x, ok := w.meta.Image().Partition(p.ID, p.Index)
	require.True(w.t, ok)
	return x.LeaderEpoch
}

func (w *world) trim(p topic.Partition, to int64) {
	w.t.Helper()
	_, err := w.meta.CommitLedger(context.Background(), p, ledger.TrimStart{To: to})
	require.NoError(w.t, err)
}

// keys lists the bucket but for what the collector keeps there for itself.
func (w *world) keys() []string {
	var out []string
	lay := w.layout()
	require.NoError(w.t, w.store.List(context.Background(), "", "", func(i object.Info) error {
		if !strings.HasPrefix(i.Key, lay.MarkerPrefix()) && !strings.HasPrefix(i.Key, lay.DistrustPrefix()) &&
			i.Key != lay.OwnerKey() && !strings.HasPrefix(i.Key, ".") {
			out = append(out, i.Key)
		}
		return nil
	}))
	return out
}

func (w *world) has(key string) bool {
	_, err := w.store.Head(context.Background(), key)
	return err == nil
}

// An orphan goes after the grace period, once the fence is up; what a ledger names, what is young and what is
// unknown stays (I-07, I-10).
func TestOrphans(t *testing.T) {
	w := newWorld(t)
	p := w.topic("t")
	kept := w.segment(p, 10)
	orphan := w.layout().SegmentKey(p.ID, 0, 10, 0)
	w.put(orphan, "orphan")
	unknown := w.layout().SegmentKey(topic.NewID(), 0, 0, 0)
	w.put(unknown, "of a topic that the metadata does not know")
	strange := w.layout().PartitionPrefix(p.ID, 0) + "notes.txt"
	w.put(strange, "put there by a person")
	older := layout.Layout{ClusterID: w.layout().ClusterID, Generation: "older"}.SegmentKey(p.ID, 0, 0, 0)
	w.owner(w.layout().Generation)
	w.put(older, "of an older generation")
	c := w.collector()

	w.round(c)
	require.Empty(t, c.Distrust())
	require.True(t, w.has(orphan), "young")
	require.Zero(t, w.meta.CachedLedger(p).Fence)
	w.settle(c)
	require.False(t, w.has(orphan))
	require.EqualValues(t, 1, w.meta.CachedLedger(p).Fence, "I-10: the fence was raised, once")
	require.ElementsMatch(t, []string{kept.Key, unknown, strange, older}, w.keys())
	st := c.Status()
	require.Equal(t, 2, st.Unknown)
	require.Zero(t, st.Orphans)
}

// I-10: after the collector deleted an orphan, the uploader that slept cannot commit it.
func TestSleeperIsFenced(t *testing.T) {
	w := newWorld(t)
	p := w.topic("t")
	w.segment(p, 10)
	l := w.meta.CachedLedger(p)
	s := ledger.Segment{Base: 10, Next: 20, Length: 100, IndexLength: 60, DataBytes: 1, Key: w.layout().SegmentKey(p.ID, 0, 10, 0)}
	w.put(s.Key, "uploaded, and then the uploader slept")
	w.settle(w.collector())
	require.False(t, w.has(s.Key))
	_, err := w.meta.CommitLedger(context.Background(), p, ledger.Append{Base: 10, Fence: l.Fence, Segment: s})
	require.ErrorIs(t, err, ledger.ErrFenced)
}

// An object that is committed between the listing and the deletion stays.
func TestCommittedAtTheLastMoment(t *testing.T) {
	w := newWorld(t)
	p := w.topic("t")
	s := ledger.Segment{Next: 20, Length: 100, IndexLength: 60, DataBytes: 1, Key: w.layout().SegmentKey(p.ID, 0, 0, 0)}
	w.put(s.Key, "slow")
	c := w.collector()
	w.round(c)
	w.clock.advance(grace + time.Minute)
	w.opts.Meta = nil
	_, err := w.meta.CommitLedger(context.Background(), p, ledger.Append{Segment: s})
	require.NoError(t, err)
	w.settle(c)
	require.True(t, w.has(s.Key))
}

// Expired segments leave the ledger first and the bucket after the grace period; one that straddles the start stays.
func TestExpired(t *testing.T) {
	w := newWorld(t)
	p := w.topic("t")
	a, b := w.segment(p, 10), w.segment(p, 10)
	c := w.collector()
	w.trim(p, 15)
	w.round(c)
	require.Equal(t, []ledger.Segment{b}, w.meta.CachedLedger(p).Recent)
	require.True(t, w.has(a.Key), "readers may still use it")
	w.clock.advance(grace - time.Minute)
	w.round(c)
	require.True(t, w.has(a.Key))
	w.clock.advance(2 * time.Minute)
	w.round(c)
	require.False(t, w.has(a.Key))
	require.True(t, w.has(b.Key))

	// A crash between un-naming and deleting leaves an orphan, which another collector finds.
	w.trim(p, 20)
	w.round(c)
	require.True(t, w.has(b.Key))
	c = w.collector()
	w.round(c)
	require.True(t, w.has(b.Key), "it is old, but readers may have an older ledger")
	w.settle(c)
	require.False(t, w.has(b.Key))
}

// A ledger may name an older generation's objects; those are never deleted.
func TestOlderGenerationStays(t *testing.T) {
	w := newWorld(t)
	p := w.topic("t")
	c := w.collector()
	w.round(c)
	old := layout.Layout{ClusterID: w.layout().ClusterID, Generation: "older"}.SegmentKey(p.ID, 0, 0, 0)
	w.put(old, "x")
	_, err := w.meta.CommitLedger(context.Background(), p, ledger.Append{Segment: ledger.Segment{Next: 10, Length: 100, IndexLength: 60, Key: old}})
	require.NoError(t, err)
	s := w.segment(p, 10)
	w.trim(p, 20)
	w.settle(c)
	require.False(t, w.has(s.Key))
	require.True(t, w.has(old))
}

// Retention by time and size moves the start and frees the objects.
func TestRetentionRuns(t *testing.T) {
	w := newWorld(t)
	policy := compaction.Policy{Remote: true, RetentionMs: 3600_000, RetentionBytes: -1}
	w.opts.Policy = func(*metadata.Topic) compaction.Policy { return policy }
	p := w.topic("t")
	w.segment(p, 10)
	w.clock.advance(30 * time.Minute)
	w.segment(p, 10)
	c := w.collector()
	w.clock.advance(31 * time.Minute)
	w.round(c)
	require.EqualValues(t, 10, w.meta.CachedLedger(p).Start)
	policy = compaction.Policy{Remote: true, RetentionMs: -1, RetentionBytes: 150}
	w.segment(p, 10)
	w.segment(p, 10)
	w.round(c) // three segments of 100 bytes: one may go
	require.EqualValues(t, 20, w.meta.CachedLedger(p).Start)
	w.opts.HotBytes = func(topic.Partition, int64) int64 { return 100 }
	w.round(w.collector())
	require.EqualValues(t, 30, w.meta.CachedLedger(p).Start, "I-13: what is only hot counts")
}

// Long ledgers are folded; the fold and what it names live on, and expire (I-19).
func TestFolds(t *testing.T) {
	w := newWorld(t)
	w.opts.FoldAbove, w.opts.FoldKeep = 20, 5
	p := w.topic("t")
	var segs []ledger.Segment
	for range 25 {
		segs = append(segs, w.segment(p, 10))
	}
	c := w.collector()
	w.settle(c)
	l := w.meta.CachedLedger(p)
	require.Len(t, l.Folds, 1)
	require.Len(t, l.Recent, 5)
	got, err := archive.Fold(context.Background(), w.store, l.Folds[0])
	require.NoError(t, err)
	require.Equal(t, segs[:20], got)
	require.Len(t, w.keys(), 26)

	first := l.Folds[0].Key
	w.trim(p, 5*10) // a quarter of the fold: it is rewritten
	w.settle(c)
	l = w.meta.CachedLedger(p)
	require.EqualValues(t, 50, l.Folds[0].Base)
	require.False(t, w.has(first))
	require.False(t, w.has(segs[4].Key))
	require.True(t, w.has(segs[5].Key))
	w.trim(p, 201)
	w.settle(c)
	require.Empty(t, w.meta.CachedLedger(p).Folds)
	require.Len(t, w.keys(), 5)
}

// A deleted topic's objects stay for the delay, and go then; those that another ledger names stay (I-07, I-38).
func TestDeletedTopic(t *testing.T) {
	w := newWorld(t)
	p, q := w.topic("t"), w.topic("fork")
	a, b := w.segment(p, 10), w.segment(p, 10)
	shared := b
	shared.Base, shared.Next = 0, 10
	_, err := w.meta.CommitLedger(context.Background(), q, ledger.Append{Segment: shared})
	require.NoError(t, err)
	c := w.collector()
	w.settle(c)
	require.NoError(t, w.meta.Commit(context.Background(), metadata.DeleteTopic{ID: p.ID})[0])
	again := w.topic("t")
	d := w.segment(again, 10)
	w.settle(c)
	require.True(t, w.has(a.Key), "the delay has not passed")
	w.clock.advance(7 * 24 * time.Hour)
	w.round(c)
	require.ElementsMatch(t, []string{b.Key, d.Key}, w.keys())
	require.Empty(t, w.meta.Image().Tombstones())
	w.settle(w.collector())
	require.ElementsMatch(t, []string{b.Key, d.Key}, w.keys(), "unknown never means dead")
	require.Empty(t, w.collector().Distrust())
	w.trustedAgain()
}

// trustedAgain makes sure that a new process trusts the bucket.
func (w *world) trustedAgain() {
	c := w.collector()
	w.round(c)
	require.Empty(w.t, c.Distrust())
}

// I-35: whatever is wrong with metadata and bucket, nothing is deleted, and a sentence says why.
func TestDistrust(t *testing.T) {
	type setup func(w *world)
	cases := []struct {
		name  string
		setup setup
		want  string
	}{
		{"empty metadata over a used bucket", func(w *world) {
			w.put("formercluster/gen/0000/x/0/data", "x")
		}, "formercluster"},
		{"another generation", func(w *world) {
			w.owner("other")
		}, "generation other"},
		{"another generation's objects without an owner", func(w *world) {
			w.put(w.layout().ClusterPrefix()+"former/0000/x/0/data", "x")
		}, "generation former"},
		{"an owner that cannot be read", func(w *world) {
			w.put(w.layout().OwnerKey(), "{")
		}, "checksum is wrong"},
		{"an owner of a later format", func(w *world) {
			w.small(w.layout().OwnerKey(), map[string]int{"format": 2})
		}, "format 2"},
		{"metadata older than the marker", func(w *world) {
			w.settle(w.collector())
			p := w.topic("t")
			w.marker(w.meta.Image().Revision+1, p, 0)
		}, "revision"},
		{"a ledger older than the marker", func(w *world) {
			p := w.topic("t")
			w.segment(p, 5)
			w.settle(w.collector())
			w.marker(w.meta.Image().Revision, p, 3)
		}, "had reached version 3 and is at 1"},
		{"a partition that the metadata lost", func(w *world) {
			w.settle(w.collector())
			w.marker(w.meta.Image().Revision, topic.Partition{ID: topic.NewID()}, 3)
		}, "does not know"},
		{"a segment beyond the ledger", func(w *world) {
			p := w.topic("ahead")
			w.segment(p, 5)
			w.owner(w.layout().Generation)
			w.put(w.layout().SegmentKey(p.ID, 0, 6, 0), "x")
		}, "begins at offset 6, but the ledger ends at 5"},
		{"a fold of a later version", func(w *world) {
			p := w.topic("ahead")
			w.segment(p, 5)
			w.owner(w.layout().Generation)
			w.put(w.layout().FoldKey(p.ID, 0, 0, 9), "x")
		}, "version 9"},
	}
	for _, x := range cases {
		t.Run(x.name, func(t *testing.T) {
			w := newWorld(t)
			x.setup(w)
			c := w.collector()
			w.round(c)
			p := w.topic("new") // the broker serves new topics meanwhile
			w.segment(p, 10)
			w.segment(p, 10)
			w.put(w.layout().SegmentKey(p.ID, 0, 20, 0), "orphan")
			w.trim(p, 10)
			before := w.keys()
			for range 3 {
				w.settle(c)
				require.Contains(t, c.Distrust(), x.want)
				require.Contains(t, c.Distrust(), w.store.URL(), "the bucket is named")
				require.Equal(t, before, w.keys())
				if x := w.meta.Image().TopicByName("ahead"); x != nil { // the evidence itself goes away
					w.segment(x.Partition(0), 50)
					before = w.keys()
				}
				c = w.collector() // a restart does not forget
				w.round(c)
			}
			require.NoError(t, w.meta.Commit(context.Background(), metadata.DeleteTopic{ID: p.ID})[0])
			w.clock.advance(8 * 24 * time.Hour)
			w.settle(c)
			require.Equal(t, before, w.keys())
		})
	}
}

func (w *world) marker(revision int64, p topic.Partition, version int64) {
	w.clock.advance(time.Second)
	w.small(w.layout().MarkerKey(revision, w.clock.Now().UnixMilli()), compaction.Marker{Format: 1, Revision: revision,
		Ledgers: []compaction.MarkedLedger{{Topic: p.ID, Version: version, Next: 5}}})
}

func (w *world) owner(generation string) {
	w.small(w.layout().OwnerKey(), compaction.Owner{Format: 1, ClusterID: w.layout().ClusterID, Generation: generation})
}

func (w *world) small(key string, v any) {
	b, err := compaction.EncodeSmall(v)
	require.NoError(w.t, err)
	w.put(key, string(b))
}

// unconditional is a store without conditional puts.
type unconditional struct{ object.Store }

func (u unconditional) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o object.PutOptions) (object.Info, error) {
	if o.IfNoneMatch {
		return object.Info{}, object.ErrNoCondition
	}
	return u.Store.Put(ctx, key, body, size, o)
}

// Without conditional puts nobody can own the bucket: orphans are left alone, expired objects are not.
func TestNoConditionalPut(t *testing.T) {
	w := newWorld(t)
	w.opts.Store = unconditional{w.store}
	p := w.topic("t")
	c := w.collector()
	w.round(c)
	a := w.segment(p, 10)
	orphan := w.layout().SegmentKey(p.ID, 0, 10, 0)
	w.put(orphan, "orphan")
	w.trim(p, 10)
	w.settle(c)
	require.True(t, c.Status().Manual)
	require.True(t, w.has(orphan))
	require.False(t, w.has(a.Key))
}

// Two clusters in one bucket leave each other alone, and neither deletes.
func TestTwoClustersInOneBucket(t *testing.T) {
	a := newWorld(t)
	p := a.topic("t")
	a.segment(p, 10)
	ca := a.collector()
	a.settle(ca)
	b := newWorld(t)
	b.store, b.opts.Store, b.clock, b.opts.Now = a.store, a.store, a.clock, a.clock.Now
	cb := b.collector()
	b.settle(cb)
	require.Contains(t, cb.Distrust(), a.layout().ClusterID)
	a.settle(ca)
	require.Empty(t, ca.Distrust())
	a.trustedAgain()
}
