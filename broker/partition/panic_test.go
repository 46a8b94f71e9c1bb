package partition

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/topic"
)

// brittle is a disk whose logs panic when they are opened or read.
type brittle struct {
	Disk
	open, try, read atomic.Bool
	waits           atomic.Bool // a read has to wait for the disk
}

func (d *brittle) Open(p topic.Partition, cfg *hot.Config) (Log, error) {
	if d.open.Load() {
		panic("nobody has thought of such a file")
	}
	l, err := d.Disk.Open(p, cfg)
	return brittleLog{l, d}, err
}

type brittleLog struct {
	Log
	d *brittle
}

func (l brittleLog) TryReadTo(d *hot.Data, offset, limit int64, maxBytes int, atLeastOne bool) error {
	if l.d.try.Load() {
		panic("nobody has thought of such a batch")
	}
	if l.d.waits.Load() {
		return disk.ErrWait
	}
	return l.Log.TryReadTo(d, offset, limit, maxBytes, atLeastOne)
}

func (l brittleLog) ReadTo(d *hot.Data, offset, limit int64, maxBytes int, atLeastOne bool) error {
	if l.d.read.Load() {
		panic("nobody has thought of such a batch")
	}
	return l.Log.ReadTo(d, offset, limit, maxBytes, atLeastOne)
}

func newBrittleEnv(t *testing.T) (*env, *brittle) {
	e, d := newEnv(t), new(brittle)
	e.close()
	e.open(func(o *Options) {
		d.Disk = o.Disk
		o.Disk = d
		o.Tuning.ColdWait = time.Hour
	})
	return e, d
}

// I-32: a panic while a fetch reads, on whatever goroutine, is that fetch's alone: it is answered with an error, and what it held is
// given back.
func TestFetchThatPanics(t *testing.T) {
	e, d := newBrittleEnv(t)
	e.create("t", 2)
	e.create("closed", 2)
	e.create("old", 1)
	p, other, old := e.partition("t", 0), e.partition("t", 1), e.partition("old", 0)
	for _, p := range []*Partition{p, other, old} {
		e.produce(p, batch(1, 100, 1))
	}
	e.archive(old, 1, 1)
	both := func(name string) FetchRequest {
		return FetchRequest{MaxBytes: 1 << 20, MinBytes: 1, Partitions: []FetchPartition{from(e.partition(name, 0), 0, 1<<20), from(e.partition(name, 1), 0, 1<<20)}}
	}
	for name, c := range map[string]struct {
		panics []*atomic.Bool
		req    FetchRequest
		cached bool
	}{
		"at once":                {panics: []*atomic.Bool{&d.try}, req: both("t")},
		"when the disk is asked": {panics: []*atomic.Bool{&d.waits, &d.read}, req: both("t")},
		"when logs are opened":   {panics: []*atomic.Bool{&d.open}, req: both("closed")},
		"in the cache":           {panics: []*atomic.Bool{&e.arch.panics}, req: one(old, 0), cached: true},
		"in the archive":         {panics: []*atomic.Bool{&e.arch.panics}, req: one(old, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			e.arch.mu.Lock()
			e.arch.cached[old.id] = c.cached
			e.arch.mu.Unlock()
			for _, b := range c.panics {
				b.Store(true)
			}
			for _, r := range e.fetch(c.req).results {
				require.Equal(t, kerr.KafkaStorageError.Code, r.Error)
			}
			for _, b := range c.panics {
				b.Store(false)
			}
			eventually(t, func() bool { return len(e.m.disk)+len(e.m.diskCold)+len(e.m.cold) == 0 })
			for _, r := range e.fetch(c.req).results {
				require.Zero(t, r.Error)
			}
		})
	}
	t.Run("when it is woken", func(t *testing.T) {
		d.try.Store(true)
		req, got := one(p, 1), make(chan answer, 1)
		req.MaxWait = time.Hour
		e.start(context.Background(), req, got)
		eventually(t, func() bool { return e.parked() == 1 })
		e.produce(p, batch(1, 100, 1))
		require.Equal(t, kerr.KafkaStorageError.Code, (<-got).results[0].Error)
		d.try.Store(false)
		require.Equal(t, []int64{1}, offsetsIn(t, e.fetch(one(p, 1)).data[0]))
	})
}

// I-32: a panic while several logs are opened for a request is told to whom it is done for.
func TestPrepareThatPanics(t *testing.T) {
	e, d := newBrittleEnv(t)
	e.create("t", 2)
	two := []*Partition{e.partition("t", 0), e.partition("t", 1)}
	d.open.Store(true)
	require.Panics(t, func() { e.m.Prepare(two) })
	d.open.Store(false)
	e.m.Prepare(two)
	for _, p := range two {
		require.True(t, p.Ready())
	}
}
