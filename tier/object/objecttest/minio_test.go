package objecttest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/firnlog/firn/tier/object"
	"github.com/firnlog/firn/tier/object/objecttest"
	"github.com/firnlog/firn/tier/object/open"
)

// helperDir makes the test binary play a test process that is about to die.
const helperDir = "FIRN_TEST_HELPER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperDir); dir != "" {
		s, err := objecttest.StartMinIO(dir)
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println("pid", s.PID())
		select {}
	}
	objecttest.Main(m)
}

func start(t *testing.T) *objecttest.MinIO {
	t.Helper()
	objecttest.Shared(t) // skips or fails where there is no MinIO
	m, err := objecttest.StartMinIO(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// TestServerComesBack: stop, kill and pause are what they say, and data and port stay.
func TestServerComesBack(t *testing.T) {
	m := start(t)
	bucket, err := m.NewBucket(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []string{"minio", "s3"} {
		s, err := open.Open(t.Context(), m.URL(scheme, bucket, "x"), open.Options{NoRetry: true})
		if err != nil {
			t.Fatal(err)
		}
		body := strings.NewReader("kept")
		if _, err := s.Put(t.Context(), scheme, body, 4, object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		for name, end := range map[string]func() error{"Stop": m.Stop, "Kill": m.Kill} {
			if err := end(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Head(t.Context(), scheme); !errors.Is(err, object.ErrUnavailable) {
				t.Fatalf("after %s: %v", name, err)
			}
			if err := m.Start(); err != nil {
				t.Fatal(err)
			}
			if b, err := object.ReadAll(t.Context(), s, scheme, 0, -1, 10); err != nil || string(b) != "kept" {
				t.Fatalf("after %s and Start: %q, %v", name, b, err)
			}
		}
		if err := m.Pause(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := s.Head(ctx, scheme); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("paused: %v", err)
		}
		cancel()
		impatient, err := open.Open(t.Context(), m.URL(scheme, bucket, "x"), open.Options{NoRetry: true, HeaderTimeout: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := impatient.Head(t.Context(), scheme); !errors.Is(err, object.ErrUnavailable) {
			t.Fatalf("paused, with a limit: %v", err)
		}
		if err := m.Resume(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Head(t.Context(), scheme); err != nil {
			t.Fatalf("resumed: %v", err)
		}
	}
}

// TestServerDiesWithTest: a test process that is killed takes its server with it.
func TestServerDiesWithTest(t *testing.T) {
	objecttest.Shared(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperDir+"="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	var pid int
	if _, scan := fmt.Sscanf(line, "pid %d", &pid); err != nil || scan != nil {
		cmd.Process.Kill()
		t.Fatalf("%q, %v", line, err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the server does not run: %v", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	deadline := time.Now().Add(time.Minute)
	for running(pid) {
		if time.Now().After(deadline) {
			syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the server lives on")
		}
		time.Sleep(10 * time.Millisecond) // between looks at a condition
	}
}

// running is false for a zombie, which waits for an init that may not come.
func running(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}
