package objecttest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/firnlog/firn/tier/object"
)

func ifNoneMatch(t *testing.T, s object.Store) {
	put(t, s, "a/k", []byte("one"), object.PutOptions{IfNoneMatch: true})
	_, err := tryPut(t.Context(), s, "a/k", []byte("two"), object.PutOptions{IfNoneMatch: true})
	is(t, "second Put", err, object.ErrExists)
	want(t, s, "a/k", []byte("one"))
	if err := s.Delete(t.Context(), []string{"a/k"}); err != nil {
		t.Fatal(err)
	}
	put(t, s, "a/k", []byte("three"), object.PutOptions{IfNoneMatch: true})
	want(t, s, "a/k", []byte("three"))
}

const racers = 16

// race runs fn for each racer at once and wants exactly one to succeed, the others to fail with lost.
func race(t *testing.T, lost error, fn func(i int) error) (winner int) {
	t.Helper()
	var won []int
	var mu sync.Mutex
	var g errgroup.Group
	start := make(chan struct{})
	for i := range racers {
		g.Go(func() error {
			<-start
			err := fn(i)
			if err == nil {
				mu.Lock()
				won = append(won, i)
				mu.Unlock()
				return nil
			}
			if !errors.Is(err, lost) {
				return fmt.Errorf("racer %d: %w, want %w", i, err, lost)
			}
			return nil
		})
	}
	close(start)
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(won) != 1 {
		t.Fatalf("winners %v, want exactly one", won)
	}
	return won[0]
}

func raceIfNoneMatch(t *testing.T, s object.Store) {
	for round := range 5 {
		key := fmt.Sprintf("race/%d", round)
		w := race(t, object.ErrExists, func(i int) error {
			_, err := tryPut(t.Context(), s, key, Body(uint64(i), 2000), object.PutOptions{IfNoneMatch: true})
			return err
		})
		want(t, s, key, Body(uint64(w), 2000))
	}
}

func ifMatch(t *testing.T, s object.Store) {
	_, err := tryPut(t.Context(), s, "k", []byte("zero"), object.PutOptions{IfMatch: "abc"})
	is(t, "Put over nothing", err, object.ErrPrecondition)
	one := put(t, s, "k", []byte("one"), object.PutOptions{})
	two := put(t, s, "k", []byte("two"), object.PutOptions{IfMatch: one.ETag})
	want(t, s, "k", []byte("two"))
	_, err = tryPut(t.Context(), s, "k", []byte("three"), object.PutOptions{IfMatch: one.ETag})
	is(t, "Put with an old ETag", err, object.ErrPrecondition)
	want(t, s, "k", []byte("two"))
	h, err := s.Head(t.Context(), "k")
	if err != nil || h.ETag != two.ETag {
		t.Fatalf("Head = %+v, %v; want ETag %s", h, err, two.ETag)
	}
	put(t, s, "k", []byte("four"), object.PutOptions{IfMatch: h.ETag})
	if _, err := tryPut(t.Context(), s, "k", nil, object.PutOptions{IfMatch: h.ETag, IfNoneMatch: true}); err == nil {
		t.Fatal("contradicting conditions were accepted")
	}
}

func raceIfMatch(t *testing.T, s object.Store) {
	last := put(t, s, "k", []byte("start"), object.PutOptions{})
	for round := range 5 {
		body := func(i int) []byte { return Body(uint64(100*round+i+1), 500) }
		infos := make([]object.Info, racers)
		w := race(t, object.ErrPrecondition, func(i int) (err error) {
			infos[i], err = tryPut(t.Context(), s, "k", body(i), object.PutOptions{IfMatch: last.ETag})
			return err
		})
		want(t, s, "k", body(w))
		last = infos[w]
	}
}

func largeConditional(t *testing.T, s object.Store) {
	body := Body(6, largeSize)
	put(t, s, "k", []byte("small"), object.PutOptions{IfNoneMatch: true})
	_, err := tryPut(t.Context(), s, "k", body, object.PutOptions{IfNoneMatch: true})
	is(t, "large Put over a small object", err, object.ErrExists)
	want(t, s, "k", []byte("small"))
	put(t, s, "l", body, object.PutOptions{IfNoneMatch: true})
	want(t, s, "l", body)
}
