package partition

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// slowDisk is a disk that has nothing of one partition's segments in the page cache once it is stuck: reads that may not
// wait say so, and those that may wait until it is released.
type slowDisk struct {
	*disk.Faulty
	folder string

	mu        sync.Mutex
	released  chan struct{} // nil: not stuck; guarded by mu
	now, most int           // reads that wait; guarded by mu
}

func newSlowDisk(fsys disk.FS, folder string) *slowDisk {
	d := &slowDisk{Faulty: disk.NewFaulty(fsys, nil), folder: folder}
	d.SetHook(d.hook)
	return d
}

func (d *slowDisk) hook(c disk.Call) disk.Fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	released := d.released
	if released == nil || !strings.Contains(c.Name, d.folder) || filepath.Ext(c.Name) != ".log" {
		return disk.Fault{}
	}
	switch c.Op {
	case disk.OpReadNow:
		return disk.Fault{Err: disk.ErrWait}
	case disk.OpRead, disk.OpOpen:
		d.now++
		d.most = max(d.most, d.now)
		d.mu.Unlock()
		<-released
		d.mu.Lock()
		d.now--
	}
	return disk.Fault{}
}

func (d *slowDisk) stick() {
	d.mu.Lock()
	d.released = make(chan struct{})
	d.mu.Unlock()
}

// release lets reads go on that wait; those that may not are still told that nothing is there.
func (d *slowDisk) release() {
	d.mu.Lock()
	close(d.released)
	d.mu.Unlock()
}

func (d *slowDisk) waiting() (now, most int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now, d.most
}

// newSlowEnv has a topic of two partitions with some batches of one record in each; the first one's segments lie on a disk
// that can be made to stick.
func newSlowEnv(t *testing.T, change ...func(*Options)) (e *env, d *slowDisk, slow, fast *Partition) {
	e = newEnv(t)
	e.close()
	d = newSlowDisk(e.fs, "t-0")
	e.fs = d
	e.open(change...)
	e.create("t", 2, "flush.messages", "9223372036854775807") // a flush may read what it writes to its journal
	slow, fast = e.partition("t", 0), e.partition("t", 1)
	for range 40 {
		e.produce(slow, batch(1, 100, 1))
		e.produce(fast, batch(1, 100, 1))
	}
	return e, d, slow, fast
}

// A fetch that has to wait for the disk to find its records lets the goroutine go on that asked for it: whatever else is
// asked is answered meanwhile. The fetch is answered like any other once the disk has answered.
func TestFetchDoesNotWaitForTheDisk(t *testing.T) {
	e, d, slow, fast := newSlowEnv(t)
	d.stick()
	got, both, more := make(chan answer, 1), make(chan answer, 1), make(chan answer, 1)
	e.start(context.Background(), one(slow, 10), got)
	e.start(context.Background(), FetchRequest{MaxWait: time.Hour, MinBytes: 1, MaxBytes: 1 << 20,
		Partitions: []FetchPartition{from(fast, 38, 1<<20), from(slow, 20, 1<<20)}}, both)
	e.start(context.Background(), FetchRequest{MaxWait: time.Hour, MinBytes: 10_000, MaxBytes: 1 << 20,
		Partitions: []FetchPartition{from(slow, 30, 1<<20)}}, more)
	eventually(t, func() bool { now, _ := d.waiting(); return now == 3 })

	require.Equal(t, []int64{39}, offsetsIn(t, e.fetch(one(fast, 39)).data[0]))
	require.EqualValues(t, 40, e.produce(slow, batch(1, 7000, 1)), "the same partition takes records")
	pos, err := slow.ListOffset(context.Background(), OffsetQuery{Timestamp: Latest, LeaderEpoch: -1})
	require.NoError(t, err)
	require.EqualValues(t, 41, pos.Offset)
	require.Empty(t, got)

	d.release()
	a := <-got
	require.Equal(t, offsetRange(10, 40), offsetsIn(t, a.data[0]))
	require.EqualValues(t, 40, a.results[0].HighWatermark, "of when it was asked")
	a = <-both
	require.Equal(t, offsetRange(38, 40), offsetsIn(t, a.data[0]))
	require.Equal(t, offsetRange(20, 40), offsetsIn(t, a.data[1]))
	require.Empty(t, more, "it waits for as many bytes as it asked for")
	e.produce(slow, batch(1, 1500, 1))
	require.Equal(t, offsetRange(30, 42), offsetsIn(t, (<-more).data[0]))
	eventually(t, func() bool { return len(e.m.disk) == 0 })
}

// So many fetches and no more wait for the disk at once. Who comes to its end before its turn is answered without.
func TestFetchesThatWaitForTheDiskAreBounded(t *testing.T) {
	e, d, slow, _ := newSlowEnv(t, func(o *Options) { o.DiskWaits = 2 })
	d.stick()
	got := make(chan answer, 6)
	for i := range int64(5) {
		e.start(context.Background(), one(slow, 10+i), got)
	}
	eventually(t, func() bool { now, _ := d.waiting(); return now == 2 })
	ctx, cancel := context.WithCancel(context.Background())
	e.m.Fetch(ctx, one(slow, 3), FetcherFunc(func(results []FetchResult, release func()) {
		a := answer{results: append([]FetchResult(nil), results...)}
		release()
		got <- a
	}))
	cancel()
	a := <-got
	require.Zero(t, a.results[0].Error)
	require.Zero(t, a.results[0].Bytes)
	d.release()
	for range 5 {
		require.NotEmpty(t, (<-got).data[0])
	}
	_, most := d.waiting()
	require.Equal(t, 2, most)
}

// Fetches that go on from the archive to local records wait for the disk like others: so many and no more at once. Who gets
// no turn is answered without.
func TestFetchesThatWaitBeyondTheSeamAreBounded(t *testing.T) {
	e, d, slow, _ := newSlowEnv(t, func(o *Options) { o.DiskWaits, o.ColdGrace, o.Tuning.ColdWait = 2, time.Hour, time.Millisecond })
	e.archive(slow, 40, 40)
	e.arch.cached[slow.id] = true
	e.arch.batches[slow.id] = e.arch.batches[slow.id][:30] // the others were compacted away
	for range 20 {
		e.produce(slow, batch(1, 100, 1))
	}
	beyond := one(slow, 35)
	beyond.Partitions[0].MaxBytes = 500 // of which the last batch is looked for
	d.stick()
	got := make(chan answer, 5)
	for range 5 {
		e.start(context.Background(), beyond, got)
	}
	eventually(t, func() bool { now, _ := d.waiting(); return now == 2 })
	for range 3 {
		a := <-got
		require.Empty(t, a.data[0])
		require.Zero(t, a.results[0].Error)
	}
	d.release()
	for range 2 {
		require.EqualValues(t, 40, offsetsIn(t, (<-got).data[0])[0])
	}
	_, most := d.waiting()
	require.Equal(t, 2, most)
	eventually(t, func() bool { return len(e.m.disk) == 0 })
}

// A fetch whose turn to wait for the disk does not come is answered in time, without.
func TestFetchThatGetsNoTurnIsAnswered(t *testing.T) {
	e, d, slow, _ := newSlowEnv(t, func(o *Options) { o.DiskWaits = 1; o.Tuning.ColdWait = time.Millisecond })
	d.stick()
	first := make(chan answer, 1)
	e.start(context.Background(), one(slow, 10), first)
	eventually(t, func() bool { now, _ := d.waiting(); return now == 1 })
	req := one(slow, 10)
	require.Empty(t, e.fetch(req).data[0])
	req.MaxWait = time.Hour
	patient := make(chan answer, 1)
	e.start(context.Background(), req, patient)
	require.Empty(t, e.fetch(one(slow, 10)).data[0])
	require.Empty(t, patient, "it waits as long as its client would")
	d.release()
	require.Equal(t, offsetRange(10, 40), offsetsIn(t, (<-first).data[0]))
	require.Equal(t, offsetRange(10, 40), offsetsIn(t, (<-patient).data[0]))
}

// The end of the manager waits for no disk. Fetches that have not got their turn are answered, the others as soon as the
// disk has answered, and nothing of them is left.
func TestCloseWhileFetchesWaitForTheDisk(t *testing.T) {
	e, d, slow, _ := newSlowEnv(t, func(o *Options) { o.DiskWaits = 1 })
	d.stick()
	got := make(chan answer, 2)
	e.start(context.Background(), one(slow, 10), got)
	eventually(t, func() bool { now, _ := d.waiting(); return now == 1 })
	e.start(context.Background(), one(slow, 20), got)
	m := e.m
	m.Close()
	require.Empty(t, (<-got).data[0])
	require.Empty(t, got)
	d.release()
	require.Equal(t, offsetRange(10, 40), offsetsIn(t, (<-got).data[0]))
	eventually(t, func() bool { return len(m.disk) == 0 })
}

func offsetRange(from, to int64) (offsets []int64) {
	for ; from < to; from++ {
		offsets = append(offsets, from)
	}
	return offsets
}
