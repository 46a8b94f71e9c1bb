package objecttest

import (
	"os/exec"
	"runtime"
)

// run owns the child: it starts it, waits for it and never leaves its thread in between.
func (p *process) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	p.pid = cmd.Process.Pid
	started <- nil
	p.err = cmd.Wait()
	p.mu.Lock()
	p.done = true
	p.mu.Unlock()
	close(p.exited)
}
