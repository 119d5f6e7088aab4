package localfleet

import (
	"os"
	"syscall"
)

// attributes keeps the terminal's Ctrl-C from the nodes, which are stopped in order instead, and lets them die with
// this process.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func terminate(p *os.Process) { p.Signal(syscall.SIGTERM) }
