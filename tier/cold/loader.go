package cold

import (
	"container/list"
	"context"
	"sync"
)

// loader is a small cache in memory, bounded by bytes, least recently used out first, whose misses are loaded once
// however many ask (I-22: the load is not cancelled when an asker gives up). Errors are not kept.
type loader[K comparable, V any] struct {
	base context.Context // of the loads
	wg   *sync.WaitGroup
	max  int64

	mu    sync.Mutex
	used  int64 // guarded by mu, as all below
	items map[K]*list.Element
	order *list.List // of *item[K, V], newest at the front
	calls map[K]*call[V]
}

type item[K comparable, V any] struct {
	key  K
	v    V
	cost int64
}

type call[V any] struct {
	done chan struct{}
	v    V
	err  error
}

func newLoader[K comparable, V any](base context.Context, wg *sync.WaitGroup, max int64) *loader[K, V] {
	return &loader[K, V]{base: base, wg: wg, max: max, items: make(map[K]*list.Element), order: list.New(),
		calls: make(map[K]*call[V])}
}

// peek gives what is there without loading.
func (l *loader[K, V]) peek(k K) (v V, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.items[k]; ok {
		l.order.MoveToFront(e)
		return e.Value.(*item[K, V]).v, true
	}
	return v, false
}

// get gives the value, loading it if need be; load also says what the value costs in bytes.
func (l *loader[K, V]) get(ctx context.Context, k K, load func(context.Context) (V, int64, error)) (v V, err error) {
	l.mu.Lock()
	if e, ok := l.items[k]; ok {
		l.order.MoveToFront(e)
		l.mu.Unlock()
		return e.Value.(*item[K, V]).v, nil
	}
	c := l.calls[k]
	if c == nil {
		if l.base.Err() != nil {
			l.mu.Unlock()
			return v, ErrClosed
		}
		c = &call[V]{done: make(chan struct{})}
		l.calls[k] = c
		l.wg.Add(1)
		go l.run(k, c, load)
	}
	l.mu.Unlock()
	select {
	case <-c.done:
		return c.v, c.err
	case <-ctx.Done():
		return v, ctx.Err()
	}
}

func (l *loader[K, V]) run(k K, c *call[V], load func(context.Context) (V, int64, error)) {
	defer l.wg.Done()
	var cost int64
	c.v, cost, c.err = load(l.base)
	l.mu.Lock()
	delete(l.calls, k)
	if c.err == nil {
		l.items[k] = l.order.PushFront(&item[K, V]{k, c.v, cost})
		l.used += cost
		for l.used > l.max && l.order.Len() > 1 {
			it := l.order.Remove(l.order.Back()).(*item[K, V])
			delete(l.items, it.key)
			l.used -= it.cost
		}
	}
	l.mu.Unlock()
	close(c.done)
}
