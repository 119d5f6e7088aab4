//go:build unix

package server

import (
	"fmt"
	"os"
	"syscall"
)

// keepPrivate has every file and directory that this process makes be its user's alone, whoever makes it.
func keepPrivate() { syscall.Umask(0o077) }

// readable says that a data directory which was made before may be read by others, and what to do.
func readable(dir string) []string {
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return []string{fmt.Sprintf("data-dir %s may be entered by other users of this machine, mode %04o: chmod -R go= %s",
		dir, info.Mode().Perm(), dir)}
}
