//go:build unix && !linux

package dev

import (
	"os"
	"syscall"
)

// processAttributes keeps the terminal's Ctrl-C from the children, which are stopped in order instead.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func terminate(p *os.Process) { p.Signal(syscall.SIGTERM) }
