package hot

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/producer"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/unpack"
)

// timedRecord is a record of the model in TestTimes.
type timedRecord struct{ offset, ts, batchNext int64 }

// TestTimes compares lookups by time with a search through all records, at every offset limit.
func TestTimes(t *testing.T) {
	for _, codec := range []record.Codec{record.None, record.Zstd} {
		d := openDir(t, disk.NewCrashable(1), "/log")
		l := d.open(0, func(c *Config) { c.SegmentBytes = 1500; c.IndexIntervalBytes = 200 })
		rng := rand.New(rand.NewPCG(3, 4))
		var recs []timedRecord
		for i := range 60 {
			b := record.NewBuilder(codec)
			n := 1 + rng.IntN(5)
			for range n {
				ts := int64(1000 + i*10 + rng.IntN(60))
				recs = append(recs, timedRecord{int64(len(recs)), ts, 0})
				b.Append(ts, []byte("k"), []byte("a value of some length"), nil)
			}
			for j := range n {
				recs[len(recs)-1-j].batchNext = int64(len(recs))
			}
			_, err := l.Append(sealed(t, b))
			require.NoError(t, err)
		}
		require.Greater(t, len(l.Segments()), 3)
		for _, limit := range []int64{0, 1, 7, l.End() / 2, l.End() - 1, l.End()} {
			for ts := int64(990); ts < 1700; ts += 3 {
				checkTime(t, l, recs, ts, limit)
			}
		}
		for at := int64(0); at < l.End(); at = recs[at].batchNext { // limits are where batches end
			checkMax(t, l, recs, at)
		}
		checkMax(t, l, recs, l.End())
		require.NoError(t, l.AdvanceStart(l.End()/2-1))
		for ts := int64(990); ts < 1700; ts += 7 {
			checkTime(t, l, recs, ts, l.End())
		}
		require.NoError(t, l.AdvanceStart(recs[l.LocalStart()].batchNext))
		checkMax(t, l, recs, l.End())
		require.NoError(t, d.Close())
	}
}

func sealed(t *testing.T, b *record.Builder) ([]byte, []record.Header, AppendOptions) {
	bytes := b.Build(0)
	h, err := record.Check(bytes)
	require.NoError(t, err)
	return bytes, []record.Header{h}, AppendOptions{Now: startMs, Check: true}
}

func checkTime(t *testing.T, l *Log, recs []timedRecord, ts, limit int64) {
	t.Helper()
	got, ok, err := l.OffsetForTime(ts, limit)
	require.NoError(t, err)
	for _, r := range recs {
		if r.ts < ts || r.offset < l.LocalStart() {
			continue
		}
		if r.offset >= limit {
			break
		}
		require.True(t, ok, "time %d limit %d", ts, limit)
		require.Equal(t, TimeResult{Offset: r.offset, Timestamp: r.ts}, got, "time %d limit %d", ts, limit)
		return
	}
	require.False(t, ok, "time %d limit %d: %+v", ts, limit, got)
}

func checkMax(t *testing.T, l *Log, recs []timedRecord, limit int64) {
	t.Helper()
	got, ok, err := l.MaxTimestamp(limit)
	require.NoError(t, err)
	best := timedRecord{ts: -1}
	for _, r := range recs {
		if r.ts > best.ts && r.offset < limit && r.offset >= l.LocalStart() {
			best = r
		}
	}
	require.Equal(t, best.ts >= 0, ok)
	if ok {
		require.Equal(t, TimeResult{Offset: best.offset, Timestamp: best.ts}, got, "limit %d", limit)
	}
}

// A batch that lies inside is stored, served, and passed over by lookups as a whole.
func TestBatchThatLies(t *testing.T) {
	d := openDir(t, disk.NewCrashable(1), "/log")
	l := d.open(0, nil)
	appendTo(t, l, batch(2, 10, 1000))
	b := record.NewBuilder(record.Gzip).Append(2000, nil, []byte("x"), nil).Append(2001, nil, []byte("y"), nil).Build(0)
	for i := record.HeaderSize + 4; i < len(b); i++ {
		b[i] ^= 0x55
	}
	record.StampLogAppendTime(b, 2001) // computes the CRC anew
	b[22] &^= 0x08
	record.StampLogAppendTime(b, 2001)
	h, err := record.Check(b)
	require.NoError(t, err)
	_, err = l.Append(b, []record.Header{h}, AppendOptions{Now: startMs})
	require.NoError(t, err)
	appendTo(t, l, batch(1, 10, 3000))
	for ts, want := range map[int64]int64{500: 0, 1001: 1, 1500: 2, 2500: 4} {
		r, ok, err := l.OffsetForTime(ts, l.End())
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, want, r.Offset, "time %d", ts)
	}
	got, err := l.ReadBytes(2, 4, 1<<20)
	require.NoError(t, err)
	require.Equal(t, b, got)
	l2 := d.open(1, func(c *Config) { c.ValidateRecords = true })
	_, err = l2.Append(b, []record.Header{h}, AppendOptions{Now: startMs, Check: true})
	require.ErrorIs(t, err, ErrInvalidBatch)
	require.NoError(t, d.Close())
}

// I-32: of any number of lookups by time, few hold a batch at once. They read it before their turn to decompress comes, of
// which there are fewer here: whoever else waits for one does not wait for their disk.
func TestLookupsThatWaitHoldNothing(t *testing.T) {
	random := make([]byte, 20_000)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	for _, codec := range []record.Codec{record.None, record.Zstd} {
		f := disk.NewFaulty(disk.NewCrashable(1), nil)
		o, _ := testOptions(t, f, "/log")
		o.Unpack = unpack.New(unpack.Options{AtOnce: 2})
		d, err := OpenDir(o)
		require.NoError(t, err)
		l := (&testDir{Dir: d, t: t}).open(0, nil)
		batch := record.NewBuilder(codec).Append(startMs, nil, random, nil).Append(startMs+1, nil, nil, nil)
		b, headers, _ := sealed(t, batch)
		_, err = l.Append(b, headers, AppendOptions{Now: startMs, Check: true})
		require.NoError(t, err)
		holding := newCrowd(t, diskLanes)
		f.SetHook(func(c disk.Call) disk.Fault {
			if c.Op == disk.OpRead && c.Bytes == len(b) {
				holding.pass()
			}
			return disk.Fault{}
		})
		var lookups sync.WaitGroup
		for i := range 60 {
			lookups.Go(func() {
				lookup := func() (TimeResult, bool, error) { return l.OffsetForTime(startMs+1, l.End()) }
				if i%2 == 0 {
					lookup = func() (TimeResult, bool, error) { return l.MaxTimestamp(l.End()) }
				}
				if r, ok, err := lookup(); err != nil || !ok || r != (TimeResult{Offset: 1, Timestamp: startMs + 1}) {
					t.Errorf("%s: %+v, %v, %v", codec, r, ok, err)
				}
			})
		}
		lookups.Wait()
		require.Equal(t, diskLanes, holding.most, "%s", codec)
		require.NoError(t, d.Close())
	}
}

// A small batch of a great many records that are out of time does not become an error for each (I-32).
func TestBadRecordsAreBounded(t *testing.T) {
	d := openDir(t, disk.NewCrashable(1), "/log")
	l := d.open(0, func(c *Config) { c.TimestampBeforeMaxMs = 1000 })
	many := record.NewBuilder(record.Zstd)
	for range 200_000 {
		many.Append(startMs-1001, nil, nil, nil)
	}
	b := many.Build(0)
	require.Less(t, len(b), 200_000)
	_, err := tryAppend(l, b, 0)
	var bad BadRecords
	require.ErrorAs(t, err, &bad)
	require.Len(t, bad, MaxBadRecords)
	require.ErrorContains(t, err, "at least 999 records more")
	require.NoError(t, d.Close())
}

func TestAdmission(t *testing.T) {
	d := openDir(t, disk.NewCrashable(1), "/log")
	l := d.open(0, func(c *Config) {
		c.MaxMessageBytes, c.SegmentBytes = 300, 400
		c.TimestampBeforeMaxMs, c.TimestampAfterMaxMs = 1000, 500
	})
	_, err := tryAppend(l, batch(1, 400, startMs), 0)
	require.ErrorIs(t, err, ErrRecordTooLarge)
	b := record.NewBuilder(record.None).Append(startMs, nil, nil, nil).Append(startMs-1001, nil, nil, nil).
		Append(startMs+501, nil, nil, nil).Build(0)
	_, err = tryAppend(l, b, 0)
	require.ErrorIs(t, err, ErrTimestamp)
	var bad BadRecords
	require.ErrorAs(t, err, &bad)
	require.Len(t, bad, 2, "all that are out of range are named")
	require.Equal(t, []int{1, 2}, []int{bad[0].Index, bad[1].Index})
	b = record.NewBuilder(record.None).Append(startMs, nil, nil, nil).Append(startMs-1001, nil, nil, nil).Build(0)
	_, err = tryAppend(l, b, 0)
	require.ErrorIs(t, err, ErrTimestamp, "a record before the batch's first does not show in the header")
	_, err = tryAppend(l, batch(1, 10, startMs-1001), 0)
	require.ErrorIs(t, err, ErrTimestamp)
	_, err = tryAppend(l, batch(1, 10, startMs-1000), 0)
	require.NoError(t, err)
	_, err = tryAppend(l, record.EndTxnMarker(0, startMs, 1, 0, 0, 0), 0)
	require.ErrorIs(t, err, ErrInvalidBatch)
	two := append(batch(1, 200, startMs), batch(1, 200, startMs)...)
	h, err := record.Check(two)
	require.NoError(t, err)
	_, err = l.Append(two, []record.Header{h, h}, AppendOptions{Now: startMs, Check: true})
	require.ErrorIs(t, err, ErrBatchListTooLarge)
	_, err = l.Append(two, []record.Header{h}, AppendOptions{Now: startMs, Check: true})
	require.ErrorIs(t, err, ErrInvalidBatch)

	l = d.open(1, func(c *Config) { c.LogAppendTime = true })
	a := appendTo(t, l, producerBatch(1, 0, 1, 5))
	require.Equal(t, int64(startMs), a.LogAppendTime)
	d.clock.ms += 77
	a = appendTo(t, l, producerBatch(1, 0, 1, 5))
	require.Equal(t, Appended{NextOffset: 1, LogAppendTime: startMs, Duplicate: true}, a)
	r, ok, err := l.OffsetForTime(startMs, 1)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, int64(startMs), r.Timestamp)
	_, err = tryAppend(l, producerBatch(1, 5, 1, 5), 0)
	require.ErrorIs(t, err, producer.ErrOutOfOrderSequence)
	require.NoError(t, d.Close())
}
