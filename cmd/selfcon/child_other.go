//go:build !unix

package main

import (
	"os"
	"os/exec"
)

// Here Ctrl-C comes to every process of the console, and there is no other way
// to ask one to stop.
func separate(*exec.Cmd)    {}
func interrupt(*os.Process) {}
