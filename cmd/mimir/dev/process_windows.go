package dev

import (
	"os"
	"syscall"
)

// processAttributes keeps the console's Ctrl-C from the children.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// terminate kills: there is no signal to ask with. The log makes that safe.
func terminate(p *os.Process) { p.Kill() }
