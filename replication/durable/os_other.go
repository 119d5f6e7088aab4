//go:build !linux

package durable

import (
	"errors"
	"fmt"
	"os"
)

// The standard library offers the cheaper sync, the advice and the free space on linux only.
func syncData(f *os.File) error { return f.Sync() }

func adviseSequential(*os.File) {}

func freeBytes(name string) (uint64, error) {
	return 0, fmt.Errorf("free space at %s: %w", name, errors.ErrUnsupported)
}

// lock does nothing: two processes on one directory are not noticed here.
func lock(*os.File) error { return nil }

func unlock(*os.File) error { return nil }
