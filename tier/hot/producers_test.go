package hot

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/hot/producer"
	"github.com/firnlog/firn/tier/record"
)

// written is all that a log was given and has not lost, also what was trimmed since.
type written struct {
	t       require.TestingT
	headers []record.Header
}

func (m *written) end() int64 {
	if len(m.headers) == 0 {
		return 0
	}
	return m.headers[len(m.headers)-1].NextOffset()
}

// at is the producer state at an offset by the whole of the history.
func (m *written) at(offset int64) *producer.State {
	st := &producer.State{}
	for i := range m.headers {
		if h := &m.headers[i]; h.NextOffset() <= offset {
			st.Apply(*h, h.BaseOffset, startMs)
		}
	}
	return st
}

// batch builds a batch of a producer that goes on from its last one; id 0 is none.
func (m *written) batch(id int64, epoch int16, seq int32, n, size int) []byte {
	b := record.NewBuilder(record.None)
	if id != 0 {
		b.Producer(id, epoch, seq)
	}
	for range n {
		b.Append(startMs, nil, make([]byte, size), nil)
	}
	return b.Build(0)
}

// next builds the next batch of a producer.
func (m *written) next(id int64, n, size int) []byte {
	epoch, seq := int16(0), int32(0)
	for i := range slices.Backward(m.headers) {
		if h := &m.headers[i]; h.ProducerID == id {
			epoch, seq = h.ProducerEpoch, record.NextSequence(h.LastSequence(), 1)
			break
		}
	}
	return m.batch(id, epoch, seq, n, size)
}

// took notes batches that were appended.
func (m *written) took(b []byte) {
	for it := record.Batches(b); ; {
		if !it.Next() {
			require.NoError(m.t, it.Err())
			return
		}
		m.headers = append(m.headers, it.Header())
	}
}

func (m *written) put(l *Log, b []byte) {
	_, err := tryAppend(l, b, max(0, l.latestEpoch()))
	require.NoError(m.t, err)
	m.took(b)
}

// holds says that the log knows at an offset what a walk through all of its history leads to.
func (m *written) holds(l *Log, offset int64) {
	got, err := l.ProducersAt(offset)
	require.NoError(m.t, err)
	require.Equal(m.t, m.at(offset).Entries(), append([]producer.Entry{}, got...), "at offset %d of %d", offset, l.End())
}

// again says that the last batch of a producer is not stored a second time (I-05).
func (m *written) again(l *Log, id int64) {
	for _, h := range slices.Backward(m.headers) {
		if h.ProducerID != id {
			continue
		}
		a, err := tryAppend(l, m.batch(id, h.ProducerEpoch, h.BaseSequence, int(h.Count), 10), max(0, l.latestEpoch()))
		require.NoError(m.t, err)
		require.True(m.t, a.Duplicate, "producer %d: %+v", id, a)
		require.Equal(m.t, h.BaseOffset, a.BaseOffset)
		return
	}
}

// snapshotsDir is a directory on f that snapshots producers every so many bytes.
func snapshotsDir(t *testing.T, f disk.FS, boot string, every int64) *testDir {
	o, c := testOptions(t, f, "/log")
	o.BootID, o.checkpointBytes = boot, every
	d, err := OpenDir(o)
	require.NoError(t, err)
	return &testDir{d, t, c}
}

// checkpointed does for a log's producers what the saving of recovery points does.
func checkpointed(t *testing.T, l *Log) {
	l.mu.Lock()
	n := l.unsnapped()
	l.mu.Unlock()
	if n >= l.dir.o.checkpointBytes {
		require.NoError(t, l.snapshotProducers())
	}
}

// snapshotFiles lists the snapshots in a log's folder.
func snapshotFiles(t *testing.T, l *Log) []int64 {
	bases, err := l.snapshots()
	require.NoError(t, err)
	return bases
}

// Uploads ask for one object after another while producers write on. Where nobody is idempotent nothing is read for that;
// else each byte once.
func TestWhatUploadsRead(t *testing.T) {
	const batches, object, behind = 2000, 100, 150
	for _, c := range []struct {
		name string
		id   func(i int) int64
		read float64 // of the log's bytes, at most
	}{
		{"nobody is idempotent", func(int) int64 { return 0 }, 0},
		{"all are", func(i int) int64 { return int64(1 + i%3) }, 1.2},
		{"every other batch", func(i int) int64 { return int64(i % 2) }, 1.2},
		{"one begins late", func(i int) int64 { return int64(i / 1500) }, 0.35},
		{"one stops early", func(i int) int64 { return int64(max(0, 1-i/500)) }, 0.35},
	} {
		for _, segment := range []int32{100_000, 100_000_000} { // with snapshots of rolls, and without
			t.Run(fmt.Sprint(c.name, " ", segment), func(t *testing.T) {
				f := disk.NewFaulty(disk.NewCrashable(1), nil)
				d := snapshotsDir(t, f, "boot-1", 20_000)
				l := d.open(0, func(c *Config) { c.SegmentBytes = segment })
				m := &written{t: t}
				read := bytesOf(f, disk.OpRead)
				for i := range batches {
					m.put(l, m.next(c.id(i), 1, 1000))
					if i%object == 0 && i > behind {
						m.holds(l, int64(i-behind))
					}
				}
				t.Logf("%d bytes read of %d", read(logSuffix), l.Bytes())
				require.LessOrEqual(t, float64(read(logSuffix)), c.read*float64(l.Bytes()))
				if c.read == 0 {
					require.Zero(t, read(""), "not of other files, either")
				}
				require.NoError(t, d.Close())
			})
		}
	}
}

// The state at the end is known while batches above are being written, and is not that of what may yet fail (I-02).
func TestProducersWhileWriting(t *testing.T) {
	for fails := range 4 { // the first write, the second, the third, none
		t.Run(fmt.Sprint(fails), func(t *testing.T) {
			f := disk.NewFaulty(disk.NewCrashable(1), nil)
			d := openDir(t, f, "/log")
			l := d.open(0, func(c *Config) { c.SegmentBytes, c.FlushMessages = 1000, Forever })
			m := &written{t: t}
			m.put(l, m.next(1, 2, 100))
			m.put(l, m.next(2, 1, 100))
			require.NoError(t, l.Sync())
			// The others come while the first is written, from a producer that is known and one that is not, and are written
			// after each other, for the last begins a segment.
			batches := [][]byte{m.next(2, 1, 100), m.batch(1, 1, 0, 1, 100), m.batch(77, 0, 0, 1, 500)}
			done := make(chan error, len(batches))
			add := func(b []byte) {
				_, err := tryAppend(l, b, 0)
				done <- err
			}
			writes, noted, reads := 0, 0, f.Count(disk.OpRead)
			f.SetHook(func(c disk.Call) disk.Fault {
				if c.Op != disk.OpWrite || !strings.HasSuffix(c.Name, logSuffix) {
					return disk.Fault{}
				}
				for i, b := range batches[1:] {
					if writes > 0 {
						break
					}
					go add(b)
					require.Eventually(t, func() bool {
						l.mu.Lock()
						defer l.mu.Unlock()
						return len(l.queue) == i+1
					}, time.Minute, time.Millisecond)
				}
				for _, b := range batches {
					if h, err := record.ParseHeader(b); err == nil && h.BaseOffset == m.end() && h.NextOffset() <= l.End() {
						m.took(b)
					}
				}
				m.holds(l, l.End())
				got, err := l.Producers()
				require.NoError(t, err)
				require.Equal(t, m.at(l.End()).Entries(), got)
				noteProducers([]*Log{l}, notedBytes)
				if st := l.nearestNoted(l.End(), l.End()); st != nil {
					noted++
					require.Equal(t, got, st.Entries())
				}
				if writes++; writes == fails+1 {
					return disk.Fault{Err: syscall.ENOSPC}
				}
				return disk.Fault{}
			})
			add(batches[0])
			failed := 0
			for range batches {
				if <-done != nil {
					failed++
				}
			}
			f.SetHook(nil)
			require.Equal(t, []int{3, 2, 1, 0}[fails], failed)
			require.Equal(t, []int{1, 2, 3, 3}[fails], writes)
			require.GreaterOrEqual(t, noted, min(2, writes))
			require.Equal(t, reads, f.Count(disk.OpRead))
			m.headers = m.headers[:2]
			for _, b := range batches[:3-failed] {
				m.took(b)
			}
			m.holds(l, l.End())
			m.put(l, m.next(0, 1, 10))
			m.put(l, m.next(3, 1, 10))
			for _, h := range m.headers {
				m.holds(l, h.NextOffset())
			}
			require.NoError(t, d.Close())
		})
	}
}

// The first append after a start walks through what was written since the last checkpoint at most, however the log was left,
// and knows its producers (I-05).
func TestWhatTheFirstAppendReads(t *testing.T) {
	const every = 50_000
	for _, idempotent := range []bool{false, true} {
		for _, segment := range []int32{90_000, 100_000_000} {
			for _, stop := range []Stop{StopClean, StopKilled, StopCrashed} {
				t.Run(fmt.Sprint(idempotent, segment, stop), func(t *testing.T) {
					mem := disk.NewCrashable(1)
					d := snapshotsDir(t, mem, "boot-1", every)
					small := func(c *Config) { c.SegmentBytes = segment }
					l := d.open(0, small)
					m := &written{t: t}
					write := func(n int) {
						for i := range n {
							id := int64(0)
							if idempotent {
								id = int64(1 + i%manyProducers)
							}
							m.put(l, m.next(id, 1, 1000))
							require.NoError(t, l.Flush())
							if stop != StopClean {
								checkpointed(t, l)
							}
						}
					}
					write(700)
					limit := 0
					if stop != StopClean {
						require.NoError(t, d.saveState()) // else the recovery finds out who they are, for it reads everything
						limit = every + 2*smallBuf
					}
					for range 3 {
						boot := "boot-1"
						switch stop {
						case StopClean:
							require.NoError(t, d.Close())
						case StopKilled:
							d.flusher.Close()
						default:
							d.flusher.Close()
							mem, boot = mem.Crash(), fmt.Sprint("boot-", len(m.headers))
						}
						f := disk.NewFaulty(mem, nil)
						d = snapshotsDir(t, f, boot, every)
						require.Equal(t, stop, d.LastStop())
						l = d.open(0, small)
						require.Equal(t, m.end(), l.End())
						read := bytesOf(f, disk.OpRead)
						write(1)
						t.Logf("%d bytes read of %d", read(logSuffix), l.Bytes())
						require.LessOrEqual(t, read(logSuffix), limit)
						f.SetHook(nil)
						m.again(l, 1)
						m.holds(l, l.End())
						others := slices.DeleteFunc(snapshotFiles(t, l), func(base int64) bool {
							return l.segments()[segmentAt(l.segments(), base)].base == base
						})
						// A power cut may bring one back, until the next is written.
						require.LessOrEqual(t, len(others), 3, "snapshots pile up: %v", others)
						// The first upload after the start is of what was written long before.
						read = bytesOf(f, disk.OpRead)
						m.holds(l, 350)
						most := 0
						if idempotent && stop != StopCrashed { // which takes a roll's snapshot, for it was not synced
							most = int(min(segment, 400_000)) + largeBuf
						} else if idempotent {
							most = 400_000 + largeBuf
						}
						require.LessOrEqual(t, read(logSuffix), most)
						f.SetHook(nil)
						write(100)
					}
					require.NoError(t, d.Close())
				})
			}
		}
	}
}

// A log that is opened after a clean stop has still to learn who its producers are, from a snapshot if they are many. Where
// that was done before, the first append reads nothing.
func TestLearnedBeforeTheFirstAppend(t *testing.T) {
	for _, before := range []bool{false, true} {
		f := disk.NewFaulty(disk.NewCrashable(1), nil)
		d := openDir(t, f, "/log")
		l := d.open(0, nil)
		m := &written{t: t}
		require.True(t, l.learned(), "nobody has written yet")
		for id := range int64(manyProducers) {
			m.put(l, m.next(1+id, 1, 10))
		}
		require.NoError(t, d.Close())

		d = openDir(t, f, "/log")
		l = d.open(0, nil)
		require.False(t, l.learned())
		if before {
			require.NoError(t, l.LearnProducers())
			require.True(t, l.learned())
		}
		reads := 0
		f.SetHook(func(c disk.Call) disk.Fault {
			if c.Op == disk.OpRead {
				reads++
			}
			return disk.Fault{}
		})
		m.put(l, m.next(7, 1, 10))
		require.Equal(t, before, reads == 0, "%d reads", reads)
		require.True(t, l.learned())
		f.SetHook(nil)
		require.NoError(t, d.Close())
	}
}

// Short lives add up to no more: what a start walked through counts for the next checkpoint.
func TestWhatShortLivesRead(t *testing.T) {
	const every = 30_000
	mem := disk.NewCrashable(1)
	m := &written{t: t}
	for life := range 12 {
		f := disk.NewFaulty(mem, nil)
		d := snapshotsDir(t, f, "boot-1", every)
		l := d.open(0, nil)
		read := bytesOf(f, disk.OpRead)
		m.put(l, m.next(1, 1, 10))
		require.LessOrEqual(t, read(logSuffix), every+2*smallBuf)
		f.SetHook(nil)
		if life == 0 { // what is saved tells nothing of them, now and later
			for id := range int64(manyProducers) {
				m.put(l, m.next(1+id, 1, 10))
			}
			require.NoError(t, l.Sync())
			require.NoError(t, d.saveState())
			require.Nil(t, l.state().Producers)
		}
		for range 10 {
			m.put(l, m.next(1, 1, 1000))
			checkpointed(t, l)
		}
		d.flusher.Close()
	}
}

// The batches right below a snapshot may not be there after a power cut, and it goes with them. The one before it does.
func TestSnapshotOfWhatWasLost(t *testing.T) {
	const every = 30_000
	mem := disk.NewCrashable(1)
	d := snapshotsDir(t, mem, "boot-1", every)
	l := d.open(0, nil)
	m := &written{t: t}
	for i := range 300 {
		m.put(l, m.next(int64(1+i%manyProducers), 1, 1000))
		require.NoError(t, l.Flush())
		checkpointed(t, l)
		if i == 50 { // without a word of the producers
			require.NoError(t, d.saveState())
		}
	}
	d.flusher.Close()
	appendTo(t, l, m.next(1, 1, 1000))
	require.NoError(t, l.snapshotProducers())
	require.NoError(t, mem.SyncDir(l.Folder())) // what it removed is gone for good
	require.Contains(t, snapshotFiles(t, l), l.End())
	f := disk.NewFaulty(mem.Crash(), nil)
	d = snapshotsDir(t, f, "boot-2", every)
	l = d.open(0, nil)
	require.Equal(t, m.end(), l.End())
	require.NotContains(t, snapshotFiles(t, l), l.End()+1)
	read := bytesOf(f, disk.OpRead)
	m.again(l, 1)
	require.LessOrEqual(t, read(logSuffix), every+2*smallBuf)
	require.NoError(t, d.Close())
}

// Where everybody was forgotten, nothing is read to find out who wrote.
func TestForgottenProducersCostNothing(t *testing.T) {
	f := disk.NewFaulty(disk.NewCrashable(1), nil)
	d := openDir(t, f, "/log")
	l := d.open(0, nil)
	m := &written{t: t}
	for i := range 20 {
		m.put(l, m.next(int64(1+i%2), 1, 100))
	}
	m.holds(l, 10)
	d.clock.ms += d.ProducerExpiry().Milliseconds()
	l.expireProducers(d.clock.ms)
	reads := f.Count(disk.OpRead)
	for _, at := range []int64{0, 5, 10, 15, 20} {
		got, err := l.ProducersAt(at)
		require.NoError(t, err)
		require.Empty(t, got)
	}
	require.Equal(t, reads, f.Count(disk.OpRead))
	require.Nil(t, l.past.kept)
	require.NoError(t, d.Close())
}

// A trim reads nothing of what it deletes, where nobody is idempotent or a roll left a snapshot; also as the first thing after
// a start.
func TestWhatTrimsRead(t *testing.T) {
	for _, id := range []int64{0, 1} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(id, restart), func(t *testing.T) {
				f := disk.NewFaulty(disk.NewCrashable(1), nil)
				d := snapshotsDir(t, f, "boot-1", 20_000)
				small := func(c *Config) { c.SegmentBytes = 50_000 }
				l := d.open(0, small)
				m := &written{t: t}
				for i := range 300 {
					m.put(l, m.next(id*int64(1+i%manyProducers), 1, 1000))
					checkpointed(t, l)
					if i == 50 { // with a word of the producers only if there are none
						require.NoError(t, l.Sync())
						require.NoError(t, d.saveState())
					}
				}
				if restart {
					d.flusher.Close()
					d = snapshotsDir(t, f, "boot-1", 20_000)
					l = d.open(0, small)
				}
				read := bytesOf(f, disk.OpRead)
				for range 3 {
					_, err := l.Trim(l.Segments()[1].Base, "test")
					require.NoError(t, err)
				}
				require.Positive(t, l.LocalStart())
				limit := 0
				if restart {
					limit = 20_000 + 2*smallBuf
				}
				require.LessOrEqual(t, read(logSuffix), limit)
				f.SetHook(nil)
				m.again(l, 1)
				m.holds(l, l.LocalStart())
				m.holds(l, l.End())
				require.NoError(t, d.Close())
			})
		}
	}
}

// Whatever happens to a log, it knows of its producers at any offset what a walk through its whole history leads to.
func TestProducersAtAnyOffset(t *testing.T) {
	seeds := uint64(60)
	if full() {
		seeds = 3000
	}
	for seed := range seeds {
		w := &producerWorld{rng: rand.New(rand.NewPCG(seed, 1)), written: written{t: panics{}}}
		err := attempt(func() {
			w.world = newWorld(seed, "")
			w.wrap = func(fsys disk.FS) disk.FS {
				w.f = disk.NewFaulty(fsys, nil)
				return w.f
			}
			w.kill()
			if seed%4 > 1 {
				w.rarely()
			}
			w.l = w.open(0)
			for range 250 {
				w.step()
			}
		})
		w.d.flusher.Close()
		require.NoError(t, err, "seed %d: %s", seed, strings.Join(w.trace, ", "))
	}
}

// panics takes what a test asserts into attempt.
type panics struct{}

func (panics) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (panics) FailNow()                          {}

// producerWorld is a log to which producers write at random, and what they wrote.
type producerWorld struct {
	*world
	written
	rng    *rand.Rand
	f      *disk.Faulty
	l      *Log
	upload int64 // where the next upload is likely to ask
	trace  []string
}

func (w *producerWorld) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

// some builds one to three batches of one producer, or of none, perhaps of its next epoch.
func (w *producerWorld) some() []byte {
	id := int64(w.rng.IntN(5))
	if w.rng.IntN(3) > 0 {
		id = 0
	}
	n := 1 + w.rng.IntN(3)
	if id == 0 {
		return w.next(0, n, w.rng.IntN(300))
	}
	e, ok := w.at(w.end()).Get(id)
	if ok && w.rng.IntN(4) == 0 {
		return w.batch(id, e.Epoch+1, 0, n, w.rng.IntN(100))
	}
	b := w.next(id, n, w.rng.IntN(300))
	h, err := record.Check(b)
	require.NoError(w.t, err)
	for range w.rng.IntN(3) {
		h.BaseSequence = record.NextSequence(h.LastSequence(), 1)
		b = append(b, w.batch(id, h.ProducerEpoch, h.BaseSequence, n, 10)...)
	}
	return b
}

func (w *producerWorld) append(b []byte) error {
	var headers []record.Header
	for it := record.Batches(b); it.Next(); {
		headers = append(headers, it.Header())
	}
	_, err := w.l.Append(b, headers, AppendOptions{Epoch: max(0, w.l.latestEpoch()), Now: w.clock.ms, Check: true})
	if err == nil {
		w.took(b)
	}
	return err
}

func (w *producerWorld) restart() {
	kind := w.rng.IntN(4)
	w.note("restart %d of [%d, %d)", kind, w.l.LocalStart(), w.l.End())
	switch kind {
	case 0:
		w.stop()
		w.start()
	case 1:
		w.kill()
	default:
		w.power(kind == 2)
	}
	w.l = w.open(0)
	w.lost()
}

// lost forgets what is above the log's end.
func (w *producerWorld) lost() {
	end := w.l.End()
	for w.end() > end {
		w.headers = w.headers[:len(w.headers)-1]
	}
	require.Equal(w.t, end, w.end())
	w.upload = min(w.upload, end)
}

// boundary is the end of a batch at or above an offset.
func (w *producerWorld) boundary(offset int64) int64 {
	for i := range w.headers {
		if next := w.headers[i].NextOffset(); next >= offset {
			return next
		}
	}
	return w.end()
}

func (w *producerWorld) step() {
	l := w.l
	switch n := w.rng.IntN(100); {
	case n < 50:
		b := w.some()
		require.NoError(w.t, w.append(b))
	case n < 55: // a full disk takes back what was assigned
		b := w.some()
		w.f.SetHook(disk.FullAfter(w.rng.IntN(len(b))))
		require.ErrorIs(w.t, w.append(b), ErrFull)
		w.f.SetHook(nil)
		w.note("failed at %d", w.end())
		w.holds(l, w.end())
		require.NoError(w.t, w.append(w.some()))
		require.NoError(w.t, l.Sync()) // else a torn disk may have some of what failed
	case n < 58: // the second of two batches is refused
		b := append(w.batch(int64(10+n), 0, 5, 1, 10), w.batch(int64(10+n), 0, 99, 1, 10)...)
		require.Error(w.t, w.append(b))
	case n < 70: // an upload
		w.upload = w.boundary(max(w.upload, l.LocalStart()) + w.rng.Int64N(20))
		if w.upload >= l.LocalStart() {
			w.holds(l, w.upload)
		}
	case n < 73:
		if at := w.boundary(l.LocalStart() + w.rng.Int64N(l.End()-l.LocalStart()+1)); at >= l.LocalStart() {
			w.holds(l, at)
		}
	case n < 75:
		w.holds(l, l.End())
	case n < 78: // of what is known of the producers, nothing but what the state file says
		require.NoError(w.t, w.d.saveState())
		w.note("state at %d", l.End())
	case n < 82 && w.every == 0:
		require.NoError(w.t, l.snapshotProducers())
		w.note("snapshot at %d", l.End())
	case n < 82:
		require.NoError(w.t, w.append(w.some()))
	case n < 84:
		require.NoError(w.t, l.Flush())
	case n < 87:
		require.NoError(w.t, l.Roll())
		w.note("roll at %d", l.End())
	case n < 90:
		_, err := l.Trim(l.LocalStart()+w.rng.Int64N(l.End()-l.LocalStart()+1), "test")
		require.NoError(w.t, err)
		w.note("trim to %d", l.LocalStart())
	case n < 92:
		require.NoError(w.t, l.AdvanceStart(w.boundary(l.LogStart()+w.rng.Int64N(l.End()-l.LogStart()+1))))
		w.note("start is %d", l.LocalStart())
	case n < 94:
		require.NoError(w.t, l.Truncate(max(l.LocalStart(), l.End()-w.rng.Int64N(30))))
		w.lost()
		w.note("cut to %d", l.End())
	case n < 96:
		require.NoError(w.t, w.d.SaveState())
	default:
		w.restart()
		w.holds(w.l, w.l.End())
	}
	w.again(w.l, int64(1+w.rng.IntN(4)))
}
