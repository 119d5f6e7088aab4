package checkpoint

import "github.com/cockroachdb/pebble/v2/vfs"

// Partial returns the manifest of the transfer that broke off in dir, so that its receiver can ask for the same checkpoint again;
// ErrIncomplete if there is none.
func Partial(fs vfs.FS, dir string) (*Manifest, error) { return readManifest(fs, dir, stagingName) }
