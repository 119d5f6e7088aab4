package fleet

import "syscall"

// attributes keep the terminal's Ctrl-C from the nodes and let them die with this process.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
