//go:build unix && !linux

package localfleet

import (
	"os"
	"syscall"
)

// attributes keeps the terminal's Ctrl-C from the nodes, which are stopped in order instead.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func terminate(p *os.Process) { p.Signal(syscall.SIGTERM) }
