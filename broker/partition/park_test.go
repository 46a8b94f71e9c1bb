package partition

import (
	"context"
	"math/rand/v2"
	"sync"
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
