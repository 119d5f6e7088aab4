//go:build !linux

package space

// Memory returns how much memory this process may have; 0 if that is not known.
func Memory() uint64 { return 0 }
