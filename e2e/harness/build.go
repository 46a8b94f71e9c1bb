// Package harness starts what the end-to-end tests need as real processes: firn itself, built once per test
// binary, and clients of it. Everything listens on loopback and ends with the test, also when that panics.
package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/firnlog/firn/e2e/measure"
)

// builds holds one firn binary per set of build tags.
var builds struct {
	sync.Mutex
	dir    string
	byTags map[string]string
}

// Binary builds firn with the build tags given ("" for none) and returns the path. Tests of one process share
// it; Cleanup, called from TestMain, removes it.
func Binary(tags string) (string, error) {
	builds.Lock()
	defer builds.Unlock()
	if path := builds.byTags[tags]; path != "" {
		return path, nil
	}
	if builds.dir == "" {
		dir, err := os.MkdirTemp("", "firn-e2e-bin-")
		if err != nil {
			return "", fmt.Errorf("make a folder for the binary: %w", err)
		}
		builds.dir, builds.byTags = dir, make(map[string]string)
	}
	path := filepath.Join(builds.dir, "firn-"+tags)
	args := []string{"build", "-o", path}
	if tags != "" {
		args = append(args, "-tags", tags)
	}
	out, err := exec.Command("go", append(args, "github.com/firnlog/firn/cmd/firn")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build firn: %w\n%s", err, out)
	}
	builds.byTags[tags] = path
	return path, nil
}

// Cleanup removes the binaries; call it at the end of TestMain.
func Cleanup() {
	builds.Lock()
	defer builds.Unlock()
	if builds.dir != "" {
		_ = os.RemoveAll(builds.dir) // a leftover in the temp folder harms nobody
	}
}

// Main runs a package's tests and removes what Binary built.
func Main(m *testing.M) {
	code := m.Run()
	Cleanup()
	os.Exit(code)
}

// FreeAddr finds a loopback address that nobody listens on right now and that it has not given before.
func FreeAddr(t testing.TB) string {
	t.Helper()
	addr, err := measure.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// Full reports whether the tests run at full length (`make e2e`).
func Full() bool { return os.Getenv("FIRN_E2E_FULL") == "1" }

// Count picks how often to repeat something: full at full length, short otherwise.
func Count(short, full int) int {
	if Full() {
		return full
	}
	return short
}

// Need skips the test with a sentence when a tool is missing, or fails it where no test may skip.
func Need(t testing.TB, tool string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err == nil {
		return path
	}
	Missing(t, tool+" is not installed on this machine")
	return ""
}

// Missing skips the test with the sentence, or fails it where no test may skip.
func Missing(t testing.TB, sentence string) {
	t.Helper()
	if os.Getenv("FIRN_TEST_NO_SKIP") == "1" {
		t.Fatal(sentence)
	}
	t.Skip(sentence)
}
