package object

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"time"
)

// RetryOptions say how often and how patiently a failed operation is tried again. Zero fields mean defaults.
type RetryOptions struct {
	Attempts int           // in all, the first included; 0: 5
	Base     time.Duration // the first pause; doubled each time; 0: 100 ms
	Max      time.Duration // the longest pause; 0: 10 s
	// Sleep waits d or until ctx ends; nil: a timer. Tests put their own clock here.
	Sleep func(ctx context.Context, d time.Duration) error
	// Rand gives a number in [0, 1) for the jitter; nil: math/rand.
	Rand func() float64
}

func (o RetryOptions) withDefaults() RetryOptions {
	if o.Attempts <= 0 {
		o.Attempts = 5
	}
	if o.Base <= 0 {
		o.Base = 100 * time.Millisecond
	}
	if o.Max <= 0 {
		o.Max = 10 * time.Second
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	return o
}

// throttleFactor stretches the pause when the store asks for less: coming back at the pace of ordinary
// failures is what keeps a throttled bucket throttled.
const throttleFactor = 4

// pause before the attempt that follows attempt n (from 1): exponential, with half of it random so that many
// brokers that failed together do not come back together.
func (o RetryOptions) pause(n int, err error) time.Duration {
	d := o.Base
	for i := 1; i < n && d < o.Max; i++ {
		d *= 2
	}
	if errors.Is(err, ErrThrottled) {
		d *= throttleFactor
	}
	d = min(d, o.Max)
	return d/2 + time.Duration(o.Rand()*float64(d/2))
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Retriable tells whether the same call may succeed later without anybody doing something about it: the store
// throttles, cannot be reached, fails or sent a body that is short or damaged.
func Retriable(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	return errors.Is(err, ErrThrottled) || errors.Is(err, ErrUnavailable) ||
		errors.Is(err, ErrChecksum) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Retry wraps s so that retriable errors are tried again with growing, jittered pauses, as long as ctx lives.
//
// A conditional Put whose outcome is not known (it failed half-way, and the repetition then finds the key taken)
// is settled by reading: if the object has the body that we sent it was ours, and the Put succeeded.
// Bodies of conditional puts are therefore expected to differ between writers, as all of firn's do. (With IfMatch, an
// object that was ours and has already been replaced by another writer's is reported as ErrPrecondition.)
// Only the opening of a Get is repeated, not a body that breaks midway: only the caller knows how much of it
// was of use. A List goes on after the last key that was handed out.
func Retry(s Store, o RetryOptions) Store { return &retrier{s: s, o: o.withDefaults()} }

type retrier struct {
	s Store
	o RetryOptions
}

// do calls op until it succeeds, fails for good, or the attempts or ctx are used up.
func (r *retrier) do(ctx context.Context, op func() error) error {
	for n := 1; ; n++ {
		err := op()
		if err == nil || !Retriable(err) {
			return err
		}
		if ended := ctx.Err(); ended != nil {
			return fmt.Errorf("%w (%w)", err, ended)
		}
		if n == r.o.Attempts {
			return fmt.Errorf("%w (tried %d times)", err, n)
		}
		if ended := r.o.Sleep(ctx, r.o.pause(n, err)); ended != nil {
			return fmt.Errorf("%w (%w)", err, ended)
		}
	}
}

func (r *retrier) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o PutOptions) (Info, error) {
	var info Info
	ambiguous := false
	err := r.do(ctx, func() (err error) {
		info, err = r.s.Put(ctx, key, body, size, o)
		if ambiguous && (errors.Is(err, ErrExists) || errors.Is(err, ErrPrecondition)) {
			info, err = r.settle(ctx, key, body, size, err)
		}
		ambiguous = ambiguous || err != nil
		return err
	})
	return info, err
}

// settle decides whether the object that stands in the way of a repeated conditional Put is our own earlier
// attempt: lost says what to answer if it is not.
func (r *retrier) settle(ctx context.Context, key string, body io.ReaderAt, size int64, lost error) (Info, error) {
	info, err := r.s.Head(ctx, key)
	if errors.Is(err, ErrNotExist) {
		return Info{}, lost
	}
	if err != nil {
		return Info{}, err
	}
	if info.Size != size {
		return Info{}, lost
	}
	same, err := sameBody(ctx, r.s, key, body, size)
	if err != nil {
		return Info{}, err
	}
	if !same {
		return Info{}, lost
	}
	return info, nil
}

// sameBody compares an object with body, a block at a time.
func sameBody(ctx context.Context, s Store, key string, body io.ReaderAt, size int64) (bool, error) {
	got, err := s.Get(ctx, key, 0, size)
	if err != nil {
		return false, err
	}
	defer got.Close()
	const block = 64 << 10
	a, b := make([]byte, block), make([]byte, block)
	for off := int64(0); off < size; {
		n := int(min(block, size-off))
		if _, err := io.ReadFull(got, a[:n]); err != nil {
			return false, fmt.Errorf("read back %s: %w", key, err)
		}
		if m, err := body.ReadAt(b[:n], off); m < n {
			return false, fmt.Errorf("read the body of %s again: %w", key, err)
		}
		if !bytes.Equal(a[:n], b[:n]) {
			return false, nil
		}
		off += int64(n)
	}
	return true, nil
}

func (r *retrier) Get(ctx context.Context, key string, off, length int64) (body io.ReadCloser, err error) {
	err = r.do(ctx, func() (err error) {
		body, err = r.s.Get(ctx, key, off, length)
		return err
	})
	return body, err
}

func (r *retrier) Head(ctx context.Context, key string) (info Info, err error) {
	err = r.do(ctx, func() (err error) {
		info, err = r.s.Head(ctx, key)
		return err
	})
	return info, err
}

func (r *retrier) List(ctx context.Context, prefix, after string, fn func(Info) error) error {
	var stopped error // fn's own error must end the listing, whatever it wraps
	for {
		before := after
		err := r.do(ctx, func() error {
			err := r.s.List(ctx, prefix, after, func(i Info) error {
				if stopped = fn(i); stopped != nil {
					return ErrStop
				}
				after = i.Key
				return nil
			})
			if stopped == nil {
				return err
			}
			return nil // what fn wants is looked at below
		})
		switch {
		case errors.Is(stopped, ErrStop):
			return nil
		case stopped != nil:
			return stopped
		case err == nil || !Retriable(err) || after == before || ctx.Err() != nil:
			return err
		}
		// It made progress since the attempts began: a long listing has a fresh set of attempts.
	}
}

// Delete asks again only for the keys that remain and may be removed yet (I-20); the others are reported at the end.
func (r *retrier) Delete(ctx context.Context, keys []string) error {
	forGood := map[string]error{}
	err := r.do(ctx, func() error {
		err := r.s.Delete(ctx, keys)
		var some *DeleteError
		if !errors.As(err, &some) {
			return err
		}
		again := &DeleteError{Failed: map[string]error{}}
		keys = nil
		for k, e := range some.Failed {
			if Retriable(e) {
				again.Failed[k] = e
				keys = append(keys, k)
			} else {
				forGood[k] = e
			}
		}
		if len(keys) == 0 {
			return nil
		}
		return again
	})
	var some *DeleteError
	switch {
	case len(forGood) == 0:
		return err
	case errors.As(err, &some):
		maps.Copy(forGood, some.Failed)
	case err != nil: // of the whole request: what it was about is not known to be gone
		for _, k := range keys {
			forGood[k] = err
		}
	}
	return &DeleteError{Failed: forGood}
}

func (r *retrier) Now(ctx context.Context) (now time.Time, err error) {
	err = r.do(ctx, func() (err error) {
		now, err = r.s.Now(ctx)
		return err
	})
	return now, err
}

func (r *retrier) URL() string { return r.s.URL() }
