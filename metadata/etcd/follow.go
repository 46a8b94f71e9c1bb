package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/firnlog/firn/metadata"
)

const (
	listPage = 5000 // keys read at a time when everything is read
	retryMin = 50 * time.Millisecond
	retryMax = 2 * time.Second
)

// watchCtx marks the one watch stream: RequestProgress must use the same, and a member cut off from the
// quorum must end the stream rather than serve old state.
func watchCtx(ctx context.Context) context.Context { return clientv3.WithRequireLeader(ctx) }

// list reads all keys at one revision.
func (s *Store) list(ctx context.Context) (*mirror, int64, error) {
	m := newMirror(s.keys, s.log)
	led := newLedgerChanges()
	rev, from, end := int64(0), s.keys.prefix, clientv3.GetPrefixRangeEnd(s.keys.prefix)
	for {
		opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(listPage), clientv3.WithRev(rev)}
		r, err := s.c.Get(ctx, from, opts...)
		if err != nil {
			return nil, 0, fmt.Errorf("%w: %w", metadata.ErrUnavailable, err)
		}
		if rev == 0 {
			rev = r.Header.Revision
		}
		for _, kv := range r.Kvs {
			if !led.add(s.keys, kv, false, s.log) {
				m.apply(kv, false)
			}
		}
		if !r.More {
			break
		}
		from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
	}
	s.ledgers.reset(led, rev, s.log)
	return m, rev, nil
}

// publish makes img visible and calls watchers.
func (s *Store) publish(img *metadata.Image, rev int64) {
	s.hub.publish(img, rev, func() {
		if img != nil {
			s.img.Store(img)
		}
	})
	s.met.revision.Set(float64(rev))
}

// follow keeps the mirror up to date until ctx ends. When the watch breaks it goes on from where it was; when
// etcd has compacted that away it reads everything again.
func (s *Store) follow(ctx context.Context, m *mirror, rev int64) {
	wait := retryMin
	for ctx.Err() == nil {
		err := s.watchFrom(ctx, m, &rev)
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, errCompacted) {
			s.log.Debug("metadata watch ended, going on", "revision", rev, "err", err)
			sleep(ctx, wait)
			wait = min(2*wait, retryMax)
		}
		lctx, cancel := context.WithTimeout(ctx, attemptTimeout)
		m2, rev2, lerr := s.list(lctx)
		cancel()
		if lerr != nil {
			continue
		}
		// Everything is read again after each break: it is rare, and cheaper than being wrong.
		wait = retryMin
		s.met.relists.Inc()
		m, rev = m2, rev2
		s.publish(m.image(rev), rev)
		s.notifyAllLedgers()
	}
}

var errCompacted = errors.New("etcd has compacted the revision away")

// watchFrom takes in everything after *rev until the watch ends.
func (s *Store) watchFrom(ctx context.Context, m *mirror, rev *int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for r := range s.c.Watch(watchCtx(ctx), s.keys.prefix, clientv3.WithPrefix(), clientv3.WithRev(*rev+1)) {
		switch {
		case r.CompactRevision != 0:
			return errCompacted
		case r.Err() != nil:
			return r.Err()
		case r.IsProgressNotify():
			s.hub.progress(r.Header.Revision)
			continue
		case len(r.Events) == 0:
			continue
		}
		led := newLedgerChanges()
		changed := false
		for _, e := range r.Events {
			gone := e.Type == clientv3.EventTypeDelete
			if !led.add(s.keys, e.Kv, gone, s.log) && m.apply(e.Kv, gone) {
				changed = true
			}
			*rev = e.Kv.ModRevision
		}
		touched := s.ledgers.take(led, s.log)
		var img *metadata.Image
		if changed {
			img = m.image(*rev)
		}
		s.publish(img, *rev)
		s.notifyLedgers(touched)
	}
	return errors.New("watch channel closed")
}

// refresh returns once the image includes everything that had happened when it was called.
func (s *Store) refresh(ctx context.Context) error {
	r, err := s.c.Get(ctx, s.keys.cluster(), clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("%w: %w", metadata.ErrUnavailable, err)
	}
	return s.catchUp(ctx, r.Header.Revision)
}

// catchUp waits until the image includes rev, any revision of etcd.
func (s *Store) catchUp(ctx context.Context, rev int64) error {
	err := s.hub.waitKnown(ctx, rev, func() {
		ask, cancel := context.WithTimeout(ctx, askAgain)
		defer cancel()
		// An error means that the stream is being made anew; the next round asks again.
		if err := s.c.RequestProgress(watchCtx(ask)); err != nil {
			s.log.Debug("metadata progress request", "err", err)
		}
	})
	if err != nil && !errors.Is(err, metadata.ErrClosed) {
		return fmt.Errorf("%w: waiting for revision %d: %w", metadata.ErrUnavailable, rev, err)
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
