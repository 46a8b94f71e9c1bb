package objecttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// MinIOVersion is the version of github.com/minio/minio that tests run against.
const MinIOVersion = "v0.0.0-20260212201848-7aac2a2c5b7c"

// ErrNoMinIO says that no MinIO server can be had on this machine.
var ErrNoMinIO = errors.New("no MinIO server")

var minioBinary = sync.OnceValues(findMinIO)

// MinIOBinary gives the path of a MinIO server: FIRN_TEST_MINIO, or one built from its Go module into the user's cache
// folder, once a version and machine. Processes that need it at the same time wait for the one that builds.
func MinIOBinary() (string, error) { return minioBinary() }

func findMinIO() (string, error) {
	if path := os.Getenv("FIRN_TEST_MINIO"); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%w: FIRN_TEST_MINIO: %w", ErrNoMinIO, err)
		}
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = filepath.Join(os.TempDir(), fmt.Sprintf("firn-cache-%d", os.Getuid()))
	}
	folder := filepath.Join(cache, "firn-test", "minio-"+MinIOVersion)
	path := filepath.Join(folder, "minio")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := buildMinIO(folder, path); err != nil {
		return "", fmt.Errorf("%w: it could not be built from its Go module (is there a network? FIRN_TEST_MINIO may name a "+
			"binary instead): %w", ErrNoMinIO, err)
	}
	return path, nil
}

func buildMinIO(folder, path string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil {
		return nil // somebody built it while we waited
	}
	tmp, err := os.MkdirTemp(folder, "build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	fmt.Fprintf(os.Stderr, "building MinIO %s for the tests, once; this takes minutes\n", MinIOVersion)
	cmd := exec.Command("go", "install", "github.com/minio/minio@"+MinIOVersion)
	// No flags of our own, so that what the machine's build cache holds is of use. GOOS and the like of a
	// cross-compiling caller must not reach it, nor its -mod or -race.
	cmd.Env = append(os.Environ(), "GOBIN="+tmp, "GOFLAGS=", "GOOS=", "GOARCH=", "GOWORK=off")
	cmd.Dir = tmp
	dieWithParent(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out[max(0, len(out)-2000):])
	}
	return os.Rename(filepath.Join(tmp, "minio"), path)
}
