package durable

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// syncData leaves out what nobody needs to read the file, such as its times: over blocks that are there no metadata is
// written.
func syncData(f *os.File) error {
	return control(f, "fdatasync", unix.Fdatasync)
}

// adviseSequential lets the kernel read further ahead. It is an advice: that it is not taken is no error.
func adviseSequential(f *os.File) {
	_ = control(f, "fadvise", func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_SEQUENTIAL) })
}

// control makes a system call on the file's descriptor, which cannot be closed and given to another file meanwhile.
func control(f *os.File, op string, call func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		for failed = call(int(fd)); failed == unix.EINTR; failed = call(int(fd)) {
		}
	})
	if err != nil { // only a closed file cannot be controlled
		failed = os.ErrClosed
	}
	if failed != nil {
		return &os.PathError{Op: op, Path: f.Name(), Err: failed}
	}
	return nil
}

// lock holds the file until it is closed.
func lock(f *os.File) error {
	err := control(f, "flock", func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w: %s", ErrLocked, f.Name())
	}
	return err
}

// unlock lets it go, whoever has it open besides.
func unlock(f *os.File) error {
	return control(f, "flock", func(fd int) error { return unix.Flock(fd, unix.LOCK_UN) })
}

func freeBytes(name string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(name, &s); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: name, Err: err}
	}
	return s.Bavail * uint64(s.Bsize), nil
}
