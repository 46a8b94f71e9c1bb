package hot

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/record"
)

// model is what one log must hold.
type model struct {
	index    int32
	batches  []modelBatch // everything that was written and not lost, also if it was trimmed
	logStart int64
	seqs     map[int64]int32 // next sequence of each producer

	// Since the log was last open:
	log   *Log  // nil: it is not open
	acked int64 // up to where it must be there
	whole bool  // all of it must be there: no kernel went that may have had some of it in memory alone
	told  bool  // somebody was told that page caches were lost
}

type modelBatch struct {
	base, next int64
	bytes      []byte
	pid        int64 // 0: none
	seq        int32
}

func (m *model) end() int64 {
	if len(m.batches) == 0 {
		return 0
	}
	return m.batches[len(m.batches)-1].next
}

// lost forgets what is not below end, which the machine may have lost.
func (m *model) lost(end int64) {
	for len(m.batches) > 0 && m.end() > end {
		b := m.batches[len(m.batches)-1]
		if b.pid != 0 {
			m.seqs[b.pid] = b.seq
		}
		m.batches = m.batches[:len(m.batches)-1]
	}
	check(m.end() == end, "the log ends at %d, within a batch", end)
}

// bytesFrom returns all batches that end above offset.
func (m *model) bytesFrom(offset int64) []byte {
	var out []byte
	for _, b := range m.batches {
		if b.next > offset {
			out = append(out, b.bytes...)
		}
	}
	return out
}

// workload drives a world at random.
type workload struct {
	*world
	rng    *rand.Rand
	models []*model
	mu     sync.Mutex
	trace  []string
}

func (w *workload) note(format string, args ...any) {
	_, _ = fmt.Fprintf(w, format+"\n", args...)
}

// Write takes the log's lines into the trace.
func (w *workload) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, string(p))
	return len(p), nil
}

func (w *workload) append(m *model) {
	l := w.look(m)
	w.clock.ms += int64(w.rng.IntN(50))
	n := 1 + w.rng.IntN(4)
	mb := modelBatch{base: m.end()}
	var b []byte
	if w.rng.IntN(2) == 0 {
		b = batch(n, 20+w.rng.IntN(200), w.clock.ms-int64(w.rng.IntN(100)))
	} else {
		mb.pid = int64(1 + w.rng.IntN(3))
		mb.seq = m.seqs[mb.pid]
		b = producerBatch(mb.pid, mb.seq, n, w.clock.ms)
		m.seqs[mb.pid] += int32(n)
	}
	a, err := tryAppend(l, b, max(0, l.latestEpoch()))
	must(err)
	check(!a.Duplicate && a.BaseOffset == mb.base && a.NextOffset == mb.base+int64(n), "appended %+v at %d", a, mb.base)
	mb.next, mb.bytes = a.NextOffset, b
	m.batches = append(m.batches, mb)
}

// again sends a producer's last batch once more (I-05).
func (w *workload) again(m *model) {
	l := w.look(m)
	for i := len(m.batches) - 1; i >= 0; i-- {
		mb := m.batches[i]
		if mb.pid == 0 {
			continue
		}
		b := bytes.Clone(mb.bytes)
		record.Stamp(b, 0, 0)
		a, err := tryAppend(l, b, max(0, l.latestEpoch()))
		must(err)
		check(a.Duplicate && a.BaseOffset == mb.base && a.NextOffset == mb.next,
			"a batch that is stored at %d was taken again: %+v", mb.base, a)
		return
	}
}

func (w *workload) verify(m *model) {
	l := w.look(m)
	check(l.LogStart() >= m.logStart, "log start is %d, was %d", l.LogStart(), m.logStart)
	got, want := content(l), m.bytesFrom(l.LocalStart())
	check(bytes.Equal(got, want), "partition %d [%d, %d): %d bytes differ from the %d that were written",
		m.index, l.LocalStart(), l.End(), len(got), len(want))
	indexesHold(l)
	w.again(m)
}

// look is the model's log. Where it was not open yet since the last start, all of it is looked at.
func (w *workload) look(m *model) *Log {
	l := w.open(m.index)
	if m.log == nil {
		w.compare(m, l)
		w.verify(m)
	}
	return l
}

// compare holds what is there of a log that was just opened beside what must be. From here on all of that must be there.
func (w *workload) compare(m *model, l *Log) {
	check(l.End() >= m.acked, "partition %d ends at %d, %d was acknowledged", m.index, l.End(), m.acked)
	check(l.End() == m.end() || !m.whole, "nothing may be lost: the end of %d is %d, was %d", m.index, l.End(), m.end())
	check(l.End() >= m.end() || m.told || w.d.PowerLost(), "partition %d ends at %d, was %d, and nobody is told", m.index, l.End(), m.end())
	check(l.Flushed() == l.End(), "partition %d is shown up to %d, flushed up to %d", m.index, l.End(), l.Flushed())
	m.lost(l.End())
	m.log, m.acked, m.whole, m.told = l, l.End(), true, false
}

// ends notes what is known of the logs when the process, and perhaps the machine, ends.
func (w *workload) ends(stopped, off bool) {
	for _, m := range w.models {
		switch {
		case m.log != nil && stopped:
			m.acked = m.end()
		case m.log != nil:
			m.acked = m.log.Flushed()
		}
		m.whole = m.whole && (!off || m.acked == m.end())
		m.log = nil
	}
}

// restart ends the process or the machine, and starts again, perhaps not at the first attempt.
func (w *workload) restart() {
	kind := w.rng.IntN(6)
	w.note("restart %d", kind)
	w.ends(kind < 2, kind > 0 && kind < 5)
	if kind < 2 {
		w.stop()
	}
	switch kind {
	case 1, 2, 3, 4:
		w.off(kind != 2)
	case 5:
		w.d.flusher.Close()
	}
	failed := w.rng.IntN(2) * w.rng.IntN(4)
	for range failed {
		w.failingStart()
	}
	w.start()
	if failed == 0 {
		check((w.d.LastStop() == StopClean) == (kind < 2), "LastStop is %v", w.d.LastStop())
		check(w.d.PowerLost() || kind < 2 || kind == 5, "a power cut is not told")
	}
	if w.rng.IntN(2) == 0 {
		must(w.d.PowerLossSettled())
		for _, m := range w.models {
			m.told = true
		}
	}
	if w.rng.IntN(2) == 0 {
		for _, m := range w.models {
			w.look(m)
		}
	}
}

// failingStart is the life of a process in which something fails, and that comes to some of the logs at most.
func (w *workload) failingStart() {
	at, errno := 1+w.rng.IntN(80), []error{syscall.EIO, syscall.ENOSPC, syscall.EMFILE}[w.rng.IntN(3)]
	w.wrap = func(fsys disk.FS) disk.FS {
		return disk.NewFaulty(fsys, func(c disk.Call) disk.Fault {
			// A failed Datasync of Faulty loses cuts as well, which no writing again brings back. Kernels lose what was written.
			if c.Total != at || c.Op == disk.OpDatasync && w.preallocate {
				return disk.Fault{}
			}
			w.note("%s of %s fails: %v", c.Op, c.Name, errno)
			return disk.Fault{Err: errno}
		})
	}
	defer func() { w.wrap = nil }()
	if err := w.tryStart(); err != nil {
		w.note("the start failed: %v", err)
	} else {
		w.openSome()
		if w.rng.IntN(2) == 0 {
			w.ends(false, false)
			w.note("stopped: %v", w.d.Close())
		}
	}
	off := w.rng.IntN(3) == 0
	w.note("off: %v", off)
	w.ends(false, off)
	if off {
		w.off(w.rng.IntN(2) == 0)
	} else {
		w.d.flusher.Close()
	}
}

func (w *workload) openSome() {
	for _, m := range w.models {
		if w.rng.IntN(3) == 0 {
			continue
		}
		cfg := w.config(m.index)
		l, err := w.d.Open(w.part(m.index), &cfg)
		if err != nil {
			w.note("opening %d failed: %v", m.index, err)
			check(!errors.Is(err, ErrDamaged), "partition %d: %v", m.index, err)
			continue
		}
		w.compare(m, l)
	}
}

func (w *workload) step() {
	m := w.models[w.rng.IntN(len(w.models))]
	switch n := w.rng.IntN(100); {
	case n < 60:
		w.append(m)
	case n < 70:
		must(w.look(m).Flush())
	case n < 74:
		must(w.look(m).Roll())
	case n < 78:
		l := w.look(m)
		to := l.LocalStart() + w.rng.Int64N(l.End()-l.LocalStart()+1)
		freed, err := l.Trim(to, "test")
		must(err)
		w.note("trim %d to %d: %d", m.index, to, freed)
		if m.index%2 == 0 {
			m.logStart = max(m.logStart, l.Segments()[0].Base)
		}
	case n < 80:
		l := w.look(m)
		to := l.LogStart() + w.rng.Int64N(l.End()-l.LogStart()+1)
		must(l.AdvanceStart(to))
		m.logStart = max(m.logStart, to)
		w.note("start of %d to %d", m.index, to)
	case n < 84:
		must(w.d.SaveState())
	case n < 86:
		l := w.look(m)
		must(l.AssignEpoch(l.latestEpoch()+1, -1))
	case n < 90:
		w.again(m)
	case n < 94:
		w.d.housekeep()
		w.clock.ms += 40_000
	default:
		w.restart()
	}
}

// full says whether tests run at full length (`make e2e`).
func full() bool { return os.Getenv("FIRN_E2E_FULL") == "1" }

// TestWorkload appends, trims and loses power at random: what was acknowledged is there, nothing twice, in order
// (I-01, I-03, I-05).
func TestWorkload(t *testing.T) {
	seeds := uint64(60)
	if full() {
		seeds = 2000
	}
	for seed := range seeds {
		w := &workload{rng: rand.New(rand.NewPCG(seed, 1))}
		err := attempt(func() {
			w.world = newWorld(seed, "")
			w.log = slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
			w.paged, w.preallocate = seed%8 > 3, seed%16 > 7
			if seed%4 > 1 {
				w.rarely()
			}
			for i := range int32(3) {
				w.models = append(w.models, &model{index: i, seqs: map[int64]int32{}})
			}
			for range 400 {
				w.step()
			}
			w.restart()
			for _, m := range w.models {
				w.look(m)
			}
		})
		require.NoError(t, err, "seed %d:\n%s", seed, strings.Join(w.trace, ""))
		w.d.flusher.Close()
	}
}

// TestCutAtEveryByte ends the file at every byte of the last batch: the batch before is the last one then (I-01).
func TestCutAtEveryByte(t *testing.T) {
	for _, state := range []bool{false, true} {
		w := newWorld(2, "") // without a journal, which would bring the batch back
		l := w.open(0)
		want := w.put(l, 3)
		if state {
			must(w.d.saveState())
		}
		want = append(want, w.put(l, 2)...)
		whole := l.Bytes()
		last := w.put(l, 4)
		name := l.segments()[0].file.path()
		w.d.flusher.Close()
		from := w.mem
		for cut := range len(last) + 1 {
			w.mem = from.Crash()
			f, err := w.mem.OpenFile(name, 2, 0)
			require.NoError(t, err)
			require.NoError(t, f.Truncate(whole+int64(cut)))
			require.NoError(t, f.Close())
			w.start()
			l := w.open(0)
			if cut == len(last) {
				require.Equal(t, append(want, last...), content(l))
			} else {
				require.Equal(t, int64(5), l.End(), "cut at %d", cut)
				require.Equal(t, want, content(l))
				require.Equal(t, whole, l.Bytes())
			}
			require.NoError(t, l.Flush())
			w.d.flusher.Close()
		}
	}
}

// TestProducerBelowStart: the start moved to the end of the active segment, a roll followed, and the power cut took the
// roll's snapshot: the batches below the start still know their producer (I-05).
func TestProducerBelowStart(t *testing.T) {
	w := newWorld(1, "")
	l := w.open(0)
	b := producerBatch(7, 0, 2, w.clock.ms)
	_, err := tryAppend(l, bytes.Clone(b), 0)
	require.NoError(t, err)
	require.NoError(t, l.AdvanceStart(2))
	require.NoError(t, l.Roll())
	require.NoError(t, w.mem.SyncDir(l.folder())) // the entries are there, the snapshot's content is not
	w.d.flusher.Close()
	w.mem = w.mem.Crash()
	w.start()
	l = w.open(0)
	require.EqualValues(t, 2, l.LogStart())
	a, err := tryAppend(l, bytes.Clone(b), 0)
	require.NoError(t, err)
	require.True(t, a.Duplicate, "%+v", a)
	require.NoError(t, l.Roll())
	_, err = l.Trim(2, "test")
	require.NoError(t, err)
	a, err = tryAppend(l, bytes.Clone(b), 0)
	require.NoError(t, err)
	require.True(t, a.Duplicate, "%+v", a)
	w.d.flusher.Close()
}
