package partition

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// coldOutcome is what one read of the archive gave.
type coldOutcome struct {
	index int
	data  *ColdData
	err   error
}

// readCold reads the fetch's archived partitions side by side, in bounded workers, and answers (design §4,
// Reading). It waits
//   - for all of them, as long as there is nothing else to answer: until one is there or ColdWait (or the client's
//     own wait, if longer) is over;
//   - for ColdGrace more once something can be answered: local records, new ones that come meanwhile, or the first
//     of the archived ones. Neither hot partitions nor fast ones wait for a slow object;
//   - for the turn of what the archive gave (Archive.Turn), if that is all there is.
//
// What is late is not lost: fills are detached from this fetch, and the next one finds their chunks in the cache.
func (f *fetch) readCold() {
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	stop := context.AfterFunc(f.m.ctx, cancel)
	defer stop()

	outcomes := f.startCold(ctx)
	late := newTimer(max(f.req.MaxWait, f.m.tuning.Load().ColdWait))
	defer late.Stop()
	hotNews := make(chan struct{}, 1)
	for _, t := range f.awaitHot(hotNews) {
		defer t.Cancel()
	}
	bytes, urgent := f.state()
	if urgent || bytes > 0 && bytes >= f.req.MinBytes {
		late.Reset(f.m.o.ColdGrace)
	}
	again := false
	pending := len(f.colds)
	for pending > 0 {
		select {
		case o := <-outcomes:
			pending--
			if f.take(o) {
				again = true
			}
			if o.err == nil || f.results[o.index].Error != 0 {
				late.Reset(f.m.o.ColdGrace)
			}
			continue
		case <-hotNews:
			again = true
			late.Reset(f.m.o.ColdGrace)
			continue
		case <-late.C:
		case <-ctx.Done():
		}
		break
	}
	again = f.takeTurn(ctx, hotNews) || again
	cancel()
	if pending > 0 { // what still comes is let go
		go func(n int) {
			for range n {
				if o := <-outcomes; o.data != nil {
					o.data.Release()
				}
			}
		}(pending)
	}
	if again {
		f.rereadHot()
	}
	f.answer()
}

// takeTurn waits for the turn of what was read from the archive, unless there is something local to answer: that does not
// wait for a replay. It reports whether local records came meanwhile.
func (f *fetch) takeTurn(ctx context.Context, hotNews <-chan struct{}) (news bool) {
	all, cold := 0, 0
	urgent := false
	for i := range f.results {
		all += f.results[i].Bytes
		urgent = urgent || f.results[i].Error != 0
	}
	for _, c := range f.colds {
		cold += f.results[c.index].Bytes
	}
	wait := f.m.o.Archive.Turn(min(cold, f.req.MaxBytes))
	if wait == 0 || urgent || all > cold {
		return false
	}
	t := newTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-hotNews:
		return true
	case <-ctx.Done():
	}
	return false
}

// newTimer is time.NewTimer; a Reset of it may be called at any time (Go 1.23 and later).
func newTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// startCold begins the reads. The bytes that the local log has left are shared out evenly; answer cuts what
// comes to what fits.
func (f *fetch) startCold(ctx context.Context) <-chan coldOutcome {
	bytes, _ := f.state()
	share := max(f.req.MaxBytes-bytes, 0) / len(f.colds)
	outcomes := make(chan coldOutcome, len(f.colds))
	m := f.m // what is late outlives the fetch
	for _, c := range f.colds {
		q := f.req.Partitions[c.index]
		n, from := max(min(q.MaxBytes, share), 1), f.from[c.index]
		go func() {
			select {
			case m.cold <- struct{}{}:
				defer func() { <-m.cold }()
			case <-ctx.Done():
				outcomes <- coldOutcome{c.index, nil, ctx.Err()}
				return
			}
			data, err := m.o.Archive.Read(ctx, q.Partition.id, c.ledger, from, n)
			outcomes <- coldOutcome{c.index, data, err}
		}()
	}
	return outcomes
}

// take puts one outcome into the results. A read that was only given up is no error: the client asks again. It
// reports whether the archive holds nothing from the offset up to its end (compaction removed it): then the next
// batch that exists is looked for beyond the seam (I-17).
func (f *fetch) take(o coldOutcome) (beyond bool) {
	r := &f.results[o.index]
	switch {
	case o.err == nil && o.data.Bytes == 0 && o.data.Next > f.from[o.index]:
		f.from[o.index] = o.data.Next
		o.data.Release()
		return true
	case o.err == nil:
		r.Regions, r.Bytes, r.next, r.release = o.data.Regions, o.data.Bytes, o.data.Next, releaseFunc(o.data.Release)
	case errors.Is(o.err, context.Canceled) || errors.Is(o.err, context.DeadlineExceeded):
	default:
		p := f.req.Partitions[o.index].Partition
		f.m.o.Logger.Warn("cannot read the archive", "partition", p.id, "offset", f.req.Partitions[o.index].Offset, "error", o.err)
		r.Error = kerr.KafkaStorageError.Code
	}
	return false
}

// awaitHot asks to be told when a local partition has more than was read.
func (f *fetch) awaitHot(news chan<- struct{}) []*Ticket {
	cold := make(map[int]bool, len(f.colds))
	for _, c := range f.colds {
		cold[c.index] = true
	}
	var tickets []*Ticket
	for i := range f.req.Partitions {
		p, r := f.req.Partitions[i].Partition, &f.results[i]
		if p == nil || cold[i] || r.Error != 0 || r.Bytes > 0 || !p.IsOpen() {
			continue
		}
		tickets = append(tickets, p.Await(r.next+1, func(int16) {
			select {
			case news <- struct{}{}:
			default:
			}
		}))
	}
	return tickets
}

// rereadHot reads the local partitions again that had nothing at first.
func (f *fetch) rereadHot() {
	bytes, _ := f.state()
	colds := f.colds
	was := make(map[int]bool, len(colds))
	for _, c := range colds {
		was[c.index] = f.from[c.index] == f.req.Partitions[c.index].Offset // not gone on beyond the seam
	}
	for i := range f.results {
		if was[i] || f.results[i].Bytes > 0 || f.results[i].Error != 0 || f.req.Partitions[i].Partition == nil {
			continue
		}
		if v := f.look(i); v.log != nil && f.readHot(i, v, f.req.MaxBytes-bytes, bytes == 0) {
			bytes += f.results[i].Bytes
		}
	}
	f.colds = colds
}
