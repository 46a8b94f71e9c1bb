package cold

import (
	"fmt"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/firnlog/firn/tier/disk"
)

// cacheFile holds the groups of one run, one after the other. It has no name, so that nothing of it is left behind by a
// process that is killed. Making a file costs as much as writing a megabyte into it, which is why a group has none of
// its own.
type cacheFile struct {
	f     disk.File
	used  int64 // bytes given to groups; of the fill's goroutine
	users int   // groups in it, and the fill as long as it may add some; guarded by Reader.mu
}

var fileNumber atomic.Int64

// newFile makes an unlinked file in the cache folder.
func (r *Reader) newFile() (disk.File, error) {
	name := filepath.Join(r.o.CacheDir, fmt.Sprintf("run-%d", fileNumber.Add(1)))
	f, err := disk.CreateUnlinked(r.o.FS, name)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	return f, nil
}

// leave gives what a user of the file that is gone calls, without mu, which is held here: it frees the bytes
// [at, at+size) that it had, or the whole file after the last one. The file stays open until its bytes are freed: its
// descriptor might be another file's by then.
func (r *Reader) leave(c *cacheFile, at, size int64) (free func()) {
	alone := c.users == 1 // nobody comes to a file that its fill has left
	return func() {
		if f := c.f.OS(); f != nil && size > 0 && !alone {
			// Where the file system cannot do it, the space is free when the file is closed.
			_ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, size)
		}
		r.mu.Lock()
		c.users--
		last := c.users == 0
		r.mu.Unlock()
		if last {
			_ = c.f.Close() // unlinked already: this is what frees the space, and nothing in it is needed
		}
	}
}
