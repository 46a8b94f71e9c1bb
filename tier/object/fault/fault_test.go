package fault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/dir"
	"github.com/firnlog/firn/tier/object/fault"
	"github.com/firnlog/firn/tier/object/objecttest"
)

func folder(t *testing.T) object.Store {
	t.Helper()
	s, err := dir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

var rough = fault.Everywhere(fault.Rates{Error: 0.3, Throttle: 0.2, Stall: 0.1, Ambiguous: 0.3, Truncate: 0.1, Shorten: 0.1, Flip: 0.1, Slow: 0.05, Hang: 0.05})

func TestAcceptanceWithFaultsOff(t *testing.T) {
	objecttest.Run(t, func(t *testing.T) object.Store { return fault.New(folder(t), fault.Options{Rule: rough, Off: true}) })
}

// TestAcceptanceWithRetry spoils whatever the retry policy promises to hide, lost answers of conditional puts included:
// a store that fails half of the time must look like one that does not.
func TestAcceptanceWithRetry(t *testing.T) {
	rates := fault.Rates{Error: 0.2, Throttle: 0.1, Ambiguous: 0.2}
	seeds := uint64(2)
	if objecttest.Full() {
		seeds = 20
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			objecttest.Run(t, func(t *testing.T) object.Store {
				f := fault.New(folder(t), fault.Options{Seed: seed, Rule: fault.Everywhere(rates)})
				return object.Retry(f, object.RetryOptions{Attempts: 40, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }})
			})
		})
	}
}

// script runs the same calls on a store and writes down what happened.
func script(t *testing.T, seed uint64) []string {
	t.Helper()
	f := fault.New(folder(t), fault.Options{Seed: seed, Rule: rough, StallFor: time.Microsecond})
	var log []string
	note := func(what string, err error) { log = append(log, fmt.Sprintf("%s: %v", what, err)) }
	ctx := t.Context()
	for i := range 60 {
		key := fmt.Sprintf("k%d", i)
		body := objecttest.Body(uint64(i), 300)
		_, err := f.Put(ctx, key, bytes.NewReader(body), 300, object.PutOptions{})
		note("put", err)
		r, err := f.Get(ctx, key, 0, -1)
		note("get", err)
		if err == nil {
			got, err := io.ReadAll(r)
			r.Close()
			note(fmt.Sprintf("body %x", got), err)
		}
		note("list", f.List(ctx, "", "", func(i object.Info) error { log = append(log, i.Key); return nil }))
		if i%5 == 4 {
			note("delete", f.Delete(ctx, []string{key, "k0", "k1", "k2"}))
		}
	}
	return log
}

func TestSeedReplays(t *testing.T) {
	a, b, c := script(t, 1), script(t, 1), script(t, 2)
	if !reflect.DeepEqual(a, b) {
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				t.Fatalf("one seed gave two stories: line %d is %.200s and %.200s", i, a[i], b[i])
			}
		}
		t.Fatal("one seed gave two stories")
	}
	if reflect.DeepEqual(a, c) {
		t.Error("two seeds gave one story")
	}
}

// only gives a store that has an object "k" and then does nothing but one kind of fault.
func only(t *testing.T, op fault.Op, r fault.Rates) (*fault.Store, []byte) {
	t.Helper()
	body := objecttest.Body(9, 50_000)
	f := fault.New(folder(t), fault.Options{Seed: 7, Rule: fault.Rule{op: r}, Off: true, SlowPause: time.Microsecond})
	if _, err := f.Put(t.Context(), "k", bytes.NewReader(body), int64(len(body)), object.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	f.SetOn(true)
	return f, body
}

func TestBodies(t *testing.T) {
	for name, c := range map[string]struct {
		rates fault.Rates
		check func(got, body []byte, err error) bool
	}{
		"truncate": {fault.Rates{Truncate: 1}, func(got, body []byte, err error) bool {
			return errors.Is(err, io.ErrUnexpectedEOF) && len(got) < len(body) && bytes.HasPrefix(body, got)
		}},
		"shorten": {fault.Rates{Shorten: 1}, func(got, body []byte, err error) bool {
			return err == nil && len(got) < len(body) && bytes.HasPrefix(body, got)
		}},
		"flip": {fault.Rates{Flip: 1}, func(got, body []byte, err error) bool {
			n := 0
			for i := range body {
				if len(got) == len(body) && got[i] != body[i] {
					n++
				}
			}
			return err == nil && n == 1
		}},
		"slow": {fault.Rates{Slow: 1}, func(got, body []byte, err error) bool { return err == nil && bytes.Equal(got, body) }},
	} {
		t.Run(name, func(t *testing.T) {
			f, body := only(t, fault.Get, c.rates)
			r, err := f.Get(t.Context(), "k", 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if got, err := io.ReadAll(r); !c.check(got, body, err) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if f.Struck()["get/"+name] != 1 {
				t.Fatalf("struck %v", f.Struck())
			}
		})
	}
}

// TestHangEndsWithContext: a stalled call and a stalled body end when the caller gives up, and not before.
func TestHangEndsWithContext(t *testing.T) {
	f, _ := only(t, fault.Head, fault.Rates{Stall: 1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := f.Head(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	f, _ = only(t, fault.Get, fault.Rates{Hang: 1})
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	r, err := f.Get(ctx, "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestAmbiguousIsApplied(t *testing.T) {
	f, _ := only(t, fault.Put, fault.Rates{Ambiguous: 1})
	_, err := f.Put(t.Context(), "new", bytes.NewReader([]byte("x")), 1, object.PutOptions{IfNoneMatch: true})
	if !errors.Is(err, object.ErrUnavailable) || !errors.Is(err, fault.ErrInjected) {
		t.Fatal(err)
	}
	if _, err := f.Head(t.Context(), "new"); err != nil {
		t.Fatalf("the put was not applied: %v", err)
	}
}
