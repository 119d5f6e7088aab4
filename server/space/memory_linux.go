package space

import (
	"os"

	"golang.org/x/sys/unix"
)

// Memory returns how much memory this process may have: the machine's, or less if a control group that it is in bounds
// it; 0 if that is not known.
func Memory() uint64 {
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) != nil {
		return 0
	}
	memory := uint64(s.Totalram) * uint64(s.Unit)
	if n := groupLimit(os.DirFS("/")); n > 0 {
		memory = min(memory, n)
	}
	return memory
}
