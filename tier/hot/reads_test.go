package hot

import (
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// next ends the process without a word and starts another, on a kernel of that name.
func (d *testDir) next(fsys disk.FS, boot string) *testDir {
	d.t.Helper()
	d.flusher.Close()
	return journalDir(d.t, fsys, func(o *Options) { o.BootID = boot })
}

// What a start after a crash reads is bounded by the journal, of which it reads no record twice, and by what lies above the
// recovery points, once. What lies below does not count, nor what is left in the journal's files of their earlier use.
func TestWhatRecoveryReads(t *testing.T) {
	for _, boot := range []string{"boot-1", "boot-2"} {
		t.Run(boot, func(t *testing.T) {
			f := disk.NewFaulty(disk.NewCrashable(1), nil)
			d := journalDir(t, f, func(o *Options) { o.BootID = "boot-1" })
			large, small := d.open(0, nil), d.open(1, nil)
			rng := rand.New(rand.NewPCG(1, 2))
			put := func(l *Log, size int) {
				appendTo(t, l, batch(1, size, startMs))
				require.NoError(t, l.Flush())
			}
			for range 30 { // below the recovery points
				put(large, 100_000+rng.IntN(300_000))
			}
			for range 3000 {
				put(small, 1000+rng.IntN(3000))
			}
			require.Greater(t, d.journal.Stats().Recycled.Load(), int64(4))
			require.NoError(t, d.SaveState())
			points := large.state().end() + small.state().end()
			saved := sizeOf(large.state()) + sizeOf(small.state())
			for range 30 { // more than fits the buffer that is used for it, or less
				put(large, 100_000+rng.IntN(300_000))
			}
			for range 300 {
				put(small, 1000+rng.IntN(3000))
			}
			ends := large.End() + small.End()
			require.Greater(t, ends, points)
			above := int(large.Bytes()+small.Bytes()) - int(saved)

			read := bytesOf(f, disk.OpRead)
			d = d.next(f, boot)
			large, small = d.open(0, nil), d.open(1, nil)
			f.SetHook(nil)
			require.Equal(t, ends, large.End()+small.End())
			const files = 4 << 20 // of the journal
			journal, logs := read("firn-journal."), read(logSuffix)
			t.Logf("%d bytes read of the journal for %d, %d of the logs for %d", journal, d.replayed, logs, above)
			require.Positive(t, d.replayed)
			require.LessOrEqual(t, journal, int(d.replayed)+files/10)
			require.Less(t, journal, files)
			require.LessOrEqual(t, logs, above+100)
			require.NoError(t, d.Close())
		})
	}
}

// sizeOf is how many bytes a log's state vouches for.
func sizeOf(st *logState) (n int64) {
	for _, g := range st.Segments {
		n += g.Size
	}
	return n
}

// What a recovery read counts as what moves recovery points: crashes that follow each other do not add up.
func TestRecoveryPointFollowsRecovery(t *testing.T) {
	f := disk.NewFaulty(disk.NewCrashable(1), nil)
	d := openDir(t, f, "/log")
	l := d.open(0, func(c *Config) { c.SegmentBytes = 100_000 })
	for range 100 {
		appendTo(t, l, batch(1, 5000, startMs))
	}
	require.NoError(t, l.Flush())
	require.Greater(t, len(l.Segments()), 3)
	d = d.next(f, "boot-2")
	l = d.open(0, nil)
	require.Equal(t, l.Bytes(), d.unsaved.Load())
	d.savePoints()
	d = d.next(f, "boot-3")
	read := bytesOf(f, disk.OpRead)
	d.open(0, nil)
	require.Zero(t, read(logSuffix))
	require.Zero(t, d.unsaved.Load())
	require.NoError(t, d.Close())
}

// I-01: what cannot be read of a journal is no torn tail: it ends the start, and the next one, which can, has all of it.
func TestUnreadableJournal(t *testing.T) {
	w := newWorld(1, "")
	l := w.open(0)
	var want []byte
	for range 20 {
		want = append(want, w.put(l, 1)...)
	}
	require.Less(t, l.Durable(), l.Flushed())
	w.d.flusher.Close()
	crashed := w.mem
	w.boot++
	// start fails the n-th read of the journal and says how many there were.
	start := func(n int) (reads int, err error) {
		w.mem = crashed.Crash()
		f := w.faulty()
		f.SetHook(func(c disk.Call) disk.Fault {
			if c.Op == disk.OpRead && strings.Contains(c.Name, "firn-journal.") {
				if reads++; reads == n {
					return disk.Fault{Err: syscall.EIO}
				}
			}
			return disk.Fault{}
		})
		err = attempt(w.start)
		f.SetHook(nil)
		return reads, err
	}
	reads, err := start(0)
	require.NoError(t, err)
	w.d.flusher.Close()
	require.Greater(t, reads, 20)
	for n := 1; n <= reads; n++ {
		_, err := start(n)
		require.ErrorContains(t, err, syscall.EIO.Error(), "read %d of %d", n, reads)
		require.ErrorContains(t, err, "Put the file back")
		w.start()
		require.NoError(t, attempt(func() { holds(w.open(0), want) }))
		w.d.flusher.Close()
	}
}
