package partition

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/cold"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/layout"
	"github.com/firnlog/firn/tier/object/dir"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/upload"
)

// The whole way with the real uploader, store and reader: produce, archive, trim, read back byte for byte, lose the disk, go
// on (I-01, I-05, I-12, I-18, I-36).
func TestTheWholeWay(t *testing.T) {
	e := newEnv(t)
	e.close()
	store, err := dir.Open(t.TempDir())
	require.NoError(t, err)
	img := e.store.Image()
	ups, err := upload.New(upload.Options{Store: store, Ledgers: e.store, Layout: layout.Layout{ClusterID: img.ClusterID, Generation: img.Generation},
		SpoolDir: t.TempDir(), Settle: time.Millisecond, Logger: quiet})
	require.NoError(t, err)
	reader, err := cold.New(cold.Options{Store: store, CacheDir: t.TempDir(), Logger: quiet})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = ups.Close(context.Background(), false)
		e.close()
		_ = reader.Close()
	})
	now := time.UnixMilli(1_000_000_000)
	real := func(o *Options) {
		o.Archive, o.Uploads, o.Now = OnArchive(reader), ups, func() time.Time { return now }
	}
	e.open(real)
	e.create("t", 1, "local.retention.ms", "1", "firn.remote.segment.bytes", "4096", "firn.remote.upload.max.lag.ms", "100")
	p := e.partition("t", 0)

	var want []byte
	seq := int32(0)
	idempotent := func() []byte {
		b := record.NewBuilder(record.None).Producer(77, 0, seq)
		for i := range 3 {
			b.Append(1000+int64(seq), []byte(strconv.Itoa(i)), make([]byte, 200), nil)
		}
		seq += 3
		return b.Build(0)
	}
	last := []byte(nil)
	for range 40 {
		last = idempotent()
		sent := append([]byte(nil), last...)
		e.produce(p, last)
		want = append(want, last...) // as stamped
		last = sent
	}
	eventually(t, func() bool { return e.store.CachedLedger(p.id).Next == 120 && p.archived.Load() == 120 })
	e.m.Housekeep(context.Background())
	log, err := p.opened()
	require.NoError(t, err)
	require.EqualValues(t, 120, log.LocalStart(), "all of it left the local disk")
	read := func() (data []byte) {
		for offset := int64(0); offset < 120; {
			a := e.fetch(one(p, offset))
			require.Zero(t, a.results[0].Error)
			require.NotEmpty(t, a.data[0], "offset %d", offset)
			data = append(data, a.data[0]...)
			for it := record.Batches(a.data[0]); it.Next(); {
				offset = it.Header().NextOffset()
			}
		}
		return data
	}
	require.Equal(t, want, read())
	pos, err := p.ListOffset(context.Background(), OffsetQuery{Timestamp: 1050, LeaderEpoch: -1})
	require.NoError(t, err)
	require.EqualValues(t, 51, pos.Offset)

	e.close()
	e.fs = disk.NewCrashable(9) // the disk is lost, the archive is not
	e.open(real)
	p = e.partition("t", 0)
	require.EqualValues(t, 117, e.produce(p, last), "a retried batch is recognized by the archive's producer state")
	require.Equal(t, want, read())
	require.EqualValues(t, 120, e.produce(p, idempotent()))
	eventually(t, func() bool { return e.store.CachedLedger(p.id).Next == 123 })
}
