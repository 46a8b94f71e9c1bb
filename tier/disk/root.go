//go:build !faults

package disk

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Faults reports whether this is a build with the tag "faults", in which Root returns a file system that
// forgets what was not synced when the process is killed.
const Faults = false

// Root returns the file system for the folder path and everything below it, as the broker uses it in
// production: the real one. It need not exist yet. With the tag "faults" it must belong to the returned FS
// alone (see faults.go): nobody else may write below it.
func Root(path string) (FS, error) { return OS(), nil }

// BootID returns the id that the running kernel drew when it booted: while it is the same, what was written to
// the page cache is still there even though the process was killed.
func BootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("boot id: %w", err)
	}
	id := strings.TrimSpace(string(b))
	if id == "" {
		return "", errors.New("boot id: the kernel's file is empty")
	}
	return id, nil
}
