package flush

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
	"github.com/firnlog/firn/tier/topic"
)

// memLog is a Journaled whose file is in memory: what was appended, how far the journal or a sync went.
type memLog struct {
	part topic.Partition

	mu         sync.Mutex
	data       []byte
	acked      int // below it, all is durable somewhere
	synced     int // … in the log's own file
	end        int // what Collect took last
	syncs      int
	notified   int
	writebacks int
	onlySync   bool
	syncErr    error
	collecting func() // called first by Collect, if set
}

func newMemLog(i int) *memLog {
	return &memLog{part: topic.Partition{ID: topic.ID{1, byte(i)}, Topic: "logs", Index: int32(i)}}
}

func (l *memLog) append(b []byte) {
	l.mu.Lock()
	l.data = append(l.data, b...)
	l.mu.Unlock()
}

func (l *memLog) Sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.syncErr != nil {
		return l.syncErr
	}
	l.syncs++
	l.synced, l.acked = len(l.data), len(l.data)
	return nil
}

func (l *memLog) Pending() (int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.data) - l.acked), !l.onlySync
}

func (l *memLog) Collect(f *Frame, most int64) (int64, bool, bool) {
	if l.collecting != nil {
		l.collecting()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.data) - l.acked
	if int64(n) > most || l.onlySync {
		return 0, false, false
	}
	if n == 0 {
		return 0, false, true
	}
	copy(f.Add(&Record{Kind: Bytes, Part: l.part, Position: int64(l.acked), Base: int64(l.acked), Next: int64(len(l.data))}, n), l.data[l.acked:])
	l.end = len(l.data)
	return int64(l.end), true, true
}

func (l *memLog) Written(next int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if int64(l.end) != next { // as the hot log does
		return false
	}
	l.acked = max(l.acked, l.end)
	return true
}

func (l *memLog) Notify() {
	l.mu.Lock()
	l.notified++
	l.mu.Unlock()
}

func (l *memLog) Durable() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(l.synced)
}

func (l *memLog) Writeback() {
	l.mu.Lock()
	l.writebacks++
	l.mu.Unlock()
}

// recovered is what a log holds after a crash: what was synced, and what the journal adds to it.
func (l *memLog) recovered(r *Replay) ([]byte, error) {
	b := bytes.Clone(l.data[:l.synced])
	for _, s := range r.Logs {
		if s.Part != l.part {
			continue
		}
		for i := range s.Extents {
			e := &s.Extents[i]
			if int(e.Position) > len(b) {
				return nil, fmt.Errorf("extent at %d of %d bytes", e.Position, len(b))
			}
			p := make([]byte, e.Length)
			if err := r.ReadAt(e, p); err != nil {
				return nil, err
			}
			if end := int(e.Position) + len(p); end > len(b) {
				b = append(b, make([]byte, end-len(b))...)
			}
			copy(b[e.Position:], p)
		}
	}
	return b, nil
}

func testJournal(fsys disk.FS, fileBytes int64) *Journal {
	return NewJournal(JournalOptions{FS: fsys, Dir: "/log", FileBytes: fileBytes, Files: 3, Inline: true, Logger: slog.New(slog.DiscardHandler)})
}

func newDisk(t *testing.T, seed uint64) *disk.Crashable {
	t.Helper()
	mem := disk.NewCrashable(seed)
	require.NoError(t, disk.MkdirAllSync(mem, "/log", 0o755))
	return mem
}

// Flush has a Flusher of its own do a round, and returns when all that it began has ended.
func (j *Journal) Flush(dirty []Log) error {
	var failed error
	f := New(Options{Journal: j, OnError: func(err error) { failed = err }})
	defer f.Close()
	if err := f.round(dirty); err != nil {
		return err
	}
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	for f.pool.workers > 0 {
		f.pool.rest.Wait()
	}
	return failed
}

func asLogs(logs ...*memLog) (out []Log) {
	for _, l := range logs {
		out = append(out, l)
	}
	return out
}

// TestJournalModel (I-01): logs are appended to, flushed, forgotten; after each step the power may go, with the last write
// torn or not. What was acknowledged is in the log's file or in the journal; what was forgotten does not come back.
func TestJournalModel(t *testing.T) {
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 7))
		mem := newDisk(t, seed)
		faulty := disk.NewFaulty(mem, nil)
		j := testJournal(faulty, 64<<10)
		var logs []*memLog
		for i := range 5 {
			logs = append(logs, newMemLog(i))
		}
		check := func(fsys *disk.Crashable) {
			r, err := ReadJournal(fsys, "/log")
			require.NoError(t, err, "seed %d", seed)
			for i, l := range logs {
				b, err := l.recovered(r)
				require.NoError(t, err, "seed %d log %d", seed, i)
				require.GreaterOrEqual(t, len(b), l.acked, "seed %d log %d", seed, i)
				require.True(t, bytes.HasPrefix(l.data, b), "seed %d log %d", seed, i)
			}
			require.NoError(t, r.Close())
		}
		for range 150 {
			l := logs[rng.IntN(len(logs))]
			switch n := rng.IntN(20); {
			case n < 12:
				b := make([]byte, rng.IntN(3000))
				for i := range b {
					b[i] = byte(rng.Uint32())
				}
				l.append(b)
			case n < 18:
				require.NoError(t, j.Flush(asLogs(logs[:1+rng.IntN(len(logs))]...)))
			case n == 18:
				require.NoError(t, l.Sync())
				require.NoError(t, j.Forget(l, l.part, l.Durable()))
				// Other bytes take the place of those that were forgotten.
				l.data = l.data[:rng.IntN(len(l.data)+1)]
				l.acked, l.synced = len(l.data), len(l.data)
			default:
				check(mem.CrashTorn())
			}
		}
		check(mem.Crash())
		// The last write is torn, at whatever byte.
		for _, l := range logs {
			l.append(bytes.Repeat([]byte{byte(seed)}, 1+rng.IntN(9000)))
		}
		short := rng.IntN(30000)
		faulty.SetHook(func(c disk.Call) disk.Fault {
			if c.Op == disk.OpWriteSync {
				return disk.Fault{Err: syscall.EIO, Short: short}
			}
			return disk.Fault{}
		})
		if err := j.Flush(asLogs(logs...)); err != nil {
			require.ErrorIs(t, err, syscall.EIO)
			require.ErrorIs(t, j.Flush(asLogs(logs...)), syscall.EIO, "I-31: nothing is tried again")
		}
		for range 5 {
			check(mem.CrashTorn())
		}
		require.NoError(t, j.Close())
	}
}

// TestJournalIsBounded: however much goes through, there are no more files than allowed, and they are used again.
func TestJournalIsBounded(t *testing.T) {
	mem := newDisk(t, 1)
	j := testJournal(mem, 64<<10)
	a, idle := newMemLog(0), newMemLog(1)
	idle.append([]byte("once"))
	require.NoError(t, j.Flush(asLogs(idle)))
	for range 500 {
		a.append(make([]byte, 1000))
		require.NoError(t, j.Flush(asLogs(a)))
	}
	st := j.Stats()
	require.Greater(t, st.Recycled.Load(), int64(20))
	require.LessOrEqual(t, st.Files.Load(), int64(3))
	require.GreaterOrEqual(t, st.Rounds.Load(), int64(450))
	require.Equal(t, 1, idle.syncs, "a log that is idle is synced once, so that the file that names it can go")
	entries, err := mem.ReadDir("/log")
	require.NoError(t, err)
	require.Len(t, entries, int(st.Files.Load()))
	require.NoError(t, j.Close())
	found, err := RemoveJournal(mem, "/log")
	require.NoError(t, err)
	require.True(t, found)
}

// TestJournalTakesALogTwice (I-01, I-02): a log that is twice in a round, and written to in between, is in two frames. When
// only the first is written, no more than what is in it is acknowledged.
func TestJournalTakesALogTwice(t *testing.T) {
	mem := newDisk(t, 1)
	f := disk.NewFaulty(mem, nil)
	j := testJournal(f, 8<<20)
	a := newMemLog(0)
	round := asLogs(a)
	for i := range 50 { // more than one frame takes
		l := newMemLog(1 + i)
		l.append(make([]byte, 30<<10))
		round = append(round, l)
	}
	round[40].(*memLog).collecting = func() { a.append([]byte("second")) }
	a.append([]byte("first"))
	written := 0
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpWriteSync && c.Bytes > block {
			if written++; written == 2 {
				return disk.Fault{Err: syscall.EIO}
			}
		}
		return disk.Fault{}
	})
	frames := j.Stats().Frames.Load()
	require.ErrorIs(t, j.Flush(append(round, a)), syscall.EIO)
	require.Equal(t, frames+1, j.Stats().Frames.Load())
	r, err := ReadJournal(mem.Crash(), "/log")
	require.NoError(t, err)
	b, err := a.recovered(r)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(b), a.acked)
	require.NoError(t, j.Close())
}

// TestJournalLeavesBusyLogs: a log with much pending, or one that says so, is synced itself, in the same round.
func TestJournalLeavesBusyLogs(t *testing.T) {
	j := testJournal(newDisk(t, 1), 1<<20)
	small, busy, only := newMemLog(0), newMemLog(1), newMemLog(2)
	small.append([]byte("x"))
	busy.append(make([]byte, 64<<10))
	only.append([]byte("y"))
	only.onlySync = true
	require.NoError(t, j.Flush(asLogs(busy, small, only)))
	require.Equal(t, []int{0, 1, 1}, []int{small.syncs, busy.syncs, only.syncs})
	require.Equal(t, 1, small.acked)
	require.Equal(t, 1, small.notified)
	require.Equal(t, int64(2), j.Stats().Direct.Load())
	require.Equal(t, int64(1), j.Stats().Rounds.Load())
	busy.append([]byte("a"))
	require.NoError(t, j.Flush(asLogs(busy)))
	require.Equal(t, 1, busy.syncs)
	boom := errors.New("boom")
	only.syncErr = boom
	small.append([]byte("x"))
	require.ErrorIs(t, j.Flush(asLogs(small, only)), boom)
	require.NoError(t, j.Close())
}

// A round that takes nothing, because what was marked has been synced since or there is no room, keeps the list that the next
// one uses, and in it no log.
func TestEmptyRoundKeepsItsMemory(t *testing.T) {
	j := testJournal(newDisk(t, 1), 1<<20)
	var logs []*memLog
	for i := range 100 {
		logs = append(logs, newMemLog(i))
	}
	round := func(size int) (taken int64, list []collected) {
		for _, l := range logs {
			l.append(make([]byte, size))
		}
		before := j.Stats().Rounds.Load()
		require.NoError(t, j.Flush(asLogs(logs...)))
		return j.Stats().Rounds.Load() - before, j.scratch[:cap(j.scratch)]
	}
	round(1) // makes the journal's file
	for _, size := range []int{1, 0, 12 << 10} {
		taken, list := round(size)
		require.Equal(t, size == 1, taken > 0)
		require.GreaterOrEqual(t, len(list), len(logs), "%d bytes each", size)
		require.False(t, slices.ContainsFunc(list, func(c collected) bool { return c.l != nil }), "%d bytes each", size)
	}
	require.NoError(t, j.Close())
}

// A round of which the last frame is not written keeps none of the logs that were collected for that one either.
func TestRoundCutShortKeepsNoLog(t *testing.T) {
	f := disk.NewFaulty(newDisk(t, 1), nil)
	j := testJournal(f, 4<<20)
	var logs []*memLog
	for i := range 100 {
		logs = append(logs, newMemLog(i))
	}
	flush := func(size int) []collected {
		for _, l := range logs {
			l.append(make([]byte, size))
		}
		require.NoError(t, j.Flush(asLogs(logs...)))
		return j.scratch[:cap(j.scratch)]
	}
	flush(1) // makes the journal's file
	frames := 0
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op != disk.OpWriteSync || c.Bytes <= block { // of the next file its head
			return disk.Fault{}
		}
		if frames++; frames == 2 {
			return disk.Fault{Err: syscall.ENOSPC}
		}
		return disk.Fault{}
	})
	list := flush(16 << 10) // more than a frame
	require.Equal(t, 2, frames)
	require.GreaterOrEqual(t, len(list), len(logs))
	require.False(t, slices.ContainsFunc(list, func(c collected) bool { return c.l != nil }))
	require.NoError(t, j.Close())
}

// TestJournalOnFullDisk: without room for its files logs are synced themselves, and what frees space does not wait.
func TestJournalOnFullDisk(t *testing.T) {
	mem := newDisk(t, 1)
	f := disk.NewFaulty(mem, func(c disk.Call) disk.Fault {
		if c.Op == disk.OpWrite {
			return disk.Fault{Err: syscall.ENOSPC}
		}
		return disk.Fault{}
	})
	j := testJournal(f, 64<<10)
	l := newMemLog(0)
	l.append([]byte("x"))
	require.NoError(t, j.Flush(asLogs(l)))
	require.Equal(t, 1, l.syncs)
	require.NoError(t, j.Forget(l, l.part, 1))

	// With one file, which then cannot be followed by another.
	f.SetHook(nil)
	j = testJournal(f, 64<<10)
	l.append([]byte("y"))
	require.NoError(t, j.Flush(asLogs(l)))
	require.Equal(t, 1, l.syncs)
	f.SetHook(disk.FailFrom(disk.OpOpen, 1, syscall.ENOSPC))
	for range 100 {
		l.append(make([]byte, 3000))
		require.NoError(t, j.Flush(asLogs(l)))
		require.Equal(t, len(l.data), l.acked)
	}
	require.NoError(t, j.Forget(l, l.part, l.Durable()))
	r, err := ReadJournal(mem.Crash(), "/log")
	require.NoError(t, err)
	require.Empty(t, r.Logs)
}

// TestJournalUpkeepFails (I-31): any other failure of making a file is the journal's end.
func TestJournalUpkeepFails(t *testing.T) {
	for _, op := range []disk.Op{disk.OpOpen, disk.OpWrite, disk.OpWriteSync, disk.OpDatasync, disk.OpSyncDir} {
		for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
			failed := make(chan error, 1)
			j := NewJournal(JournalOptions{FS: disk.NewFaulty(newDisk(t, 1), disk.FailFrom(op, 1, errno)), Dir: "/log",
				Logger: slog.New(slog.DiscardHandler), FileBytes: 64 << 10, OnError: func(err error) { failed <- err }})
			l := newMemLog(0)
			l.append([]byte("x"))
			require.NoError(t, j.Flush(asLogs(l)), "the first round is not the journal's")
			if errno == syscall.ENOSPC && (op == disk.OpOpen || op == disk.OpWrite || op == disk.OpWriteSync) {
				require.NoError(t, j.Close())
				require.Empty(t, failed)
				continue
			}
			require.Error(t, <-failed, "%s %s", op, errno)
			l.append([]byte("y"))
			require.Error(t, j.Flush(asLogs(l)))
			require.NoError(t, j.Close())
		}
	}
}

// TestJournalConcurrent: rounds, upkeep in its goroutine and forgetting at once.
func TestJournalConcurrent(t *testing.T) {
	mem := newDisk(t, 1)
	j := NewJournal(JournalOptions{FS: mem, Dir: "/log", FileBytes: 128 << 10, Logger: slog.New(slog.DiscardHandler)})
	var wg sync.WaitGroup
	logs := make([]*memLog, 8)
	for i := range logs {
		logs[i] = newMemLog(i)
		wg.Go(func() {
			l := logs[i]
			for n := range 400 {
				l.append(bytes.Repeat([]byte{byte(n)}, 500))
				if err := j.Flush(asLogs(l)); err != nil {
					t.Error(err)
				}
				if n%50 == 49 {
					if err := errors.Join(l.Sync(), j.Forget(l, l.part, l.Durable())); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	r, err := ReadJournal(mem.Crash(), "/log")
	require.NoError(t, err)
	for _, l := range logs {
		b, err := l.recovered(r)
		require.NoError(t, err)
		require.Equal(t, l.data, b)
	}
	require.NoError(t, j.Close())
}

// damaged reads the journal after a crash that changed one bit of its first file.
func damaged(t *testing.T, disk *disk.Crashable, at int64) (*Replay, error) {
	mem := disk.Crash()
	f, err := mem.OpenFile("/log/firn-journal.0", os.O_RDWR, 0)
	require.NoError(t, err)
	var p [1]byte
	_, err = f.ReadAt(p[:], at)
	require.NoError(t, err)
	p[0] ^= 1
	_, err = f.WriteAt(p[:], at)
	require.NoError(t, err)
	return ReadJournal(mem, "/log")
}

// TestJournalDamage: what no crash leaves is told: of the log where it is known, of the whole journal where not.
func TestJournalDamage(t *testing.T) {
	mem := newDisk(t, 1)
	j := testJournal(mem, 64<<10)
	a, b := newMemLog(0), newMemLog(1)
	for i := range 4 {
		a.append(bytes.Repeat([]byte{'a'}, 100+i))
		b.append(bytes.Repeat([]byte{'b'}, 100+i))
		require.NoError(t, j.Flush(asLogs(a, b)))
	}
	flip := func(at int64) (*Replay, error) { return damaged(t, mem, at) }
	r, err := flip(2*block + frameHeader + recHeader + 4 + 50) // bytes of the first record of the second write
	require.NoError(t, err)
	_, err = a.recovered(r)
	require.Error(t, err)
	got, err := b.recovered(r)
	require.NoError(t, err)
	require.Equal(t, b.data, got)
	_, err = flip(2*block + 20)
	require.ErrorIs(t, err, ErrJournal, "the header of the second write")
	_, err = flip(block + 20)
	require.ErrorIs(t, err, ErrJournal, "that of the first")
	_, err = flip(2*block + frameHeader + 20)
	require.ErrorIs(t, err, ErrJournal, "that of its first record")
	r, err = flip(4*block + frameHeader + recHeader + 50) // the last write may be torn
	require.NoError(t, err)
	got, err = a.recovered(r)
	require.NoError(t, err)
	require.Equal(t, a.data[:306-3], got[:306-3])
	require.Len(t, got, 303)

	// A copy of a file of another life beside this one.
	other := mem.Crash()
	jo := testJournal(newDisk(t, 1), 64<<10)
	a.append([]byte("x"))
	require.NoError(t, jo.Flush(asLogs(a)))
	body, err := disk.ReadFile(jo.o.FS, "/log/firn-journal.0")
	require.NoError(t, err)
	require.NoError(t, disk.WriteFileSync(other, "/log/firn-journal.7", body))
	_, err = ReadJournal(other, "/log")
	require.ErrorIs(t, err, ErrJournal)
}

// TestJournalFileIsCutShort (I-01): a file that ends before what was written to it, and that a later one follows, is no torn
// tail: it is found out before anything is replayed.
func TestJournalFileIsCutShort(t *testing.T) {
	mem := newDisk(t, 1)
	j := testJournal(mem, 64<<10)
	l := newMemLog(0)
	l.syncErr = errors.New("so that no file is let go of")
	var err error
	for err == nil {
		l.append(bytes.Repeat([]byte{'a'}, 5000))
		err = j.Flush(asLogs(l))
	}
	require.ErrorIs(t, err, l.syncErr)
	refused := 0
	for size := int64(64<<10) - 512; size > 0; size -= 512 {
		mem := mem.Crash()
		f, err := mem.OpenFile("/log/firn-journal.0", os.O_RDWR, 0)
		require.NoError(t, err)
		require.NoError(t, f.Truncate(size))
		r, err := ReadJournal(mem, "/log")
		if err != nil {
			require.ErrorIs(t, err, ErrJournal, "%d bytes", size)
			refused++
			continue
		}
		b, err := l.recovered(r)
		require.NoError(t, err, "%d bytes", size)
		require.GreaterOrEqual(t, len(b), l.acked, "%d bytes", size)
	}
	require.Greater(t, refused, 50)
}

// TestKept: what is kept of a log is read as it was, and of what was damaged that it was there.
func TestKept(t *testing.T) {
	mem := newDisk(t, 1)
	j := testJournal(mem, 4<<20)
	l := newMemLog(0)
	for range 60 {
		l.append(bytes.Repeat([]byte("kept"), 7_000))
		require.NoError(t, j.Flush(asLogs(l)))
	}
	r, err := ReadJournal(mem.Crash(), "/log")
	require.NoError(t, err)
	r.Logs[0].Extents[30].sum++ // as if its bytes were not what was written
	b, err := r.Keep(r.Logs[0])
	require.NoError(t, err)
	require.NoError(t, disk.WriteFileSync(mem, "/kept", b))
	k, err := ReadKept(mem, "/kept")
	require.NoError(t, err)
	require.Len(t, k.Logs, 1)
	require.Len(t, k.Logs[0].Extents, 60)
	require.Equal(t, Bound, k.Logs[0].Extents[30].Kind)
	require.Equal(t, r.Logs[0].Extents[30].Position+28_000, k.Logs[0].Extents[30].Position)
	k.Logs[0].Extents = k.Logs[0].Extents[:30]
	got, err := l.recovered(k)
	require.NoError(t, err)
	require.Equal(t, l.data[:30*28_000], got)
	_, err = ReadKept(mem, "/none")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, disk.WriteFileSync(mem, "/bound", KeepBound(l.part, 7, 99)))
	k, err = ReadKept(mem, "/bound")
	require.NoError(t, err)
	require.Equal(t, int64(99), k.Logs[0].Extents[0].Position)
}

// What the journal holds is written back where it belongs behind the rounds, some megabytes at a time: else all of it would
// have to be when the file is let go of.
func TestWritebackIsPaced(t *testing.T) {
	j := testJournal(newDisk(t, 3), 64<<20)
	a, idle := newMemLog(1), newMemLog(2)
	idle.append([]byte("once"))
	require.NoError(t, j.Flush([]Log{idle}))
	const piece = 16 << 10
	flushed := int64(0)
	for a.writebacks < 3 {
		a.append(make([]byte, piece))
		require.NoError(t, j.Flush([]Log{a}))
		flushed += piece
		require.LessOrEqual(t, flushed, int64(4*slice))
	}
	require.Greater(t, flushed, int64(2*slice), "not with each round")
	require.Zero(t, a.syncs, "the rounds synced nothing")
	require.Equal(t, a.writebacks, idle.writebacks, "each that it names is asked; what there is to write is the log's to know")
	require.NoError(t, j.Close())
}
