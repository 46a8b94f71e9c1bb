package object_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/dir"
)

// scripted lets a test answer calls itself; what it does not answer goes to the folder.
type scripted struct {
	object.Store
	put    func(next func() (object.Info, error)) (object.Info, error)
	list   func(after string, fn func(object.Info) error) error
	delete func(keys []string) error
	head   func() error
}

func (s *scripted) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o object.PutOptions) (object.Info, error) {
	next := func() (object.Info, error) { return s.Store.Put(ctx, key, body, size, o) }
	if s.put == nil {
		return next()
	}
	return s.put(next)
}

func (s *scripted) List(ctx context.Context, prefix, after string, fn func(object.Info) error) error {
	if s.list == nil {
		return s.Store.List(ctx, prefix, after, fn)
	}
	return s.list(after, fn)
}

func (s *scripted) Delete(ctx context.Context, keys []string) error {
	if s.delete == nil {
		return s.Store.Delete(ctx, keys)
	}
	return s.delete(keys)
}

func (s *scripted) Head(ctx context.Context, key string) (object.Info, error) {
	if s.head != nil {
		if err := s.head(); err != nil {
			return object.Info{}, err
		}
	}
	return s.Store.Head(ctx, key)
}

func newScripted(t *testing.T) *scripted {
	t.Helper()
	s, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &scripted{Store: s}
}

// patient gives options whose pauses are noted instead of waited for.
func patient(pauses *[]time.Duration) object.RetryOptions {
	return object.RetryOptions{Attempts: 6, Base: 100 * time.Millisecond, Max: time.Second, Rand: func() float64 { return 1 },
		Sleep: func(ctx context.Context, d time.Duration) error {
			*pauses = append(*pauses, d)
			return ctx.Err()
		}}
}

func TestRetryPauses(t *testing.T) {
	for _, c := range []struct {
		err  error
		want []time.Duration
	}{
		{object.ErrUnavailable, []time.Duration{100, 200, 400, 800, 1000}},
		{object.ErrThrottled, []time.Duration{400, 800, 1000, 1000, 1000}},
		{io.ErrUnexpectedEOF, []time.Duration{100, 200, 400, 800, 1000}},
		{object.ErrDenied, nil},
		{object.ErrNoBucket, nil},
		{object.ErrNotExist, nil},
		{context.Canceled, nil},
	} {
		s := newScripted(t)
		s.head = func() error { return fmt.Errorf("head: %w", c.err) }
		var pauses []time.Duration
		_, err := object.Retry(s, patient(&pauses)).Head(t.Context(), "k")
		if !errors.Is(err, c.err) {
			t.Errorf("%v became %v", c.err, err)
		}
		for i := range pauses {
			pauses[i] /= time.Millisecond
		}
		if !slices.Equal(pauses, c.want) {
			t.Errorf("%v: pauses %v ms, want %v", c.err, pauses, c.want)
		}
	}
}

func TestRetryEndsWithContext(t *testing.T) {
	s := newScripted(t)
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	s.head = func() error { calls++; cancel(); return object.ErrUnavailable }
	var pauses []time.Duration
	if _, err := object.Retry(s, patient(&pauses)).Head(ctx, "k"); err == nil || calls != 1 {
		t.Fatalf("%d calls, %v", calls, err)
	}
}

// TestRetryLostAnswer: a conditional put that was applied although its answer was lost has succeeded; one that lost to
// somebody else has not, even when that one's body has the same length.
func TestRetryLostAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		theirs string
		want   error
	}{"ours": {"", nil}, "theirs": {"theirs", object.ErrExists}, "theirs, other length": {"longer", object.ErrExists}} {
		t.Run(name, func(t *testing.T) {
			s := newScripted(t)
			calls := 0
			s.put = func(next func() (object.Info, error)) (object.Info, error) {
				if calls++; calls > 1 {
					return next()
				}
				if c.theirs == "" {
					next()
				} else {
					s.Store.Put(t.Context(), "k", bytes.NewReader([]byte(c.theirs)), int64(len(c.theirs)), object.PutOptions{})
				}
				return object.Info{}, object.ErrUnavailable
			}
			var pauses []time.Duration
			info, err := object.Retry(s, patient(&pauses)).Put(t.Context(), "k", bytes.NewReader([]byte("mine!!")), 6, object.PutOptions{IfNoneMatch: true})
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if err == nil && info.ETag == "" {
				t.Fatalf("info %+v", info)
			}
		})
	}
}

// TestRetryExistsAtOnce: without a failed attempt before it, ErrExists is what it says, even if the bodies agree.
func TestRetryExistsAtOnce(t *testing.T) {
	var pauses []time.Duration
	s := object.Retry(newScripted(t), patient(&pauses))
	for _, want := range []error{nil, object.ErrExists} {
		if _, err := s.Put(t.Context(), "k", bytes.NewReader([]byte("x")), 1, object.PutOptions{IfNoneMatch: true}); !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
	}
}

// TestRetryList: a listing that breaks goes on behind what was handed out, and progress renews the attempts.
func TestRetryList(t *testing.T) {
	s := newScripted(t)
	s.list = func(after string, fn func(object.Info) error) error {
		n := 0
		fmt.Sscanf(after, "%02d", &n)
		if n == 20 {
			return nil
		}
		if err := fn(object.Info{Key: fmt.Sprintf("%02d", n+1)}); err != nil {
			return err
		}
		return object.ErrThrottled
	}
	var got []string
	var pauses []time.Duration
	err := object.Retry(s, patient(&pauses)).List(t.Context(), "", "", func(i object.Info) error { got = append(got, i.Key); return nil })
	if err != nil || len(got) != 20 || !slices.IsSorted(got) {
		t.Fatalf("%v, %v", got, err)
	}
	// fn's error ends it, even one that looks retriable.
	calls := 0
	err = object.Retry(s, patient(&pauses)).List(t.Context(), "", "", func(object.Info) error { calls++; return object.ErrUnavailable })
	if !errors.Is(err, object.ErrUnavailable) || calls != 1 {
		t.Fatalf("%d calls, %v", calls, err)
	}
}

// TestRetryDelete, I-20: only keys that remain are asked for again, after a pause; keys that fail for good are not.
func TestRetryDelete(t *testing.T) {
	s := newScripted(t)
	var asked [][]string
	s.delete = func(keys []string) error {
		slices.Sort(keys)
		asked = append(asked, keys)
		switch len(asked) {
		case 1:
			return &object.DeleteError{Failed: map[string]error{"b": object.ErrThrottled, "c": object.ErrThrottled, "d": object.ErrDenied}}
		case 2:
			return &object.DeleteError{Failed: map[string]error{"c": object.ErrUnavailable}}
		}
		return nil
	}
	var pauses []time.Duration
	err := object.Retry(s, patient(&pauses)).Delete(t.Context(), []string{"a", "b", "c", "d"})
	var some *object.DeleteError
	if !errors.As(err, &some) || len(some.Failed) != 1 || !errors.Is(some.Failed["d"], object.ErrDenied) {
		t.Fatalf("got %v, want d denied", err)
	}
	if fmt.Sprint(asked) != "[[a b c d] [b c] [c]]" || len(pauses) != 2 {
		t.Fatalf("asked %v with pauses %v", asked, pauses)
	}
}
