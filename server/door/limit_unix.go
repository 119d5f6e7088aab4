//go:build unix

package door

import (
	"math"
	"syscall"
)

// Limit returns how many descriptors this process may have, 0 if that is not known. The runtime of Go has raised the
// limit as far as the system allows before main began.
func Limit() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return int(min(uint64(l.Cur), math.MaxInt32))
}
