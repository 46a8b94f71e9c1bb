package node

import (
	"testing"

	"golang.org/x/sys/unix"
)

// The soft limit is raised to the hard one, also when somebody lowered it since the start.
func TestRaiseDescriptors(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &before) }) // a soft limit may always be restored
	low := unix.Rlimit{Cur: before.Max / 2, Max: before.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	d := raiseDescriptors()
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		t.Fatal(err)
	}
	if now.Cur != before.Max || d.limit != int(min(before.Max, 1<<30)) {
		t.Errorf("the limit is %d, taken for %d; want the hard one, %d", now.Cur, d.limit, before.Max)
	}
}

// Connections and idle files never take all descriptors together.
func TestDescriptorsAreShared(t *testing.T) {
	for _, limit := range []int{0, 256, 1024, 4096, 20_000, 1 << 20} {
		d := descriptors{limit: limit}
		if used := d.connections() + d.idleFiles(); limit > 0 && (used > limit*3/4 || d.connections() == 0 || d.idleFiles() == 0) {
			t.Errorf("of %d descriptors %d are for connections and %d for idle files", limit, d.connections(), d.idleFiles())
		}
		if d.idleFiles() > 4096 {
			t.Errorf("%d idle files", d.idleFiles())
		}
	}
}
