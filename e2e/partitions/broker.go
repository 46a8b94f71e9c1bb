package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/firnlog/firn/e2e/harness"
	"github.com/firnlog/firn/e2e/measure"
)

// broker is one `firn dev` process on a folder of its own.
type broker struct {
	binary, dir, kafka, http string
	cmd                      *exec.Cmd
}

func newBroker(binary, dir string) (*broker, error) {
	b := &broker{binary: binary, dir: dir}
	for _, addr := range []*string{&b.kafka, &b.http} {
		var err error
		if *addr, err = measure.FreeAddr(); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// launch starts the process without waiting for it.
func (b *broker) launch() error {
	log, err := os.OpenFile(filepath.Join(b.dir, "firn.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	b.cmd = exec.Command(b.binary, "dev", "--data", filepath.Join(b.dir, "data"), "--kafka", b.kafka, "--http", b.http)
	b.cmd.Stdout, b.cmd.Stderr = log, log
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return b.cmd.Start()
}

// start launches the process and waits until it listens.
func (b *broker) start() (*measure.Conn, error) {
	if err := b.launch(); err != nil {
		return nil, err
	}
	return b.dial()
}

// dial connects, again and again until the broker serves: its listener is open from early on, but nobody answers there
// before the start is through.
func (b *broker) dial() (*measure.Conn, error) {
	deadline := time.Now().Add(2 * time.Minute)
	for {
		c, err := measure.Dial(b.kafka)
		if err == nil || time.Now().After(deadline) {
			return c, err
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// end sends a signal and waits for the process's end; it tells how long that took.
func (b *broker) end(sig syscall.Signal) (time.Duration, error) {
	if b.cmd == nil {
		return 0, nil
	}
	begin := time.Now()
	_ = b.cmd.Process.Signal(sig) // fails only when it has ended already
	err := b.cmd.Wait()
	b.cmd = nil
	if err != nil && sig != syscall.SIGKILL {
		text, _ := os.ReadFile(filepath.Join(b.dir, "firn.log"))
		return 0, fmt.Errorf("the broker ended with %w:\n%s", err, text)
	}
	return time.Since(begin), nil
}

func (b *broker) pid() int { return b.cmd.Process.Pid }

// openLogs counts the descriptors that the broker holds in its log folder.
func (b *broker) openLogs() int {
	return measure.OpenFiles(b.pid(), filepath.Join(b.dir, "data", "log"))
}

// goroutines counts the broker's goroutines, as its metrics tell them.
func (b *broker) goroutines() (int, error) {
	n, err := harness.MetricAt(b.http, "go_goroutines")
	return int(n), err
}

// stored counts the partitions' folders on disk.
func (b *broker) stored() (int, error) {
	entries, err := os.ReadDir(filepath.Join(b.dir, "data", "log"))
	n := 0
	for _, e := range entries {
		if e.IsDir() {
			n++
		}
	}
	return n, err
}
