package partition

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/topic"
)

// I-12: above the share of the disk the oldest archived data goes first, across partitions, and what is not archived
// stays, however old it is. The share is of what firn uses and what is free, together: of open and unopened logs and of
// what lies beside them.
func TestDiskShareAcrossPartitions(t *testing.T) {
	var free, beside atomic.Int64
	disk := &strangeDisk{}
	free.Store(1 << 40)
	e := newEnv(t, func(o *Options) {
		disk.Disk = o.Disk
		o.Disk, o.Tuning.TargetShare, o.Tuning.Reserve = disk, 0.5, 1
		o.Space = func() (SpaceInfo, error) { return SpaceInfo{Total: 1 << 41, Free: free.Load()}, nil }
		o.Beside = beside.Load
	})
	now := time.Now().UnixMilli()
	e.create("t", 3, "local.retention.ms", "-2")
	var logs []Log
	for i := range 3 {
		p := e.partition("t", int32(i))
		for k := range 4 { // partition 0 is the oldest and not archived, 1 is older than 2 but for its last segment
			age := []int64{1000, 100, 50}[i] - int64(k)
			if i == 1 && k == 3 {
				age = 1
			}
			e.produce(p, batch(10, 100, now-age*60_000))
			require.NoError(t, (*p.log.Load()).Roll())
		}
		if i > 0 {
			e.archive(p, 40, 0)
		}
		logs = append(logs, *p.log.Load())
	}
	total, segment := int64(0), logs[1].Segments()[0]
	for _, l := range logs {
		for _, s := range l.Segments() {
			total += s.Bytes + s.IndexBytes
		}
	}
	one := segment.Bytes + segment.IndexBytes
	starts := func() []int64 {
		e.m.Housekeep(context.Background())
		return []int64{logs[0].LocalStart(), logs[1].LocalStart(), logs[2].LocalStart()}
	}
	free.Store(total)
	require.Equal(t, []int64{0, 0, 0}, starts(), "half of used and free together is what they take")
	free.Store(total - 2*one)
	beside.Store(2 * one)
	require.Equal(t, []int64{0, 0, 0}, starts(), "what the cache holds is used by firn")
	beside.Store(0)
	require.Equal(t, []int64{0, 10, 0}, starts(), "the oldest archived segment goes")
	say, err := e.partition("t", 1).Explain(context.Background(), 12)
	require.NoError(t, err)
	require.Contains(t, join(say), "firn.local.disk.target")
	disk.unopened.Store(4 * one) // used: 11+4, free: 10, so 12.5 may stay
	require.Equal(t, []int64{0, 30, 10}, starts(), "logs that are not open take their share, too; of the young last one of 1 and the first of 2 the older goes")
	free.Store(0)
	disk.unopened.Store(1 << 30)
	require.Equal(t, []int64{0, 40, 40}, starts(), "all that is archived; what is not stays")
}

// A look at a partition of which nothing goes allocates nothing: an idle broker looks at ten thousand of them every few seconds.
func TestIdlePartitionsAllocateNothing(t *testing.T) {
	e := newEnv(t)
	e.create("t", 100)
	e.create("local", 100, "remote.storage.enable", "false", "retention.bytes", "1000")
	for i := range int32(100) {
		for _, name := range []string{"t", "local"} {
			e.produce(e.partition(name, i), batch(1, 10, time.Now().UnixMilli()))
		}
	}
	require.Less(t, testing.AllocsPerRun(10, func() { e.m.Housekeep(context.Background()) }), 50.0, "of 200 partitions")
	require.Nil(t, e.partition("t", 0).report.Load())
}

// strangeDisk is a Disk with switches.
type strangeDisk struct {
	Disk
	unopened atomic.Int64
	broken   atomic.Bool   // Open fails
	gate     chan struct{} // when set, Remove waits until it is closed
	removing chan struct{} // closed once Remove was called
}

func (d *strangeDisk) UnopenedBytes() (int64, error) { return d.unopened.Load(), nil }

func (d *strangeDisk) Open(p topic.Partition, c *hot.Config) (Log, error) {
	if d.broken.Load() {
		return nil, errors.New("the disk is in a mood")
	}
	return d.Disk.Open(p, c)
}

func (d *strangeDisk) Remove(p topic.Partition) error {
	if d.gate != nil {
		close(d.removing)
		<-d.gate
	}
	return d.Disk.Remove(p)
}

// A log that could not be opened at the start is opened by housekeeping once that is possible, without any client, so that
// its uploads go on.
func TestHousekeepingOpensWhatFailedToOpen(t *testing.T) {
	e := newEnv(t)
	e.create("t", 2)
	e.create("never", 1)
	e.produce(e.partition("t", 0), batch(1, 10, 1))
	e.produce(e.partition("t", 1), batch(1, 10, 1))
	e.close()
	disk := &strangeDisk{}
	disk.broken.Store(true)
	var now atomic.Int64
	reg := prometheus.NewRegistry()
	e.open(func(o *Options) {
		disk.Disk = o.Disk
		o.Disk, o.Registerer = disk, reg
		o.Now = func() time.Time { return time.UnixMilli(now.Load()) }
	})
	p, q := e.partition("t", 0), e.partition("t", 1)
	notOpen := func() float64 { return valueOf(t, reg, "firn_partition_not_open") }
	eventually(t, func() bool { return notOpen() == 2 })
	_, err := p.Status()
	require.ErrorContains(t, err, "in a mood", "the status says why")
	now.Add(openPause.Milliseconds())
	e.m.Housekeep(context.Background())
	eventually(t, func() bool { return !e.m.reopening.Load() })
	require.EqualValues(t, 2, notOpen())
	disk.broken.Store(false)
	now.Add(openPause.Milliseconds())
	e.m.Housekeep(context.Background())
	eventually(t, func() bool { return p.IsOpen() && q.IsOpen() })
	require.Zero(t, notOpen())
	require.False(t, e.partition("never", 0).IsOpen(), "a partition that nobody used costs nothing")
}

func valueOf(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	all, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range all {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue() // of what it is not, 0
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// I-38: the log of a topic that was created again under the same name is not opened before the former life's folder
// is gone.
func TestOpeningWaitsForTheRemovalOfTheFormerLife(t *testing.T) {
	disk := &strangeDisk{gate: make(chan struct{}), removing: make(chan struct{})}
	e := newEnv(t, func(o *Options) { disk.Disk = o.Disk; o.Disk = disk })
	tp := e.create("t", 1)
	e.produce(e.partition("t", 0), batch(4, 10, 1))
	require.NoError(t, e.store.Commit(context.Background(), metadata.DeleteTopic{ID: tp.ID})[0])
	<-disk.removing
	e.create("t", 1)
	q := e.partition("t", 0)
	opened := make(chan error, 1)
	go func() {
		_, err := q.opened()
		opened <- err
	}()
	select {
	case <-opened:
		t.Error("opened while the former life's folder was being removed")
	case <-time.After(100 * time.Millisecond): // an opening that does not wait takes far less
	}
	close(disk.gate)
	if !t.Failed() {
		require.NoError(t, <-opened)
	}
	require.EqualValues(t, 0, e.produce(q, batch(1, 10, 1)))
	require.Empty(t, e.dir.Strays(), "nothing of it was set aside: it was removed")
	require.NotEqual(t, tp.ID, q.id.ID)
}
