//go:build unix

package e2e

import "syscall"

// suspend makes a process stand still.
func suspend(pid int) error { return syscall.Kill(pid, syscall.SIGSTOP) }

// resume lets it go on.
func resume(pid int) error { return syscall.Kill(pid, syscall.SIGCONT) }
