// Package fault wraps an object store and spoils it at random, from a seed: it refuses, throttles, stalls, cuts and
// flips, and applies puts and deletes whose answer it then loses. It is for tests, and for `firn` processes that
// tests start.
//
// Invariants: with faults off every call passes through untouched. What is done to the n-th call of a kind
// depends only on the seed, the kind and n, not on how goroutines interleave between kinds; so a single-threaded test
// replays exactly, and a concurrent one nearly. A fault never changes what the wrapped store already holds other
// than through the very call that it spoils: a put is applied whole or not at all.
package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/firnlog/firn/tier/object"
)

// Op is a kind of operation.
type Op string

// The kinds of operations.
const (
	Put    Op = "put"
	Get    Op = "get"
	Head   Op = "head"
	List   Op = "list"
	Delete Op = "delete"
	Now    Op = "now"
)

// Ops are all kinds.
var Ops = []Op{Put, Get, Head, List, Delete, Now}

// Rates are probabilities from 0 to 1. They are looked at in this order and at most one strikes a call.
type Rates struct {
	Error    float64 // fails without being applied (ErrUnavailable); a List fails midway
	Throttle float64 // fails without being applied (ErrThrottled); a Delete does part of the keys
	Stall    float64 // hangs until ctx ends, or StallFor has passed, and then fails
	// Ambiguous applies a Put or Delete and reports failure.
	Ambiguous float64
	// The rest strike the bodies of Gets.
	Truncate float64 // the body ends early with io.ErrUnexpectedEOF
	Shorten  float64 // the body ends early as if it were whole: a lying proxy
	Flip     float64 // one bit of the body is wrong
	Slow     float64 // the body comes in small pieces, SlowPause apart
	Hang     float64 // the body stalls midway like Stall
}

// Rule is what happens to each kind of operation.
type Rule map[Op]Rates

// Everywhere gives a rule with the same rates for all kinds.
func Everywhere(r Rates) Rule {
	rule := Rule{}
	for _, op := range Ops {
		rule[op] = r
	}
	return rule
}

// Options of New.
type Options struct {
	Seed uint64
	Rule Rule
	// StallFor bounds a stall; 0: until ctx ends, so that a caller without a deadline hangs for ever.
	StallFor time.Duration
	// SlowPause is between the pieces of a slow body; 0: 1 ms.
	SlowPause time.Duration
	// Off starts with faults turned off.
	Off bool
}

// Store is a spoilt store. All methods may be called concurrently.
type Store struct {
	s object.Store
	o Options

	on   atomic.Bool
	rule atomic.Pointer[Rule]

	mu     sync.Mutex
	count  map[Op]uint64  // calls so far; guarded by mu
	struck map[string]int // by op/kind; guarded by mu
}

var _ object.Store = (*Store)(nil)

// ErrInjected is wrapped by every error that this package makes up, beside the error of the seam that it plays.
var ErrInjected = errors.New("injected fault")

// New wraps s.
func New(s object.Store, o Options) *Store {
	if o.SlowPause <= 0 {
		o.SlowPause = time.Millisecond
	}
	f := &Store{s: s, o: o, count: map[Op]uint64{}, struck: map[string]int{}}
	f.SetRule(o.Rule)
	f.on.Store(!o.Off)
	return f
}

// SetOn turns faults on or off for calls that begin from now on.
func (f *Store) SetOn(on bool) { f.on.Store(on) }

// SetRule replaces the rates for calls that begin from now on. The rule must not be changed afterwards.
func (f *Store) SetRule(r Rule) { f.rule.Store(&r) }

// Struck counts the faults so far by "op/kind", such as "get/flip": a test that depends on faults shows that
// there were some.
func (f *Store) Struck() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := make(map[string]int, len(f.struck))
	for k, n := range f.struck {
		m[k] = n
	}
	return m
}

type kind string

const (
	none      kind = ""
	fail      kind = "error"
	throttle  kind = "throttle"
	stall     kind = "stall"
	ambiguous kind = "ambiguous"
	truncate  kind = "truncate"
	shorten   kind = "shorten"
	flip      kind = "flip"
	slow      kind = "slow"
	hang      kind = "hang"
)

// strike decides what happens to this call. The generator that it returns is the call's own.
func (f *Store) strike(op Op) (kind, *rand.Rand) {
	if !f.on.Load() {
		return none, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.count[op]
	f.count[op]++
	h := fnv.New64a()
	_, _ = io.WriteString(h, string(op)) // never fails
	r := rand.New(rand.NewPCG(f.o.Seed, h.Sum64()+n*0x9e3779b97f4a7c15))
	k := choose(op, (*f.rule.Load())[op], r.Float64())
	if k != none {
		f.struck[string(op)+"/"+string(k)]++
	}
	return k, r
}

type share struct {
	kind kind
	rate float64
}

// choose maps x in [0, 1) to the fault whose share of the interval it falls into.
func choose(op Op, r Rates, x float64) kind {
	shares := []share{{fail, r.Error}, {throttle, r.Throttle}, {stall, r.Stall}}
	switch op {
	case Put, Delete:
		shares = append(shares, share{ambiguous, r.Ambiguous})
	case Get:
		shares = append(shares, share{truncate, r.Truncate}, share{shorten, r.Shorten}, share{flip, r.Flip},
			share{slow, r.Slow}, share{hang, r.Hang})
	}
	for _, s := range shares {
		if x < s.rate {
			return s.kind
		}
		x -= s.rate
	}
	return none
}

func injected(op Op, key string, what string, as error) error {
	return fmt.Errorf("%s %s: %w: %s (%w)", op, key, as, what, ErrInjected)
}

// before plays the faults that strike before the store is asked.
func (f *Store) before(ctx context.Context, op Op, key string, k kind) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %s: %w", op, key, err)
	}
	switch k {
	case fail:
		return injected(op, key, "503", object.ErrUnavailable)
	case throttle:
		return injected(op, key, "SlowDown", object.ErrThrottled)
	case stall:
		return f.hang(ctx, op, key)
	}
	return nil
}

func (f *Store) hang(ctx context.Context, op Op, key string) error {
	var end <-chan time.Time
	if f.o.StallFor > 0 {
		t := time.NewTimer(f.o.StallFor)
		defer t.Stop()
		end = t.C
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%s %s: %w (%w)", op, key, ctx.Err(), ErrInjected)
	case <-end:
		return injected(op, key, "no answer", object.ErrUnavailable)
	}
}

// Put implements object.Store.
func (f *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o object.PutOptions) (object.Info, error) {
	k, _ := f.strike(Put)
	if err := f.before(ctx, Put, key, k); err != nil {
		return object.Info{}, err
	}
	info, err := f.s.Put(ctx, key, body, size, o)
	if err == nil && k == ambiguous {
		return object.Info{}, injected(Put, key, "the answer is lost", object.ErrUnavailable)
	}
	return info, err
}

// Head implements object.Store.
func (f *Store) Head(ctx context.Context, key string) (object.Info, error) {
	k, _ := f.strike(Head)
	if err := f.before(ctx, Head, key, k); err != nil {
		return object.Info{}, err
	}
	return f.s.Head(ctx, key)
}

// List implements object.Store; an error strikes before one of the first objects.
func (f *Store) List(ctx context.Context, prefix, after string, fn func(object.Info) error) error {
	k, r := f.strike(List)
	if k != fail {
		if err := f.before(ctx, List, prefix, k); err != nil {
			return err
		}
		return f.s.List(ctx, prefix, after, fn)
	}
	broken := injected(List, prefix, "503", object.ErrUnavailable)
	left := r.IntN(4)
	err := f.s.List(ctx, prefix, after, func(i object.Info) error {
		if left == 0 {
			return broken
		}
		left--
		return fn(i)
	})
	if err == nil {
		return broken // it had fewer objects than that
	}
	return err
}

// Delete implements object.Store; a throttled one does a random part of the keys.
func (f *Store) Delete(ctx context.Context, keys []string) error {
	k, r := f.strike(Delete)
	if k == throttle {
		return f.deletePart(ctx, keys, r)
	}
	if err := f.before(ctx, Delete, first(keys), k); err != nil {
		return err
	}
	err := f.s.Delete(ctx, keys)
	if err == nil && k == ambiguous {
		return injected(Delete, first(keys), "the answer is lost", object.ErrUnavailable)
	}
	return err
}

func (f *Store) deletePart(ctx context.Context, keys []string, r *rand.Rand) error {
	failed := map[string]error{}
	var some []string
	for _, key := range keys {
		if r.IntN(2) == 0 {
			failed[key] = injected(Delete, key, "SlowDown", object.ErrThrottled)
		} else {
			some = append(some, key)
		}
	}
	if err := f.s.Delete(ctx, some); err != nil {
		return err
	}
	if len(failed) == 0 {
		return nil
	}
	return &object.DeleteError{Failed: failed}
}

func first(keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	return keys[0]
}

// Now implements object.Store.
func (f *Store) Now(ctx context.Context) (time.Time, error) {
	k, _ := f.strike(Now)
	if err := f.before(ctx, Now, "", k); err != nil {
		return time.Time{}, err
	}
	return f.s.Now(ctx)
}

// URL implements object.Store.
func (f *Store) URL() string { return f.s.URL() }

// Get implements object.Store.
func (f *Store) Get(ctx context.Context, key string, off, length int64) (io.ReadCloser, error) {
	k, r := f.strike(Get)
	if err := f.before(ctx, Get, key, k); err != nil {
		return nil, err
	}
	body, err := f.s.Get(ctx, key, off, length)
	if err != nil || k == none {
		return body, err
	}
	if k == slow {
		return &slowBody{ReadCloser: body, ctx: ctx, pause: f.o.SlowPause}, nil
	}
	// The others need to know where the body ends: it is read whole, which is fine for tests.
	whole, err := io.ReadAll(body)
	body.Close()
	if err != nil {
		return nil, err
	}
	return f.spoil(ctx, key, whole, k, r), nil
}

func (f *Store) spoil(ctx context.Context, key string, b []byte, k kind, r *rand.Rand) io.ReadCloser {
	if len(b) == 0 {
		return io.NopCloser(bytes.NewReader(nil))
	}
	at := r.IntN(len(b))
	switch k {
	case flip:
		b = bytes.Clone(b)
		b[at] ^= 1 << r.IntN(8)
		return io.NopCloser(bytes.NewReader(b))
	case shorten:
		return io.NopCloser(bytes.NewReader(b[:at]))
	case truncate:
		cut := func() error {
			return fmt.Errorf("get %s: %w (%w)", key, io.ErrUnexpectedEOF, ErrInjected)
		}
		return io.NopCloser(io.MultiReader(bytes.NewReader(b[:at]), errReader(cut)))
	case hang:
		return io.NopCloser(io.MultiReader(bytes.NewReader(b[:at]), errReader(func() error { return f.hang(ctx, Get, key) })))
	}
	return io.NopCloser(bytes.NewReader(b))
}

// errReader gives the error that the function returns.
type errReader func() error

func (e errReader) Read([]byte) (int, error) { return 0, e() }

// slowBody hands out small pieces with a pause before each.
type slowBody struct {
	io.ReadCloser
	ctx   context.Context
	pause time.Duration
}

const slowPiece = 4 << 10

func (s *slowBody) Read(p []byte) (int, error) {
	t := time.NewTimer(s.pause)
	defer t.Stop()
	select {
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	case <-t.C:
	}
	return s.ReadCloser.Read(p[:min(len(p), slowPiece)])
}
