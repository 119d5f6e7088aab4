package etcdapitest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/mimir-kv/mimir/replication"
)

// versions are which commands the nodes of the fleet understand: all, if nothing else is said.
type versions struct {
	mu      sync.Mutex
	unknown error                     // of commands that not all nodes know
	newer   func(command []byte) bool // those for which a node is too old; nil: none
	never   func(command []byte) bool // those of which there was none yet; nil: none
}

// Misunderstand has the fleet not understand any command of which it is asked, for err, until it is called with nil.
func (v *versions) Misunderstand(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.unknown = err
}

// Outdate has a node of the fleet be too old for these commands, of which there never was one then; nil: for none any
// more.
func (v *versions) Outdate(these func(command []byte) bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.newer = these; these != nil {
		v.never = these
	}
}

// Understood returns what Misunderstand was told, or that a node is too old.
func (v *versions) Understood(_ context.Context, command []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.newer != nil && v.newer(command) {
		return fmt.Errorf("%w: %w: on purpose", replication.ErrNotReady, replication.ErrOldNode)
	}
	return v.unknown
}

// proposed takes note of commands.
func (v *versions) proposed(cs []*replication.Command) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.never != nil && slices.ContainsFunc(cs, func(c *replication.Command) bool { return v.never(c.Data) }) {
		v.never = nil
	}
}

// lacks reports whether a node was too old for a command, and there was none like it since.
func (v *versions) lacks(command []byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.never != nil && v.never(command)
}
