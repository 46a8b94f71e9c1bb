package partition

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/tier/record"
)

// offsetsIn lists the base offsets of the batches in b.
func offsetsIn(t *testing.T, b []byte) (out []int64) {
	t.Helper()
	it := record.Batches(b)
	for it.Next() {
		out = append(out, it.Header().BaseOffset)
	}
	require.NoError(t, it.Err())
	return out
}

func one(p *Partition, offset int64) FetchRequest {
	return FetchRequest{MaxBytes: 1 << 20, MinBytes: 1, Partitions: []FetchPartition{from(p, offset, 1<<20)}}
}

// I-18: a partition whose log is archived and trimmed in part answers, at every offset, what an all-local one answers,
// the seam and its neighbours included; and one answer comes from one side.
func TestHalfColdAnswersLikeAllHot(t *testing.T) {
	e := newEnv(t)
	e.create("hot", 1)
	e.create("half", 1)
	hot, half := e.partition("hot", 0), e.partition("half", 0)
	for i := range 8 {
		n := 1 + i%3
		e.produce(hot, batch(n, 20, int64(1000+50*i)))
		e.produce(half, batch(n, 20, int64(1000+50*i)))
		log, _ := half.opened()
		require.NoError(t, log.Roll())
	}
	end := hot.HighWatermark()
	e.archive(half, 12, 9)
	log, _ := half.opened()
	require.EqualValues(t, 9, log.LocalStart())
	read := func(p *Partition, offset int64) (data []byte) {
		for offset < end { // all of it, whatever single answers hold
			a := e.fetch(one(p, offset))
			require.Zero(t, a.results[0].Error, "offset %d", offset)
			require.NotEmpty(t, a.data[0])
			data = append(data, a.data[0]...)
			it := record.Batches(a.data[0])
			for it.Next() {
				offset = it.Header().NextOffset()
			}
		}
		return data
	}
	for offset := range end {
		require.Equal(t, read(hot, offset), read(half, offset), "offset %d", offset)
	}
	ctx := context.Background()
	for ts := int64(990); ts < 1400; ts += 7 {
		q := OffsetQuery{Timestamp: ts, LeaderEpoch: -1}
		a, err := hot.ListOffset(ctx, q)
		require.NoError(t, err)
		b, err := half.ListOffset(ctx, q)
		require.NoError(t, err)
		require.Equal(t, a, b, "timestamp %d", ts)
	}
	for _, ts := range []int64{Latest, Earliest, MaxTimestamp} {
		a, err := hot.ListOffset(ctx, OffsetQuery{Timestamp: ts, LeaderEpoch: -1})
		require.NoError(t, err)
		b, err := half.ListOffset(ctx, OffsetQuery{Timestamp: ts, LeaderEpoch: -1})
		require.NoError(t, err)
		require.Equal(t, a, b, "timestamp %d", ts)
	}
	special := map[int64]int64{EarliestLocal: 9, LatestTiered: 11, EarliestPendingUpload: 12}
	for ts, want := range special {
		got, err := half.ListOffset(ctx, OffsetQuery{Timestamp: ts, LeaderEpoch: -1})
		require.NoError(t, err)
		require.Equal(t, Position{Offset: want, Timestamp: -1, Epoch: 3}, got)
	}
	a := e.fetch(one(half, end+1))
	require.Equal(t, kerr.OffsetOutOfRange.Code, a.results[0].Error)
	require.EqualValues(t, end, a.results[0].HighWatermark)
	require.EqualValues(t, 0, a.results[0].LogStart)
}

// I-24: without transactions a cold fetch asks the archive for records and nothing else.
func TestColdFetchAsksOnlyForRecords(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	p := e.partition("t", 0)
	for range 3 {
		e.produce(p, batch(1, 10, 1))
	}
	e.archive(p, 3, 3)
	e.arch.others, e.arch.reads = 0, 0
	a := e.fetch(one(p, 0))
	require.Equal(t, []int64{0, 1, 2}, offsetsIn(t, a.data[0]))
	require.Equal(t, 1, e.arch.reads)
	require.Zero(t, e.arch.others)
	require.Equal(t, e.arch.handed.Load(), e.arch.released.Load())
}

// Where producers are to go first, an answer from the archive waits for its turn; local records, there already or new, do not
// wait with it.
func TestColdAnswersTakeTurns(t *testing.T) {
	e := newEnv(t)
	e.create("t", 2)
	old, live := e.partition("t", 0), e.partition("t", 1)
	for range 3 {
		e.produce(old, batch(1, 10, 1))
	}
	e.archive(old, 3, 3)
	var bytes atomic.Int64
	hour := func(n int) time.Duration { bytes.Store(int64(n)); return time.Hour }
	e.arch.turn.Store(&hour)
	both := FetchRequest{MaxBytes: 1 << 20, MinBytes: 1, MaxWait: time.Millisecond, Partitions: []FetchPartition{from(old, 0, 1<<20), from(live, 0, 1<<20)}}

	got := make(chan answer, 1)
	e.start(context.Background(), both, got)
	eventually(t, func() bool { return bytes.Load() > 0 })
	require.Empty(t, got)
	e.produce(live, batch(1, 10, 1))
	a := <-got
	require.Equal(t, []int64{0, 1, 2}, offsetsIn(t, a.data[0]))
	require.Equal(t, []int64{0}, offsetsIn(t, a.data[1]), "new local records end the wait, and are in the answer")
	require.EqualValues(t, len(a.data[0]), bytes.Load())
	waited := e.arch.yielded.Load()
	require.Positive(t, waited)
	require.Less(t, waited, int64(time.Hour), "what was waited counts, not what could have been")

	a = e.fetch(both)
	require.Equal(t, []int64{0}, offsetsIn(t, a.data[1]), "what is local does not wait")
	require.Equal(t, waited, e.arch.yielded.Load())

	ctx, gone := context.WithCancel(context.Background())
	bytes.Store(0)
	e.start(ctx, one(old, 0), got)
	eventually(t, func() bool { return bytes.Load() > 0 })
	gone()
	<-got // a client that went away is not waited for

	none := func(int) time.Duration { return 0 }
	e.arch.turn.Store(&none)
	require.Equal(t, []int64{0, 1, 2}, offsetsIn(t, e.fetch(one(old, 0)).data[0]))
	eventually(t, func() bool { return e.arch.handed.Load() == e.arch.released.Load() })
}

// I-21: an answer is at most max.bytes plus one batch, over hot and cold partitions, and several cold ones make
// progress in one fetch.
func TestAnswersStayWithinMaxBytes(t *testing.T) {
	e := newEnv(t, func(o *Options) { o.ColdGrace = time.Hour }) // every read is waited for, however busy the machine is
	e.create("t", 6)
	size := len(batch(1, 1000, 1))
	var parts []*Partition
	for i := range int32(6) {
		p := e.partition("t", i)
		for range 10 {
			e.produce(p, batch(1, 1000, 1))
		}
		if i < 3 {
			e.archive(p, 10, 10)
		}
		parts = append(parts, p)
	}
	for _, max := range []int{0, 1, size, 3 * size, 7*size + 5, 20 * size} {
		for rotation := range 6 {
			req := FetchRequest{MaxBytes: max, MinBytes: 1}
			for i := range 6 {
				req.Partitions = append(req.Partitions, from(parts[(i+rotation)%6], 0, 5*size))
			}
			a := e.fetch(req)
			total, served, first := 0, 0, -1
			for i, r := range a.results {
				require.Zero(t, r.Error)
				require.Len(t, a.data[i], r.Bytes)
				require.LessOrEqual(t, r.Bytes, 5*size)
				total += r.Bytes
				if r.Bytes > 0 {
					served++
					if first < 0 {
						first = i
					}
				}
			}
			if max >= size {
				require.LessOrEqual(t, total, max)
			} else {
				require.Equal(t, size, total, "one batch, so that the client gets on")
			}
			require.Zero(t, first, "who is first in turn is served, whatever the others have")
			if max >= 6*size {
				require.GreaterOrEqual(t, served, 2)
			}
		}
	}
	require.Equal(t, e.arch.handed.Load(), e.arch.released.Load())
	req := FetchRequest{MaxBytes: 30 * size, MinBytes: 1}
	for i := range 3 {
		req.Partitions = append(req.Partitions, from(parts[i], 0, 5*size))
	}
	for i, d := range e.fetch(req).data {
		require.NotEmpty(t, d, "cold partition %d makes progress", i)
	}
}

// Hot partitions of a fetch do not wait for a cold one whose store stalls, and the cold one goes on when it is back.
func TestSlowArchiveHoldsUpNobody(t *testing.T) {
	e := newEnv(t, func(o *Options) { o.Tuning.ColdWait = time.Hour })
	e.create("t", 3)
	slow, warm, idle := e.partition("t", 0), e.partition("t", 1), e.partition("t", 2)
	for _, p := range []*Partition{slow, warm, idle} {
		e.produce(p, batch(1, 10, 1))
	}
	e.archive(slow, 1, 1)
	gate := make(chan struct{})
	e.arch.gate[slow.id] = gate
	req := FetchRequest{MaxBytes: 1 << 20, MinBytes: 1, MaxWait: time.Hour,
		Partitions: []FetchPartition{from(slow, 0, 1000), from(warm, 0, 1000)}}
	a := e.fetch(req)
	require.Empty(t, a.data[0])
	require.Zero(t, a.results[0].Error, "late is no error")
	require.NotEmpty(t, a.data[1])

	// Records that come while only the archive is waited for are answered, too.
	got := make(chan answer, 1)
	req.Partitions[1] = from(idle, 1, 1000)
	e.start(context.Background(), req, got)
	e.produce(idle, batch(1, 10, 1))
	a = <-got
	require.Equal(t, []int64{1}, offsetsIn(t, a.data[1]))

	e.start(context.Background(), FetchRequest{MaxBytes: 1 << 20, MinBytes: 1, MaxWait: time.Hour, Partitions: []FetchPartition{from(slow, 0, 1000)}}, got)
	close(gate)
	require.Equal(t, []int64{0}, offsetsIn(t, (<-got).data[0]))
	e.arch.mu.Lock()
	e.arch.fail = errors.New("the store answers nonsense")
	e.arch.mu.Unlock()
	a = e.fetch(one(slow, 0))
	require.Equal(t, kerr.KafkaStorageError.Code, a.results[0].Error)
}

// A fetch waits for min.bytes, is woken by appends of any of its partitions, and gives up after its wait.
func TestFetchWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t)
		defer e.close()
		e.create("t", 2)
		p, q := e.partition("t", 0), e.partition("t", 1)
		e.produce(p, batch(1, 10, 1))
		e.produce(q, batch(1, 10, 1))
		size := len(batch(1, 10, 1))

		got := make(chan answer, 1)
		begin := time.Now()
		e.start(context.Background(), FetchRequest{MaxWait: time.Minute, MinBytes: 1, MaxBytes: 1 << 20,
			Partitions: []FetchPartition{from(p, 1, 1000), from(q, 1, 1000)}}, got)
		synctest.Wait()
		require.Empty(t, got)
		e.produce(q, batch(1, 10, 1))
		a := <-got
		require.Equal(t, []int64{1}, offsetsIn(t, a.data[1]))
		require.Less(t, time.Since(begin), time.Minute)

		// Two more bytes than one batch: one append is not enough, two are.
		e.start(context.Background(), FetchRequest{MaxWait: time.Hour, MinBytes: size + 2, MaxBytes: 1 << 20,
			Partitions: []FetchPartition{from(p, 1, 1000), from(q, 2, 1000)}}, got)
		e.produce(p, batch(1, 10, 1))
		synctest.Wait()
		require.Empty(t, got)
		e.produce(q, batch(1, 10, 1))
		a = <-got
		require.Len(t, a.data[0], size)
		require.Len(t, a.data[1], size)

		begin = time.Now()
		a = e.fetch(FetchRequest{MaxWait: time.Minute, MinBytes: 1, MaxBytes: 1 << 20, Partitions: []FetchPartition{from(p, 2, 1000)}})
		require.Equal(t, time.Minute, time.Since(begin))
		require.Empty(t, a.data[0])
		require.EqualValues(t, 2, a.results[0].HighWatermark)

		// More than the limits allow to collect: waiting would bring nothing.
		begin = time.Now()
		a = e.fetch(FetchRequest{MaxWait: time.Minute, MinBytes: 10000, MaxBytes: 1 << 20, Partitions: []FetchPartition{from(p, 0, size)}})
		require.Zero(t, time.Since(begin))
		require.Len(t, a.data[0], size)

		// The client goes: its fetch ends.
		ctx, cancel := context.WithCancel(context.Background())
		e.start(ctx, FetchRequest{MaxWait: time.Hour, MinBytes: 1, MaxBytes: 1 << 20, Partitions: []FetchPartition{from(p, 2, 1000)}}, got)
		cancel()
		<-got

		// An error is told at once; an unknown partition alone is no reason to hurry the others' fetch.
		begin = time.Now()
		a = e.fetch(FetchRequest{MaxWait: time.Minute, MinBytes: 1, MaxBytes: 1 << 20, Partitions: []FetchPartition{from(p, 2, 1000), from(q, 99, 1000)}})
		require.Zero(t, time.Since(begin))
		require.Equal(t, kerr.OffsetOutOfRange.Code, a.results[1].Error)
		unknown := FetchPartition{Err: kerr.UnknownTopicOrPartition.Code}
		a = e.fetch(FetchRequest{MaxWait: time.Minute, MinBytes: 1, MaxBytes: 1 << 20, Partitions: []FetchPartition{unknown, from(p, 2, 1000)}})
		require.Equal(t, time.Minute, time.Since(begin))
		require.Equal(t, kerr.UnknownTopicOrPartition.Code, a.results[0].Error)

		// A manager that drains lets nobody wait: neither who is parked nor who comes now.
		begin = time.Now()
		e.start(context.Background(), FetchRequest{MaxWait: time.Hour, MinBytes: 1, MaxBytes: 1 << 20, Partitions: []FetchPartition{from(p, 2, 1000)}}, got)
		synctest.Wait()
		e.m.Drain()
		require.Zero(t, (<-got).results[0].Error)
		a = e.fetch(FetchRequest{MaxWait: time.Hour, MinBytes: 1, MaxBytes: 1 << 20, Partitions: []FetchPartition{from(p, 2, 1000)}})
		require.Zero(t, a.results[0].Error)
		require.Zero(t, time.Since(begin))
		e.m.waits, e.m.drain = context.WithCancel(context.Background()) // as if it had not been

		// A manager that closes answers what is parked.
		e.start(context.Background(), FetchRequest{MaxWait: time.Hour, MinBytes: 1, MaxBytes: 1 << 20, Partitions: []FetchPartition{from(p, 2, 1000)}}, got)
		synctest.Wait()
		e.close()
		require.Equal(t, kerr.NotLeaderForPartition.Code, (<-got).results[0].Error)
	})
}

// I-04: a fetch never shows what the high watermark does not cover.
func TestFetchStopsAtTheHighWatermark(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	p := e.partition("t", 0)
	e.produce(p, batch(1, 10, 1))
	log, _ := p.opened()
	p.hw.Store(1)
	held := stableLog{Log: log, stable: 1}
	var l Log = held
	p.log.Store(&l) // the flush of what follows never comes
	b := batch(1, 10, 1)
	h, _ := record.Check(b)
	_, err := p.Append(b, h, false)
	require.NoError(t, err)
	require.EqualValues(t, 2, log.End())
	a := e.fetch(one(p, 0))
	require.Equal(t, []int64{0}, offsetsIn(t, a.data[0]))
	a = e.fetch(one(p, 2))
	require.Zero(t, a.results[0].Error, "between watermark and end there is nothing to show yet")
	require.Empty(t, a.data[0])
	pos, err := p.ListOffset(context.Background(), OffsetQuery{Timestamp: Latest, LeaderEpoch: -1})
	require.NoError(t, err)
	require.EqualValues(t, 1, pos.Offset)
}

// stableLog is a log whose stable offset stands still.
type stableLog struct {
	Log
	stable int64
}

func (l stableLog) Stable() int64 { return l.stable }

// I-17: where the archive has nothing left up to its end, the next batch that exists answers, beyond the seam.
func TestGapAtTheEndOfTheArchive(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	p := e.partition("t", 0)
	for range 5 {
		e.produce(p, batch(1, 10, 1))
		log, _ := p.opened()
		require.NoError(t, log.Roll())
	}
	e.archive(p, 4, 4)
	e.arch.batches[p.id] = e.arch.batches[p.id][:2] // offsets 2 and 3 were compacted away
	require.Equal(t, []int64{0, 1}, offsetsIn(t, e.fetch(one(p, 0)).data[0]))
	require.Equal(t, []int64{4}, offsetsIn(t, e.fetch(one(p, 2)).data[0]))
}
