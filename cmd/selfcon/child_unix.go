//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// separate keeps a terminal's Ctrl-C from a process: this one passes it on, so
// that it comes once.
func separate(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
