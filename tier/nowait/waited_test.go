package nowait

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A call that took long has those of the next second tell the scheduler.
func TestSlowCallsAreTold(t *testing.T) {
	var w watch
	const began = time.Minute
	w.took(began, began+slow)
	require.False(t, w.lately(began+slow))
	end := began + slow + 1
	w.took(began, end)
	require.True(t, w.lately(end))
	require.True(t, w.lately(end+wary-1))
	require.False(t, w.lately(end+wary))
}

// A Sendfile that waited is noticed, and the calls that tell the scheduler then do the same as those that do not.
func TestCallsThatAreTold(t *testing.T) {
	if race || wordSize == 32 {
		t.Skip("all calls tell the scheduler here")
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	for _, fd := range fds {
		defer unix.Close(fd)
		require.NoError(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 64<<10))
		require.NoError(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Usec: 10 * slow.Microseconds()}))
	}
	content := make([]byte, 1<<20)
	for i := range content {
		content[i] = byte(i / 1000)
	}
	name := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(name, content, 0o600))
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()

	files.until.Store(0)
	var at int64
	n, err := Sendfile(fds[0], int(f.Fd()), &at, len(content)) // nobody reads
	require.NoError(t, err)
	require.Less(t, n, len(content))
	_, waits := files.begin()
	require.True(t, waits, "it took until its socket's time was over")

	files.until.Store(int64(time.Hour))
	defer files.until.Store(0)
	at = 0
	n, err = Sendfile(fds[1], int(f.Fd()), &at, 1000)
	require.NoError(t, err)
	require.EqualValues(t, n, at)
	got := make([]byte, 1000)
	m, err := unix.Read(fds[0], got)
	require.NoError(t, err)
	require.Equal(t, content[:n], got[:m])
	m, err = Pread(int(f.Fd()), got, 5000)
	require.NoError(t, err)
	require.Equal(t, content[5000:6000], got[:m])
}
