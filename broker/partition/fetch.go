package partition

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/broker/lanes"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot"
)

// FetchRequest is a fetch of many partitions. They are served in order; the caller rotates them for fairness.
type FetchRequest struct {
	MaxWait    time.Duration // how long to wait for MinBytes
	MinBytes   int
	MaxBytes   int              // at most this much is answered, or one batch if that is larger (I-21)
	Partitions []FetchPartition // left alone until the answer is released
	// Client tells when the client has gone; nil: ctx alone does.
	Client Client
}

// Client is who waits for a fetch. *wire.Request implements it.
type Client interface {
	// Watch is called when the fetch is to wait, after AnswerWaiting would find it. It has g.Gone called when the client
	// goes away before it is answered, unless it reports false: the fetch is to be answered at once.
	Watch(g interface{ Gone() }) bool
}

// FetchPartition is what is wanted of one partition.
type FetchPartition struct {
	Partition        *Partition // nil: Err is the outcome
	Err              int16
	Offset           int64
	LeaderEpoch      int32 // that the client believes in, -1 for none
	LastFetchedEpoch int32 // of a follower's last record, -1 for none
	MaxBytes         int
}

// FetchResult is the outcome for one partition. Offsets are -1 when the error leaves them unknown.
type FetchResult struct {
	Error                               int16
	HighWatermark, LastStable, LogStart int64
	Diverging                           *Epoch // with LastFetchedEpoch: the epoch, and its end, from which on the logs differ
	Regions                             []disk.Region
	Bytes                               int

	release releaser
	data    hot.Data // what release is of for local records
	next    int64    // where reading goes on
	capped  bool     // a byte limit, not the watermark, ended the read: waiting brings no more
}

// releaser is what lets go of the files that records lie in.
type releaser interface{ Release() }

func (r *FetchResult) drop() {
	if r.release != nil {
		r.release.Release()
	}
	r.release, r.Regions, r.Bytes = nil, nil, 0
}

// spoil makes it the result of a partition that cannot be read. What a read had pinned that did not come to its end is let go of, too:
// release does not know of it, and the files would stay open for ever.
func (r *FetchResult) spoil() {
	r.drop()
	r.data.Release() // nothing, if release was for it
	*r = FetchResult{Error: kerr.KafkaStorageError.Code, HighWatermark: -1, LastStable: -1, LogStart: -1}
}

// Fetcher takes the outcome of a fetch.
type Fetcher interface {
	// Fetched is called exactly once: at once on the goroutine that called Fetch, or later on another when it has to wait
	// for records, for a log to be opened, for the disk or for the archive. release must be called once, when neither the
	// results nor the files of their regions are needed any more: they are another fetch's then.
	Fetched(results []FetchResult, release func())
}

// FetcherFunc makes a Fetcher of a function.
type FetcherFunc func(results []FetchResult, release func())

// Fetched implements Fetcher.
func (fn FetcherFunc) Fetched(results []FetchResult, release func()) { fn(results, release) }

// Fetch serves a fetch and tells to. When ctx ends (the connection is gone) or the client goes away, that is soon, with
// what there is.
func (m *Manager) Fetch(ctx context.Context, req FetchRequest, to Fetcher) {
	f := newFetch(m, ctx, req, to)
	for i := range req.Partitions {
		if p := req.Partitions[i].Partition; p != nil && !p.IsOpen() {
			go func() { // opening does I/O, which is not for the connection's reading goroutine
				f.openLogs()
				f.first()
			}()
			return
		}
	}
	f.first()
}

// fetch is one fetch on its way. It is worked on by one goroutine at a time: the first pass's, then that of a
// wake-up, of which mu lets only one through. It is used again once its answer is released.
type fetch struct {
	m   *Manager
	ctx context.Context
	req FetchRequest
	to  Fetcher

	deadline time.Time
	results  []FetchResult
	views    []view
	from     []int64 // where reading begins: the offset asked for, or above it where the archive has a gap up to its end
	over     bool    // the wait is over, answer whatever there is

	resumeFn, releaseFn, coldFn func() // made once
	parking
	coldWait
}

func newFetch(m *Manager, ctx context.Context, req FetchRequest, to Fetcher) *fetch {
	f, ok := m.fetches.Get().(*fetch)
	if !ok {
		f = new(fetch)
		f.resumeFn, f.releaseFn, f.coldFn = f.resumed, f.released, f.readCold
	}
	f.m, f.ctx, f.req, f.to = m, ctx, req, to
	f.from = f.from[:0]
	for i := range req.Partitions {
		f.from = append(f.from, req.Partitions[i].Offset)
	}
	return f
}

// keepFetched is for how many partitions a fetch that is used again keeps memory.
const keepFetched = 4 << 10

// released is called when the answer is not needed any more.
func (f *fetch) released() {
	f.discard()
	clear(f.results)
	clear(f.views)
	f.forgetCold()
	m := f.m
	f.m, f.ctx, f.req, f.to, f.over = nil, nil, FetchRequest{}, nil, false
	if f.settled() && cap(f.results) <= keepFetched {
		m.fetches.Put(f)
	}
}

// openLogs opens the logs that are not open yet, a few at a time. Whoever reads one that cannot be opened is told.
func (f *fetch) openLogs() {
	all := lanes.New(f.m.o.OpenParallel)
	for i := range f.req.Partitions {
		if p := f.req.Partitions[i].Partition; p != nil && !p.IsOpen() {
			all.Go(func() { _, _ = p.serve(-1) })
		}
	}
	all.Wait()
}

func (f *fetch) first() {
	f.deadline = f.m.o.Now().Add(f.req.MaxWait)
	f.round()
}

// round reads everything once, and answers or waits. Where records are cannot always be told without waiting for the disk:
// the round then goes on elsewhere, and whoever called it does not wait.
func (f *fetch) round() {
	if f.read(false) {
		f.conclude()
	} else {
		go f.readLater()
	}
}

// readLater is the round of a fetch that waits for the disk, of which there are only so many at once. One that comes to
// its end before its turn, or waits for that longer than for the archive, answers what was found without.
func (f *fetch) readLater() {
	if !f.takePlace(f.m.disk, f.patience()) {
		f.answer()
		return
	}
	f.read(true)
	<-f.m.disk
	f.conclude()
}

// patience is how long a fetch that has nothing to answer waits for the disk or the archive.
func (f *fetch) patience() time.Duration {
	return max(f.deadline.Sub(f.m.o.Now()), f.m.tuning.Load().ColdWait)
}

// takePlace waits for one of the places of those that wait for the disk, for d at most.
func (f *fetch) takePlace(places chan struct{}, d time.Duration) (taken bool) {
	select {
	case places <- struct{}{}:
		return true
	default:
	}
	select {
	case places <- struct{}{}:
		taken = true
	case <-f.after(d):
	case <-f.ctx.Done():
	case <-f.m.waits.Done():
	}
	f.alarm.Stop()
	return taken
}

// conclude answers what was read, or waits for more.
func (f *fetch) conclude() {
	if len(f.colds) > 0 {
		if f.readAtHand() {
			f.answer()
		} else {
			go f.coldFn()
		}
		return
	}
	bytes, urgent := f.state()
	if urgent || bytes >= f.req.MinBytes || f.over {
		f.answer()
		return
	}
	if wait := f.deadline.Sub(f.m.o.Now()); wait > 0 {
		f.park(wait)
	} else {
		f.answer()
	}
}

// state sums up the results: their bytes, and whether the answer must not wait: because a partition has something
// to tell, or because there is nothing that could bring more. A partition that nobody knows is no reason by itself,
// as in Kafka: its client would ask again at once, for ever.
func (f *fetch) state() (bytes int, urgent bool) {
	waiting := false
	for i := range f.results {
		r := &f.results[i]
		bytes += r.Bytes
		if f.req.Partitions[i].Partition == nil {
			continue
		}
		urgent = urgent || r.Error != 0 || r.Diverging != nil
		waiting = waiting || !r.capped
	}
	return bytes, urgent || !waiting
}

// read looks at every partition: reads those whose offset is local and lists those whose offset is archived. A
// partition's limit applies unless nothing has been read before it, so that a large batch cannot block a client
// for ever. Where both sides are wanted, the local log may take half the bytes. Unless it may wait for the disk it reports
// false, and has read only some, where it would have to.
func (f *fetch) read(wait bool) (through bool) {
	defer func() { through = f.caught(recover()) || through }()
	f.discard()
	n := len(f.req.Partitions)
	if cap(f.results) < n {
		f.results, f.views = make([]FetchResult, n), make([]view, n)
	}
	f.results, f.views, f.colds = f.results[:n], f.views[:n], f.colds[:0]
	views := f.views
	for i := 0; i < n; {
		i = f.lookFrom(i)
	}
	left := f.req.MaxBytes
	if len(f.colds) > 0 {
		left -= left / 2
	}
	some := false
	for i := range views {
		if views[i].log == nil || f.from[i] >= views[i].limit {
			continue // most of a wide fetch
		}
		switch f.tryHot(i, views[i], left, !some, wait) {
		case readDone:
			left -= f.results[i].Bytes
			some = some || f.results[i].Bytes > 0
		case readWaits:
			return false
		}
	}
	return true
}

// view is a partition that is to be read locally; log is nil otherwise.
type view struct {
	log   Log
	limit int64

	wait bool  // for the watermark to reach need
	need int64 // from park on
}

// lookFrom looks at the partitions from the i-th on, up to one that panics, and gives the one behind. A fetch may have thousands: a
// defer for each of them can be measured.
func (f *fetch) lookFrom(i int) (next int) {
	defer func() {
		if f.spoiled(next, recover()) {
			f.views[next] = view{}
			next++
		}
	}()
	for next = i; next < len(f.views); next++ {
		f.views[next] = f.look(next)
	}
	return next
}

// tryLook is look of a partition that may panic.
func (f *fetch) tryLook(i int) (v view) {
	defer func() { f.spoiled(i, recover()) }()
	return f.look(i)
}

// look fills in what a result says apart from records, and decides on the side (I-18).
func (f *fetch) look(i int) view {
	q, r := &f.req.Partitions[i], &f.results[i]
	*r = FetchResult{Error: q.Err, HighWatermark: -1, LastStable: -1, LogStart: -1, next: f.from[i]}
	if q.Partition == nil {
		return view{}
	}
	log, err := q.Partition.serve(q.LeaderEpoch)
	if err != nil {
		r.Error = codeOf(err)
		return view{}
	}
	o, l := q.Partition.offsetsOf(log)
	r.HighWatermark, r.LastStable, r.LogStart = o.hw, o.stable, o.logStart
	if q.LastFetchedEpoch >= 0 {
		if e, end := q.Partition.endOfEpoch(log, q.LastFetchedEpoch, o); end >= 0 && (e < q.LastFetchedEpoch || end < q.Offset) {
			r.Diverging = &Epoch{Epoch: e, Start: end}
			return view{}
		}
	}
	switch o.place(f.from[i]) {
	case sideHot:
		return view{log: log, limit: o.stable}
	case sideCold:
		if f.m.o.Archive == nil {
			r.Error = kerr.KafkaStorageError.Code
		} else if len(f.colds) < f.m.o.ColdParts {
			f.addCold(i, l)
		}
	case sideMissing:
		r.Error = kerr.KafkaStorageError.Code
	default:
		r.Error = kerr.OffsetOutOfRange.Code
	}
	return view{}
}

// readOutcome is what became of reading one partition's local log.
type readOutcome int

const (
	readDone    readOutcome = iota // the result tells what was found, or what is wrong
	readTrimmed                    // the log was trimmed past the offset meanwhile; the next look has decided anew
	readWaits                      // it would have to wait for the disk, and may not
)

// tryHot is readHot of a partition that may panic.
func (f *fetch) tryHot(i int, v view, left int, first, wait bool) (o readOutcome) {
	defer func() {
		if f.spoiled(i, recover()) {
			o = readDone
		}
	}()
	return f.readHot(i, v, left, first, wait)
}

// readHot reads one partition's records from the local log.
func (f *fetch) readHot(i int, v view, left int, first, wait bool) readOutcome {
	q, r := &f.req.Partitions[i], &f.results[i]
	for range 3 {
		if f.from[i] >= v.limit {
			return readDone
		}
		n := min(q.MaxBytes, left)
		if n <= 0 && !first {
			r.capped = true
			return readDone
		}
		data := &r.data
		var err error
		if wait {
			err = v.log.ReadTo(data, f.from[i], v.limit, n, first)
		} else {
			err = v.log.TryReadTo(data, f.from[i], v.limit, n, first)
		}
		switch {
		case err == nil:
			r.Regions, r.Bytes, r.next, r.release = data.Regions, data.Bytes, data.Next, data
			r.capped = data.Next < v.limit
			return readDone
		case errors.Is(err, disk.ErrWait):
			return readWaits
		case !errors.Is(err, hot.ErrOutOfRange):
			r.Error = codeOf(err)
			return readDone
		}
		if v = f.look(i); v.log == nil {
			return readTrimmed
		}
	}
	r.Error = kerr.KafkaStorageError.Code
	return readDone
}

// answer hands the results over, cut to what fits (I-21): in order, the first records whatever their size, then what
// still fits.
func (f *fetch) answer() {
	left, some := f.req.MaxBytes, false
	for i := range f.results {
		r := &f.results[i]
		if r.Bytes == 0 {
			r.drop()
			continue
		}
		if some && r.Bytes > left {
			r.drop() // read again by the next fetch, then first in turn
			continue
		}
		some = true
		left -= r.Bytes
	}
	f.to.Fetched(f.results, f.releaseFn) // f may be another's from here on
}

// spoiled is told what reading one partition panicked with, nil if it did not, and reports whether it did. Whatever it was, in what a
// client wrote or in a file, it costs this partition's answer and no more (I-32): a client may read many in one session, and would get
// on with none.
func (f *fetch) spoiled(i int, panicked any) bool {
	if panicked == nil {
		return false
	}
	q := &f.req.Partitions[i]
	f.m.panicked("reading a partition panicked; it is answered with an error", panicked, "partition", q.Partition.id, "offset", f.from[i])
	f.results[i].spoil()
	return true
}

// caught is spoiled for what a fetch does for all of its partitions: none of them can be read.
func (f *fetch) caught(panicked any) bool {
	if panicked == nil {
		return false
	}
	f.m.panicked("a fetch panicked; it is answered with an error", panicked)
	f.stopWaiting()
	for i := range f.results {
		f.results[i].spoil()
	}
	f.colds = f.colds[:0]
	return true
}

// discard lets go of what an earlier round has read.
func (f *fetch) discard() {
	for i := range f.results {
		f.results[i].drop()
	}
}

// codeOf gives Kafka's code for what the partition or its log says.
func codeOf(err error) int16 {
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return ke.Code
	}
	return kerr.KafkaStorageError.Code
}
