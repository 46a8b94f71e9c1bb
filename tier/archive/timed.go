package archive

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/firnlog/firn/tier/object"
)

// slowest is the pace, in bytes a second, that a Put is given time for beyond its timeout.
const slowest = 256 << 10

// Timed gives every operation of s an end, for callers that must not hang when a store stalls: timeout for an
// answer, between two objects of a listing, and between two pieces of a body. What is given up is
// object.ErrUnavailable.
func Timed(s object.Store, timeout time.Duration) object.Store { return &timed{s, timeout} }

type timed struct {
	object.Store
	timeout time.Duration
}

// watch gives a context that ends when again was not called for d.
func watch(ctx context.Context, what string, d time.Duration) (wctx context.Context, again, stop func()) {
	wctx, cancel := context.WithCancelCause(ctx)
	t := time.AfterFunc(d, func() { cancel(fmt.Errorf("%s: %w: nothing happened for %v", what, object.ErrUnavailable, d)) })
	return wctx, func() { t.Reset(d) }, func() { t.Stop(); cancel(nil) }
}

// cause prefers the reason why wctx ended to an error that only says that it did.
func cause(ctx, wctx context.Context, err error) error {
	if err != nil && wctx.Err() != nil && ctx.Err() == nil {
		return context.Cause(wctx)
	}
	return err
}

// Put implements object.Store.
func (t *timed) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o object.PutOptions) (object.Info, error) {
	wctx, _, stop := watch(ctx, "put "+key, t.timeout+time.Duration(size/slowest)*time.Second)
	defer stop()
	info, err := t.Store.Put(wctx, key, body, size, o)
	return info, cause(ctx, wctx, err)
}

// Get implements object.Store.
func (t *timed) Get(ctx context.Context, key string, off, length int64) (io.ReadCloser, error) {
	wctx, again, stop := watch(ctx, "get "+key, t.timeout)
	body, err := t.Store.Get(wctx, key, off, length)
	if err != nil {
		defer stop()
		return nil, cause(ctx, wctx, err)
	}
	again()
	return &timedBody{body, ctx, wctx, again, stop}, nil
}

type timedBody struct {
	body        io.ReadCloser
	ctx, wctx   context.Context
	again, stop func()
}

// Read implements io.Reader.
func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if n > 0 {
		b.again()
	}
	if err == io.EOF {
		return n, err
	}
	return n, cause(b.ctx, b.wctx, err)
}

// Close implements io.Closer.
func (b *timedBody) Close() error {
	defer b.stop()
	return b.body.Close()
}

// Head implements object.Store.
func (t *timed) Head(ctx context.Context, key string) (object.Info, error) {
	wctx, _, stop := watch(ctx, "head "+key, t.timeout)
	defer stop()
	info, err := t.Store.Head(wctx, key)
	return info, cause(ctx, wctx, err)
}

// List implements object.Store. The time that fn takes counts.
func (t *timed) List(ctx context.Context, prefix, after string, fn func(object.Info) error) error {
	wctx, again, stop := watch(ctx, "list "+prefix, t.timeout)
	defer stop()
	var own error
	err := t.Store.List(wctx, prefix, after, func(i object.Info) error {
		again()
		own = fn(i)
		again()
		return own
	})
	if own != nil {
		return err
	}
	return cause(ctx, wctx, err)
}

// Delete implements object.Store.
func (t *timed) Delete(ctx context.Context, keys []string) error {
	wctx, _, stop := watch(ctx, "delete", t.timeout*time.Duration(1+len(keys)/1000))
	defer stop()
	return cause(ctx, wctx, t.Store.Delete(wctx, keys))
}

// Now implements object.Store.
func (t *timed) Now(ctx context.Context) (time.Time, error) {
	wctx, _, stop := watch(ctx, "clock of the store", t.timeout)
	defer stop()
	now, err := t.Store.Now(wctx)
	return now, cause(ctx, wctx, err)
}
