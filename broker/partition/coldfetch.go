package partition

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/firnlog/firn/tier/ledger"
)

// coldRead is one partition whose offset lies in the archive.
type coldRead struct {
	index  int
	ledger *ledger.Ledger
	max    int       // bytes to read
	there  bool      // it was in the cache, or reading it there panicked: no worker is to read it
	cached *ColdData // for ReadCached; kept from fetch to fetch
}

// addCold lists a partition that is to be read from the archive.
func (f *fetch) addCold(index int, l *ledger.Ledger) {
	n := len(f.colds)
	f.colds = slices.Grow(f.colds, 1)[:n+1]
	c := &f.colds[n]
	c.index, c.ledger, c.there = index, l, false
}

// isCold reports whether the partition's outcome comes from the archive.
func (f *fetch) isCold(index int) bool {
	for i := range f.colds {
		if f.colds[i].index == index {
			return true
		}
	}
	return false
}

// forgetCold lets go of all that the next fetch does not need.
func (f *fetch) forgetCold() {
	f.colds = f.colds[:cap(f.colds)]
	for i := range f.colds {
		f.colds[i].ledger = nil
	}
	f.colds = f.colds[:0]
}

// readAtHand reads the fetch's archived partitions as far as nothing has to be waited for, and reports whether that is an
// answer: mostly so where a consumer follows the archive, which is read ahead. If it is not, readCold goes on from there.
func (f *fetch) readAtHand() (all bool) {
	defer func() { all = f.caught(recover()) || all }()
	f.again, f.turned, f.turn = false, false, 0
	f.shareOut()
	all = true
	for i := range f.colds {
		f.tryCached(&f.colds[i], false)
		all = all && f.colds[i].there
	}
	if !all || f.again {
		return false
	}
	f.takeTurn()
	return f.turn == 0
}

// readCold reads the fetch's archived partitions and answers (design §4, Reading). What is in the cache it reads itself, as
// local records are read: it waits for the local disk only, and for ColdGrace. The others are read side by side, in bounded
// workers. It waits
//   - for all of them, as long as there is nothing else to answer: until one is there or ColdWait (or the client's
//     own wait, if longer) is over;
//   - for ColdGrace more once something can be answered: local records, new ones that come meanwhile, or the first
//     of the archived ones. Neither hot partitions nor fast ones wait for a slow object;
//   - for the turn of what the archive gave (Archive.Turn), if that is all there is.
//
// What is late is not lost: fills are detached from this fetch, and the next one finds their chunks in the cache.
//
// A fetch that finds everything in the cache allocates nothing: its memory, its timer and its tickets are the fetch's, used
// again with it. What may outlive it, the reads of workers, has memory of its own.
func (f *fetch) readCold() {
	f.readArchived()
	f.answer()
}

func (f *fetch) readArchived() {
	defer func() { f.caught(recover()) }()
	if absent := f.readCached(); absent > 0 {
		f.readAbsent(absent)
	}
	if !f.turned {
		f.takeTurn()
	}
	f.awaitTurn()
	f.stopWaiting()
	if f.again {
		f.rereadHot()
	}
}

// shareOut shares the bytes that the local log has left out evenly; answer cuts what comes to what fits.
func (f *fetch) shareOut() {
	bytes, _ := f.state()
	share := max(f.req.MaxBytes-bytes, 0) / len(f.colds)
	for i := range f.colds {
		c := &f.colds[i]
		c.max = max(min(f.req.Partitions[c.index].MaxBytes, share), 1)
	}
}

// readCached takes what is in the cache, when it is its turn to wait for the local disk. It tells how many partitions are
// not, or would hold up the others because the disk is slow.
func (f *fetch) readCached() (absent int) {
	for i := range f.colds {
		if !f.colds[i].there {
			absent++
		}
	}
	began := time.Now()
	if absent == 0 || !f.takePlace(f.m.diskCold, f.m.o.ColdGrace) {
		return absent
	}
	defer func() { <-f.m.diskCold }()
	tried := false
	for i := range f.colds {
		c := &f.colds[i]
		if c.there || tried && time.Since(began) > f.m.o.ColdGrace {
			continue
		}
		tried = true
		if f.tryCached(c, true); c.there {
			absent--
		}
	}
	return absent
}

// tryCached takes what is in the cache of one partition, which may panic.
func (f *fetch) tryCached(c *coldRead, wait bool) {
	defer func() {
		if f.spoiled(c.index, recover()) {
			c.there = true
			c.abandon()
		}
	}()
	if c.cached == nil {
		c.cached = new(ColdData)
	}
	c.there = f.m.o.Archive.ReadCached(c.cached, f.req.Partitions[c.index].Partition.id, c.ledger, f.from[c.index], c.max, wait)
	if c.there {
		f.take(coldOutcome{c.index, c.cached, nil})
	}
}

// abandon lets go of what a read that panicked has pinned.
func (c *coldRead) abandon() {
	half := c.cached
	c.cached = nil
	if half.Held != nil {
		half.Release()
	}
}

// readAbsent has workers read the partitions that are not in the cache, so many, and waits for them.
func (f *fetch) readAbsent(absent int) {
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	defer context.AfterFunc(f.m.ctx, cancel)()
	to := &coldReads{ctx: ctx, outcomes: make(chan coldOutcome, absent)}
	defer to.leave()

	late := f.after(max(f.req.MaxWait, f.m.tuning.Load().ColdWait))
	bytes, urgent := f.state()
	if urgent || bytes > 0 && bytes >= f.req.MinBytes || absent < len(f.colds) {
		late = f.after(f.m.o.ColdGrace)
	}
	news := f.hotNews()
	next, jobs := 0, f.m.coldJobs
	job, more := f.nextJob(to, &next)
	for absent > 0 {
		if !more {
			jobs = nil
		}
		select {
		case jobs <- job:
			job, more = f.nextJob(to, &next)
		case o := <-to.outcomes:
			absent--
			f.take(o)
			if o.err == nil || f.results[o.index].Error != 0 {
				late = f.after(f.m.o.ColdGrace)
			}
		case <-news:
			f.again = true
			late = f.after(f.m.o.ColdGrace)
		case <-late:
			return
		case <-ctx.Done():
			return
		}
	}
}

// nextJob makes a job of the next partition, from the next-th on, that was not in the cache.
func (f *fetch) nextJob(to *coldReads, next *int) (coldJob, bool) {
	for ; *next < len(f.colds); *next++ {
		c := &f.colds[*next]
		if !c.there {
			*next++
			return coldJob{to, c.index, f.req.Partitions[c.index].Partition, c.ledger, f.from[c.index], c.max}, true
		}
	}
	return coldJob{}, false
}

// takeTurn tells how long to wait for the turn of what was read from the archive, unless there is something local to answer:
// that does not wait for a replay.
func (f *fetch) takeTurn() {
	f.turned, f.turn = true, 0
	all, cold := 0, 0
	urgent := false
	for i := range f.results {
		all += f.results[i].Bytes
		urgent = urgent || f.results[i].Error != 0
	}
	for i := range f.colds {
		cold += f.results[f.colds[i].index].Bytes
	}
	wait := f.m.o.Archive.Turn(min(cold, f.req.MaxBytes))
	if !urgent && all == cold {
		f.turn = wait
	}
}

// awaitTurn waits for the turn, or until local records come.
func (f *fetch) awaitTurn() {
	if f.turn == 0 {
		return
	}
	began := time.Now()
	select {
	case <-f.after(f.turn):
	case <-f.hotNews():
		f.again = true
	case <-f.ctx.Done():
	case <-f.m.ctx.Done():
	}
	f.m.o.Archive.Yielded(time.Since(began))
}

// take puts one outcome into the results. A read that was only given up is no error: the client asks again. Where the
// archive holds nothing from the offset up to its end (compaction removed it), the next batch that exists is looked for
// beyond the seam (I-17).
func (f *fetch) take(o coldOutcome) {
	r := &f.results[o.index]
	switch {
	case o.err == nil && o.data.Bytes == 0 && o.data.Next > f.from[o.index]:
		f.from[o.index] = o.data.Next
		o.data.Release()
		f.again = true
	case o.err == nil:
		r.Regions, r.Bytes, r.next, r.release = o.data.Regions, o.data.Bytes, o.data.Next, o.data
	case errors.Is(o.err, context.Canceled) || errors.Is(o.err, context.DeadlineExceeded):
	default:
		p := f.req.Partitions[o.index].Partition
		f.m.o.Logger.Warn("cannot read the archive", "partition", p.id, "offset", f.req.Partitions[o.index].Offset, "error", o.err)
		r.Error = kerr.KafkaStorageError.Code
	}
}

// rereadHot reads the local partitions again that had nothing at first, and those that went on beyond the seam. What has to
// wait for the disk is left to the next fetch if the turn to does not come.
func (f *fetch) rereadHot() {
	bytes, _ := f.state()
	colds := f.colds
	var turn, late bool
	defer func() {
		if turn {
			<-f.m.disk
		}
	}()
	for i := range f.results {
		f.colds = colds // look lists those that are archived by now: they are for the next fetch
		q := &f.req.Partitions[i]
		if f.isCold(i) && f.from[i] == q.Offset || f.results[i].Bytes > 0 || f.results[i].Error != 0 || q.Partition == nil {
			continue
		}
		v := f.tryLook(i)
		if v.log == nil {
			continue
		}
		if f.tryHot(i, v, f.req.MaxBytes-bytes, bytes == 0, turn) == readWaits && !late {
			wait := f.patience()
			if bytes > 0 {
				wait = f.m.o.ColdGrace
			}
			if turn = f.takePlace(f.m.disk, wait); turn {
				f.tryHot(i, v, f.req.MaxBytes-bytes, bytes == 0, true)
			}
			late = !turn
		}
		bytes += f.results[i].Bytes
	}
	f.colds = colds
}
