package partition

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What is in the cache is answered whether or not the rest comes: that is let go when it is late, and its memory is its own.
func TestCachedPartitionsDoNotWaitForAbsentOnes(t *testing.T) {
	e := newEnv(t, func(o *Options) { o.ColdGrace = time.Millisecond; o.Tuning.ColdWait = time.Hour })
	e.create("t", 3)
	cached, slow, live := e.partition("t", 0), e.partition("t", 1), e.partition("t", 2)
	for _, p := range []*Partition{cached, slow} {
		e.produce(p, batch(1, 10, 1))
		e.archive(p, 1, 1)
	}
	gate := make(chan struct{})
	e.arch.gate[slow.id], e.arch.cached[cached.id] = gate, true
	req := FetchRequest{MaxBytes: 1 << 20, MinBytes: 1, MaxWait: time.Hour,
		Partitions: []FetchPartition{from(slow, 0, 1000), from(cached, 0, 1000), from(live, 0, 1000)}}
	for range 3 {
		a := e.fetch(req)
		require.Empty(t, a.data[0])
		require.Zero(t, a.results[0].Error, "late is no error")
		require.Equal(t, []int64{0}, offsetsIn(t, a.data[1]))
	}
	close(gate)
	eventually(t, func() bool { return len(e.fetch(req).data[0]) > 0 })
	eventually(t, func() bool { return e.arch.handed.Load() == e.arch.released.Load() })
}

// A fetch that gets no place to read the cache in, because the disk is slow, has workers read it. Fetches that wait for the
// disk to find local records are no reason: they have places of their own.
func TestSlowDiskHoldsUpNoCachedPartition(t *testing.T) {
	e := newEnv(t, func(o *Options) { o.DiskWaits = 1; o.ColdGrace = time.Millisecond; o.Tuning.ColdWait = time.Hour })
	e.create("t", 2)
	stuck, cached := e.partition("t", 0), e.partition("t", 1)
	gate := make(chan struct{})
	for _, p := range []*Partition{stuck, cached} {
		e.produce(p, batch(1, 10, 1))
		e.archive(p, 1, 1)
		e.arch.cached[p.id] = true
	}
	ready := make(chan struct{})
	close(ready)
	e.arch.stuck[stuck.id], e.arch.stuck[cached.id] = gate, ready // both lie on the disk
	got := make(chan answer, 1)
	e.start(context.Background(), one(stuck, 0), got)
	eventually(t, func() bool { return len(e.m.diskCold) == 1 })
	require.Equal(t, []int64{0}, offsetsIn(t, e.fetch(one(cached, 0)).data[0]))
	require.Zero(t, e.arch.answered(), "a worker read it")
	require.Empty(t, got)
	close(gate)
	require.Equal(t, []int64{0}, offsetsIn(t, (<-got).data[0]))

	e.m.disk <- struct{}{}
	require.Equal(t, []int64{0}, offsetsIn(t, e.fetch(one(cached, 0)).data[0]))
	require.Equal(t, 2, e.arch.answered())
	<-e.m.disk
}

// What need not be waited for is answered on the goroutine that asks, like local records.
func TestCachedRecordsAreAnsweredAtOnce(t *testing.T) {
	e := newEnv(t)
	e.create("t", 2)
	old, live := e.partition("t", 0), e.partition("t", 1)
	for _, p := range []*Partition{old, live} {
		e.produce(p, batch(1, 10, 1))
	}
	e.archive(old, 1, 1)
	e.arch.cached[old.id] = true
	req := FetchRequest{MaxBytes: 1 << 20, MinBytes: 1, Partitions: []FetchPartition{from(old, 0, 1000), from(live, 0, 1000)}}
	got := make(chan answer, 1)
	e.start(context.Background(), req, got)
	require.Len(t, got, 1, "before Fetch has come back")
	a := <-got
	require.Equal(t, []int64{0}, offsetsIn(t, a.data[0]))
	require.Equal(t, []int64{0}, offsetsIn(t, a.data[1]))

	turns := 0
	wait := func(int) time.Duration { turns++; return time.Hour }
	e.arch.turn.Store(&wait)
	gone, cancel := context.WithCancel(context.Background())
	e.start(gone, one(old, 0), got)
	require.Empty(t, got, "its turn is waited for elsewhere")
	require.Equal(t, 1, turns)
	cancel()
	require.Equal(t, []int64{0}, offsetsIn(t, (<-got).data[0]))
	require.Equal(t, 1, turns, "bytes have one turn")
	eventually(t, func() bool { return e.arch.handed.Load() == e.arch.released.Load() })
}

// A partition that this fetch does not read, because there are too many archived ones, has no news for it: the others are
// still waited for.
func TestPartitionsLeftOutHaveNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, func(o *Options) { o.ColdParts = 1; o.ColdGrace = time.Millisecond; o.Tuning.ColdWait = time.Hour })
		e.create("t", 2)
		slow, left := e.partition("t", 0), e.partition("t", 1)
		for _, p := range []*Partition{slow, left} {
			e.produce(p, batch(1, 10, 1))
			e.archive(p, 1, 1)
		}
		gate := make(chan struct{})
		e.arch.gate[slow.id] = gate
		got := make(chan answer, 1)
		e.start(context.Background(), FetchRequest{MaxBytes: 1 << 20, MinBytes: 1, MaxWait: time.Hour,
			Partitions: []FetchPartition{from(slow, 0, 1000), from(left, 0, 1000)}}, got)
		time.Sleep(time.Minute) // news would end the wait after the grace
		require.Empty(t, got)
		close(gate)
		require.Equal(t, []int64{0}, offsetsIn(t, (<-got).data[0]))
	})
}

// Fetches that use each other's memory again, beside reads that outlive theirs, answer with what was asked for, and let go of
// each answer of the archive once.
func TestLateReadsLeaveLaterFetchesAlone(t *testing.T) {
	e := newEnv(t, func(o *Options) { o.ColdGrace = 50 * time.Microsecond; o.Tuning.ColdWait = 200 * time.Microsecond })
	e.create("t", 6)
	var parts []*Partition
	for i := range int32(6) {
		p := e.partition("t", i)
		e.produce(p, batch(1, 100+int(i), 1)) // to be told by its size
		if i < 5 {
			e.archive(p, 1, 1)
		}
		e.arch.cached[p.id] = i < 2
		parts = append(parts, p)
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { // reads are held up now and then
		for rnd := rand.New(rand.NewPCG(1, 1)); ; {
			gate := make(chan struct{})
			e.arch.mu.Lock()
			for i := 2; i < 5; i++ {
				delete(e.arch.gate, parts[i].id)
				if rnd.IntN(2) == 0 {
					e.arch.gate[parts[i].id] = gate
				}
			}
			e.arch.mu.Unlock()
			select {
			case <-time.After(time.Duration(rnd.IntN(300)) * time.Microsecond):
				close(gate)
			case <-stop:
				close(gate)
				return
			}
		}
	})
	var clients sync.WaitGroup
	for c := range uint64(4) {
		clients.Go(func() {
			rnd := rand.New(rand.NewPCG(2, c))
			for range 300 {
				req := FetchRequest{MaxBytes: 1 << 20, MinBytes: 1}
				order := rnd.Perm(6)[:1+rnd.IntN(6)]
				for _, i := range order {
					req.Partitions = append(req.Partitions, from(parts[i], int64(i/5), 1000)) // the local one: its end
				}
				ctx, cancel := context.WithCancel(context.Background())
				got := make(chan answer, 1)
				e.start(ctx, req, got)
				if rnd.IntN(4) == 0 {
					cancel()
				}
				a := <-got
				cancel()
				for n, i := range order {
					if size := len(batch(1, 100+i, 1)); a.results[n].Error != 0 || len(a.data[n]) != 0 && len(a.data[n]) != size {
						t.Errorf("partition %d: error %d, %d bytes", i, a.results[n].Error, len(a.data[n]))
					}
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	all.Wait()
	eventually(t, func() bool { return e.arch.handed.Load() == e.arch.released.Load() })
}

// A wake-up that is on its way when a wait ends does not reach the next one.
func TestLateNewsIsNoNewsForTheNextFetch(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	p := e.partition("t", 0)
	e.produce(p, batch(1, 10, 1))
	f := newFetch(e.m, context.Background(), one(p, 1), nil)
	log, err := p.opened()
	require.NoError(t, err)
	f.results, f.views = []FetchResult{{next: 1}}, []view{{log: log, limit: 1}}
	came := f.hotNews()
	require.Equal(t, came, f.hotNews())
	f.stopWaiting()
	require.Equal(t, came, f.hotNews(), "it is used again")

	late := f.news
	p.mu.Lock()
	require.True(t, p.core.unpark(&late.tickets[0].w)) // as who wakes it does first
	p.mu.Unlock()
	f.stopWaiting()
	next := f.hotNews()
	late.Wake(0)
	require.Empty(t, next)
	e.produce(p, batch(1, 10, 1))
	<-next
	f.stopWaiting()
	require.NotEmpty(t, f.hotNews(), "what came before is told at once")
	f.stopWaiting()
	require.Empty(t, f.news.came, "what was not taken is forgotten")
}
