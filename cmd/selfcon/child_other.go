//go:build !unix && !windows

package main

import "os/exec"

func separate(*exec.Cmd) {} // there is no Ctrl-C for several processes
