package objecttest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// dieWithParent has the kernel kill the child when we end, also by a panic, a timeout of `go test` or kill -9.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// waitStopped waits until each thread of a process that got SIGSTOP has stopped.
func waitStopped(p *process) error {
	for {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.pid))
		if err != nil {
			return err
		}
		running := 0
		for _, t := range tasks {
			b, err := os.ReadFile(t)
			if err == nil && !bytes.Contains(b, []byte(") T ")) {
				running++
			}
		}
		if running == 0 {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("ended: %w", p.err)
		case <-time.After(time.Millisecond):
		}
	}
}
