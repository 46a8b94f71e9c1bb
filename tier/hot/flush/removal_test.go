package flush

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

// moments calls fn on the disk and returns what a power cut before each of its steps, and after the last, may leave.
func moments(mem *disk.Crashable, fn func(disk.FS)) (out []*disk.Crashable) {
	cut := func() {
		out = append(out, mem.Crash())
		for range 4 {
			out = append(out, mem.CrashTorn())
		}
	}
	fn(disk.NewFaulty(mem, func(c disk.Call) disk.Fault {
		switch c.Op {
		case disk.OpOpen, disk.OpRename, disk.OpRemove, disk.OpSyncDir, disk.OpDatasync:
			cut()
		default: // changes nothing, or nothing by itself
		}
		return disk.Fault{}
	}))
	cut()
	return out
}

// TestRemovalIsOneStep (I-01, I-27): whenever the power goes while a journal is removed, all of it is there or nothing
// is; also when it goes again while the next start deletes what is left. The journal that follows is whole.
func TestRemovalIsOneStep(t *testing.T) {
	mem := newDisk(t, 1)
	j := testJournal(mem, 64<<10)
	l := newMemLog(0)
	write := func(j *Journal) {
		l.append(make([]byte, 3000))
		require.NoError(t, j.Flush(asLogs(l)))
	}
	for len(j.full) == 0 { // what counts is in two files
		write(j)
	}
	require.NoError(t, j.Close())
	whole, err := ReadJournal(mem.Crash(), "/log")
	require.NoError(t, err)
	require.Greater(t, whole.Frames, 2)

	remove := func(fsys disk.FS) {
		_, err := RemoveJournal(fsys, "/log")
		require.NoError(t, err)
	}
	read := func(fsys disk.FS) (frames int) {
		r, err := ReadJournal(fsys, "/log")
		require.NoError(t, err)
		require.NoError(t, r.Close())
		return r.Frames
	}
	gone := 0
	check := func(mem *disk.Crashable) {
		frames := read(mem)
		require.Contains(t, []int{0, whole.Frames}, frames)
		if frames == 0 {
			gone++
			j := testJournal(mem, 64<<10)
			l.acked = len(l.data)
			for range 3 {
				write(j)
			}
			require.Equal(t, 3, read(mem.Crash()))
			require.NoError(t, j.Close())
		}
		remove(mem)
		entries, err := mem.Crash().ReadDir("/log")
		require.NoError(t, err)
		require.Empty(t, entries)
	}
	for _, first := range moments(mem, remove) {
		for _, second := range moments(first.Crash(), func(fsys disk.FS) { read(fsys) }) {
			check(second)
		}
		for _, second := range moments(first.Crash(), remove) {
			check(second)
		}
	}
	require.NotZero(t, gone)
}

// TestNoJournalBeginsBesideOneThatGoes: what a removal that failed has left is gone before there is a file again.
func TestNoJournalBeginsBesideOneThatGoes(t *testing.T) {
	mem := newDisk(t, 1)
	require.NoError(t, disk.WriteFileSync(mem, "/log/firn-journal.7", []byte("old")))
	require.NoError(t, disk.WriteFileSync(mem, "/log/"+goneFile, nil))
	j := testJournal(mem, 64<<10)
	l := newMemLog(0)
	for range 2 {
		l.append([]byte("x"))
		require.NoError(t, j.Flush(asLogs(l)))
	}
	r, err := ReadJournal(mem.Crash(), "/log")
	require.NoError(t, err)
	require.Equal(t, 2, r.Frames)
	require.NoError(t, j.Close())
}
