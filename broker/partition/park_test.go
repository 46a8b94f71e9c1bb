package partition

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/record"
)

// leaver is a client that goes away by itself; told is closed when the fetch was told.
type leaver struct {
	after time.Duration
	mu    sync.Mutex
	over  bool // answered; guarded by mu
}

func (c *leaver) Watch(g interface{ Gone() }) bool {
	if c.after > 0 {
		time.AfterFunc(c.after, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if !c.over { // as a connection does: never once the answer is given
				g.Gone()
			}
		})
	}
	return true
}

// Fetches that are used again stay apart, however they are woken: by records, by time, by clients that leave, several of
// these at once. Each gets what follows its own offset, nothing beyond the watermark (I-04), and every consumer gets all.
func TestFetchesThatAreUsedAgain(t *testing.T) {
	const parts, records, consumers = 3, 400, 8
	e := newEnv(t)
	e.create("t", parts, "flush.messages", "9223372036854775807")
	var ps []*Partition
	for i := range int32(parts) {
		ps = append(ps, e.partition("t", i))
	}
	var all sync.WaitGroup
	for _, p := range ps {
		all.Go(func() {
			for i := range records {
				b := batch(1, 10, int64(i))
				h, err := record.Check(b)
				if err == nil {
					_, err = p.Append(b, h, true)
				}
				if err != nil {
					t.Error(err)
					return
				}
				if i%7 == 0 {
					time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
				}
			}
		})
	}
	for range consumers {
		all.Go(func() { consumeAll(t, e, ps, records) })
	}
	all.Wait()
	e.m.fetchMu.Lock()
	defer e.m.fetchMu.Unlock()
	require.Equal(t, &e.m.root, e.m.root.next, "nobody waits any more")
}

// consumeAll reads every partition from 0 to the offset end.
func consumeAll(t *testing.T, e *env, ps []*Partition, end int64) {
	next := make([]int64, len(ps))
	for open := true; open; {
		c := &leaver{}
		if rand.IntN(3) == 0 {
			c.after = time.Duration(1+rand.IntN(500)) * time.Microsecond
		}
		req := FetchRequest{MaxWait: time.Duration(1+rand.IntN(2000)) * time.Microsecond, MinBytes: 1, MaxBytes: 1 << 20, Client: c}
		for i, p := range ps {
			req.Partitions = append(req.Partitions, from(p, next[i], 500))
		}
		got := make(chan []int64, 1)
		e.m.Fetch(context.Background(), req, FetcherFunc(func(results []FetchResult, release func()) {
			c.mu.Lock()
			c.over = true
			c.mu.Unlock()
			defer release()
			after := make([]int64, len(results))
			for i := range results {
				r := &results[i]
				after[i] = next[i]
				if r.Error != 0 {
					t.Errorf("error %d", r.Error)
				}
				for _, g := range r.Regions {
					buf := make([]byte, g.Length)
					if _, err := g.File.ReadAt(buf, g.Position); err != nil {
						t.Error(err)
						continue
					}
					for it := record.Batches(buf); it.Next(); {
						h := it.Header()
						if h.BaseOffset != after[i] || h.NextOffset() > r.HighWatermark {
							t.Errorf("partition %d: a batch at %d after %d, watermark %d", i, h.BaseOffset, after[i], r.HighWatermark)
						}
						after[i] = h.NextOffset()
					}
				}
			}
			got <- after
		}))
		next = <-got
		open = false
		for _, n := range next {
			open = open || n < end
		}
	}
}

// askFunc is a client whose answer to Watch is that of the function.
type askFunc func() bool

func (ask askFunc) Watch(interface{ Gone() }) bool { return ask() }

// parked is how many fetches wait.
func (e *env) parked() (n int) {
	e.m.fetchMu.Lock()
	defer e.m.fetchMu.Unlock()
	for f := e.m.root.next; f != &e.m.root; f = f.next {
		n++
	}
	return n
}

// patiently is a fetch that waits for a megabyte of a partition, for an hour; got is told of the bytes that it was answered.
func (e *env) patiently(p *Partition, c Client, got func(bytes int)) {
	e.m.Fetch(context.Background(), FetchRequest{MaxWait: time.Hour, MinBytes: 1 << 20, MaxBytes: 1 << 20, Client: c,
		Partitions: []FetchPartition{from(p, 0, 1<<20)}}, FetcherFunc(func(results []FetchResult, release func()) {
		n := results[0].Bytes
		release()
		got(n)
	}))
}

// Fetches that wait are answered when their memory is needed: the oldest first, with what has come in, and no more than it
// takes.
func TestAnswerWaiting(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	p := e.partition("t", 0)
	b := batch(1, 10, 0)
	e.produce(p, b)
	const n = 3 * answerTogether
	var answered []int
	for i := range n {
		e.patiently(p, askFunc(func() bool { return true }), func(bytes int) {
			if bytes < len(b) {
				t.Errorf("%d bytes, a batch has %d", bytes, len(b))
			}
			answered = append(answered, i)
		})
	}
	require.Equal(t, n, e.parked())
	asked := 0
	e.m.AnswerWaiting(func() bool { asked++; return asked == 1 })
	require.Equal(t, n-answerTogether, e.parked())
	for i, got := range answered {
		require.Equal(t, i, got, "the oldest first")
	}
	e.m.AnswerWaiting(func() bool { return true })
	require.Zero(t, e.parked())
	require.Len(t, answered, n)
}

// A fetch that is to be answered at once does not wait, however patient it is; nor does one that AnswerWaiting has found
// before it asked.
func TestFetchThatMayNotWait(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	p := e.partition("t", 0)
	e.produce(p, batch(1, 10, 0))
	for name, ask := range map[string]func() bool{
		"told so": func() bool { return false },
		"found": func() bool {
			e.m.AnswerWaiting(func() bool { return true })
			return true
		},
		"both": func() bool {
			e.m.AnswerWaiting(func() bool { return true })
			return false
		},
	} {
		answers := 0
		e.patiently(p, askFunc(ask), func(int) { answers++ })
		require.Equal(t, 1, answers, name)
		require.Zero(t, e.parked(), name)
	}
}

// Those who wait for the watermarks of many partitions are told by a few goroutines, and all are told when Close returns.
func TestTellers(t *testing.T) {
	most := runtime.GOMAXPROCS(0)
	parts := most + 20
	e := newEnv(t)
	e.create("t", parts, "flush.messages", "9223372036854775807")
	var begun, told atomic.Int64
	goOn := make(chan struct{})
	letGo := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(letGo)
	for i := range int32(parts) {
		p := e.partition("t", i)
		e.produce(p, batch(1, 10, 0))
		for next := range int64(2) { // the second comes while the first is told
			p.Await(2+next, func(code int16) {
				begun.Add(1)
				<-goOn
				if code == 0 {
					told.Add(1)
				}
			})
		}
	}
	for range 2 {
		for i := range int32(parts) {
			b := batch(1, 10, 0)
			h, err := record.Check(b)
			require.NoError(t, err)
			_, err = e.partition("t", i).Append(b, h, true)
			require.NoError(t, err)
		}
	}
	eventually(t, func() bool { return begun.Load() == int64(most) })
	require.EqualValues(t, most, e.m.crew.there.Load())
	first := e.partition("t", 0)
	go func() {
		for first.failure() == 0 { // Close has nothing else to do by then
			time.Sleep(time.Millisecond)
		}
		letGo()
	}()
	e.m.Close()
	require.EqualValues(t, 2*parts, told.Load())
	e.m = nil
	require.NoError(t, e.dir.Close())
}
