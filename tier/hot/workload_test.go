package hot

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/record"
)

// model is what one log must hold.
type model struct {
	index    int32
	batches  []modelBatch // everything that was written and not lost, also if it was trimmed
	logStart int64
	seqs     map[int64]int32 // next sequence of each producer
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
	l := w.open(m.index)
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
	for i := len(m.batches) - 1; i >= 0; i-- {
		mb := m.batches[i]
		if mb.pid == 0 {
			continue
		}
		l := w.open(m.index)
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
	l := w.open(m.index)
	check(l.LogStart() >= m.logStart, "log start is %d, was %d", l.LogStart(), m.logStart)
	got, want := content(l), m.bytesFrom(l.LocalStart())
	check(bytes.Equal(got, want), "partition %d [%d, %d): %d bytes differ from the %d that were written",
		m.index, l.LocalStart(), l.End(), len(got), len(want))
	indexesHold(l)
	w.again(m)
}

// restart ends the process or the machine, and looks at what is left.
func (w *workload) restart() {
	acked := map[int32]int64{}
	for _, m := range w.models {
		acked[m.index] = w.open(m.index).Stable()
	}
	kind := w.rng.IntN(5)
	w.note("restart %d %v", kind, acked)
	switch kind {
	case 0:
		w.stop()
		w.start()
		check(w.d.LastStop() == StopClean, "LastStop is %v", w.d.LastStop())
	case 1:
		w.kill()
	case 2:
		w.power(false)
	default:
		w.power(true)
	}
	for _, m := range w.models {
		l := w.open(m.index)
		check(l.End() >= acked[m.index], "partition %d ends at %d, %d was acknowledged", m.index, l.End(), acked[m.index])
		check(kind > 1 || l.End() == m.end(), "nothing may be lost: end is %d, was %d", l.End(), m.end())
		m.lost(l.End())
		w.verify(m)
	}
}

func (w *workload) step() {
	m := w.models[w.rng.IntN(len(w.models))]
	switch n := w.rng.IntN(100); {
	case n < 60:
		w.append(m)
	case n < 70:
		must(w.open(m.index).Flush())
	case n < 74:
		must(w.open(m.index).Roll())
	case n < 78:
		l := w.open(m.index)
		to := l.LocalStart() + w.rng.Int64N(l.End()-l.LocalStart()+1)
		freed, err := l.Trim(to, "test")
		must(err)
		w.note("trim %d to %d: %d", m.index, to, freed)
		if m.index%2 == 0 {
			m.logStart = max(m.logStart, l.Segments()[0].Base)
		}
	case n < 80:
		l := w.open(m.index)
		to := l.LogStart() + w.rng.Int64N(l.End()-l.LogStart()+1)
		must(l.AdvanceStart(to))
		m.logStart = max(m.logStart, to)
		w.note("start of %d to %d", m.index, to)
	case n < 84:
		must(w.d.SaveState())
	case n < 86:
		l := w.open(m.index)
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
		seeds = 1000
	}
	for seed := range seeds {
		w := &workload{rng: rand.New(rand.NewPCG(seed, 1))}
		err := attempt(func() {
			w.world = newWorld(seed, "")
			w.log = slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
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
