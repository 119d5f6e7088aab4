//go:build !unix

package server

// keepPrivate does nothing here: what others may read is up to the directory above.
func keepPrivate() {}

func readable(string) []string { return nil }

func readableFile(_, _ string) []string { return nil }
