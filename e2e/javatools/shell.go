package javatools

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/firnlog/firn/e2e/harness"
)

//go:embed runner/Runner.java
var runner []byte

// Shell is one JVM that runs Kafka's tools one after the other, because starting a JVM takes longer than most of them
// run. The tools are unmodified; see runner/Runner.java. Those that end or hook into the JVM itself (VerifiableProducer
// and VerifiableConsumer) need a Program of their own. For one goroutine.
type Shell struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

// Result is what one run of a tool ended with.
type Result struct {
	Code int    `json:"code"`
	Out  string `json:"out"`
	Err  string `json:"err"`
}

// All is what the tool printed to standard output and standard error.
func (r Result) All() string { return r.Out + r.Err }

// NewShell starts the JVM, which ends with the test.
func NewShell(t testing.TB) *Shell {
	t.Helper()
	harness.Need(t, "javac") // the runner is compiled by the JVM that runs it
	class := ClassPath(Libs(t))
	s := &Shell{}
	s.cmd = exec.Command("java", append(append([]string{}, quick...), "-cp", class, runnerSource(t))...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in, s.out = in, bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start the tools' JVM: %v", err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // fails only when it has ended already
		_ = s.cmd.Wait()
	})
	return s
}

// Run runs a tool's main class. A tool that takes longer than two minutes ends the JVM, and with it the test.
func (s *Shell) Run(t testing.TB, stdin, class string, args ...string) Result {
	t.Helper()
	line, err := json.Marshal(map[string]any{"class": class, "args": args, "stdin": stdin})
	if err != nil {
		t.Fatal(err)
	}
	overdue := time.AfterFunc(2*time.Minute, func() { _ = s.cmd.Process.Kill() })
	defer overdue.Stop()
	if _, err := s.in.Write(append(line, '\n')); err != nil {
		t.Fatalf("send %s %s to the tools' JVM: %v", class, strings.Join(args, " "), err)
	}
	answer, err := s.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("the tools' JVM ended in %s %s: %v", class, strings.Join(args, " "), err)
	}
	var r Result
	if err := json.Unmarshal(answer, &r); err != nil {
		t.Fatalf("the tools' JVM answered %q: %v", answer, err)
	}
	return r
}

// Must is Run for a tool that must end with exit code 0.
func (s *Shell) Must(t testing.TB, stdin, class string, args ...string) string {
	t.Helper()
	r := s.Run(t, stdin, class, args...)
	if r.Code != 0 {
		t.Fatalf("%s %s ended with code %d:\n%s", class, strings.Join(args, " "), r.Code, r.All())
	}
	return r.All()
}
