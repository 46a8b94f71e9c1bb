package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/firnlog/firn/e2e/bench/internal/judge"
	"github.com/firnlog/firn/e2e/measure"
)

// Server is a process that is measured: a broker or a reference program.
type Server struct {
	Name string // how messages call it
	Addr string // where it speaks the Kafka protocol
	HTTP string // firn's HTTP side, else empty
	Dir  string // its folder, with data and log
	Logs string // the folder with a folder for each partition; empty for a reference program

	argv     []string
	serves   func() bool // whether it is ready, where that takes more than to listen
	cmd      *exec.Cmd
	done     chan struct{} // closed when the process has ended
	profiler **profiler    // the run's, of a firn
}

// readyIn is how long a server may take to be ready: a Kafka on a busy machine takes half a minute.
const readyIn = 2 * time.Minute

// launch starts the process, which dies with the bench, without waiting for it.
func (s *Server) launch() error {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.argv[0], s.argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	done := make(chan struct{})
	s.cmd, s.done = cmd, done
	go func() {
		_ = cmd.Wait() // how it ended is read from ProcessState
		close(done)
	}()
	return nil
}

func (s *Server) logFile() string { return filepath.Join(s.Dir, s.Name+".log") }

// await waits until ready says that the server serves.
func (s *Server) await(ctx context.Context, ready func() bool) error {
	deadline := time.Now().Add(readyIn)
	for !ready() {
		select {
		case <-s.done:
			return fmt.Errorf("%s ended with %v:\n%s", s.Name, s.cmd.ProcessState, s.lastWords())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %v:\n%s", s.Name, readyIn, s.lastWords())
		}
	}
	return nil
}

// lastWords is the end of what the server printed.
func (s *Server) lastWords() string {
	text, _ := os.ReadFile(s.logFile())
	return string(text[max(0, len(text)-4000):])
}

// PID is the process's id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Running says whether the process lives.
func (s *Server) Running() bool {
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// Stop asks the process to end and waits; after a minute it is killed, which is an error.
func (s *Server) Stop() error {
	if !s.Running() {
		return nil
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended already
	select {
	case <-s.done:
		return nil
	case <-time.After(time.Minute):
		s.Kill()
		return fmt.Errorf("%s did not end within a minute of SIGTERM:\n%s", s.Name, s.lastWords())
	}
}

// Kill ends the process as a crash does, and waits for its end.
func (s *Server) Kill() {
	if s.Running() {
		_ = s.cmd.Process.Kill() // fails only when it has ended already
		<-s.done
	}
}

// Restart starts a stopped server again on the same folders and addresses, and waits until it is ready.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.launch(); err != nil {
		return err
	}
	return s.await(ctx, s.ready)
}

// ready asks firn's HTTP side, and of another server whether it takes connections.
func (s *Server) ready() bool {
	if s.serves != nil {
		return s.serves()
	}
	if s.HTTP == "" {
		c, err := measure.Dial(s.Addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}
	res, err := http.Get("http://" + s.HTTP + "/readyz")
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// FirnOptions describe a firn of a case's own. All may be empty.
type FirnOptions struct {
	Name  string   // of the process in messages, and of its folder
	Store string   // URL of the archive; a folder of its own if empty
	Args  []string // more flags of `firn dev`
}

// StartFirn starts a firn on a folder of its own and waits until it is ready. It ends with the case.
func (b *Bench) StartFirn(ctx context.Context, o FirnOptions) (*Server, error) {
	s, err := b.newFirn(o)
	if err != nil {
		return nil, err
	}
	b.Cleanup(func() error { return errors.Join(s.Stop(), os.RemoveAll(s.Dir)) })
	return s, s.Restart(ctx)
}

func (b *Bench) newFirn(o FirnOptions) (*Server, error) {
	binary := b.Binary
	if binary == "" {
		var err error
		if binary, err = b.build("firn", "github.com/firnlog/firn/cmd/firn"); err != nil {
			return nil, err
		}
	}
	if o.Name == "" {
		o.Name = "firn"
	}
	s := &Server{Name: o.Name, Dir: filepath.Join(b.dir, o.Name), profiler: &b.profiler}
	for _, addr := range []*string{&s.Addr, &s.HTTP} {
		var err error
		if *addr, err = measure.FreeAddr(); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(s.Dir, "data")
	s.Logs = filepath.Join(data, "log")
	s.argv = []string{binary, "dev", "--data", data, "--kafka", s.Addr, "--http", s.HTTP}
	if o.Store != "" {
		s.argv = append(s.argv, "--store", o.Store)
	}
	s.argv = append(s.argv, o.Args...)
	return s, nil
}

// StartLimit starts a reference program (`limit sink`, `limit source`, `limit reader`) with the arguments given besides
// -addr, and waits until it takes connections. It ends with the case; Stop ends it earlier.
func (b *Bench) StartLimit(ctx context.Context, kind string, args ...string) (*Server, error) {
	s, err := b.startLimit(ctx, kind, args...)
	if err != nil {
		return nil, err
	}
	b.Cleanup(s.Stop)
	return s, nil
}

func (b *Bench) startLimit(ctx context.Context, kind string, args ...string) (*Server, error) {
	binary, err := b.build("limit", "github.com/firnlog/firn/e2e/bench/limit")
	if err != nil {
		return nil, err
	}
	addr, err := measure.FreeAddr()
	if err != nil {
		return nil, err
	}
	s := &Server{Name: kind, Addr: addr, Dir: filepath.Join(b.dir, "limit-"+kind)}
	s.argv = append([]string{binary, kind, "-addr", addr}, args...)
	return s, s.Restart(ctx)
}

// build builds a command once per run.
func (b *Bench) build(name, pkg string) (string, error) {
	path := filepath.Join(b.dir, "bin", name)
	if b.built[name] {
		return path, nil
	}
	if out, err := exec.Command("go", "build", "-o", path, pkg).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, strings.TrimSpace(string(out)))
	}
	b.built[name] = true
	return path, nil
}

// versionOf asks a binary of firn for its version, and shortens its commit as git does: "0.3.0 (0123456789ab)".
func versionOf(binary string) (string, error) {
	out, err := exec.Command(binary, "version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w (-firn takes a binary of firn)", binary, err)
	}
	var version, commit string
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch name {
		case "firn":
			version = value
		case "commit":
			commit = value[:min(len(value), 12)]
		}
	}
	if version == "" || commit == "" {
		return "", fmt.Errorf("%s version does not print a version and a commit: -firn takes a binary of firn", binary)
	}
	return version + " (" + commit + ")", nil
}

// perGB turns what a server used for so many bytes of payload into figures.
func perGB(c measure.Cost, bytes int64) Figures {
	f := common(c)
	gb, mb := float64(bytes)/1e9, float64(bytes)/1e6
	f[judge.MBPerSecond] = mb / c.Took.Seconds()
	f[judge.CPUPerGB] = c.CPU.Seconds() / gb
	f[judge.ClientCPU] = c.ClientCPU.Seconds() / gb
	f[judge.WrittenPerByte] = float64(c.Written) / float64(bytes)
	if c.Device >= 0 {
		f[judge.DevicePerByte] = float64(c.Device) / float64(bytes)
	}
	f[judge.SwitchesPerMB] = float64(c.Switches) / mb
	f[judge.SyscallsPerMB] = float64(c.Syscalls) / mb
	return f
}

// perRequest turns what a server used for so many requests, with so many bytes of payload in them, into figures.
func perRequest(c measure.Cost, requests, bytes int64) Figures {
	f := perGB(c, bytes)
	n := float64(requests)
	f[judge.RequestsPerSecond] = n / c.Took.Seconds()
	f[judge.CPUPerRequest] = float64(c.CPU.Microseconds()) / n
	f[judge.ClientCPUPerCall] = float64(c.ClientCPU.Microseconds()) / n
	f[judge.SwitchesPerCall] = float64(c.Switches) / n
	f[judge.SyscallsPerCall] = float64(c.Syscalls) / n
	return f
}

func common(c measure.Cost) Figures {
	return Figures{judge.PeakMB: float64(c.Peak) / 1e6, judge.CPUPercent: 100 * c.CPU.Seconds() / c.Took.Seconds()}
}
