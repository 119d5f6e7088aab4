package checkpoint

import "github.com/mimir-kv/mimir/replication/durable"

// Partial returns the manifest of the transfer that broke off in dir, so that its receiver can ask for the same
// checkpoint again; ErrIncomplete if there is none.
func Partial(fs durable.FS, dir string) (*Manifest, error) { return readManifest(fs, dir, stagingName) }
