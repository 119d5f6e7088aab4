package space

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Disk returns how large the disk of a directory is, and how much a process may still write there.
func Disk(dir string) (total, free uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return s.Blocks * uint64(s.Bsize), s.Bavail * uint64(s.Bsize), nil
}

// Files returns how many files the filesystem of a directory can hold, and how many more can be made there; total is
// zero if it has no such bound.
func Files(dir string) (total, free uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return s.Files, s.Ffree, nil
}

// allocate gives the file blocks, by writing where the filesystem knows no other way.
func allocate(f *os.File, offset, bytes int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, offset, bytes)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return writeZeros(f, offset, bytes)
	}
	return err
}
