package harness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Options describe a broker to start. Empty fields take a sensible value.
type Options struct {
	Data  string   // data folder; a temporary one if empty
	Store string   // store URL; firn's default (a folder under Data) if empty
	Etcd  string   // endpoints of an external etcd; embedded if empty
	Tags  string   // build tags of the binary, such as "faults"
	Args  []string // more flags of `firn dev`
	Env   []string // more environment, KEY=VALUE
}

// Broker is one `firn dev` process. Its methods are for one goroutine, but for those that only signal.
type Broker struct {
	Kafka, HTTP string
	Options     Options

	t    testing.TB
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	log  *logBuffer
}

// logBuffer keeps what a process printed.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Start runs a broker and waits until it is ready. It ends with the test.
func Start(t testing.TB, o Options) *Broker {
	t.Helper()
	b := New(t, o)
	b.Launch()
	b.WaitReady()
	return b
}

// New prepares a broker without starting it; whatever Launch starts ends with the test.
func New(t testing.TB, o Options) *Broker {
	t.Helper()
	if o.Data == "" {
		o.Data = filepath.Join(t.TempDir(), "data")
	}
	b := &Broker{Kafka: FreeAddr(t), HTTP: FreeAddr(t), Options: o, t: t, log: &logBuffer{}}
	t.Cleanup(func() {
		b.Kill()
		if t.Failed() {
			t.Logf("log of the broker at %s:\n%s", b.Kafka, tail(b.log.String(), 200))
		}
	})
	return b
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Launch starts the process again on the same folders and addresses, without waiting.
func (b *Broker) Launch() {
	b.t.Helper()
	binary, err := Binary(b.Options.Tags)
	if err != nil {
		b.t.Fatal(err)
	}
	args := []string{"dev", "--data", b.Options.Data, "--kafka", b.Kafka, "--http", b.HTTP}
	if b.Options.Store != "" {
		args = append(args, "--store", b.Options.Store)
	}
	if b.Options.Etcd != "" {
		args = append(args, "--etcd", b.Options.Etcd)
	}
	b.cmd = exec.Command(binary, append(args, b.Options.Args...)...)
	b.cmd.Env = append(os.Environ(), b.Options.Env...)
	b.cmd.Stdout, b.cmd.Stderr = b.log, b.log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		b.t.Fatalf("start firn: %v", err)
	}
	done := make(chan struct{})
	b.done = done
	go func(cmd *exec.Cmd) {
		_ = cmd.Wait() // how it ended is read from ProcessState
		close(done)
	}(b.cmd)
}

// WaitReady waits until /readyz says yes, and fails the test if the process ends first.
func (b *Broker) WaitReady() {
	b.t.Helper()
	if err := b.AwaitReady(time.Minute); err != nil {
		b.t.Fatalf("%v; its log:\n%s", err, tail(b.log.String(), 60))
	}
}

// AwaitReady waits until the broker is ready, has ended or the time is up.
func (b *Broker) AwaitReady(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for time.Now().Before(deadline) {
		if status, _, err := b.Get("/readyz"); err == nil && status == http.StatusOK {
			return nil
		}
		select {
		case <-b.done:
			return fmt.Errorf("the broker ended: %v", b.cmd.ProcessState)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return fmt.Errorf("the broker was not ready after %v", limit)
}

// Get asks the broker's HTTP side.
func (b *Broker) Get(path string) (int, string, error) { return get(b.HTTP, path) }

func get(addr, path string) (int, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return 0, "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

// Metric gives the value of a series without labels, and fails the test if there is none.
func (b *Broker) Metric(name string) float64 {
	b.t.Helper()
	v, err := MetricAt(b.HTTP, name)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// MetricAt asks a broker's HTTP side, at host:port, for the value of a series without labels. It is an error if there is none.
func MetricAt(addr, name string) (float64, error) {
	_, body, err := get(addr, "/metrics")
	if err != nil {
		return 0, err
	}
	v, ok := ParseMetric(body, name)
	if !ok {
		return 0, fmt.Errorf("there is no metric %s", name)
	}
	return v, nil
}

// ParseMetric finds a metric without labels in Prometheus's text format; false where there is none or it is no number.
func ParseMetric(text, name string) (float64, bool) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return v, err == nil
		}
	}
	return 0, false
}

// Log is what the broker printed since the first start.
func (b *Broker) Log() string { return b.log.String() }

// PID is the process's id.
func (b *Broker) PID() int { return b.cmd.Process.Pid }

// Kill ends the process as a crash does (SIGKILL) and waits for its end.
func (b *Broker) Kill() {
	if b.cmd == nil || b.cmd.Process == nil {
		return
	}
	_ = b.cmd.Process.Signal(syscall.SIGKILL) // fails only when it has ended already
	_ = b.cmd.Process.Signal(syscall.SIGCONT)
	<-b.done
}

// Stop asks for a clean stop (SIGTERM) and fails the test if the exit is not clean within a minute.
func (b *Broker) Stop() {
	b.t.Helper()
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.done:
	case <-time.After(time.Minute):
		b.t.Fatalf("the broker did not stop within a minute of SIGTERM")
	}
	if code := b.cmd.ProcessState.ExitCode(); code != 0 {
		b.t.Fatalf("after SIGTERM the broker ended with %v", b.cmd.ProcessState)
	}
}

// Ended is closed when the process has ended.
func (b *Broker) Ended() <-chan struct{} { return b.done }

// Exit tells how the process ended; only after Ended.
func (b *Broker) Exit() *os.ProcessState { return b.cmd.ProcessState }

// Run runs a firn subcommand against this broker and returns what it printed.
func (b *Broker) Run(stdin string, args ...string) (string, error) {
	b.t.Helper()
	binary, err := Binary(b.Options.Tags)
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(binary, append([]string{"--bootstrap", b.Kafka, "--admin", b.HTTP}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("firn %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}

// MustRun is Run that fails the test on an error.
func (b *Broker) MustRun(stdin string, args ...string) string {
	b.t.Helper()
	out, err := b.Run(stdin, args...)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// Eventually waits until cond holds, asking again and again, and fails the test with the sentence otherwise.
func Eventually(t testing.TB, limit time.Duration, sentence string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %s", limit, sentence)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
