package partition

import (
	"context"
	"time"

	"github.com/firnlog/firn/tier/cold"
	"github.com/firnlog/firn/tier/hot"
	"github.com/firnlog/firn/tier/hot/epoch"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
)

// OnArchive makes an Archive of a reader of the archive.
func OnArchive(r *cold.Reader) Archive { return onArchive{r} }

type onArchive struct{ r *cold.Reader }

func (a onArchive) Read(ctx context.Context, p topic.Partition, l *ledger.Ledger, offset int64, maxBytes int) (*ColdData, error) {
	held, err := a.r.Read(ctx, p, l, offset, maxBytes)
	if err != nil {
		return nil, err
	}
	d := new(ColdData)
	d.hold(held)
	return d, nil
}

func (a onArchive) ReadCached(d *ColdData, p topic.Partition, l *ledger.Ledger, offset int64, maxBytes int, wait bool) bool {
	held, ok := d.Held.(*cold.Data)
	if !ok {
		held = new(cold.Data)
		d.Held = held // also below a panic
	}
	if ok = a.r.ReadCached(held, p, l, offset, maxBytes, wait); ok {
		d.hold(held)
	}
	return ok
}

func (d *ColdData) hold(c *cold.Data) {
	d.Regions, d.First, d.Next, d.Bytes, d.Held = c.Regions, c.First, c.Next, c.Bytes, c
}

func (a onArchive) OffsetForTime(ctx context.Context, p topic.Partition, l *ledger.Ledger, ts int64) (hot.TimeResult, bool, error) {
	t, ok, err := a.r.OffsetForTime(ctx, p, l, ts)
	return hot.TimeResult(t), ok, err
}

func (a onArchive) MaxTimestamp(ctx context.Context, p topic.Partition, l *ledger.Ledger) (hot.TimeResult, bool, error) {
	t, ok, err := a.r.MaxTimestamp(ctx, p, l)
	return hot.TimeResult(t), ok, err
}

func (a onArchive) End(ctx context.Context, p topic.Partition, l *ledger.Ledger) (ArchiveEnd, error) {
	e, err := a.r.End(ctx, p, l)
	if err != nil {
		return ArchiveEnd{}, err
	}
	var out ArchiveEnd
	for _, x := range e.Epochs {
		out.Epochs = append(out.Epochs, epoch.Entry{Epoch: x.Epoch, Start: x.Start})
	}
	for _, x := range e.Producers {
		out.Producers = append(out.Producers, localProducer(x))
	}
	return out, nil
}

func (a onArchive) Segments(ctx context.Context, l *ledger.Ledger, from int64) ([]ledger.Segment, error) {
	return a.r.Segments(ctx, l, from)
}

func (a onArchive) Turn(bytes int) time.Duration { return a.r.Turn(bytes) }

func (a onArchive) Yielded(d time.Duration) { a.r.Yielded(d) }
