package dev

import (
	"os"
	"syscall"
)

// processAttributes keeps the terminal's Ctrl-C from the children, which are stopped in order instead, and lets them die with
// this process.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func terminate(p *os.Process) { p.Signal(syscall.SIGTERM) }
