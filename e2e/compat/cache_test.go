package compat

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// cached is a folder that build fills once per machine and once per content of key: several test processes may want it
// at once; one builds, the others wait.
func cached(t *testing.T, name, key string, build func(dir string)) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "firn-test", fmt.Sprintf("%s-%.8x", name, sha256.Sum256([]byte(key))))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	complete := filepath.Join(dir, ".complete")
	if _, err := os.Stat(complete); err == nil {
		return dir
	}
	build(dir)
	write(t, complete, "")
	return dir
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// copyTree copies a folder of a module or crate cache, whose files are read-only, into one that can be written to.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		write(t, filepath.Join(to, rel), string(content))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// process is a command of a suite.
type process struct {
	dir   string
	env   []string // more environment, KEY=VALUE
	stdin string
	limit time.Duration // half an hour if 0
}

// run gives what the command printed, on both outputs, and how it ended. Its descendants end with it.
func (p process) run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	if p.limit == 0 {
		p.limit = 30 * time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), p.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = p.dir, slices.Concat(os.Environ(), p.env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stdin = bytes.NewBufferString(p.stdin)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("ended after %v: %w", p.limit, err)
	}
	return string(out), err
}

// must is run that fails the test on an error.
func (p process) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := p.run(t, name, args...)
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}
