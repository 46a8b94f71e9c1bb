package cold_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/archive"
	"github.com/firnlog/firn/tier/cold"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/layout"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/dir"
	"github.com/firnlog/firn/tier/object/fault"
	"github.com/firnlog/firn/tier/record"
	"github.com/firnlog/firn/tier/segment"
	"github.com/firnlog/firn/tier/topic"
)

var lay = layout.Layout{ClusterID: "cluster", Generation: "gen"}

// history is an archived partition and what was appended to it.
type history struct {
	t       *testing.T
	store   object.Store // counts and may be swapped by tests
	p       topic.Partition
	l       *ledger.Ledger
	batches []record.Header
	bytes   []byte
	at      []int // where each batch begins in bytes
	chunks  int   // bytes of a chunk
}

// newHistory archives n batches in segments of about segBytes, with chunks of 4 KiB.
func newHistory(t *testing.T, seed uint64, n, segBytes int, c segment.Compression) *history {
	store, err := dir.Open(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { store.Close() })
	h := &history{t: t, store: store, p: topic.Partition{ID: topic.NewID(), Topic: "t", Index: 3}, chunks: 4 << 10}
	h.l = &ledger.Ledger{Topic: h.p.ID, Index: 3}
	rnd := rand.New(rand.NewPCG(seed, 1))
	next := int64(0)
	for i := range n {
		b := record.NewBuilder(record.None).LeaderEpoch(1)
		for j := range 1 + rnd.IntN(4) {
			v := bytes.Repeat([]byte{byte(rnd.Uint32()), byte(i)}, rnd.IntN(400))
			b.Append(1_000_000+int64(i)*10+int64(j)-rnd.Int64N(50), nil, v, nil)
		}
		raw := b.Build(next)
		record.Stamp(raw, next, 1)
		head, err := record.Check(raw)
		require.NoError(t, err)
		h.batches, h.at = append(h.batches, head), append(h.at, len(h.bytes))
		h.bytes = append(h.bytes, raw...)
		next = head.NextOffset()
	}
	for i := 0; i < n; {
		first := i
		for size := 0; i < n && size < segBytes; i++ {
			size += h.batches[i].Size()
		}
		end := len(h.bytes)
		if i < n {
			end = h.at[i]
		}
		h.archive(h.bytes[h.at[first]:end], h.batches[first].BaseOffset, c)
	}
	return h
}

func (h *history) archive(batches []byte, base int64, c segment.Compression) {
	var buf bytes.Buffer
	w := segment.NewWriter(&buf, segment.WriterOptions{Meta: segment.Meta{ClusterID: "cluster", Topic: h.p, Base: base, Epoch: 1},
		ChunkBytes: h.chunks, Compression: c, State: segment.State{Epochs: []segment.EpochEntry{{Epoch: 1}}}})
	require.NoError(h.t, w.Add(batches))
	sum, err := w.Close()
	require.NoError(h.t, err)
	key := lay.SegmentKey(h.p.ID, h.p.Index, base, 1)
	_, err = h.store.Put(context.Background(), key, bytes.NewReader(buf.Bytes()), sum.Length, object.PutOptions{})
	require.NoError(h.t, err)
	h.l, err = h.l.Apply(ledger.Append{Epoch: 1, Base: base, Fence: h.l.Fence, Segment: ledger.Segment{Base: base, Next: sum.Next, Key: key,
		Length: sum.Length, CRC32C: sum.CRC32C, DataBytes: sum.DataBytes, IndexLength: sum.IndexLength, Epoch: 1,
		MinTimestamp: sum.MinTimestamp, MaxTimestamp: sum.MaxTimestamp, MaxTimestampOffset: sum.MaxTimestampOffset, CommittedAt: 1}})
	require.NoError(h.t, err)
}

// fold puts the older segments into a fold, and tells its key.
func (h *history) fold() (key string) {
	inputs := h.l.PlanFold(2, 1)
	require.NotEmpty(h.t, inputs)
	key = lay.FoldKey(h.p.ID, h.p.Index, 0, h.l.Version)
	ref, b, err := ledger.NewFold(key, ledger.FoldFile{ClusterID: "cluster", Generation: "gen", Partition: h.p, Segments: inputs})
	require.NoError(h.t, err)
	_, err = h.store.Put(context.Background(), key, bytes.NewReader(b), int64(len(b)), object.PutOptions{})
	require.NoError(h.t, err)
	h.l, err = h.l.Apply(ledger.Fold{Ref: ref, Inputs: inputs})
	require.NoError(h.t, err)
	return key
}

// want is the batch that a read at offset begins with.
func (h *history) want(offset int64) int {
	for i, b := range h.batches {
		if b.NextOffset() > offset {
			return i
		}
	}
	return len(h.batches)
}

func (h *history) reader(o cold.Options) *cold.Reader {
	if o.Store == nil {
		o.Store = h.store
	}
	if o.CacheDir == "" {
		o.CacheDir = h.t.TempDir()
	}
	if o.RetryPause == 0 {
		o.RetryPause = time.Millisecond
	}
	r, err := cold.New(o)
	require.NoError(h.t, err)
	h.t.Cleanup(func() { require.NoError(h.t, r.Close()) })
	return r
}

func content(t *testing.T, d *cold.Data) []byte {
	var out []byte
	for _, reg := range d.Regions {
		if reg.File == nil {
			out = append(out, reg.Bytes...)
			continue
		}
		b := make([]byte, reg.Length)
		_, err := reg.File.ReadAt(b, reg.Position)
		require.NoError(t, err)
		out = append(out, b...)
	}
	require.Len(t, out, d.Bytes)
	return out
}

// check reads at offset and compares.
func (h *history) check(r *cold.Reader, offset int64, maxBytes int) int64 {
	d, err := r.Read(context.Background(), h.p, h.l, offset, maxBytes)
	require.NoError(h.t, err, "offset %d", offset)
	defer d.Release()
	return h.matches(d, offset, maxBytes)
}

// matches compares what was read at offset.
func (h *history) matches(d *cold.Data, offset int64, maxBytes int) int64 {
	got := content(h.t, d)
	i := h.want(offset)
	require.NotEmpty(h.t, got)
	require.Equal(h.t, h.batches[i].BaseOffset, d.First)
	require.Equal(h.t, h.bytes[h.at[i]:h.at[i]+len(got)], got, "offset %d", offset)
	if len(got) > maxBytes {
		require.Equal(h.t, h.batches[i].Size(), len(got), "more than maxBytes must be a single batch (I-21)")
	}
	end := h.want(d.Next) // whole batches, and Next follows the last of them
	if end < len(h.at) {
		require.Equal(h.t, h.at[end], h.at[i]+len(got))
	} else {
		require.Equal(h.t, len(h.bytes), h.at[i]+len(got))
	}
	return d.Next
}

// Every offset, every way of cutting: what comes back is what was appended (I-18, I-21).
func TestReadEveryOffset(t *testing.T) {
	for _, c := range []segment.Compression{segment.CompressionNone, segment.CompressionZstd} {
		h := newHistory(t, 1, 300, 20<<10, c)
		r := h.reader(cold.Options{GroupBytes: 10 << 10})
		rnd := rand.New(rand.NewPCG(2, 2))
		for o := int64(0); o < h.l.Next; o++ {
			h.check(r, o, 1+rnd.IntN(12<<10))
		}
	}
}

// A scan with a cache smaller than one segment makes progress (I-23), and leaves nothing in the folder.
func TestTinyCache(t *testing.T) {
	h := newHistory(t, 3, 400, 64<<10, segment.CompressionNone)
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(folder+"/leftover", []byte("x"), 0o600))
	r := h.reader(cold.Options{CacheBytes: 10 << 10, GroupBytes: 8 << 10, CacheDir: folder})
	for range 2 {
		for o := int64(0); o < h.l.Next; {
			o = h.check(r, o, 3000)
		}
	}
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Empty(t, left, "I-23: leftovers are cleaned, and none are made")
}

// What is pinned stays readable whatever is evicted meanwhile (I-23).
func TestPinnedWhileEvicted(t *testing.T) {
	h := newHistory(t, 4, 400, 32<<10, segment.CompressionNone)
	r := h.reader(cold.Options{CacheBytes: 16 << 10, GroupBytes: 8 << 10})
	d, err := r.Read(context.Background(), h.p, h.l, 0, 4000)
	require.NoError(t, err)
	for o := int64(0); o < h.l.Next; {
		o = h.check(r, o, 8000)
	}
	require.Equal(t, h.bytes[:d.Bytes], content(t, d))
	d.Release()
}

// Many readers at once over a store with every fault: never a wrong byte, and the end is reached (I-22, I-25).
func TestFaultyStore(t *testing.T) {
	h := newHistory(t, 5, 500, 32<<10, segment.CompressionZstd)
	bad := fault.New(h.store, fault.Options{Seed: 7, StallFor: 20 * time.Millisecond, Rule: fault.Rule{
		fault.Get: {Error: .05, Throttle: .05, Stall: .02, Truncate: .1, Shorten: .1, Flip: .15, Slow: .05, Hang: .02}}})
	r := h.reader(cold.Options{Store: bad, CacheBytes: 64 << 10, GroupBytes: 12 << 10, StallTimeout: 200 * time.Millisecond})
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(9, uint64(n)))
			for o := int64(0); o < h.l.Next; {
				d, err := r.Read(context.Background(), h.p, h.l, o, 1+rnd.IntN(20<<10))
				if err != nil {
					continue // reported, and tried again
				}
				i := h.want(o)
				if !bytes.Equal(h.bytes[h.at[i]:h.at[i]+d.Bytes], content(t, d)) {
					t.Errorf("wrong bytes at offset %d", o)
				}
				o = d.Next
				d.Release()
			}
		})
	}
	wg.Wait()
	require.NotEmpty(t, bad.Struck()["get/flip"])
}

// flipping spoils one byte of every data GET as long as on is set, and counts.
type flipping struct {
	object.Store
	on    atomic.Bool
	gets  atomic.Int64
	bytes atomic.Int64  // asked for
	gate  chan struct{} // when set, Gets wait here
}

func (f *flipping) Get(ctx context.Context, key string, off, length int64) (io.ReadCloser, error) {
	f.gets.Add(1)
	f.bytes.Add(length)
	if f.gate != nil {
		select {
		case <-f.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	body, err := f.Store.Get(ctx, key, off, length)
	if err != nil || !f.on.Load() || off > 1<<10 {
		return body, err
	}
	b, err := io.ReadAll(body)
	body.Close()
	if err != nil {
		return nil, err
	}
	b[len(b)/2] ^= 1
	return io.NopCloser(bytes.NewReader(b)), nil
}

// I-25: a chunk that is bad every time is reported with the object's name, never served; once the store is well
// again so are reads.
func TestBadChunkIsReportedNeverServed(t *testing.T) {
	h := newHistory(t, 6, 40, 1<<20, segment.CompressionNone)
	f := &flipping{Store: h.store}
	f.on.Store(true)
	r := h.reader(cold.Options{Store: f, GroupBytes: 1})
	_, err := r.Read(context.Background(), h.p, h.l, 0, 1<<20)
	require.ErrorIs(t, err, archive.ErrDamaged)
	require.ErrorContains(t, err, h.l.Recent[0].Key)
	f.on.Store(false)
	h.check(r, 0, 1<<20)
}

// I-22: a reader that gives up neither cancels the load of an index nor the fill of a group, nor wedges them.
func TestAbortedReadKeepsFilling(t *testing.T) {
	h := newHistory(t, 7, 40, 1<<20, segment.CompressionNone)
	f := &flipping{Store: h.store, gate: make(chan struct{})}
	r := h.reader(cold.Options{Store: f})
	for gets := range int64(2) { // given up while the index comes, then while the data comes
		ctx, cancel := context.WithCancel(context.Background())
		failed := make(chan error)
		go func() {
			_, err := r.Read(ctx, h.p, h.l, 0, 1000)
			failed <- err
		}()
		require.Eventually(t, func() bool { return f.gets.Load() == gets+1 }, 10*time.Second, time.Millisecond)
		cancel()
		require.ErrorIs(t, <-failed, context.Canceled)
		f.gate <- struct{}{} // the store answers
	}
	h.check(r, 0, 1000)
	require.EqualValues(t, 2, f.gets.Load(), "one GET for the index and one for data, both begun by readers that gave up")
}

// A hole is reported with the object's name.
func TestMissingObject(t *testing.T) {
	h := newHistory(t, 8, 200, 16<<10, segment.CompressionNone)
	require.NoError(t, h.store.Delete(context.Background(), []string{h.l.Recent[1].Key}))
	r := h.reader(cold.Options{})
	h.check(r, 0, 1000)
	_, err := r.Read(context.Background(), h.p, h.l, h.l.Recent[1].Base, 1000)
	require.ErrorIs(t, err, archive.ErrMissing)
	require.ErrorContains(t, err, h.l.Recent[1].Key)
	_, err = r.Read(context.Background(), h.p, h.l, h.l.Next, 1000)
	require.ErrorIs(t, err, cold.ErrOutOfRange)
}

// With a full disk reads go on from memory.
func TestFullDisk(t *testing.T) {
	h := newHistory(t, 9, 300, 32<<10, segment.CompressionNone)
	full := true
	r := h.reader(cold.Options{GroupBytes: 8 << 10, MemoryBytes: 20 << 10, Room: func(int64) bool { return !full }})
	for o := int64(0); o < h.l.Next; {
		o = h.check(r, o, 5000)
	}
	h2 := h.reader(cold.Options{GroupBytes: 8 << 10, MemoryBytes: 20 << 10, FS: fullFS{disk.OS(), 5000}})
	for o := int64(0); o < h.l.Next; {
		o = h.check(h2, o, 5000)
	}
}

// A disk that is full in the middle of a chunk loses nothing of what it took of it.
func TestFullDiskWithinAChunk(t *testing.T) {
	h := newHistory(t, 11, 1500, 4<<20, segment.CompressionNone)
	h.l = &ledger.Ledger{Topic: h.p.ID, Index: 3}
	h.chunks = 1 << 20
	h.archive(h.bytes, 0, segment.CompressionNone)
	r := h.reader(cold.Options{FS: fullFS{disk.OS(), 300 << 10}})
	for o := int64(0); o < h.l.Next; {
		o = h.check(r, o, 100<<10)
	}
}

// fullFS fails writes beyond the first bytes of a file.
type fullFS struct {
	disk.FS
	room int64
}

func (f fullFS) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	return fullFile{file, f.room}, err
}

type fullFile struct {
	disk.File
	room int64
}

func (f fullFile) WriteAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.room {
		return 0, &os.PathError{Op: "write", Path: f.Name(), Err: errNoSpace}
	}
	return f.File.WriteAt(p, off)
}

// Sequential reading fetches ahead, across segment ends, and each chunk once.
func TestReadAheadAndSingleFlight(t *testing.T) {
	h := newHistory(t, 10, 600, 32<<10, segment.CompressionNone)
	f := &flipping{Store: h.store}
	r := h.reader(cold.Options{Store: f, GroupBytes: 8 << 10})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for o := int64(0); o < h.l.Next; {
				d, err := r.Read(context.Background(), h.p, h.l, o, 4000)
				if err != nil {
					t.Error(err)
					return
				}
				o = d.Next
				d.Release()
			}
		})
	}
	wg.Wait()
	groups, bytes := 0, int64(0)
	for _, s := range h.l.Recent {
		ix, err := archive.Index(context.Background(), h.store, s)
		require.NoError(t, err)
		bytes += s.DataBytes + s.IndexLength
		raw := 0
		groups++
		for _, c := range ix.Chunks() {
			if raw > 0 && raw+c.Length > 8<<10 {
				groups++
				raw = 0
			}
			raw += c.Length
		}
	}
	require.Equal(t, bytes, f.bytes.Load(), "every byte is fetched once")
	require.Less(t, f.gets.Load(), int64(groups), "one GET fetches several groups")
}

// While producers write to a busy machine, what is read ahead waits for its turn, what a consumer waits for does not, and
// answers are told to; afterwards nothing waits.
func TestYieldsToProducers(t *testing.T) {
	for name, c := range map[string]segment.Compression{"raw": segment.CompressionNone, "compressed": segment.CompressionZstd} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t, 11, 600, 32<<10, c)
			reg := prometheus.NewRegistry()
			var producing atomic.Bool
			r := h.reader(cold.Options{GroupBytes: 8 << 10, Producing: producing.Load, Registerer: reg})
			yielded := func() float64 {
				all, err := reg.Gather()
				require.NoError(t, err)
				for _, m := range all {
					if m.GetName() == "firn_cold_yielded_seconds_total" {
						return m.GetMetric()[0].GetCounter().GetValue()
					}
				}
				return -1
			}
			require.Zero(t, r.Turn(1<<30))
			o := h.check(r, 0, 4000)
			require.Zero(t, yielded())
			producing.Store(true)
			r.Slow()
			for yielded() == 0 && o < h.l.Next {
				o = h.check(r, o, 4000)
			}
			require.Positive(t, yielded(), "nothing that was read ahead waited")
			r.Turn(1)
			require.Positive(t, r.Turn(1))
			producing.Store(false)
			require.Zero(t, r.Turn(1<<30))
			for o < h.l.Next {
				o = h.check(r, o, 4000)
			}
		})
	}
}

// Time lookups agree with a look at every record, for every timestamp and several log starts.
func TestTimes(t *testing.T) {
	h := newHistory(t, 11, 120, 8<<10, segment.CompressionZstd)
	r := h.reader(cold.Options{})
	type rec struct{ offset, ts int64 }
	var all []rec
	for i, b := range h.batches {
		require.NoError(t, record.Records(h.bytes[h.at[i]:h.at[i]+b.Size()], 1<<20, func(_ int, x *record.Record) error {
			all = append(all, rec{b.Offset(x), b.Timestamp(x)})
			return nil
		}))
	}
	for _, start := range []int64{0, 1, 57, h.l.Recent[2].Base, h.l.Recent[2].Base + 1, h.l.Next - 1} {
		l := *h.l
		l.Start = start
		for ts := int64(999_940); ts < 1_001_300; ts += 3 {
			want := rec{-1, -1}
			for _, x := range all {
				if x.offset >= start && x.ts >= ts {
					want = x
					break
				}
			}
			got, ok, err := r.OffsetForTime(context.Background(), h.p, &l, ts)
			require.NoError(t, err)
			require.Equal(t, want.offset >= 0, ok, "time %d start %d", ts, start)
			if ok {
				require.Equal(t, cold.TimeResult{Offset: want.offset, Timestamp: want.ts, Epoch: 1}, got, "time %d start %d", ts, start)
			}
		}
		want := rec{-1, -1}
		for _, x := range all {
			if x.offset >= start && x.ts > want.ts {
				want = x
			}
		}
		got, ok, err := r.MaxTimestamp(context.Background(), h.p, &l)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, cold.TimeResult{Offset: want.offset, Timestamp: want.ts, Epoch: 1}, got, "start %d", start)
	}
}

// A folded ledger answers like an unfolded one (I-19), at every offset and time.
func TestFolded(t *testing.T) {
	h := newHistory(t, 12, 200, 8<<10, segment.CompressionNone)
	flat := h.l
	key := h.fold()
	r := h.reader(cold.Options{})
	for o := int64(0); o < h.l.Next; o += 3 {
		h.check(r, o, 6000)
	}
	for ts := int64(999_900); ts < 1_002_100; ts += 7 {
		a, okA, err := r.OffsetForTime(context.Background(), h.p, flat, ts)
		require.NoError(t, err)
		b, okB, err := r.OffsetForTime(context.Background(), h.p, h.l, ts)
		require.NoError(t, err)
		require.Equal(t, okA, okB)
		require.Equal(t, a, b)
	}
	a, _, err := r.MaxTimestamp(context.Background(), h.p, flat)
	require.NoError(t, err)
	c, _, err := r.MaxTimestamp(context.Background(), h.p, h.l)
	require.NoError(t, err)
	require.Equal(t, a, c)
	pl, err := r.Locate(context.Background(), h.p, h.l, 0)
	require.NoError(t, err)
	require.Equal(t, key, pl.Fold)
	require.True(t, pl.Cached)
	end, err := r.End(context.Background(), h.p, h.l)
	require.NoError(t, err)
	require.Equal(t, h.l.Next, end.Next)
	require.Equal(t, []segment.EpochEntry{{Epoch: 1}}, end.Epochs)
}

func TestClosed(t *testing.T) {
	h := newHistory(t, 13, 10, 8<<10, segment.CompressionNone)
	r, err := cold.New(cold.Options{Store: h.store, CacheDir: t.TempDir()})
	require.NoError(t, err)
	d, err := r.Read(context.Background(), h.p, h.l, 0, 1000)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, h.bytes[:d.Bytes], content(t, d))
	d.Release()
	_, err = r.Read(context.Background(), h.p, h.l, h.l.Next-1, 1000)
	require.True(t, err == nil || errors.Is(err, cold.ErrClosed))
}

var errNoSpace = syscall.ENOSPC

// A smaller budget counts at once.
func TestSetCacheBytes(t *testing.T) {
	h := newHistory(t, 14, 600, 32<<10, segment.CompressionNone)
	r := h.reader(cold.Options{GroupBytes: 8 << 10})
	for o := int64(0); o < h.l.Next; {
		o = h.check(r, o, 4000)
	}
	require.Greater(t, r.UsedBytes(), int64(64<<10))
	r.SetCacheBytes(64 << 10)
	require.Equal(t, int64(64<<10), r.CacheBytes())
	require.LessOrEqual(t, r.UsedBytes(), int64(64<<10))
	for o := int64(0); o < h.l.Next; {
		o = h.check(r, o, 4000)
	}
}

// The files of the cache are gone as soon as nothing in them is wanted, however their groups went.
func TestCacheFilesAreClosed(t *testing.T) {
	h := newHistory(t, 12, 600, 32<<10, segment.CompressionNone)
	fs := &countingFS{FS: disk.OS()}
	r, err := cold.New(cold.Options{Store: h.store, CacheDir: t.TempDir(), FS: fs, CacheBytes: 64 << 10, GroupBytes: 8 << 10})
	require.NoError(t, err)
	for range 3 {
		for o := int64(0); o < h.l.Next; {
			o = h.check(r, o, 4000)
		}
		require.LessOrEqual(t, fs.open.Load(), int64(40))
	}
	require.Greater(t, fs.made.Load(), int64(20))
	require.NoError(t, r.Close())
	require.Zero(t, fs.open.Load())
}

type countingFS struct {
	disk.FS
	open, made atomic.Int64
}

func (f *countingFS) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	f.open.Add(1)
	f.made.Add(1)
	return &countedFile{File: file, fs: f}, err
}

type countedFile struct {
	disk.File
	fs *countingFS
}

func (f *countedFile) Close() error {
	f.fs.open.Add(-1)
	return f.File.Close()
}

// A read of what is cached allocates its answer and nothing else, or nothing into one that is at hand, however many batches
// and groups it goes over, and whether the ledger names the segment itself or in a fold.
func TestWarmReadAllocations(t *testing.T) {
	h := newHistory(t, 13, 600, 64<<10, segment.CompressionNone)
	r := h.reader(cold.Options{GroupBytes: 16 << 10})
	check := func(t *testing.T) {
		for o := int64(0); o < h.l.Next; {
			o = h.check(r, o, 4000)
		}
		const offset = 5
		var d cold.Data
		for _, max := range []int{1, 40 << 10, 1 << 20} {
			grown := 0.0
			if max > 40<<10 {
				grown = 10 // more groups than an answer has room for at first
			}
			require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
				d, err := r.Read(context.Background(), h.p, h.l, offset, max)
				if err != nil {
					t.Fatal(err)
				}
				d.Release()
			}), 1.0+grown, "%d bytes", max)
			require.Zero(t, testing.AllocsPerRun(100, func() {
				if !r.ReadCached(&d, h.p, h.l, offset, max) || d.Bytes == 0 {
					t.Fatal("it is not in the cache")
				}
				d.Release()
			}), "%d bytes", max)
		}
		reads := 0
		pass := testing.AllocsPerRun(10, func() { // as a consumer that follows the archive, which is read ahead
			reads = 0
			for o := int64(0); o < h.l.Next; reads++ {
				if !r.ReadCached(&d, h.p, h.l, o, 4000) {
					t.Fatal("it is not in the cache")
				}
				o = d.Next
				d.Release()
			}
		})
		require.Greater(t, reads, 100)
		require.LessOrEqual(t, pass, 4.0, "a stream that is noticed, not each of its reads")
	}
	t.Run("recent", check)
	h.fold()
	t.Run("folded", check)
}

// What is not in the cache is not waited for, and nothing is left behind (I-22).
func TestReadCachedDoesNotWait(t *testing.T) {
	h := newHistory(t, 14, 100, 16<<10, segment.CompressionZstd)
	r := h.reader(cold.Options{})
	var d cold.Data
	require.False(t, r.ReadCached(&d, h.p, h.l, 0, 1<<20))
	require.Empty(t, d.Regions)
	for o := int64(0); o < h.l.Next; {
		o = h.check(r, o, 4000)
	}
	for o := range h.l.Next {
		require.True(t, r.ReadCached(&d, h.p, h.l, o, 4000))
		h.matches(&d, o, 4000)
		d.Release()
	}
	require.False(t, r.ReadCached(&d, h.p, h.l, h.l.Next, 4000))
	require.NoError(t, r.Close())
	require.False(t, r.ReadCached(&d, h.p, h.l, 0, 4000))
}
