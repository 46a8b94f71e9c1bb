package flush

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firnlog/firn/tier/disk"
)

func noFiles(t *testing.T, fsys disk.FS) {
	t.Helper()
	entries, err := fsys.ReadDir("/log")
	require.NoError(t, err)
	require.Empty(t, entries)
}

// TestDisksThatTakeNoSyncedWrite: where the kernel or what stands before it knows no such write, logs are synced
// themselves; it is said once.
func TestDisksThatTakeNoSyncedWrite(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EPERM, syscall.EINVAL} {
		mem := newDisk(t, 1)
		var said bytes.Buffer
		j := NewJournal(JournalOptions{FS: disk.NewFaulty(mem, disk.FailFrom(disk.OpWriteSync, 1, errno)), Dir: "/log",
			FileBytes: 64 << 10, Inline: true, Logger: slog.New(slog.NewTextHandler(&said, nil))})
		l := newMemLog(0)
		for i := range 3 {
			l.append([]byte("x"))
			require.NoError(t, j.Flush(asLogs(l)), "%s", errno)
			require.Equal(t, i+1, l.synced)
		}
		require.NoError(t, j.Forget(l, l.part, 3))
		require.Equal(t, 1, strings.Count(said.String(), "level=WARN"), "%s", said.String())
		require.NoError(t, j.Close())
		noFiles(t, mem.Crash())
	}
}

// TestNoRoomForAFrame (I-01, I-02, I-27): a disk that needs room to overwrite has none at whatever write. The journal takes
// nothing from then on; nothing is acknowledged that is not durable, and nothing comes back that was made void.
func TestNoRoomForAFrame(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 8))
		mem := newDisk(t, seed)
		errno := []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT}[seed%2]
		nth, failed := 1+rng.IntN(40), false
		faulty := disk.NewFaulty(mem, func(c disk.Call) disk.Fault {
			if c.Op == disk.OpWriteSync && c.N == nth {
				failed = true
				return disk.Fault{Err: errno, Short: rng.IntN(2 * c.Bytes)}
			}
			return disk.Fault{}
		})
		j := testJournal(faulty, 64<<10)
		logs := []*memLog{newMemLog(0), newMemLog(1), newMemLog(2)}
		for range 90 {
			l := logs[rng.IntN(len(logs))]
			switch n := rng.IntN(10); {
			case n < 4:
				l.append(bytes.Repeat([]byte{byte(rng.Uint32())}, 1+rng.IntN(6000)))
			case n < 8:
				require.NoError(t, j.Flush(asLogs(logs[:1+rng.IntN(len(logs))]...)))
			default:
				require.NoError(t, l.Sync())
				require.NoError(t, j.Forget(l, l.part, l.Durable()))
				l.data = l.data[:rng.IntN(len(l.data)+1)]
				l.acked, l.synced = len(l.data), len(l.data)
			}
			r, err := ReadJournal(mem.CrashTorn(), "/log")
			require.NoError(t, err, "seed %d", seed)
			for _, l := range logs {
				b, err := l.recovered(r)
				require.NoError(t, err, "seed %d", seed)
				require.GreaterOrEqual(t, len(b), l.acked, "seed %d", seed)
				require.True(t, bytes.HasPrefix(l.data, b), "seed %d", seed)
			}
			require.NoError(t, r.Close())
		}
		if require.NoError(t, j.Flush(nil)); failed {
			noFiles(t, mem.Crash())
		}
		require.NoError(t, j.Close())
	}
}

// TestNoRoomEndsTheJournalByItself: what it named is synced and it is removed without anybody who asks for it.
func TestNoRoomEndsTheJournalByItself(t *testing.T) {
	mem := newDisk(t, 1)
	f := disk.NewFaulty(mem, nil)
	j := NewJournal(JournalOptions{FS: f, Dir: "/log", FileBytes: 64 << 10, Logger: slog.New(slog.DiscardHandler)})
	l, other := newMemLog(0), newMemLog(1)
	require.Eventually(t, func() bool {
		l.append([]byte("x"))
		require.NoError(t, j.Flush(asLogs(l)))
		return j.Stats().Frames.Load() > 0
	}, 10*time.Second, time.Millisecond)
	f.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpWriteSync {
			return disk.Fault{Err: syscall.ENOSPC}
		}
		return disk.Fault{}
	})
	other.append([]byte("y"))
	require.NoError(t, j.Flush(asLogs(other)))
	require.Equal(t, 1, other.synced)
	require.Eventually(t, func() bool {
		entries, err := mem.Crash().ReadDir("/log")
		return err == nil && len(entries) == 0
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, int64(len(l.data)), l.Durable())
	require.NoError(t, j.Forget(l, l.part, l.Durable()))
	require.NoError(t, j.Close())
}
