package hot

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/record"
)

// everyOp calls before ahead of each change of the file system.
type everyOp struct {
	disk.FS
	mu   sync.Mutex // the flusher runs beside
	tell func()
}

func (e *everyOp) before() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tell()
}

func (e *everyOp) Rename(a, b string) error  { e.before(); return e.FS.Rename(a, b) }
func (e *everyOp) Remove(a string) error     { e.before(); return e.FS.Remove(a) }
func (e *everyOp) SyncDir(name string) error { e.before(); return e.FS.SyncDir(name) }
func (e *everyOp) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	if flag&os.O_CREATE != 0 {
		e.before()
	}
	f, err := e.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &everyFileOp{f, e}, nil
}

type everyFileOp struct {
	disk.File
	e *everyOp
}

func (f *everyFileOp) WriteAt(p []byte, off int64) (int, error) {
	f.e.before()
	return f.File.WriteAt(p, off)
}
func (f *everyFileOp) Datasync() error { f.e.before(); return f.File.Datasync() }

// sparse returns all batches of a log that may have gaps, and panics if reads do not get on (I-17).
func sparse(l *Log) []byte {
	var out []byte
	for at := l.LocalStart(); at < l.End(); {
		d, err := l.Read(at, l.End(), 3000, true)
		must(err)
		check(d.Next > at, "no progress at offset %d of [%d, %d)", at, l.LocalStart(), l.End())
		for _, r := range d.Regions {
			b := make([]byte, r.Length)
			must(readFull(r.File, b, r.Position))
			for it := record.Batches(b); it.Next(); {
				_, err := record.CheckStored(it.Bytes())
				must(err)
				check(it.Header().NextOffset() > at, "batch [%d, %d) after offset %d", it.Header().BaseOffset, it.Header().NextOffset(), at)
				at = it.Header().NextOffset()
			}
			out = append(out, b...)
		}
		at = d.Next
		d.Release()
	}
	return out
}

// thinned drops every batch but the last of each segment and every third.
func thinned(l *Log, from, to int) []byte {
	var out []byte
	segs := l.segments()[from:to]
	for i, s := range segs {
		r, err := l.OpenSegment(s.base)
		must(err)
		b := make([]byte, r.Size())
		_, err = r.Read(0, b)
		must(err)
		n := 0
		for it := record.Batches(b); it.Next(); n++ {
			last := i == len(segs)-1 && it.Consumed() == len(b)
			if n%3 == 2 || last {
				out = append(out, it.Bytes()...)
			}
		}
		r.Close()
	}
	return out
}

// rewriteFirst replaces the first n segments by one with every third batch, and returns what the log holds then.
func rewriteFirst(l *Log, n int) []byte {
	segs := l.segments()
	b := thinned(l, 0, n)
	want := bytes.Clone(b)
	for _, s := range segs[n:] {
		r, err := l.OpenSegment(s.base)
		must(err)
		rest := make([]byte, r.Size())
		_, err = r.Read(0, rest)
		must(err)
		want = append(want, rest...)
		r.Close()
	}
	must(l.KeepProducers(segs[n].base))
	r, err := l.Rewrite(segs[0].base, segs[n].base)
	must(err)
	for len(b) > 0 { // in several writes
		h, err := record.ParseHeader(b)
		must(err)
		must(r.Append(b[:h.Size()]))
		b = b[h.Size():]
	}
	_, err = r.Commit()
	must(err)
	return want
}

// snapshots takes what power cuts at this moment might leave.
func (w *world) snapshots(into *[]*disk.Crashable) {
	*into = append(*into, w.mem.Crash())
	for range 2 {
		*into = append(*into, w.mem.CrashTorn())
	}
}

// eachMoment runs fn and then tells what would be there had the power failed at any moment of it.
func (w *world) eachMoment(fn func(), tell func(w *world)) {
	var moments []*disk.Crashable
	ops := &everyOp{FS: w.mem, tell: func() { w.snapshots(&moments) }}
	w.spy.FS = ops
	fn()
	ops.before()
	w.d.flusher.Close()
	for _, mem := range moments {
		w.mem = mem
		w.boot++
		w.start()
		tell(w)
		w.d.flusher.Close()
	}
}

func tellRewrite(w *world) {
	l := w.open(0)
	w.putMany(l, 3)
	must(w.d.saveState())
	old, end := sparse(l), l.End()
	var want []byte
	w.eachMoment(func() { want = rewriteFirst(l, 3) }, func(w *world) {
		l := w.open(0)
		got := sparse(l)
		check(l.End() == end, "the log ends at %d, not at %d", l.End(), end)
		check(bytes.Equal(got, old) || bytes.Equal(got, want), "%d bytes, neither the old %d nor the new %d",
			len(got), len(old), len(want))
		noLeftovers(w, l)
	})
	check(!bytes.Equal(old, want), "nothing was cleaned")
	sparseIndexesHold(w.open(0))
}

func tellRewriteRecovery(w *world) {
	l := w.open(0)
	w.putMany(l, 4)
	old := sparse(l)
	var want []byte
	var swapping []*disk.Crashable
	w.eachMoment(func() { want = rewriteFirst(l, 3) }, func(w *world) {
		entries, err := w.mem.ReadDir("/data/log/t-0")
		must(err)
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), swapSuffix) {
				swapping = append(swapping, w.mem.Crash())
				return
			}
		}
	})
	check(len(swapping) > 0, "no moment with a swap")
	for _, mem := range swapping[:min(3, len(swapping))] {
		w.mem = mem
		w.boot++
		w.start()
		w.eachMoment(func() { w.open(0) }, func(w *world) {
			got := sparse(w.open(0))
			check(bytes.Equal(got, want), "%d bytes, neither the old %d nor the new %d", len(got), len(old), len(want))
			noLeftovers(w, w.open(0))
		})
	}
	w.start()
}

func tellRewriteStop(w *world) {
	l := w.open(0)
	w.putMany(l, 4)
	must(l.Roll()) // with an empty active segment the clean start has no reason for a second look
	must(l.Flush())
	want := rewriteFirst(l, 3)
	w.stop()
	w.mem = w.mem.Crash()
	w.boot++
	w.start()
	check(w.d.LastStop() == StopClean, "LastStop is %v", w.d.LastStop())
	l = w.open(0)
	check(bytes.Equal(sparse(l), want), "the log is not what it was at the stop")
	sparseIndexesHold(l)
}

func tellRewriteProducers(w *world) {
	l := w.open(0)
	_, err := tryAppend(l, producerBatch(7, 0, 3, w.clock.ms), 0)
	must(err)
	_, err = tryAppend(l, producerBatch(7, 3, 1, w.clock.ms), 0)
	must(err)
	w.putMany(l, 4)
	rewriteFirst(l, 3) // drops both
	w.power(false)
	l = w.open(0)
	for _, seq := range []int32{0, 3} {
		n := map[int32]int{0: 3, 3: 1}[seq]
		a, err := tryAppend(l, producerBatch(7, seq, n, w.clock.ms), 0)
		must(err)
		check(a.Duplicate, "stored twice: %+v", a)
	}
}

func noLeftovers(w *world, l *Log) {
	entries, err := w.mem.ReadDir(l.Folder())
	must(err)
	for _, e := range entries {
		for _, suffix := range []string{cleanedSuffix, swapSuffix, deletedSuffix} {
			check(!strings.HasSuffix(e.Name(), suffix), "%s is left", e.Name())
		}
	}
}

// sparseIndexesHold finds every batch by each offset from the end of the one before.
func sparseIndexesHold(l *Log) {
	for _, s := range l.segments() {
		must(s.checkIndexes())
		next := s.base
		must(s.walk(0, s.now().size, func(h *record.Header, at int64) {
			for o := next; o <= h.LastOffset(); o++ {
				pos, _, err := s.find(o)
				must(err)
				check(pos == at, "offset %d of segment %d found at %d, not %d", o, s.base, pos, at)
			}
			next = h.NextOffset()
		}))
		check(next == s.now().next, "segment %d ends at %d, noted as %d", s.base, next, s.now().next)
	}
}

// TestReadersOutliveRewrite pins what it reads, and goes on in the new segment.
func TestReadersOutliveRewrite(t *testing.T) {
	w := newWorld(1, "")
	l := w.open(0)
	w.putMany(l, 4)
	old := sparse(l)
	d, err := l.Read(0, l.End(), 5000, true)
	require.NoError(t, err)
	want := rewriteFirst(l, 3)
	got := make([]byte, 0, d.Bytes)
	for _, r := range d.Regions {
		b := make([]byte, r.Length)
		require.NoError(t, readFull(r.File, b, r.Position))
		got = append(got, b...)
	}
	d.Release()
	require.Equal(t, old[:len(got)], got)
	require.Equal(t, want, sparse(l))
	require.NoError(t, w.d.Close())
}

// TestReadInGap asks for every offset with every limit: the answer is the next batch that exists, never nothing while
// there is one, and goes on where it should (I-17). The same for the lookup by time.
func TestReadInGap(t *testing.T) {
	w := newWorld(1, "")
	l := w.open(0)
	w.putMany(l, 3)
	rewriteFirst(l, 2)
	var hs []record.Header
	for it := record.Batches(sparse(l)); it.Next(); {
		hs = append(hs, it.Header())
	}
	holes := 0
	for limit := int64(0); limit <= l.End(); limit += 3 {
		for at := int64(0); at <= limit; at++ {
			d, err := l.Read(at, limit, 1, true)
			require.NoError(t, err)
			var want *record.Header
			for i := range hs {
				if hs[i].NextOffset() > at {
					want = &hs[i]
					break
				}
			}
			require.LessOrEqual(t, d.Next, limit)
			if want == nil || want.NextOffset() > limit {
				require.Zero(t, d.Bytes, "at %d limit %d", at, limit)
				require.GreaterOrEqual(t, d.Next, at)
				require.True(t, want == nil || d.Next <= max(at, want.BaseOffset))
			} else {
				require.Equal(t, want.Size(), d.Bytes, "at %d limit %d", at, limit)
				require.Equal(t, max(want.NextOffset(), d.Next), d.Next)
				if want.BaseOffset > at {
					holes++
				}
			}
			d.Release()
		}
	}
	require.NotZero(t, holes)
	first := hs[1]
	r, ok, err := l.OffsetForTime(first.MaxTimestamp-1, l.End())
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, first.BaseOffset, r.Offset)
	require.NoError(t, w.d.Close())
}

// TestTruncateInGap cuts at an offset that a cleaner removed: the log then ends where a batch does, so that a segment
// that begins there follows without a gap.
func TestTruncateInGap(t *testing.T) {
	w := newWorld(1, "")
	l := w.open(0)
	w.putMany(l, 3)
	rewriteFirst(l, 2)
	var hs []record.Header
	for it := record.Batches(sparse(l)); it.Next(); {
		hs = append(hs, it.Header())
	}
	i := 3
	require.Greater(t, hs[i].BaseOffset, hs[i-1].NextOffset(), "the test needs a gap")
	require.NoError(t, l.Truncate(hs[i].BaseOffset-1))
	require.Equal(t, hs[i-1].NextOffset(), l.End())
	require.NoError(t, l.Roll())
	want := append(sparse(l), w.put(l, 1)...)
	w.power(false)
	require.Equal(t, want, sparse(w.open(0)))
}

// TestRewriteOfWhatChanged ends without a trace when the segments are trimmed meanwhile, and refuses what does not fit.
func TestRewriteOfWhatChanged(t *testing.T) {
	w := newWorld(1, "")
	l := w.open(0)
	w.putMany(l, 4)
	segs := l.Segments()
	_, err := l.Rewrite(segs[0].Base+1, segs[1].Base)
	require.ErrorIs(t, err, ErrChanged)
	_, err = l.Rewrite(segs[3].Base, l.End())
	require.ErrorIs(t, err, ErrChanged)
	_, err = l.Rewrite(segs[4].Base, l.End())
	require.ErrorIs(t, err, ErrChanged, "the active segment")

	r, err := l.Rewrite(segs[0].Base, segs[2].Base)
	require.NoError(t, err)
	require.NoError(t, r.Append(thinned(l, 0, 2)))
	flushed := l.flushed.Swap(segs[1].Base)
	_, err = r.Commit()
	require.ErrorIs(t, err, ErrChanged, "what is not flushed waits for the flush")
	l.flushed.Store(flushed)
	noLeftovers(w, l)

	r, err = l.Rewrite(segs[0].Base, segs[2].Base)
	require.NoError(t, err)
	require.NoError(t, r.Append(thinned(l, 0, 2)))
	_, err = l.Trim(segs[1].Base, "test")
	require.NoError(t, err)
	want := sparse(l)
	_, err = r.Commit()
	require.ErrorIs(t, err, ErrChanged)
	require.Equal(t, want, sparse(l))
	noLeftovers(w, l)

	segs = l.Segments()
	r, err = l.Rewrite(segs[0].Base, segs[1].Base)
	require.NoError(t, err)
	b := thinned(l, 0, 1)
	h, err := record.ParseHeader(b)
	require.NoError(t, err)
	require.NoError(t, r.Append(b[:h.Size()]))
	require.ErrorIs(t, r.Append(b[:h.Size()]), ErrCorruptLog, "twice the same offsets")
	_, err = r.Commit()
	require.ErrorIs(t, err, ErrCorruptLog, "the last batch is missing")
	require.Equal(t, want, sparse(l))

	r, err = l.Rewrite(segs[0].Base, segs[1].Base)
	require.NoError(t, err)
	require.NoError(t, w.d.Close())
	_, err = r.Commit()
	require.ErrorIs(t, err, ErrClosed)
	_, err = w.mem.Stat(filepath.Join(l.Folder(), fileName(segs[0].Base, logSuffix+cleanedSuffix)))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestEmptySwapIsNoSegment (I-01): a swap file without a batch replaces nothing.
func TestEmptySwapIsNoSegment(t *testing.T) {
	mem := disk.NewCrashable(1)
	require.NoError(t, mem.MkdirAll("/d", 0o755))
	f, err := mem.OpenFile("/d/0.log.swap", os.O_CREATE|os.O_RDWR, 0o644)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, err = endOfSegment(mem, "/d/0.log.swap", 0)
	require.ErrorIs(t, err, ErrCorruptLog)
}
