package durable

import (
	"errors"
	"slices"
	"syscall"
)

// Full reports whether an error says that there is no room on the disk: what was asked may be asked again once there
// is. It is nothing that is wrong with the disk or with what is on it. Of a WriteFile it does not say that nothing
// changed: see ErrUnsettled.
func Full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// Passing reports whether an error says that something could not be read, or opened, just now, and nothing of what is
// there: a disk or a network may give it the next time, and a system that has too much open has room for it.
func Passing(err error) bool {
	return slices.ContainsFunc([]error{
		syscall.EIO, syscall.EINTR, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ESTALE, syscall.ETIMEDOUT,
	}, func(passes error) bool { return errors.Is(err, passes) })
}
