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

// readableFile says that a file of secrets, which a setting names, may be read by others, and what to do.
func readableFile(key, file string) []string {
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s %s may be read by other users of this machine, mode %04o: chmod go= %s", key, file,
		info.Mode().Perm(), file)}
}
