package objecttest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

// Bucket is a fresh bucket of a MinIO server.
type Bucket struct {
	*MinIO
	Bucket string
}

// StoreURL names the bucket for object/open.
func (b *Bucket) StoreURL(scheme, prefix string) string { return b.URL(scheme, b.Bucket, prefix) }

var shared struct {
	once  sync.Once
	minio *MinIO
	err   error
}

// Shared gives a fresh bucket of the one server that this test process shares. It must not be stopped, killed or
// paused: StartMinIO gives a server for that. Where no MinIO can be had the test is skipped, or fails with
// FIRN_TEST_NO_SKIP=1. With FIRN_TEST_CONTAINERS=1 the server runs in a container, which needs a Docker engine.
func Shared(t testing.TB) *Bucket {
	t.Helper()
	m := server(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	name, err := m.NewBucket(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	return &Bucket{MinIO: m, Bucket: name}
}

func server(t testing.TB) *MinIO {
	t.Helper()
	shared.once.Do(func() { shared.minio, shared.err = startShared() })
	if shared.err != nil {
		if os.Getenv("FIRN_TEST_NO_SKIP") == "1" {
			t.Fatal(shared.err)
		}
		t.Skipf("this test needs a MinIO server: %v", shared.err)
	}
	return shared.minio
}

// Main runs a package's tests and then ends the shared server and removes its data: call it from TestMain. Without it
// the server ends with the process all the same, and its data are removed by the next run.
func Main(m *testing.M) {
	code := m.Run()
	if shared.minio != nil {
		_ = shared.minio.Close() // the process ends, the server with it
		os.RemoveAll(shared.minio.Dir)
	}
	os.Exit(code)
}

const sharedPrefix = "firn-test-minio-"

func startShared() (*MinIO, error) {
	removeDead(os.TempDir())
	dir := filepath.Join(os.TempDir(), sharedPrefix+strconv.Itoa(os.Getpid()))
	if err := os.RemoveAll(dir); err != nil { // of a process that had our id before
		return nil, err
	}
	if os.Getenv("FIRN_TEST_CONTAINERS") == "1" {
		return startContainer(dir)
	}
	return StartMinIO(dir)
}

// removeDead removes the data of shared servers whose test process is gone.
func removeDead(tmp string) {
	entries, err := os.ReadDir(tmp)
	if err != nil {
		return
	}
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), sharedPrefix)
		pid, err := strconv.Atoi(number)
		if ok && err == nil && pid > 0 && syscall.Kill(pid, 0) == syscall.ESRCH {
			os.RemoveAll(filepath.Join(tmp, e.Name()))
		}
	}
}

// containerImage is MinIO as released; FIRN_TEST_MINIO_IMAGE names another.
const containerImage = "minio/minio:RELEASE.2025-09-07T16-13-09Z"

// startContainer runs the server in a container, which the testcontainers reaper ends with this process.
func startContainer(dir string) (*MinIO, error) {
	image := os.Getenv("FIRN_TEST_MINIO_IMAGE")
	if image == "" {
		image = containerImage
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	m := &MinIO{Dir: dir, AccessKey: "firn" + random(4), SecretKey: random(16), CredentialsFile: filepath.Join(dir, "credentials")}
	if err := m.writeCredentials(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	c, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		Started: true,
		ContainerRequest: testcontainers.ContainerRequest{
			Image: image, Cmd: []string{"server", "/data"}, ExposedPorts: []string{"9000/tcp"},
			Env:        map[string]string{"MINIO_ROOT_USER": m.AccessKey, "MINIO_ROOT_PASSWORD": m.SecretKey},
			WaitingFor: wait.ForHTTP("/minio/health/cluster").WithPort("9000/tcp").WithStartupTimeout(startTimeout),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: container: %w", ErrNoMinIO, err)
	}
	m.closer = func() { _ = testcontainers.TerminateContainer(c) }
	if m.Endpoint, err = c.PortEndpoint(ctx, "9000/tcp", ""); err != nil {
		m.closer()
		return nil, fmt.Errorf("container: %w", err)
	}
	return m, nil
}
