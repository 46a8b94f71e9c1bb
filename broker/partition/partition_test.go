package partition

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
)

func TestAppendIsServedAtOnceAfterCreate(t *testing.T) {
	e := newEnv(t)
	e.create("t", 2)
	p := e.partition("t", 1)
	require.False(t, p.IsOpen(), "a log is opened on first use")
	require.EqualValues(t, 0, e.produce(p, batch(3, 10, 1)))
	require.EqualValues(t, 3, e.produce(p, batch(2, 10, 1)))
	require.EqualValues(t, 5, p.HighWatermark())

	_, err := e.m.ByName("t", 2)
	require.ErrorIs(t, err, kerr.UnknownTopicOrPartition)
	_, err = e.m.ByName("nope", 0)
	require.ErrorIs(t, err, kerr.UnknownTopicOrPartition)
	_, err = e.m.ByID(topic.NewID(), 0)
	require.ErrorIs(t, err, kerr.UnknownTopicID)
}

// I-02: a flush that fails fails everything that waits for it, whoever comes later, and the partition for good.
func TestFailedFlushFailsWhoWaits(t *testing.T) {
	var armed atomic.Bool
	e := &env{t: t}
	*e = *newEnvOn(t, disk.NewFaulty(disk.NewCrashable(1), func(c disk.Call) disk.Fault {
		if (c.Op == disk.OpDatasync || c.Op == disk.OpWriteSync) && armed.Load() { // of the log, or of the journal if that has it
			return disk.Fault{Err: errors.New("the disk is gone")}
		}
		return disk.Fault{}
	}))
	e.create("t", 2)
	p, other := e.partition("t", 0), e.partition("t", 1)
	e.produce(p, batch(1, 10, 1))
	e.produce(other, batch(1, 10, 1))
	armed.Store(true)
	b := batch(1, 10, 1)
	h, err := record.Check(b)
	require.NoError(t, err)
	a, err := p.Append(b, h, true)
	if err == nil {
		require.Equal(t, kerr.KafkaStorageError.Code, await(p, a.Next))
	}
	require.Equal(t, kerr.KafkaStorageError.Code, await(p, 100))
	require.Equal(t, kerr.KafkaStorageError.Code, await(other, 100), "the whole directory is offline")
	b = batch(1, 10, 1)
	_, err = p.Append(b, h, true)
	require.Error(t, err)
	require.EqualValues(t, 1, p.HighWatermark(), "what was not flushed is not shown")
}

// Who reads the archive yields to producers, not to the offsets that it commits itself.
func TestProducing(t *testing.T) {
	var later atomic.Int64 // ms
	e := newEnv(t, func(o *Options) {
		o.Now = func() time.Time { return time.UnixMilli(1_700_000_000_000 + later.Load()) }
	})
	e.create("t", 1)
	e.create("__consumer_offsets", 1)
	require.False(t, e.m.Producing())
	e.produce(e.partition("__consumer_offsets", 0), batch(1, 10, 1))
	require.False(t, e.m.Producing())
	e.produce(e.partition("t", 0), batch(1, 10, 1))
	require.True(t, e.m.Producing())
	later.Add(2000)
	require.False(t, e.m.Producing())
}

func newEnvOn(t *testing.T, fs disk.FS) *env {
	e := newEnv(t)
	e.close()
	e.fs = fs
	e.open()
	return e
}

// I-03: an append under an old leader epoch is refused, and a lost role fails what waits.
func TestLeaderEpochFences(t *testing.T) {
	e := newEnv(t)
	tp := e.create("t", 1)
	p := e.partition("t", 0)
	e.produce(p, batch(1, 10, 1))
	_, err := p.serve(2)
	require.ErrorIs(t, err, kerr.FencedLeaderEpoch)
	_, err = p.serve(4)
	require.ErrorIs(t, err, kerr.UnknownLeaderEpoch)

	waiting := make(chan int16, 1)
	p.Await(50, func(code int16) { waiting <- code })
	state := tp.Partitions[0]
	state.Leader, state.LeaderEpoch, state.Replicas, state.ISR = 2, 4, []int32{1, 2}, []int32{1, 2}
	require.NoError(t, e.store.Commit(context.Background(), metadata.ChangePartition{ID: tp.ID, Version: state.Version, State: state})[0])
	require.Equal(t, kerr.NotLeaderForPartition.Code, <-waiting)
	b := batch(1, 10, 1)
	h, _ := record.Check(b)
	_, err = p.Append(b, h, true)
	require.ErrorIs(t, err, kerr.NotLeaderForPartition)

	// The log itself refuses an epoch below the newest it knows, whatever this room believes.
	state = e.store.Image().TopicByID(tp.ID).Partitions[0]
	state.Leader, state.LeaderEpoch = 1, 9
	require.NoError(t, e.store.Commit(context.Background(), metadata.ChangePartition{ID: tp.ID, Version: state.Version, State: state})[0])
	e.produce(p, batch(1, 10, 1))
	b = batch(1, 10, 1)
	_, err = (*p.log.Load()).Append(b, []record.Header{h}, hot.AppendOptions{Epoch: 8, Now: 1, Check: true})
	require.ErrorIs(t, err, hot.ErrFenced)
	ep, end, err := p.EndOfEpoch(-1, 3)
	require.NoError(t, err)
	require.EqualValues(t, []int64{3, 1}, []int64{int64(ep), end})
	ep, end, err = p.EndOfEpoch(9, 9)
	require.NoError(t, err)
	require.EqualValues(t, []int64{9, 2}, []int64{int64(ep), end})
}

// I-38: a deleted topic's waiters fail, and a new topic of the name shows nothing of the old one.
func TestDeleteAndCreateAgain(t *testing.T) {
	e := newEnv(t)
	tp := e.create("t", 1)
	p := e.partition("t", 0)
	e.produce(p, batch(4, 10, 1))
	waiting := make(chan int16, 1)
	p.Await(50, func(code int16) { waiting <- code })
	require.NoError(t, e.store.Commit(context.Background(), metadata.DeleteTopic{ID: tp.ID})[0])
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, <-waiting)
	_, err := p.opened()
	require.ErrorIs(t, err, kerr.UnknownTopicOrPartition)
	_, err = e.m.ByID(tp.ID, 0)
	require.ErrorIs(t, err, kerr.UnknownTopicID)

	e.create("t", 1)
	q := e.partition("t", 0)
	require.EqualValues(t, 0, e.produce(q, batch(1, 10, 1)))
}

// I-36: a log that ends below its archive goes on where the archive ends.
func TestLostDiskGoesOnAtTheArchive(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	p := e.partition("t", 0)
	for range 5 {
		e.produce(p, batch(10, 10, 1))
	}
	e.archive(p, 40, 0)
	e.close()
	e.fs = disk.NewCrashable(2) // the disk is lost
	e.open()
	p = e.partition("t", 0)
	require.EqualValues(t, 40, e.produce(p, batch(1, 10, 1)), "no offset that the archive holds is handed out again")
	a := e.fetch(FetchRequest{MaxBytes: 1 << 20, Partitions: []FetchPartition{from(p, 0, 1<<20)}})
	require.Zero(t, a.results[0].Error)
	require.EqualValues(t, 41, a.results[0].HighWatermark)
	require.NotEmpty(t, a.data[0])
}

// I-36: nor does a log that another leader wrote.
func TestForeignLogIsSetAside(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	p := e.partition("t", 0)
	e.produce(p, batch(10, 10, 1))
	s := metatestSegment(0, 8, 7)
	l, err := e.store.CommitLedger(context.Background(), p.id, ledger.TrimStart{To: 0})
	require.NoError(t, err)
	// Another leader, at an epoch that this log never saw, archived other records at the same offsets.
	state := e.store.Image().Topics()[0].Partitions[0]
	state.LeaderEpoch = 7
	require.NoError(t, e.store.Commit(context.Background(), metadata.ChangePartition{ID: p.id.ID, Version: state.Version, State: state})[0])
	_, err = e.store.CommitLedger(context.Background(), p.id, ledger.Append{Epoch: 7, Base: l.Next, Fence: l.Fence, Segment: s})
	require.NoError(t, err)
	e.arch.end = ArchiveEnd{Epochs: []Epoch{{Epoch: 7, Start: 0}}}
	e.close()
	e.open()
	require.EqualValues(t, 8, e.produce(e.partition("t", 0), batch(1, 10, 1)))
}

func TestRestartKeepsWhatWasAcknowledged(t *testing.T) {
	e := newEnv(t)
	e.create("t", 3)
	for i := range int32(3) {
		e.produce(e.partition("t", i), batch(5, 10, 1))
	}
	e.close()
	e.open()
	for i := range int32(3) {
		p := e.partition("t", i)
		eventually(t, p.IsOpen) // opened in the background, without anybody asking
		require.EqualValues(t, 5, p.HighWatermark())
		require.EqualValues(t, 5, e.produce(p, batch(1, 10, 1)))
	}
}

func TestDeleteRecordsAcrossBothTiers(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	p := e.partition("t", 0)
	for i := range 6 {
		e.produce(p, batch(10, 10, int64(i)*100))
		log, _ := p.opened()
		require.NoError(t, log.Roll())
	}
	e.archive(p, 40, 30)
	ctx := context.Background()
	low, err := p.DeleteRecords(ctx, 15) // in the archive
	require.NoError(t, err)
	require.EqualValues(t, 15, low)
	require.EqualValues(t, 15, e.store.CachedLedger(p.id).Start, "the ledger is the authority")
	low, err = p.DeleteRecords(ctx, 7)
	require.NoError(t, err)
	require.EqualValues(t, 15, low, "the start never goes back")
	low, err = p.DeleteRecords(ctx, 45) // beyond the archive
	require.NoError(t, err)
	require.EqualValues(t, 45, low)
	require.EqualValues(t, 45, e.store.CachedLedger(p.id).Next)
	_, err = p.DeleteRecords(ctx, 61)
	require.ErrorIs(t, err, kerr.OffsetOutOfRange)
	_, err = p.DeleteRecords(ctx, -2)
	require.ErrorIs(t, err, kerr.OffsetOutOfRange)
	e.store.Fail(metadata.ErrUnavailable)
	_, err = p.DeleteRecords(ctx, 50)
	require.Error(t, err)
	require.EqualValues(t, 45, (*p.log.Load()).LogStart(), "nothing is deleted that was not committed")
	e.store.Fail(nil)
	low, err = p.DeleteRecords(ctx, -1)
	require.NoError(t, err)
	require.EqualValues(t, 60, low)
	pos, err := p.ListOffset(ctx, OffsetQuery{Timestamp: Earliest, LeaderEpoch: -1})
	require.NoError(t, err)
	require.EqualValues(t, 60, pos.Offset)
}

// I-12: housekeeping trims what is confirmed in the archive, and nothing else.
func TestHousekeepingTrimsOnlyWhatIsArchived(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	e := newEnv(t, func(o *Options) { o.Now = func() time.Time { return now } })
	e.create("t", 1, "local.retention.ms", "1000")
	p := e.partition("t", 0)
	for range 4 {
		e.produce(p, batch(10, 10, 5000))
		log, _ := p.opened()
		require.NoError(t, log.Roll())
	}
	e.m.Housekeep(context.Background())
	log := *p.log.Load()
	require.EqualValues(t, 0, log.LocalStart(), "due, but not archived")
	say, err := p.Explain(context.Background(), 3)
	require.NoError(t, err)
	require.Contains(t, join(say), "It may not leave the local disk before it is archived.")
	e.archive(p, 20, 0)
	e.m.Housekeep(context.Background())
	require.EqualValues(t, 20, log.LocalStart())
	say, err = p.Explain(context.Background(), 3)
	require.NoError(t, err)
	require.Contains(t, join(say), "Offset 3 is in the archive only")
	require.NotContains(t, join(say), "fails")
	e.arch.fail = errors.New("object k is damaged")
	say, err = p.Explain(context.Background(), 3)
	require.NoError(t, err)
	require.Contains(t, join(say), "Reading it fails: object k is damaged.")
	e.arch.fail = nil
	e.archive(p, 40, 0)
	e.m.Housekeep(context.Background())
	require.EqualValues(t, 40, log.LocalStart(), "the active segment goes as well, once it is due")
	require.EqualValues(t, 0, e.store.CachedLedger(p.id).Start, "local retention takes nothing from readers")
	require.EqualValues(t, 40, e.produce(p, batch(1, 10, 1)))
}

// I-35, I-13: where a partition with remote storage begins is not decided here, however old its records are: the
// collector does that, which knows whether the bucket is to be trusted. The local log follows the ledger.
func TestHousekeepingLeavesTheLedgersStartAlone(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	e := newEnv(t, func(o *Options) { o.Now = func() time.Time { return now } })
	e.create("t", 1, "retention.ms", "10000", "retention.bytes", "1")
	p := e.partition("t", 0)
	e.produce(p, batch(10, 10, 5000))
	e.archive(p, 10, 0)
	log := *p.log.Load()
	require.NoError(t, log.Roll())
	e.produce(p, batch(10, 10, 5000)) // due before it is archived: it stays until it is
	e.m.Housekeep(context.Background())
	require.EqualValues(t, 0, e.store.CachedLedger(p.id).Start, "log start of archived data")
	require.EqualValues(t, 10, log.LocalStart(), "what is archived and due leaves the local disk")
	require.EqualValues(t, 20, log.End())
	a := e.fetch(one(p, 0))
	require.Zero(t, a.results[0].Error)
	require.NotEmpty(t, a.data[0], "still readable")
	to, _ := p.HotDue()
	require.Zero(t, to, "what will be archived is not dropped before")

	_, err := e.store.CommitLedger(context.Background(), p.id, ledger.TrimStart{To: 10})
	require.NoError(t, err)
	e.m.Housekeep(context.Background())
	require.EqualValues(t, 10, log.LogStart(), "the local log follows")
	a = e.fetch(one(p, 9))
	require.Equal(t, kerr.OffsetOutOfRange.Code, a.results[0].Error)
	require.EqualValues(t, 10, a.results[0].LogStart)
}

// A topic with remote storage that uploads nothing, and of which nothing is archived, asks the collector for retention
// of what is local.
func TestHotDueWithoutCopying(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	e := newEnv(t, func(o *Options) { o.Now = func() time.Time { return now } })
	e.create("t", 1, "retention.ms", "10000", "remote.log.copy.disable", "true")
	p := e.partition("t", 0)
	e.produce(p, batch(10, 10, 5000))
	log := *p.log.Load()
	require.NoError(t, log.Roll())
	e.produce(p, batch(10, 10, 995_000))
	e.m.Housekeep(context.Background())
	require.Zero(t, log.LocalStart(), "nothing moves before the collector says so")
	to, why := p.HotDue()
	require.EqualValues(t, 10, to)
	require.Contains(t, why, "retention.ms")
	require.True(t, p.Settings().Log.RemoteStorage, "others use them")
	_, err := e.store.CommitLedger(context.Background(), p.id, ledger.TrimStart{To: to})
	require.NoError(t, err)
	e.m.Housekeep(context.Background())
	require.EqualValues(t, 10, log.LocalStart())
	to, _ = p.HotDue()
	require.Zero(t, to)
	e.produce(p, batch(10, 10, 5000))
	e.archive(p, 20, 0) // by an earlier life with copying
	now = now.Add(time.Hour)
	require.NoError(t, log.Roll())
	to, _ = p.HotDue()
	require.Zero(t, to, "what is archived goes first, by the collector's own rules")
}

func TestDiskAtItsReserveRefusesProduce(t *testing.T) {
	var free atomic.Int64
	free.Store(1000)
	e := newEnv(t, func(o *Options) {
		o.Tuning.Reserve = 500
		o.Space = func() (SpaceInfo, error) { return SpaceInfo{Total: 10000, Free: free.Load()}, nil }
	})
	e.create("t", 1)
	p := e.partition("t", 0)
	e.produce(p, batch(1, 10, 1))
	free.Store(510)
	b := batch(1, 400, 1)
	h, _ := record.Check(b)
	_, err := p.Append(b, h, true)
	require.ErrorIs(t, err, hot.ErrFull)
	a := e.fetch(FetchRequest{MaxBytes: 1 << 20, Partitions: []FetchPartition{from(p, 0, 1<<20)}})
	require.NotEmpty(t, a.data[0], "fetch goes on")
	free.Store(5000)
	e.produce(p, b) // recovery is automatic
	require.EqualValues(t, 512<<20, reserveOf(20<<30))
	require.EqualValues(t, 16<<20, reserveOf(64<<20))
	require.EqualValues(t, 2<<30, reserveOf(100<<30))
}

func TestCancelledWaiterIsNotCalled(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	p := e.partition("t", 0)
	e.produce(p, batch(1, 10, 1))
	ticket := p.Await(2, func(int16) { t.Error("called after it was cancelled") })
	require.True(t, ticket.Cancel())
	require.False(t, ticket.Cancel())
	e.produce(p, batch(1, 10, 1))
}

// Many producers at once: every acknowledgement is covered, offsets are handed out once.
func TestConcurrentProducers(t *testing.T) {
	e := newEnv(t)
	e.create("t", 1)
	p := e.partition("t", 0)
	var mu sync.Mutex
	seen := map[int64]bool{}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 25 {
				b := batch(2, 10, 1)
				h, _ := record.Check(b)
				a, err := p.Append(b, h, true)
				if err != nil || await(p, a.Next) != 0 || p.HighWatermark() < a.Next {
					t.Errorf("append: %v", err)
				}
				mu.Lock()
				if seen[a.Base] {
					t.Errorf("offset %d twice", a.Base)
				}
				seen[a.Base] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 400, p.HighWatermark())
}
