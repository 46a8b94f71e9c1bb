package objecttest

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the child when we end, also by a panic, a timeout of `go test` or kill -9.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
