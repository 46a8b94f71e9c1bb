package upload_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
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
	"github.com/firnlog/firn/tier/archive/archivetest"
	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/layout"
	"github.com/firnlog/firn/tier/ledger"
	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/dir"
	"github.com/firnlog/firn/tier/object/fault"
	"github.com/firnlog/firn/tier/segment"
	"github.com/firnlog/firn/tier/topic"
	"github.com/firnlog/firn/tier/upload"
)

var lay = layout.Layout{ClusterID: "cluster", Generation: "gen"}

// bench is a Manager with everything around it.
type bench struct {
	t     *testing.T
	store object.Store // the truth, without faults
	m     *upload.Manager
	led   *archivetest.Ledgers
	rnd   *rand.Rand
}

func newBench(t *testing.T, change func(b *bench, o *upload.Options)) *bench {
	store, err := dir.Open(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { store.Close() })
	b := &bench{t: t, store: store, led: archivetest.NewLedgers(), rnd: rand.New(rand.NewPCG(1, 2))}
	o := upload.Options{Store: store, Ledgers: b.led, Layout: lay, SpoolDir: t.TempDir(), ChunkBytes: 4 << 10,
		Settle: time.Millisecond, BackoffMin: time.Millisecond, BackoffMax: 20 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}
	if change != nil {
		change(b, &o)
	}
	b.m, err = upload.New(o)
	require.NoError(t, err)
	t.Cleanup(func() { b.m.Close(context.Background(), false) })
	return b
}

func (b *bench) log(name string, cfg upload.Config) *archivetest.Log {
	return archivetest.NewLog(topic.Partition{ID: topic.NewID(), Topic: name}, cfg)
}

var eager = upload.Config{Enabled: true, SegmentBytes: 10 << 10, MaxLagMs: 1}

func (b *bench) eventually(what string, ok func() bool) {
	b.t.Helper()
	require.Eventually(b.t, ok, 30*time.Second, time.Millisecond, what)
}

// archived reads everything that the ledger names, and checks that it is whole and without gap (I-11).
func (b *bench) archived(p topic.Partition) []byte {
	b.t.Helper()
	var out []byte
	l := b.led.CachedLedger(p)
	next := l.Oldest()
	for _, s := range l.Recent {
		require.Equal(b.t, next, s.Base)
		next = s.Next
		ix, err := archive.Index(context.Background(), b.store, s)
		require.NoError(b.t, err)
		require.Equal(b.t, p, ix.Meta().Topic)
		require.Len(b.t, ix.Producers(), 1)
		require.Equal(b.t, s.Next-1, ix.Producers()[0].Batches[0].LastOffset)
		for _, c := range ix.Chunks() {
			stored, err := object.ReadAll(context.Background(), b.store, s.Key, c.Position, int64(c.Length), 1<<30)
			require.NoError(b.t, err)
			out, err = segment.DecodeChunk(out, stored, c)
			require.NoError(b.t, err)
		}
	}
	require.Equal(b.t, l.Next, next)
	return out
}

// Everything that is stable is archived byte for byte, confirmed, and trimmed only then.
func TestUploadsWhatIsAppended(t *testing.T) {
	b := newBench(t, nil)
	var logs []*archivetest.Log
	var handles []*upload.Handle
	for _, name := range []string{"a", "b", "c"} {
		l := b.log(name, eager)
		l.Trim = true
		logs = append(logs, l)
		handles = append(handles, b.m.Add(l))
	}
	for range 200 {
		i := b.rnd.IntN(len(logs))
		logs[i].Append(b.rnd, 1+b.rnd.IntN(5), b.rnd.IntN(500), 1000)
		handles[i].Notify()
	}
	for _, l := range logs {
		b.eventually("all archived and confirmed", func() bool { return l.ArchivedTo() == l.End() })
		require.Equal(t, l.Everything(), b.archived(l.Partition()))
		require.Equal(t, l.End(), l.LocalStart())
		st, ok := b.m.Status(l.Partition())
		require.True(t, ok)
		require.Zero(t, st.LagRecords)
		require.Empty(t, st.LastError)
	}
}

// I-08: nothing at or above the last stable offset goes up, nor anything without leadership.
func TestOnlyStableOffsetsByTheLeader(t *testing.T) {
	b := newBench(t, nil)
	l := b.log("t", eager)
	for range 10 {
		l.Append(b.rnd, 1, 100, 1000)
	}
	l.Set(1, 4, 0)
	h := b.m.Add(l)
	b.eventually("up to the last stable offset", func() bool { return l.ArchivedTo() == 4 })
	l.Set(-1, -1, 0)
	h.Notify()
	require.NoError(t, b.m.Drain(context.Background()))
	require.EqualValues(t, 4, b.led.CachedLedger(l.Partition()).Next)
	l.Set(2, -1, 0)
	h.Notify()
	b.eventually("all, as leader again", func() bool { return l.ArchivedTo() == 10 })
	require.Equal(t, l.Everything(), b.archived(l.Partition()))
}

// hooked calls before each operation.
type hooked struct {
	object.Store
	sent func(body io.ReaderAt, size int64)
	put  func(key string) error // after the object was stored
	head func(key string) (object.Info, error, bool)
}

func (h *hooked) Put(ctx context.Context, key string, body io.ReaderAt, size int64, o object.PutOptions) (object.Info, error) {
	if h.sent != nil {
		h.sent(body, size)
	}
	info, err := h.Store.Put(ctx, key, body, size, o)
	if err == nil && h.put != nil {
		err = h.put(key)
	}
	return info, err
}

func (h *hooked) Head(ctx context.Context, key string) (object.Info, error) {
	if h.head != nil {
		if info, err, ok := h.head(key); ok {
			return info, err
		}
	}
	return h.Store.Head(ctx, key)
}

// I-10: an uploader that was suspended between its upload and its commit, while the collector fenced the ledger and
// deleted its object as an orphan, commits nothing that is gone.
func TestSuspendedUploaderCommitsNothingThatIsGone(t *testing.T) {
	var b *bench
	var l *archivetest.Log
	var once sync.Once
	var gone atomic.Value
	b = newBench(t, func(b *bench, o *upload.Options) {
		o.Store = &hooked{Store: b.store, put: func(key string) error {
			once.Do(func() { // asleep: the grace period passes, and the collector comes
				cur := b.led.CachedLedger(l.Partition())
				_, err := b.led.CommitLedger(context.Background(), l.Partition(), ledger.Fence{From: cur.Fence})
				require.NoError(t, err)
				require.NoError(t, b.store.Delete(context.Background(), []string{key}))
				gone.Store(key)
			})
			return nil
		}}
	})
	l = b.log("t", eager)
	l.Append(b.rnd, 3, 100, 1000)
	b.m.Add(l)
	b.eventually("uploaded again", func() bool { return l.ArchivedTo() == 3 })
	for _, s := range b.led.CachedLedger(l.Partition()).Recent {
		require.NotEqual(t, gone.Load(), s.Key)
	}
	require.Zero(t, b.led.Count("replace"), "it was not even named for a moment")
	require.Equal(t, l.Everything(), b.archived(l.Partition()))
}

// I-09: when the answer to a commit is lost, the ledger is read before anything else: what went in is not uploaded
// again, what did not is offered again as it is.
func TestAmbiguousCommit(t *testing.T) {
	for _, applied := range []bool{true, false} {
		b := newBench(t, nil)
		n := 0
		b.led.Before = func(_ topic.Partition, e ledger.Edit) error {
			if _, ok := e.(ledger.Append); ok && n < 2 {
				n++
				if applied {
					return archivetest.ErrAfter
				}
				return errors.New("no answer")
			}
			return nil
		}
		l := b.log("t", upload.Config{Enabled: true, SegmentBytes: 1 << 20, MaxLagMs: 1})
		l.Append(b.rnd, 3, 100, 1000)
		b.m.Add(l)
		b.eventually("archived", func() bool { return l.ArchivedTo() == 3 })
		require.Equal(t, l.Everything(), b.archived(l.Partition()))
		keys := 0
		require.NoError(t, b.store.List(context.Background(), lay.Prefix(), "", func(object.Info) error { keys++; return nil }))
		require.Equal(t, 1, keys, "one upload, applied=%v", applied)
	}
}

// I-26: a deposed leader's commit is refused by its epoch.
func TestDeposedLeader(t *testing.T) {
	b := newBench(t, nil)
	l := b.log("t", eager)
	_, err := b.led.CommitLedger(context.Background(), l.Partition(), ledger.Append{Epoch: 5, Segment: ledger.Segment{
		Key: "k", Next: 1, Length: 100, IndexLength: 60, DataBytes: 10, Epoch: 5}})
	require.NoError(t, err)
	l.Append(b.rnd, 1, 10, 1)
	l.Append(b.rnd, 1, 10, 1)
	l.TrimTo(1) // so that nothing is left to confirm
	b.m.Add(l)
	b.eventually("refused", func() bool { st, _ := b.m.Status(l.Partition()); return st.LastError != "" })
	st, _ := b.m.Status(l.Partition())
	require.Contains(t, st.LastError, ledger.ErrStaleEpoch.Error())
	require.EqualValues(t, 1, b.led.CachedLedger(l.Partition()).Next)
}

// I-12: Archived is only called once the object was seen after the commit, with its size and checksum. One that is
// gone or spoilt is replaced from the local log, which was not trimmed.
func TestTrimsOnlyWhatWasConfirmed(t *testing.T) {
	for _, how := range []string{"gone", "short", "spoilt"} {
		var spoilt atomic.Int64
		b := newBench(t, nil)
		b.led.Before = func(_ topic.Partition, e ledger.Edit) error {
			if a, ok := e.(ledger.Append); ok && spoilt.Add(1) == 1 {
				damage(t, b.store, a.Segment.Key, how)
			}
			return nil
		}
		l := b.log("t", eager)
		l.Trim = true
		l.OnArchived = func(to int64) {
			for _, s := range b.led.CachedLedger(l.Partition()).Recent {
				if s.Next <= to {
					crc, size := stored(t, b.store, s.Key)
					require.Equal(t, s.Length, size, how)
					require.Equal(t, s.CRC32C, crc, how)
				}
			}
		}
		l.Append(b.rnd, 5, 100, 1000)
		b.m.Add(l)
		b.eventually("archived in the end", func() bool { return l.ArchivedTo() == 5 })
		require.Equal(t, l.Everything(), b.archived(l.Partition()))
		require.Equal(t, 1, b.led.Count("replace"), how)
	}
}

func stored(t *testing.T, s object.Store, key string) (uint32, int64) {
	b, err := object.ReadAll(context.Background(), s, key, 0, -1, 1<<30)
	require.NoError(t, err)
	crc, err := object.CRC32C(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	return crc, int64(len(b))
}

func damage(t *testing.T, s object.Store, key, how string) {
	ctx := context.Background()
	b, err := object.ReadAll(ctx, s, key, 0, -1, 1<<30)
	require.NoError(t, err)
	require.NoError(t, s.Delete(ctx, []string{key}))
	switch how {
	case "gone":
		return
	case "short":
		b = b[:len(b)-1]
	case "spoilt":
		b[len(b)/2] ^= 1
	}
	_, err = s.Put(ctx, key, bytes.NewReader(b), int64(len(b)), object.PutOptions{})
	require.NoError(t, err)
}

// After a restart what the ledger names is confirmed again before the local log may trim it (I-12).
func TestConfirmsAfterRestart(t *testing.T) {
	b := newBench(t, nil)
	l := b.log("t", eager)
	l.Append(b.rnd, 5, 100, 1000)
	b.m.Add(l)
	b.eventually("archived", func() bool { return l.ArchivedTo() == 5 })
	require.NoError(t, b.m.Close(context.Background(), false))
	damage(t, b.store, b.led.CachedLedger(l.Partition()).Recent[0].Key, "gone")

	again := archivetest.NewLog(l.Partition(), eager)
	b.m, _ = upload.New(upload.Options{Store: b.store, Ledgers: b.led, Layout: lay, SpoolDir: t.TempDir(),
		Settle: time.Millisecond, BackoffMin: time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	defer b.m.Close(context.Background(), false)
	again.Set(1, 0, 0) // nothing to upload; nothing local to repair from either, since it is another log
	b.m.Add(again)
	b.eventually("reported", func() bool { st, _ := b.m.Status(l.Partition()); return st.LastError != "" })
	st, _ := b.m.Status(l.Partition())
	require.Contains(t, st.LastError, "rebuild")
	require.Zero(t, again.ArchivedTo())
}

// A store with every fault: all is archived in the end, once, in order, and the gate calms down (I-02, I-20).
func TestFaultyStore(t *testing.T) {
	var bad *fault.Store
	b := newBench(t, func(b *bench, o *upload.Options) {
		r := fault.Rates{Error: .15, Throttle: .1, Stall: .05, Ambiguous: .15, Truncate: .1, Shorten: .05, Flip: .1}
		bad = fault.New(b.store, fault.Options{Seed: 3, Rule: fault.Everywhere(r), StallFor: 5 * time.Millisecond})
		o.Store = bad
	})
	l := b.log("t", eager)
	l.Trim = true
	h := b.m.Add(l)
	for range 150 {
		l.Append(b.rnd, 1+b.rnd.IntN(5), b.rnd.IntN(300), 1000)
		h.Notify()
		if b.rnd.IntN(10) == 0 {
			time.Sleep(time.Millisecond) // more segments; nothing depends on it
		}
	}
	b.eventually("archived", func() bool { return l.ArchivedTo() == l.End() })
	require.Equal(t, l.Everything(), b.archived(l.Partition()))
	require.NotEmpty(t, bad.Struck())
}

// A topic that had a life without remote storage begins its archive where its log begins.
func TestBeginsWhereTheLogBegins(t *testing.T) {
	b := newBench(t, nil)
	l := b.log("t", eager)
	for range 5 {
		l.Append(b.rnd, 2, 10, 1)
	}
	l.TrimTo(4)
	l.Set(1, -1, 5) // DeleteRecords in the middle of a batch
	b.m.Add(l)
	b.eventually("archived", func() bool { return l.ArchivedTo() == 10 })
	led := b.led.CachedLedger(l.Partition())
	require.EqualValues(t, 5, led.Start)
	require.EqualValues(t, 5, led.Recent[0].Base)
	require.Equal(t, l.Everything()[len(l.Everything())-len(b.archived(l.Partition())):], b.archived(l.Partition()))
}

// A hole is not uploaded over: it is said.
func TestStuck(t *testing.T) {
	b := newBench(t, nil)
	l := b.log("t", eager)
	l.Append(b.rnd, 2, 10, 1)
	l.Append(b.rnd, 2, 10, 1)
	l.TrimTo(2)
	b.m.Add(l)
	b.eventually("said", func() bool { st, _ := b.m.Status(l.Partition()); return st.LastError != "" })
	st, _ := b.m.Status(l.Partition())
	require.Contains(t, st.Waiting, "hole")
	require.Zero(t, b.led.CachedLedger(l.Partition()).Version)
	require.Error(t, b.m.Drain(context.Background()))
}

// Tails go up on demand at a stop, and only then.
func TestDrain(t *testing.T) {
	b := newBench(t, nil)
	l := b.log("t", upload.Config{Enabled: true})
	b.m.Add(l).Notify()
	l.Append(b.rnd, 2, 10, 1)
	l.SetSince(time.Now().UnixMilli())
	require.NoError(t, b.m.Close(context.Background(), true))
	require.EqualValues(t, 2, l.ArchivedTo())
}

// With the spool's disk full segments are built in memory: uploading is what makes room again.
func TestSpoolOnFullDisk(t *testing.T) {
	full := &fullFS{FS: disk.OS()}
	b := newBench(t, func(_ *bench, o *upload.Options) { o.FS = full })
	l := b.packed()
	b.m.Add(l)
	b.eventually("archived", func() bool { return l.ArchivedTo() == l.End() })
	require.Equal(t, l.Everything(), b.archived(l.Partition()))
	require.Positive(t, full.files.Load())
}

// packed is a log whose chunks compress to more than stays in memory while a segment is built.
func (b *bench) packed() *archivetest.Log {
	l := b.log("packed", upload.Config{Enabled: true, SegmentBytes: 8 << 20, MaxLagMs: 1, Compression: "zstd"})
	for range 28 {
		l.Append(rand.New(letters{b.rnd}), 2, 50_000, 1)
	}
	return l
}

// letters is a source of bytes that hold less than half of what they could.
type letters struct{ *rand.Rand }

func (l letters) Uint64() uint64 { return l.Rand.Uint64() & 0x0707070707070707 }

type fullFS struct {
	disk.FS
	files atomic.Int64
}

func (f *fullFS) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	f.files.Add(1)
	file, err := f.FS.OpenFile(name, flag, perm)
	return fullFile{file}, err
}

type fullFile struct{ disk.File }

func (f fullFile) WriteAt(p []byte, _ int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return 0, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
}

// I-16: what was built is read back and held against its index before it goes up; a segment that the disk bent, in the
// spool or in the local log after it was read, stays here.
func TestVerifiesBeforeUpload(t *testing.T) {
	bent := &bendingFS{FS: disk.OS()}
	b := newBench(t, func(b *bench, o *upload.Options) {
		o.FS = bent
		o.Store = &hooked{Store: b.store, sent: func(body io.ReaderAt, size int64) {
			ix, err := segment.Open(body, size)
			if err != nil || segment.VerifyIndex(ix, body) != nil {
				t.Error("a segment went up that is not what it says")
			}
		}}
	})
	packed, raw := b.packed(), &bendingLog{Log: b.log("raw", eager)}
	for range 20 {
		raw.Append(b.rnd, 2, 200, 1)
	}
	b.m.Add(packed)
	b.m.Add(raw)
	for _, l := range []*archivetest.Log{packed, raw.Log} {
		b.eventually("archived", func() bool { return l.ArchivedTo() == l.End() })
		require.Equal(t, l.Everything(), b.archived(l.Partition()))
	}
	require.GreaterOrEqual(t, bent.files.Load(), int64(3))
	require.GreaterOrEqual(t, raw.reads.Load(), int64(3))
}

// bendingLog gives, at first, records whose file is damaged as soon as it was read once; and counts what it holds.
type bendingLog struct {
	*archivetest.Log
	reads, held atomic.Int64
}

func (l *bendingLog) Read(off, limit int64, max int) (upload.Batches, error) {
	b, err := l.Log.Read(off, limit, max)
	if err == nil && b.Bytes > 0 {
		f := &bendingRecords{b: b.Regions[0].Bytes, bend: l.reads.Add(1) <= 3}
		b.Regions = []disk.Region{{File: f, Length: int64(b.Bytes)}}
		l.held.Add(1)
		b.Release = func() { l.held.Add(-1) }
	}
	return b, err
}

type bendingRecords struct {
	disk.File
	b    []byte
	bend bool
	once atomic.Bool
}

func (f *bendingRecords) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, f.b[off:])
	if f.once.Swap(true) && f.bend {
		p[n/2] ^= 4
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// The files of the local log are held until their segment is stored, and no longer.
func TestHoldsTheLogWhileItGoesUp(t *testing.T) {
	l := &bendingLog{}
	var during atomic.Int64
	b := newBench(t, func(b *bench, o *upload.Options) {
		o.Store = &hooked{Store: b.store, sent: func(io.ReaderAt, int64) { during.Store(l.held.Load()) }}
	})
	l.Log = b.log("t", eager)
	for range 20 {
		l.Append(b.rnd, 2, 200, 1)
	}
	b.m.Add(l)
	b.eventually("archived", func() bool { return l.ArchivedTo() == l.End() })
	require.Positive(t, during.Load())
	b.eventually("let go", func() bool { return l.held.Load() == 0 })
}

// bendingFS spoils a byte of the first three files.
type bendingFS struct {
	disk.FS
	files atomic.Int64
}

func (f *bendingFS) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	if err == nil && f.files.Add(1) <= 3 {
		return bendingFile{file}, nil
	}
	return file, err
}

type bendingFile struct{ disk.File }

func (f bendingFile) WriteAt(p []byte, off int64) (int, error) {
	b := bytes.Clone(p)
	if len(b) > 0 {
		b[len(b)/3] ^= 4
	}
	return f.File.WriteAt(b, off)
}

func BenchmarkNotify(b *testing.B) {
	m, err := upload.New(upload.Options{Store: nil, Ledgers: archivetest.NewLedgers(), Layout: lay, SpoolDir: b.TempDir()})
	require.NoError(b, err)
	defer m.Close(context.Background(), false)
	h := m.Add(archivetest.NewLog(topic.Partition{Topic: "t"}, upload.Config{}))
	b.ReportAllocs()
	for b.Loop() {
		h.Notify()
	}
}
