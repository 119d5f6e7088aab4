package replication

import (
	"context"
	"fmt"

	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Understanding tells which commands the nodes of a fleet understand: a part of MultiRegionReplicator.
type Understanding struct{ node *node }

// Understood returns nil if every node of the fleet says that it can apply a command, as Config.CommandLevel has it,
// or if such commands were applied here already. Otherwise its error is ErrNotReady and names who cannot, or does not
// answer. A command that a node does not understand stops that node: ask before it is proposed.
func (u *Understanding) Understood(ctx context.Context, command []byte) error {
	if err := u.node.callable(ctx); err != nil {
		return err
	}
	n := u.node
	if n.config.CommandLevel == nil {
		return nil
	}
	level, known := n.config.CommandLevel(command), n.applied.State().Commands
	if level <= max(known, timeline.LevelFirst) {
		return nil
	}
	if err := newInquiry(n).understood(ctx, n.fleetView(), level); err != nil {
		return fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	return nil
}

// Decided reports whether the history of this node's region has commands which no node understands that does not
// understand this one, also in what a copy began with, and where the region shows them late (Config.ApplyDelay).
func (u *Understanding) Decided(command []byte) bool {
	n := u.node
	if n.config.CommandLevel == nil || !n.running() {
		return false
	}
	level := n.config.CommandLevel(command)
	return level > timeline.LevelFirst && n.applied.State().Commands >= level
}

// strangers returns what says why a region that was formed with these disks is not the one that the node knows under
// that name.
func strangers(n *node) func(region string, formed map[uint64]string) error {
	return func(region string, formed map[uint64]string) error {
		return ofAnotherLife(n.fleetView().Regions[region], formed)
	}
}

// ofAnotherLife says why a node whose region was formed with these disks does not speak for the region r, nil if it
// does, or nobody knows.
func ofAnotherLife(r fleet.Region, formed map[uint64]string) error {
	if len(formed) == 0 || len(r.Life) == 0 || r.Torn || fleet.SameLife(r.Life, formed) {
		return nil
	}
	return fmt.Errorf("%w: who asks is of another life of region %s than the nodes that speak for it: mimir "+
		"status says which nodes are WRONG", ErrRejected, r.Name)
}

// tooOld says why the leader of a region cannot apply commands of this level, nil if it can or is not heard.
func tooOld(level timeline.Level, r fleet.Region) error {
	l := r.Leader()
	if l == nil || l.Level >= level {
		return nil
	}
	return fmt.Errorf("%w: this history has commands of level %d, and node %s of region %s knows up to %d: upgrade it",
		timeline.ErrVersion, level, l.Node, r.Name, l.Level)
}
