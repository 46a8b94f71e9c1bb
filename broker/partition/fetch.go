package partition

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/ledger"
)

// FetchRequest is a fetch of many partitions. They are served in order; the caller rotates them for fairness.
type FetchRequest struct {
	MaxWait    time.Duration // how long to wait for MinBytes
	MinBytes   int
	MaxBytes   int // at most this much is answered, or one batch if that is larger (I-21)
	Partitions []FetchPartition
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

	release func()
	next    int64 // where reading goes on
	capped  bool  // a byte limit, not the watermark, ended the read: waiting brings no more
}

func (r *FetchResult) drop() {
	if r.release != nil {
		r.release()
	}
	r.release, r.Regions, r.Bytes = nil, nil, 0
}

// Fetch serves a fetch and calls done exactly once: at once on this goroutine, or later on another when it has to
// wait for records, for a log to be opened or for the archive. When ctx ends (the connection is gone), done is called
// soon with what there is. done must call release once the regions are no longer needed.
func (m *Manager) Fetch(ctx context.Context, req FetchRequest, done func(results []FetchResult, release func())) {
	f := &fetch{m: m, ctx: ctx, req: req, done: done, from: make([]int64, len(req.Partitions))}
	for i := range req.Partitions {
		f.from[i] = req.Partitions[i].Offset
	}
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
// wake-up, of which mu lets only one through.
type fetch struct {
	m    *Manager
	ctx  context.Context
	req  FetchRequest
	done func([]FetchResult, func())

	results []FetchResult
	colds   []coldRead
	from    []int64 // where reading begins: the offset asked for, or above it where the archive has a gap up to its end

	mu      sync.Mutex
	tickets []*Ticket   // guarded by mu
	timer   *time.Timer // guarded by mu
	gone    func()      // stops watching for the end of ctx or of all waits; guarded by mu
	woken   bool        // guarded by mu
	over    bool        // the wait is over, answer whatever there is; guarded by mu
}

// coldRead is one partition whose offset lies in the archive.
type coldRead struct {
	index  int
	ledger *ledger.Ledger
}

// openLogs opens the logs that are not open yet, a few at a time.
func (f *fetch) openLogs() {
	var all sync.WaitGroup
	lanes := make(chan struct{}, f.m.o.OpenParallel)
	for i := range f.req.Partitions {
		if p := f.req.Partitions[i].Partition; p != nil && !p.IsOpen() {
			lanes <- struct{}{}
			all.Go(func() {
				_, _ = p.serve(-1) // whoever reads it is told
				<-lanes
			})
		}
	}
	all.Wait()
}

func (f *fetch) first() {
	deadline := f.m.o.Now().Add(f.req.MaxWait)
	f.round(deadline)
}

// round reads everything once, and answers or waits.
func (f *fetch) round(deadline time.Time) {
	f.read()
	if len(f.colds) > 0 {
		go f.readCold()
		return
	}
	bytes, urgent := f.state()
	wait := deadline.Sub(f.m.o.Now())
	if urgent || bytes >= f.req.MinBytes || wait <= 0 {
		f.answer()
		return
	}
	f.park(deadline, wait)
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
// for ever. Where both sides are wanted, the local log may take half the bytes.
func (f *fetch) read() {
	f.discard()
	f.results = make([]FetchResult, len(f.req.Partitions))
	f.colds = nil
	views := make([]view, len(f.req.Partitions))
	for i := range f.req.Partitions {
		views[i] = f.look(i)
	}
	left := f.req.MaxBytes
	if len(f.colds) > 0 {
		left -= left / 2
	}
	some := false
	for i := range views {
		if views[i].log == nil {
			continue
		}
		if f.readHot(i, views[i], left, !some) {
			left -= f.results[i].Bytes
			some = some || f.results[i].Bytes > 0
		}
	}
}

// view is a partition that is to be read locally; log is nil otherwise.
type view struct {
	log   Log
	limit int64
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
		return view{log, o.stable}
	case sideCold:
		if f.m.o.Archive == nil {
			r.Error = kerr.KafkaStorageError.Code
		} else if len(f.colds) < f.m.o.ColdParts {
			f.colds = append(f.colds, coldRead{i, l})
		}
	case sideMissing:
		r.Error = kerr.KafkaStorageError.Code
	default:
		r.Error = kerr.OffsetOutOfRange.Code
	}
	return view{}
}

// readHot reads one partition's records from the local log. It reports false when the log was trimmed past
// the offset meanwhile; the next look decides anew.
func (f *fetch) readHot(i int, v view, left int, first bool) bool {
	q, r := &f.req.Partitions[i], &f.results[i]
	for range 3 {
		if f.from[i] >= v.limit {
			return true
		}
		n := min(q.MaxBytes, left)
		if n <= 0 && !first {
			r.capped = true
			return true
		}
		data, err := v.log.Read(f.from[i], v.limit, n, first)
		switch {
		case err == nil:
			r.Regions, r.Bytes, r.next, r.release = data.Regions, data.Bytes, data.Next, data.Release
			r.capped = data.Next < v.limit
			return true
		case !errors.Is(err, hot.ErrOutOfRange):
			r.Error = codeOf(err)
			return true
		}
		if v = f.look(i); v.log == nil {
			return false
		}
	}
	r.Error = kerr.KafkaStorageError.Code
	return true
}

// park waits until a partition's watermark covers more than was read, or time is up.
func (f *fetch) park(deadline time.Time, wait time.Duration) {
	type want struct {
		p    *Partition
		need int64
	}
	var wants []want // worked out first: once a wake-up is possible, the results are its goroutine's
	for i := range f.req.Partitions {
		if p, r := f.req.Partitions[i].Partition, &f.results[i]; p != nil && !r.capped {
			wants = append(wants, want{p, r.next + 1})
		}
	}
	wake := func(over bool) {
		if f.claim(over) {
			f.resume(deadline)
		}
	}
	f.mu.Lock()
	f.woken = false
	f.timer = time.AfterFunc(wait, func() { wake(true) })
	gone := context.AfterFunc(f.ctx, func() { wake(true) })
	drained := context.AfterFunc(f.m.waits, func() { wake(true) })
	f.gone = func() { gone(); drained() }
	f.mu.Unlock()
	for _, w := range wants {
		// Await may call back before it returns, and does so when records came in since they were read.
		t := w.p.Await(w.need, func(int16) { go wake(false) })
		f.mu.Lock()
		if f.woken {
			f.mu.Unlock()
			t.Cancel()
			return
		}
		f.tickets = append(f.tickets, t)
		f.mu.Unlock()
	}
}

// claim lets the first of several wake-ups through.
func (f *fetch) claim(over bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.woken {
		return false
	}
	f.woken = true
	f.over = over
	return true
}

// resume ends the wait and looks again.
func (f *fetch) resume(deadline time.Time) {
	f.mu.Lock()
	tickets := f.tickets
	f.tickets = nil
	f.timer.Stop()
	f.gone()
	over := f.over
	f.mu.Unlock()
	for _, t := range tickets {
		t.Cancel()
	}
	if over {
		deadline = time.Time{}
	}
	f.round(deadline)
}

// answer hands the results over, cut to what fits (I-21): in order, the first records whatever their size, then what
// still fits.
func (f *fetch) answer() {
	left, some := f.req.MaxBytes, false
	var releases []func()
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
		releases = append(releases, r.release)
	}
	results := f.results
	f.results = nil
	f.done(results, func() {
		for _, rel := range releases {
			rel()
		}
	})
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
