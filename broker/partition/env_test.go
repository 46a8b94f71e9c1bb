package partition

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/metadata"
	"github.com/firnlog/firn/metadata/metatest"
	"github.com/firnlog/firn/metadata/topicconfig"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/hot/epoch"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/topic"
)

// env is a broker's partitions over a real hot log on a disk in memory, metadata in memory and an archive in memory.
type env struct {
	t     *testing.T
	store *metatest.Memory
	fs    disk.FS
	dir   *hot.Dir
	arch  *fakeArchive
	m     *Manager
}

func newEnv(t *testing.T, change ...func(*Options)) *env {
	e := &env{t: t, store: metatest.NewMemory(), fs: disk.NewCrashable(1), arch: newFakeArchive()}
	require.NoError(t, e.store.Register(context.Background(), metadata.Broker{ID: 1, Directory: "d", Incarnation: "i",
		Listeners: []metadata.Listener{{Name: "PLAINTEXT", Host: "h", Port: 9092}}}))
	e.open(change...)
	t.Cleanup(e.close)
	return e
}

var quiet = slog.New(slog.DiscardHandler)

func (e *env) open(change ...func(*Options)) {
	var m atomic.Pointer[Manager]
	dir, err := hot.OpenDir(hot.Options{FS: e.fs, Path: "/data", Logger: quiet, BootID: "boot", OnOffline: func(err error) { m.Load().Offline(err) }})
	require.NoError(e.t, err)
	e.dir = dir
	o := Options{BrokerID: 1, Disk: OnDisk(dir), Metadata: e.store, Archive: e.arch, Settings: SettingsOf(nil, quiet), Logger: quiet,
		Interval: time.Hour}
	for _, f := range change {
		f(&o)
	}
	e.m = New(o)
	m.Store(e.m)
	require.NoError(e.t, e.m.Start())
}

func (e *env) close() {
	if e.m != nil {
		e.m.Close()
		_ = e.dir.Close()
		e.m = nil
	}
}

func (e *env) create(name string, partitions int, configs ...string) *metadata.Topic {
	e.t.Helper()
	set := map[string]string{}
	for i := 0; i < len(configs); i += 2 {
		set[configs[i]] = configs[i+1]
	}
	stored, err := topicconfig.AtCreation(set, nil, false)
	require.NoError(e.t, err)
	edit := metadata.CreateTopic{ID: topic.NewID(), Name: name, Configs: stored}
	for range partitions {
		edit.Partitions = append(edit.Partitions, metadata.Partition{Leader: 1, LeaderEpoch: 3, Replicas: []int32{1}, ISR: []int32{1}})
	}
	require.NoError(e.t, e.store.Commit(context.Background(), edit)[0])
	return e.store.Image().TopicByID(edit.ID)
}

func (e *env) partition(name string, i int32) *Partition {
	e.t.Helper()
	p, err := e.m.ByName(name, i)
	require.NoError(e.t, err)
	return p
}

// batch builds one batch of n records that are each about size bytes large, from timestamp ts on.
func batch(n, size int, ts int64) []byte {
	b := record.NewBuilder(record.None)
	for i := range n {
		b.Append(ts+int64(i), []byte("k"), make([]byte, size), nil)
	}
	return b.Build(0)
}

// produce appends a batch and waits until it is acknowledged.
func (e *env) produce(p *Partition, b []byte) int64 {
	e.t.Helper()
	h, err := record.Check(b)
	require.NoError(e.t, err)
	a, err := p.Append(b, h, true)
	require.NoError(e.t, err)
	require.Zero(e.t, await(p, a.Next))
	return a.Base
}

func await(p *Partition, offset int64) int16 {
	got := make(chan int16, 1)
	p.Await(offset, func(code int16) { got <- code })
	return <-got
}

// archive copies everything below next into the fake archive and the ledger and trims the local log below trim.
func (e *env) archive(p *Partition, next, trim int64) {
	e.t.Helper()
	log, err := p.opened()
	require.NoError(e.t, err)
	l := e.store.CachedLedger(p.id)
	data, err := log.ReadBytes(l.Next, next, 1<<30)
	require.NoError(e.t, err)
	e.arch.add(p.id, data)
	s := metatest.Segment(l.Next, next, 3)
	s.DataBytes = int64(len(data))
	s.MinTimestamp, s.MaxTimestamp = 1<<62, -1
	for it := record.Batches(data); it.Next(); {
		s.MinTimestamp, s.MaxTimestamp = min(s.MinTimestamp, it.Header().BaseTimestamp), max(s.MaxTimestamp, it.Header().MaxTimestamp)
	}
	_, err = e.store.CommitLedger(context.Background(), p.id, ledger.Append{Epoch: 3, Base: l.Next, Fence: l.Fence, Segment: s})
	require.NoError(e.t, err)
	source{p}.Archived(next)
	if trim > 0 {
		require.NoError(e.t, log.Roll())
		_, err = log.Trim(trim, "test")
		require.NoError(e.t, err)
	}
}

// fakeArchive serves batches from memory, and counts and holds up reads as a test likes.
type fakeArchive struct {
	mu       sync.Mutex
	batches  map[topic.Partition][][]byte
	end      ArchiveEnd
	gate     map[topic.Partition]chan struct{} // a read waits until it is closed
	cached   map[topic.Partition]bool          // what ReadCached has
	stuck    map[topic.Partition]chan struct{} // ReadCached waits for the disk until it is closed; nil: it need not
	fail     error
	panics   atomic.Bool // reads of partitions 0 do, ReadCached with something pinned
	reads    int
	hits     int // of ReadCached
	others   int // any other question to the archive
	released atomic.Int64
	handed   atomic.Int64
	yielded  atomic.Int64
	turn     atomic.Pointer[func(bytes int) time.Duration] // nil: nothing waits
}

func newFakeArchive() *fakeArchive {
	return &fakeArchive{batches: map[topic.Partition][][]byte{}, gate: map[topic.Partition]chan struct{}{}, cached: map[topic.Partition]bool{},
		stuck: map[topic.Partition]chan struct{}{}}
}

func (a *fakeArchive) add(p topic.Partition, data []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for it := record.Batches(data); it.Next(); {
		a.batches[p] = append(a.batches[p], it.Bytes())
	}
}

func (a *fakeArchive) Read(ctx context.Context, p topic.Partition, l *ledger.Ledger, offset int64, maxBytes int) (*ColdData, error) {
	a.panic(p)
	return a.read(ctx, p, l, offset, maxBytes)
}

func (a *fakeArchive) panic(p topic.Partition) {
	if p.Index == 0 && a.panics.Load() {
		panic("nobody has thought of such a segment")
	}
}

func (a *fakeArchive) read(ctx context.Context, p topic.Partition, l *ledger.Ledger, offset int64, maxBytes int) (*ColdData, error) {
	a.mu.Lock()
	a.reads++
	gate, fail, batches := a.gate[p], a.fail, a.batches[p]
	a.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fail != nil {
		return nil, fail
	}
	d := &ColdData{First: l.Next, Next: l.Next, Held: &held{a: a}}
	a.handed.Add(1)
	for _, b := range batches {
		h, _ := record.ParseHeader(b)
		if h.NextOffset() <= offset || h.NextOffset() > l.Next {
			continue
		}
		if d.Bytes > 0 && d.Bytes+len(b) > maxBytes {
			break
		}
		if d.Bytes == 0 {
			d.First = h.BaseOffset
		}
		d.Regions = append(d.Regions, disk.Region{Bytes: b, Length: int64(len(b))})
		d.Bytes += len(b)
		d.Next = h.NextOffset()
	}
	return d, nil
}

// held notes that it was released, once.
type held struct {
	a    *fakeArchive
	over atomic.Bool
}

func (h *held) Release() {
	if h.over.Swap(true) {
		panic("records of the archive were released twice")
	}
	h.a.released.Add(1)
}

func (a *fakeArchive) ReadCached(d *ColdData, p topic.Partition, l *ledger.Ledger, offset int64, maxBytes int, wait bool) bool {
	a.mu.Lock()
	cached, stuck := a.cached[p], a.stuck[p]
	a.mu.Unlock()
	if !cached || stuck != nil && !wait {
		return false
	}
	if stuck != nil {
		<-stuck
	}
	got, err := a.read(context.Background(), p, l, offset, maxBytes)
	if err != nil {
		return false
	}
	*d = *got
	a.panic(p)
	a.mu.Lock()
	a.hits++
	a.mu.Unlock()
	return true
}

// answered is how many reads the cache answered.
func (a *fakeArchive) answered() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hits
}

func (a *fakeArchive) each(p topic.Partition, l *ledger.Ledger, fn func(h record.Header, off, ts int64) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.others++
	for _, b := range a.batches[p] {
		h, _ := record.ParseHeader(b)
		stop := false
		_ = record.Records(b, 1<<20, func(_ int, r *record.Record) error {
			if off := h.Offset(r); off >= l.Start && off < l.Next && fn(h, off, h.Timestamp(r)) {
				stop = true
				return errors.New("stop")
			}
			return nil
		})
		if stop {
			return
		}
	}
}

func (a *fakeArchive) OffsetForTime(_ context.Context, p topic.Partition, l *ledger.Ledger, ts int64) (res hot.TimeResult, ok bool, _ error) {
	a.each(p, l, func(h record.Header, off, t int64) bool {
		if ok = t >= ts; ok {
			res = hot.TimeResult{Offset: off, Timestamp: t, Epoch: h.LeaderEpoch}
		}
		return ok
	})
	return res, ok, nil
}

func (a *fakeArchive) MaxTimestamp(_ context.Context, p topic.Partition, l *ledger.Ledger) (res hot.TimeResult, ok bool, _ error) {
	a.each(p, l, func(h record.Header, off, t int64) bool {
		if !ok || t > res.Timestamp {
			res, ok = hot.TimeResult{Offset: off, Timestamp: t, Epoch: h.LeaderEpoch}, true
		}
		return false
	})
	return res, ok, nil
}

func (a *fakeArchive) End(context.Context, topic.Partition, *ledger.Ledger) (ArchiveEnd, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.others++
	if a.end.Epochs == nil {
		return ArchiveEnd{Epochs: []epoch.Entry{{Epoch: 3, Start: 0}}}, nil
	}
	return a.end, nil
}

func (a *fakeArchive) Turn(bytes int) time.Duration {
	if f := a.turn.Load(); f != nil {
		return (*f)(bytes)
	}
	return 0
}

func (a *fakeArchive) Yielded(d time.Duration) { a.yielded.Add(int64(d)) }

func (a *fakeArchive) Segments(_ context.Context, l *ledger.Ledger, _ int64) ([]ledger.Segment, error) {
	return l.Recent, nil
}

// answer is a fetch's outcome with the records copied out.
type answer struct {
	results []FetchResult
	data    [][]byte
}

func (e *env) fetch(req FetchRequest) answer {
	got := make(chan answer, 1)
	e.start(context.Background(), req, got)
	return <-got
}

func (e *env) start(ctx context.Context, req FetchRequest, got chan<- answer) {
	req.Client = untilDone{ctx}
	e.m.Fetch(ctx, req, FetcherFunc(func(results []FetchResult, release func()) {
		a := answer{results: slices.Clone(results)} // they are another fetch's once they are released
		for _, r := range results {
			var b []byte
			for _, reg := range r.Regions {
				if reg.File == nil {
					b = append(b, reg.Bytes...)
					continue
				}
				buf := make([]byte, reg.Length)
				_, err := reg.File.ReadAt(buf, reg.Position)
				if err != nil {
					e.t.Error(err)
				}
				b = append(b, buf...)
			}
			a.data = append(a.data, b)
		}
		release()
		got <- a
	}))
}

// untilDone is a client that goes away when ctx ends.
type untilDone struct{ ctx context.Context }

func (c untilDone) Watch(g interface{ Gone() }) bool {
	context.AfterFunc(c.ctx, g.Gone)
	return c.ctx.Err() == nil
}

func from(p *Partition, offset int64, max int) FetchPartition {
	return FetchPartition{Partition: p, Offset: offset, LeaderEpoch: -1, LastFetchedEpoch: -1, MaxBytes: max}
}

// eventually waits for a condition that another goroutine brings about.
func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, 20*time.Second, time.Millisecond)
}

func join(sentences []string) string { return strings.Join(sentences, "\n") }

func metatestSegment(base, next int64, epoch int32) ledger.Segment {
	return metatest.Segment(base, next, epoch)
}
