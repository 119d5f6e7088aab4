package localfleet

import (
	"os"
	"syscall"
)

// attributes keeps the console's Ctrl-C from the nodes.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// terminate kills: there is no signal to ask with. The log makes that safe.
func terminate(p *os.Process) { p.Kill() }
