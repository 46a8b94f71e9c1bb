package etcd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/topic"
)

// StoreOptions configure OpenStore.
type StoreOptions struct {
	Logger     *slog.Logger          // nil: slog.Default()
	Registerer prometheus.Registerer // nil: no metrics
	Prefix     string                // of all keys; "" means "/firn/"
	LeaseTTL   time.Duration         // of this broker's registration; 0 means DefaultLeaseTTL, at least 2 s
	Now        func() time.Time      // for CreatedAt and DeletedAt; nil: time.Now
}

// DefaultLeaseTTL is how long a broker's registration lasts without it if StoreOptions say nothing.
const DefaultLeaseTTL = 10 * time.Second

const (
	defaultPrefix  = "/firn/"
	attemptTimeout = 5 * time.Second  // one request to etcd
	defaultBudget  = 30 * time.Second // one call whose ctx has no deadline
	pidBlock       = 1000             // producer ids taken from etcd at a time
	healthEvery    = 10 * time.Second
)

// Store is metadata.Store on etcd.
type Store struct {
	cl   *Client
	c    *clientv3.Client
	keys keys
	log  *slog.Logger
	now  func() time.Time
	ttl  time.Duration
	met  *metrics

	img  atomic.Pointer[metadata.Image]
	born bool

	stop context.CancelFunc
	done sync.WaitGroup
	bg   context.Context
	once sync.Once

	hub     hub
	ledgers ledgers
	reg     registration

	pidMu   sync.Mutex // held across the request for a block: the others need its ids
	pidNext int64
	pidEnd  int64

	problem atomic.Pointer[string] // what ails etcd, nil when all is well
}

var _ metadata.Store = (*Store)(nil)

// OpenStore reads everything, gives a cluster that has none its identity, and follows etcd until Close.
func OpenStore(ctx context.Context, cl *Client, o StoreOptions) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	if !strings.HasSuffix(o.Prefix, "/") {
		o.Prefix += "/"
	}
	if o.LeaseTTL == 0 {
		o.LeaseTTL = DefaultLeaseTTL
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{cl: cl, c: cl.c, keys: keys{o.Prefix}, log: o.Logger, now: o.Now, ttl: max(o.LeaseTTL, 2*time.Second)}
	s.met = newMetrics(o.Registerer)
	s.ledgers.init()
	s.hub.init()
	s.img.Store(metadata.Empty("", ""))
	ctx, cancel := budget(ctx)
	defer cancel()
	if err := s.identify(ctx); err != nil {
		return nil, err
	}
	s.bg, s.stop = context.WithCancel(context.Background())
	m, rev, err := s.list(ctx)
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("read the metadata: %w", err)
	}
	s.publish(m.image(rev), rev)
	s.done.Go(func() { s.follow(s.bg, m, rev) })
	s.done.Go(func() { s.watchHealth(s.bg) })
	return s, nil
}

// budget bounds a call whose caller did not.
func budget(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, defaultBudget)
}

// identify gives a cluster in an empty etcd a random id and generation. Objects of another life lie under
// another id or generation, so that an empty etcd never touches them (I-35).
func (s *Store) identify(ctx context.Context) error {
	id := identity{ClusterID: topic.NewID().String(), Generation: nonce(), CreatedAt: s.now().UnixMilli()}
	for {
		r, err := s.c.Get(ctx, s.keys.cluster())
		if err != nil {
			return fmt.Errorf("%w: read the cluster's identity: %w", metadata.ErrUnavailable, err)
		}
		if len(r.Kvs) > 0 {
			var found identity
			if err := json.Unmarshal(r.Kvs[0].Value, &found); err != nil || found.ClusterID == "" {
				return fmt.Errorf("the cluster's identity in etcd (key %s) cannot be read: %w", s.keys.cluster(), err)
			}
			s.born = found.Generation == id.Generation
			return nil
		}
		// A lost answer is settled by the read above.
		if _, err := s.c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(s.keys.cluster()), "=", 0)).
			Then(clientv3.OpPut(s.keys.cluster(), encode(id))).Commit(); err != nil && classify(err) == refused {
			return fmt.Errorf("write the cluster's identity: %w", refusal(err))
		}
	}
}

// Born reports whether this OpenStore found etcd empty and gave the cluster its identity.
func (s *Store) Born() bool { return s.born }

// nonce names one attempt: a mark, a generation.
func nonce() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Image implements metadata.Store.
func (s *Store) Image() *metadata.Image { return s.img.Load() }

// Watch implements metadata.Store.
func (s *Store) Watch(fn func(*metadata.Image)) func() { return s.hub.watch(fn, s.Image) }

// Tombstones implements metadata.Store.
func (s *Store) Tombstones(ctx context.Context) ([]metadata.TopicTombstone, error) {
	ctx, cancel := budget(ctx)
	defer cancel()
	if err := s.refresh(ctx); err != nil {
		return nil, err
	}
	return s.Image().Tombstones(), nil
}

// ForgetTombstone implements metadata.Store.
func (s *Store) ForgetTombstone(ctx context.Context, id topic.ID) error {
	ctx, cancel := budget(ctx)
	defer cancel()
	k := s.keys
	for {
		if err := s.refresh(ctx); err != nil {
			return err
		}
		t := s.Image().Tombstone(id)
		if t == nil {
			return nil
		}
		// The tombstone must still be the one seen: a creation under way turns its own into a topic.
		r, err := s.c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(k.tomb(id)), "=", t.Version)).
			Then(clientv3.OpDelete(k.tomb(id)), clientv3.OpDelete(k.parts(id), clientv3.WithPrefix()),
				clientv3.OpDelete(k.heads(id), clientv3.WithPrefix()), clientv3.OpDelete(k.topicSegs(id), clientv3.WithPrefix())).Commit()
		switch {
		case err == nil && r.Succeeded:
			return s.hub.wait(ctx, r.Header.Revision)
		case err != nil && classify(err) == refused:
			return refusal(err)
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", metadata.ErrAmbiguous, ctx.Err())
		}
	}
}

// NextProducerIDs implements metadata.Store. Ids are taken in blocks; what is left of one at a stop, or after
// a lost answer, is never used.
func (s *Store) NextProducerIDs(ctx context.Context, n int64) (int64, error) {
	if n <= 0 || n > 1<<40 {
		return 0, fmt.Errorf("%w: %d producer ids", metadata.ErrInvalid, n)
	}
	ctx, cancel := budget(ctx)
	defer cancel()
	s.pidMu.Lock()
	defer s.pidMu.Unlock()
	if s.pidEnd-s.pidNext < n {
		first, err := s.takeIDs(ctx, max(n, pidBlock))
		if err != nil {
			return 0, err
		}
		s.pidNext, s.pidEnd = first, first+max(n, pidBlock)
	}
	first := s.pidNext
	s.pidNext += n
	return first, nil
}

func (s *Store) takeIDs(ctx context.Context, n int64) (int64, error) {
	key := s.keys.pids()
	for {
		r, err := s.c.Get(ctx, key)
		if err != nil {
			return 0, fmt.Errorf("%w: producer ids: %w", metadata.ErrUnavailable, err)
		}
		next, rev := int64(0), int64(0)
		if len(r.Kvs) > 0 {
			rev = r.Kvs[0].ModRevision
			if next, err = strconv.ParseInt(string(r.Kvs[0].Value), 10, 64); err != nil || next < 0 {
				return 0, fmt.Errorf("etcd key %s holds no producer id: %q", key, r.Kvs[0].Value)
			}
		}
		// Ids begin at the time, a block for each millisecond: should etcd be set back to an older state, those that it
		// has forgotten are not handed out again, and no new producer is taken for an old one (I-35).
		next = max(next, s.now().UnixMilli()*pidBlock)
		t, err := s.c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", rev)).
			Then(clientv3.OpPut(key, strconv.FormatInt(next+n, 10))).Commit()
		switch {
		case err == nil && t.Succeeded:
			return next, nil
		case err != nil && classify(err) == refused:
			return 0, fmt.Errorf("producer ids: %w", refusal(err))
		}
	}
}

// Health implements metadata.Store.
func (s *Store) Health() error {
	if err := s.reg.health(); err != nil {
		return err
	}
	if p := s.problem.Load(); p != nil {
		return fmt.Errorf("%w: %s", metadata.ErrUnavailable, *p)
	}
	return nil
}

// watchHealth asks etcd now and then how it is.
func (s *Store) watchHealth(ctx context.Context) {
	t := time.NewTicker(healthEvery)
	defer t.Stop()
	for {
		s.checkHealth(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (s *Store) checkHealth(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	p, err := s.cl.alarms(ctx)
	if err == nil && p == "" {
		_, err = s.c.Get(ctx, s.keys.cluster(), clientv3.WithKeysOnly())
	}
	if err != nil {
		p = "etcd does not answer: " + err.Error()
	}
	old := s.problem.Load()
	if p == "" {
		s.problem.Store(nil)
		if old != nil {
			s.log.Info("metadata store is well again")
		}
		return
	}
	s.problem.Store(&p)
	if old == nil && !s.closing() {
		s.log.Error("metadata store is in trouble", "problem", p)
	}
}

func (s *Store) closing() bool { return s.bg.Err() != nil }

// Close gives the registration back and stops following. Watchers have returned when it does.
func (s *Store) Close() error {
	s.once.Do(func() {
		s.stop()
		s.done.Wait()
		s.reg.release(s)
		s.hub.close()
	})
	return nil
}
