package main

import (
	"os/exec"
	"syscall"
)

// separate keeps the console's Ctrl-C from a process: this one passes it on, so
// that it comes once.
func separate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
