// Package metatest has a metadata.Store in memory, for tests that need one without etcd, and the acceptance
// suite that every Store passes. The store in memory plans and applies with the same pure code as the real one;
// it forgets everything with the process.
package metatest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/topicconfig"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

// Memory is metadata.Store in memory. Now may be set before use; it gives the time in ms.
type Memory struct {
	Now func() int64

	turn sync.Mutex // held while something changes and watchers are told
	img  atomic.Pointer[metadata.Image]
	rev  int64
	pids int64
	err  error // what Health says, and, if not nil, what every change fails with

	mu      sync.Mutex // guards what follows; never held while watchers run
	ledgers map[part]*ledger.Ledger
	empty   map[part]*ledger.Ledger // of partitions without one
	next    int
	images  map[int]func(*metadata.Image)
	onLed   map[int]func(topic.Partition, *ledger.Ledger)
	closed  bool
}

type part struct {
	id    topic.ID
	index int32
}

var _ metadata.Store = (*Memory)(nil)

// NewMemory gives an empty cluster with a fresh id.
func NewMemory() *Memory {
	m := &Memory{Now: func() int64 { return 1 }, ledgers: make(map[part]*ledger.Ledger), empty: make(map[part]*ledger.Ledger),
		images: make(map[int]func(*metadata.Image)), onLed: make(map[int]func(topic.Partition, *ledger.Ledger))}
	b := metadata.Empty(topic.NewID().String(), "memory").Edit()
	b.SetRevision(1)
	m.rev = 1
	m.img.Store(b.Image())
	return m
}

// Fail makes every change fail with err, and Health report it, until Fail(nil).
func (m *Memory) Fail(err error) {
	m.turn.Lock()
	defer m.turn.Unlock()
	m.err = err
}

// Image implements metadata.Store.
func (m *Memory) Image() *metadata.Image { return m.img.Load() }

// Watch implements metadata.Store.
func (m *Memory) Watch(fn func(*metadata.Image)) func() {
	m.turn.Lock()
	defer m.turn.Unlock()
	fn(m.Image())
	m.mu.Lock()
	n := m.next
	m.next++
	m.images[n] = fn
	m.mu.Unlock()
	return func() {
		m.turn.Lock()
		defer m.turn.Unlock()
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.images, n)
	}
}

// ready is called with turn held.
func (m *Memory) ready(ctx context.Context) error {
	m.mu.Lock()
	closed := m.closed
	m.mu.Unlock()
	switch {
	case closed:
		return metadata.ErrClosed
	case m.err != nil:
		return fmt.Errorf("%w: %w", metadata.ErrUnavailable, m.err)
	}
	return ctx.Err()
}

// publish is called with turn held.
func (m *Memory) publish(change func(b *metadata.Builder, rev int64)) {
	m.rev++
	b := m.Image().Edit()
	b.SetRevision(m.rev)
	change(b, m.rev)
	img := b.Image()
	m.img.Store(img)
	m.mu.Lock()
	fns := inOrder(m.images)
	m.mu.Unlock()
	for _, fn := range fns {
		fn(img)
	}
}

func inOrder[F any](m map[int]F) []F {
	fns := make([]F, 0, len(m))
	for _, i := range slices.Sorted(maps.Keys(m)) {
		fns = append(fns, m[i])
	}
	return fns
}

// Commit implements metadata.Store.
func (m *Memory) Commit(ctx context.Context, edits ...metadata.Edit) []error {
	m.turn.Lock()
	defer m.turn.Unlock()
	errs := make([]error, len(edits))
	for i, e := range edits {
		if errs[i] = m.ready(ctx); errs[i] != nil {
			continue
		}
		c, err := metadata.Plan(m.Image(), e, m.Now())
		if err == nil && !c.Unarchived.IsZero() && m.archived(c.Unarchived) {
			err = fmt.Errorf("%w: id %s", metadata.ErrArchived, c.Unarchived)
		}
		if errs[i] = err; err == nil {
			m.publish(c.Apply)
		}
	}
	return errs
}

func (m *Memory) archived(id topic.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, l := range m.ledgers {
		if p.id == id && !l.Empty() {
			return true
		}
	}
	return false
}

// Register implements metadata.Store.
func (m *Memory) Register(ctx context.Context, b metadata.Broker) error {
	if b.ID < 0 || b.Directory == "" || b.Incarnation == "" {
		return fmt.Errorf("%w: a registration needs id, directory and incarnation", metadata.ErrInvalid)
	}
	m.turn.Lock()
	defer m.turn.Unlock()
	if err := m.ready(ctx); err != nil {
		return err
	}
	if was := m.Image().Brokers[b.ID]; was != nil && was.Directory != b.Directory {
		return fmt.Errorf("%w: %d belongs to a live broker with another data folder", metadata.ErrBrokerID, b.ID)
	}
	m.publish(func(bd *metadata.Builder, rev int64) {
		b.Epoch = rev
		bd.PutBroker(&b)
	})
	return nil
}

// Unregister removes a broker, as if its lease had run out.
func (m *Memory) Unregister(id int32) {
	m.turn.Lock()
	defer m.turn.Unlock()
	m.publish(func(b *metadata.Builder, _ int64) { b.DeleteBroker(id) })
}

// Health implements metadata.Store.
func (m *Memory) Health() error {
	m.turn.Lock()
	defer m.turn.Unlock()
	return m.err
}

// Ledger implements metadata.LedgerStore.
func (m *Memory) Ledger(ctx context.Context, p topic.Partition) (*ledger.Ledger, error) {
	m.turn.Lock()
	defer m.turn.Unlock()
	if err := m.ready(ctx); err != nil {
		return nil, err
	}
	return m.CachedLedger(p), nil
}

// CachedLedger implements metadata.LedgerStore.
func (m *Memory) CachedLedger(p topic.Partition) *ledger.Ledger {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := part{p.ID, p.Index}
	if l := m.ledgers[k]; l != nil {
		return l
	}
	if m.empty[k] == nil { // once, because each fetch asks
		m.empty[k] = &ledger.Ledger{Topic: p.ID, Index: p.Index}
	}
	return m.empty[k]
}

// CommitLedger implements metadata.LedgerStore.
func (m *Memory) CommitLedger(ctx context.Context, p topic.Partition, e ledger.Edit) (*ledger.Ledger, error) {
	m.turn.Lock()
	defer m.turn.Unlock()
	if err := m.ready(ctx); err != nil {
		return nil, err
	}
	if err := m.admit(p, e); err != nil {
		return nil, err
	}
	l := m.CachedLedger(p)
	n, err := l.Apply(e)
	if err != nil || n == l {
		return n, err
	}
	m.mu.Lock()
	m.ledgers[part{p.ID, p.Index}] = n
	fns := inOrder(m.onLed)
	m.mu.Unlock()
	named := topic.Partition{ID: p.ID, Index: p.Index}
	if t := m.Image().TopicByID(p.ID); t != nil {
		named.Topic = t.Name
	}
	for _, fn := range fns {
		fn(named, n)
	}
	return n, nil
}

func (m *Memory) admit(p topic.Partition, e ledger.Edit) error {
	t := m.Image().TopicByID(p.ID)
	a, ok := e.(ledger.Append)
	switch {
	case t == nil && (ok || m.Image().Tombstone(p.ID) == nil), t != nil && int(p.Index) >= len(t.Partitions):
		return fmt.Errorf("%w: %s", metadata.ErrUnknownTopic, p)
	case !ok:
		return nil
	case t.Configs[topicconfig.RemoteStorageEnable] == "false":
		return fmt.Errorf("%w: %s", metadata.ErrNotRemote, t.Name)
	case t.Partitions[p.Index].LeaderEpoch != a.Epoch:
		return fmt.Errorf("%w: append at epoch %d, %s is at %d", metadata.ErrStaleEpoch, a.Epoch, p, t.Partitions[p.Index].LeaderEpoch)
	}
	return nil
}

// OnLedger implements metadata.LedgerStore.
func (m *Memory) OnLedger(fn func(topic.Partition, *ledger.Ledger)) func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.next
	m.next++
	m.onLed[n] = fn
	return func() {
		m.turn.Lock()
		defer m.turn.Unlock()
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.onLed, n)
	}
}

// NextProducerIDs implements metadata.Store.
func (m *Memory) NextProducerIDs(ctx context.Context, n int64) (int64, error) {
	if n <= 0 || n > 1<<40 {
		return 0, fmt.Errorf("%w: %d producer ids", metadata.ErrInvalid, n)
	}
	m.turn.Lock()
	defer m.turn.Unlock()
	if err := m.ready(ctx); err != nil {
		return 0, err
	}
	first := m.pids
	m.pids += n
	return first, nil
}

// Tombstones implements metadata.Store.
func (m *Memory) Tombstones(ctx context.Context) ([]metadata.TopicTombstone, error) {
	m.turn.Lock()
	defer m.turn.Unlock()
	if err := m.ready(ctx); err != nil {
		return nil, err
	}
	return m.Image().Tombstones(), nil
}

// ForgetTombstone implements metadata.Store.
func (m *Memory) ForgetTombstone(ctx context.Context, id topic.ID) error {
	m.turn.Lock()
	defer m.turn.Unlock()
	if err := m.ready(ctx); err != nil {
		return err
	}
	if m.Image().Tombstone(id) == nil {
		return nil
	}
	m.publish(func(b *metadata.Builder, _ int64) { b.DeleteTombstone(id) })
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.ledgers, func(p part, _ *ledger.Ledger) bool { return p.id == id })
	return nil
}

// Close implements metadata.Store.
func (m *Memory) Close() error {
	m.turn.Lock()
	defer m.turn.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}
