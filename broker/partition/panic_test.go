package partition

import (
	"context"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/topic"
)

// brittle is a disk whose logs of partitions 0 panic when they are opened, made or read.
type brittle struct {
	Disk
	open, make, look, try, read atomic.Bool
	waits                       atomic.Bool  // a read has to wait for the disk
	opens                       atomic.Int32 // tries that panicked
	pinned                      []disk.File  // by reads that panicked
}

func (d *brittle) Open(p topic.Partition, cfg *hot.Config) (Log, error) {
	if p.Index == 0 && d.open.Load() {
		d.opens.Add(1)
		panic("nobody has thought of such a file")
	}
	l, err := d.Disk.Open(p, cfg)
	if p.Index > 0 {
		return l, err
	}
	return brittleLog{l, d}, err
}

type brittleLog struct {
	Log
	d *brittle
}

func (l brittleLog) Make() error {
	if l.d.make.Load() {
		panic("nobody has thought of such a folder")
	}
	return l.Log.Make()
}

func (l brittleLog) LocalStart() int64 {
	if l.d.look.Load() {
		panic("nobody has thought of such a start")
	}
	return l.Log.LocalStart()
}

// pin panics as one would who has found some records and goes on.
func (l brittleLog) pin(err error, d *hot.Data) {
	if err != nil {
		return
	}
	for _, r := range d.Regions {
		l.d.pinned = append(l.d.pinned, r.File)
	}
	panic("nobody has thought of such a batch")
}

func (l brittleLog) TryReadTo(d *hot.Data, offset, limit int64, maxBytes int, atLeastOne bool) error {
	if l.d.try.Load() {
		l.pin(l.Log.TryReadTo(d, offset, limit, maxBytes, atLeastOne), d)
	}
	if l.d.waits.Load() {
		return disk.ErrWait
	}
	return l.Log.TryReadTo(d, offset, limit, maxBytes, atLeastOne)
}

func (l brittleLog) ReadTo(d *hot.Data, offset, limit int64, maxBytes int, atLeastOne bool) error {
	if l.d.read.Load() {
		l.pin(l.Log.ReadTo(d, offset, limit, maxBytes, atLeastOne), d)
	}
	return l.Log.ReadTo(d, offset, limit, maxBytes, atLeastOne)
}

func newBrittleEnv(t *testing.T) (*env, *brittle) {
	e, d := newEnv(t), new(brittle)
	e.close()
	e.open(func(o *Options) {
		d.Disk = o.Disk
		o.Disk = d
		o.Tuning.ColdWait, o.ColdGrace = time.Hour, time.Minute // nothing is late
	})
	return e, d
}

// I-32: a panic while a fetch reads a partition, on whatever goroutine, is that partition's alone: it is answered with an error, the
// others with their records, and what was held for it is given back.
func TestFetchThatPanics(t *testing.T) {
	e, d := newBrittleEnv(t)
	e.create("t", 2)
	e.create("old", 2)
	p := e.partition("t", 0)
	for _, name := range []string{"t", "old"} {
		for i := range int32(2) {
			e.produce(e.partition(name, i), batch(1, 100, 1))
		}
	}
	for i := range int32(2) {
		e.archive(e.partition("old", i), 1, 1)
	}
	ready := make(chan struct{})
	close(ready)
	for name, c := range map[string]struct {
		panics []*atomic.Bool
		topic  string
		cached bool
		onDisk bool // of the cache
	}{
		"when it is looked at":   {panics: []*atomic.Bool{&d.look}, topic: "t"},
		"at once":                {panics: []*atomic.Bool{&d.try}, topic: "t"},
		"when the disk is asked": {panics: []*atomic.Bool{&d.waits, &d.read}, topic: "t"},
		"in the cache":           {panics: []*atomic.Bool{&e.arch.panics}, topic: "old", cached: true},
		"in the cache's disk":    {panics: []*atomic.Bool{&e.arch.panics}, topic: "old", cached: true, onDisk: true},
		"in the archive":         {panics: []*atomic.Bool{&e.arch.panics}, topic: "old"},
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := e.partition(c.topic, 0), e.partition(c.topic, 1)
			e.arch.mu.Lock()
			e.arch.cached[bad.id], e.arch.cached[good.id] = c.cached, c.cached
			delete(e.arch.stuck, bad.id)
			if c.onDisk {
				e.arch.stuck[bad.id] = ready
			}
			e.arch.mu.Unlock()
			req := FetchRequest{MaxBytes: 1 << 20, MinBytes: 1, Partitions: []FetchPartition{from(bad, 0, 1<<20), from(good, 0, 1<<20)}}
			for _, b := range c.panics {
				b.Store(true)
			}
			a := e.fetch(req)
			require.Equal(t, kerr.KafkaStorageError.Code, a.results[0].Error)
			require.Zero(t, a.results[1].Error)
			require.Equal(t, []int64{0}, offsetsIn(t, a.data[1]))
			for _, b := range c.panics {
				b.Store(false)
			}
			eventually(t, func() bool { return len(e.m.disk)+len(e.m.diskCold)+len(e.m.cold) == 0 })
			eventually(t, func() bool { return e.arch.handed.Load() == e.arch.released.Load() })
			for i, r := range e.fetch(req).results {
				require.Zero(t, r.Error, "partition %d", i)
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
	t.Run("what it had pinned", func(t *testing.T) {
		log, err := p.opened()
		require.NoError(t, err)
		require.NoError(t, log.Roll())
		_, err = log.Trim(log.End(), "test")
		require.NoError(t, err)
		require.Len(t, d.pinned, 3)
		for _, f := range d.pinned {
			_, err := f.ReadAt(make([]byte, 1), 0)
			require.ErrorIs(t, err, fs.ErrClosed)
		}
	})
}

// I-32: a log whose opening panics is one that cannot be opened: at each start, for whoever asks and in the housekeeping. The others
// are served. It is told once a try, with where it was, and tried again after a pause.
func TestOpeningThatPanics(t *testing.T) {
	e, d := newBrittleEnv(t)
	e.create("t", 3)
	for i := range int32(3) {
		e.produce(e.partition("t", i), batch(1, 100, 1))
	}
	e.close()
	d.open.Store(true)
	var lines logged
	var now atomic.Int64
	reg := prometheus.NewRegistry()
	e.open(func(o *Options) {
		d.Disk = o.Disk
		o.Disk, o.Registerer, o.Logger = d, reg, slog.New(slog.NewTextHandler(&lines, nil))
		o.Now = func() time.Time { return time.UnixMilli(now.Load()) }
	})
	bad, good := e.partition("t", 0), e.partition("t", 1)
	eventually(t, func() bool {
		return valueOf(t, reg, "firn_partition_not_open") == 1 && good.IsOpen() && e.partition("t", 2).IsOpen()
	})
	require.EqualValues(t, 1, d.opens.Load())
	_, err := bad.Status()
	require.ErrorContains(t, err, "nobody has thought of such a file")
	require.NotContains(t, err.Error(), "goroutine", "it is for people")

	e.m.Prepare([]*Partition{bad, good})
	_, err = bad.ListOffset(context.Background(), OffsetQuery{Timestamp: Latest, LeaderEpoch: -1})
	require.ErrorIs(t, err, kerr.KafkaStorageError)
	require.EqualValues(t, 1, valueOf(t, reg, "firn_partition_panics_total"))
	a := e.fetch(FetchRequest{MaxBytes: 1 << 20, Partitions: []FetchPartition{from(bad, 0, 1<<20), from(good, 0, 1<<20)}})
	require.Equal(t, kerr.KafkaStorageError.Code, a.results[0].Error)
	require.Equal(t, []int64{0}, offsetsIn(t, a.data[1]))
	require.EqualValues(t, 1, d.opens.Load(), "clients need not all meet the same panic")
	require.Equal(t, 1, lines.with("such a file"))
	require.Equal(t, 1, lines.with("brittle).Open"), "with its stack")

	again := func() {
		now.Add(openPause.Milliseconds())
		e.m.Housekeep(context.Background())
		eventually(t, func() bool { return !e.m.reopening.Load() })
	}
	again()
	require.EqualValues(t, 2, d.opens.Load())
	d.open.Store(false)
	again()
	require.Equal(t, []int64{0}, offsetsIn(t, e.fetch(one(bad, 0)).data[0]))
}

// I-32: a panic while several logs are made for a request is told to whom it is done for.
func TestPrepareThatPanics(t *testing.T) {
	e, d := newBrittleEnv(t)
	e.create("t", 2)
	two := []*Partition{e.partition("t", 0), e.partition("t", 1)}
	d.make.Store(true)
	require.Panics(t, func() { e.m.Prepare(two) })
	d.make.Store(false)
	e.m.Prepare(two)
	for _, p := range two {
		require.True(t, p.Ready())
	}
}

// I-32: a panic of a worker that reads the archive is told even if the fetch has left that it was for.
func TestPanicOfAColdWorkerIsTold(t *testing.T) {
	var lines logged
	e := newEnv(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&lines, nil)) })
	e.create("t", 1)
	e.arch.panics.Store(true)
	_, err := e.m.readAbsent(coldJob{to: &coldReads{ctx: context.Background()}, partition: e.partition("t", 0)})
	require.ErrorContains(t, err, "nobody has thought of such a segment")
	require.NotContains(t, err.Error(), "goroutine", "the stack is told once")
	require.Equal(t, 1, lines.with("fakeArchive).Read"))
	require.Empty(t, e.m.cold)
}
