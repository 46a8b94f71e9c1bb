package javatools

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/firnlog/firn/e2e/harness"
)

// quick are flags of a JVM that lives for seconds: it starts faster and leaves the cores to what is tested.
var quick = []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx512m"}

// Tool runs a main class of Kafka and returns what it printed to standard output; an exit code other than 0 is an
// error that carries standard error too.
func Tool(t testing.TB, stdin, class string, args ...string) (string, error) {
	t.Helper()
	return run(t, stdin, append([]string{"-cp", ClassPath(Libs(t)), class}, args...))
}

// MustTool is Tool that fails the test on an error.
func MustTool(t testing.TB, stdin, class string, args ...string) string {
	t.Helper()
	out, err := Tool(t, stdin, class, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Source runs a single-file Java program with Kafka's client on its class path.
func Source(t testing.TB, file string, args ...string) (string, error) {
	t.Helper()
	return run(t, "", append([]string{"-cp", ClassPath(Libs(t)), file}, args...))
}

func run(t testing.TB, stdin string, args []string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "java", append(append([]string{}, quick...), args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("java %s: %w\n%s\n%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// Compile compiles Java files and returns the folder of the classes.
func Compile(t testing.TB, classPath string, files ...string) string {
	t.Helper()
	javac := harness.Need(t, "javac")
	dir := t.TempDir()
	args := append([]string{"-J-XX:+UseSerialGC", "-J-XX:TieredStopAtLevel=1", "-proc:none", "-parameters", "-nowarn", "-cp", classPath, "-d", dir}, files...)
	if out, err := exec.Command(javac, args...).CombinedOutput(); err != nil {
		t.Fatalf("compile %s: %v\n%s", strings.Join(files, " "), err, out)
	}
	return dir
}

// Program is a Java program that runs in the background.
type Program struct {
	Name      string // how messages call it
	ClassPath string
	Class     string
	Args      []string
	Dir       string // where it runs; here if empty
}

// Process is one run of a Program. It ends with the test.
type Process struct {
	Program
	t    testing.TB
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended

	mu  sync.Mutex
	out bytes.Buffer // guarded by mu: what it printed
}

// Start runs the program. Where the test fails, the end of what it printed is shown.
func (p Program) Start(t testing.TB) *Process {
	t.Helper()
	harness.Need(t, "java")
	r := &Process{Program: p, t: t, done: make(chan struct{})}
	r.cmd = exec.Command("java", append(append(append([]string{}, quick...), "-cp", p.ClassPath, p.Class), p.Args...)...)
	r.cmd.Dir = p.Dir
	r.cmd.Stdout, r.cmd.Stderr = r, r
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", p.Name, err)
	}
	go func() {
		_ = r.cmd.Wait() // how it ended is read from ProcessState
		close(r.done)
	}()
	t.Cleanup(func() {
		r.Kill()
		if t.Failed() {
			out := r.Output()
			t.Logf("the end of what %s printed:\n%s", p.Name, out[max(0, len(out)-8000):])
		}
	})
	return r
}

// Write takes what the process prints.
func (r *Process) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(b)
}

// Output is what the process has printed so far.
func (r *Process) Output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

// Kill ends the process as a crash does and waits for its end.
func (r *Process) Kill() {
	_ = r.cmd.Process.Signal(syscall.SIGKILL) // fails only when it has ended already
	<-r.done
}

// Stop asks the process to end (SIGTERM), waits and returns its exit code.
func (r *Process) Stop() int {
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	return r.Wait(time.Minute)
}

// Wait waits for the end and returns the exit code; the test fails if the limit comes first.
func (r *Process) Wait(limit time.Duration) int {
	r.t.Helper()
	select {
	case <-r.done:
	case <-time.After(limit):
		r.t.Fatalf("%s did not end within %v", r.Name, limit)
	}
	return r.cmd.ProcessState.ExitCode()
}

// Until waits until the process has printed the text; the test fails if its end or the limit comes first.
func (r *Process) Until(limit time.Duration, text string) {
	r.t.Helper()
	harness.Eventually(r.t, limit, r.Name+" has not printed "+text, func() bool {
		if strings.Contains(r.Output(), text) {
			return true
		}
		select {
		case <-r.done:
			if !strings.Contains(r.Output(), text) {
				r.t.Fatalf("%s ended (%v) without printing %s", r.Name, r.cmd.ProcessState, text)
			}
		default:
		}
		return false
	})
}

// runnerSource writes the embedded runner where the JVM can read it.
func runnerSource(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "Runner.java")
	if err := os.WriteFile(file, runner, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
