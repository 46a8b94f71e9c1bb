package upload_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/archive/archivetest"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/topic"
	"github.com/firnlog/firn/tier/upload"
)

// electing makes the broker leader of a later epoch while the ledger is being read.
type electing struct {
	*archivetest.Ledgers
	during func()
}

func (e *electing) Ledger(ctx context.Context, p topic.Partition) (*ledger.Ledger, error) {
	if e.during != nil {
		e.during()
		e.during = nil
	}
	return e.Ledgers.Ledger(ctx, p)
}

// I-08: the epoch that an append compares is the one of before the ledger was read. When leadership is lost and won again
// while it is read, a leader in between may have appended what was not seen; an append at the new epoch would claim
// that what was read is of the new leadership.
func TestEpochIsReadBeforeTheLedger(t *testing.T) {
	led := &electing{Ledgers: archivetest.NewLedgers()}
	b := newBench(t, func(b *bench, o *upload.Options) { o.Ledgers, b.led = led, led.Ledgers })
	l := b.log("t", eager)
	l.Append(b.rnd, 3, 100, 1000)
	led.during = func() { l.Set(3, -1, 0) }
	b.m.Add(l)
	b.eventually("archived", func() bool { return l.ArchivedTo() == 3 })
	require.EqualValues(t, 1, b.led.CachedLedger(l.Partition()).Recent[0].Epoch, "of before the ledger was read")
}
