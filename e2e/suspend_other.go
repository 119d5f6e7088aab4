//go:build !unix

package e2e

import "errors"

func suspend(int) error { return errors.ErrUnsupported }

func resume(int) error { return errors.ErrUnsupported }
