package durable

import (
	"errors"
	"syscall"
)

// Full reports whether an error says that there is no room on the disk: what was asked may be asked again once there
// is. It is nothing that is wrong with the disk or with what is on it.
func Full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
