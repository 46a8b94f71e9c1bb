//go:build !linux

package objecttest

import "os/exec"

// dieWithParent is Linux's; elsewhere a killed test leaves its server behind.
func dieWithParent(*exec.Cmd) {}

func waitStopped(*process) error { return nil }
