package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/firnlog/firn/metadata"
)

// registration is this broker's announcement, if it made one.
type registration struct {
	mu    sync.Mutex
	on    bool
	id    int32
	lease clientv3.LeaseID
	until time.Time // the lease holds at least until then
}

func (r *registration) health() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.on && time.Now().After(r.until) {
		return fmt.Errorf("%w: broker %d has not reached etcd for longer than its lease", metadata.ErrLeaseLost, r.id)
	}
	return nil
}

// Register implements metadata.Store.
func (s *Store) Register(ctx context.Context, b metadata.Broker) error {
	if b.ID < 0 || b.Directory == "" || b.Incarnation == "" {
		return fmt.Errorf("%w: a registration needs id, directory and incarnation", metadata.ErrInvalid)
	}
	ctx, cancel := budget(ctx)
	defer cancel()
	s.reg.mu.Lock()
	already := s.reg.on
	s.reg.mu.Unlock()
	if already {
		return fmt.Errorf("%w: this store has registered a broker already", metadata.ErrInvalid)
	}
	lease, rev, err := s.announce(ctx, b)
	if err != nil {
		return err
	}
	s.reg.mu.Lock()
	s.reg.on = true
	s.reg.mu.Unlock()
	s.done.Go(func() { s.keep(s.bg, b, lease) })
	return s.hub.wait(ctx, rev)
}

// announce takes a lease and writes the registration under it. A registration that the same data folder left
// behind is taken over: the folder's lock proves that its process is gone.
func (s *Store) announce(ctx context.Context, b metadata.Broker) (clientv3.LeaseID, int64, error) {
	start := time.Now()
	g, err := s.c.Grant(ctx, int64(s.ttl/time.Second))
	if err != nil {
		return 0, 0, fmt.Errorf("%w: lease for broker %d: %w", metadata.ErrUnavailable, b.ID, err)
	}
	key, value := s.keys.broker(b.ID), encode(b)
	for {
		r, err := s.c.Get(ctx, key)
		if err != nil {
			return 0, 0, fmt.Errorf("%w: register broker %d: %w", metadata.ErrUnavailable, b.ID, err)
		}
		version := int64(0)
		if len(r.Kvs) > 0 {
			var was metadata.Broker
			if err := json.Unmarshal(r.Kvs[0].Value, &was); err == nil && was.Directory != b.Directory {
				s.c.Revoke(ctx, g.ID) //nolint:errcheck // it runs out by itself
				return 0, 0, fmt.Errorf("%w: %d belongs to a live broker with another data folder", metadata.ErrBrokerID, b.ID)
			}
			version = r.Kvs[0].ModRevision
		}
		t, err := s.txn(ctx, []clientv3.Cmp{same(key, version)}, []clientv3.Op{clientv3.OpPut(key, value, clientv3.WithLease(g.ID))}, nil)
		if err == nil {
			s.reg.mu.Lock()
			s.reg.id, s.reg.lease, s.reg.until = b.ID, g.ID, start.Add(s.ttl)
			s.reg.mu.Unlock()
			return g.ID, t.Header.Revision, nil
		}
		if err != errLost && classify(err) == refused { //nolint:errorlint // errLost is never wrapped by txn
			return 0, 0, fmt.Errorf("register broker %d: %w", b.ID, refusal(err))
		}
		if ctx.Err() != nil {
			return 0, 0, fmt.Errorf("%w: register broker %d: %w", metadata.ErrUnavailable, b.ID, ctx.Err())
		}
	}
}

// keep renews the lease, and registers anew when it ran out.
func (s *Store) keep(ctx context.Context, b metadata.Broker, lease clientv3.LeaseID) {
	every := s.ttl / 3
	for ctx.Err() == nil {
		sleep(ctx, every)
		start := time.Now()
		try, cancel := context.WithTimeout(ctx, every)
		r, err := s.c.KeepAliveOnce(try, lease)
		cancel()
		if err == nil && r.TTL > 0 {
			s.reg.mu.Lock()
			s.reg.until = start.Add(s.ttl)
			s.reg.mu.Unlock()
			continue
		}
		if ctx.Err() != nil || s.reg.health() == nil && !leaseGone(err) {
			continue // not yet lost: ask again
		}
		s.log.Warn("this broker's registration ran out, registering again", "broker", b.ID, "err", err)
		try, cancel = context.WithTimeout(ctx, attemptTimeout)
		if id, _, err := s.announce(try, b); err == nil {
			lease = id
		}
		cancel()
	}
}

func leaseGone(err error) bool { return errors.Is(err, rpctypes.ErrLeaseNotFound) }

// release gives the registration back at a stop, so that others need not wait for the lease to run out.
func (r *registration) release(s *Store) {
	r.mu.Lock()
	lease, on := r.lease, r.on
	r.on = false
	r.mu.Unlock()
	if !on {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s.c.Revoke(ctx, lease) //nolint:errcheck // it runs out by itself
}
