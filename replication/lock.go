package replication

import (
	"fmt"
	"io"

	"github.com/mimir-kv/mimir/replication/durable"
)

// lockFile is held while a process uses the data directory.
const lockFile = "LOCK"

// lock keeps every other process from the data directory.
func (c *Config) lock() (held io.Closer, err error) {
	if err := durable.MakeDir(c.FS, c.DataDir); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	if held, err = c.FS.Lock(c.path(lockFile)); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", c.DataDir, err)
	}
	return held, nil
}

// letGo gives the data directory to the next process once nothing of n uses it any more, also where n ended by itself
// and nobody shuts it down.
func letGo(n *node) {
	defer close(n.let)
	<-n.life.Stopped()
	n.life.Wait()
	n.let <- n.held.Close()
}
