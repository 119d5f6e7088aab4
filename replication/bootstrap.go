package replication

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// copyPort gives the secondary's room the copies that this node keeps.
type copyPort struct{ node *node }

// Fetch implements secondary.Copies.
func (c copyPort) Fetch(
	ctx context.Context, addr string, minEpoch Epoch, term uint64, progress func(checkpoint.Progress),
) (string, succession.Copy, error) {
	n := c.node
	id, meta, err := n.copies.fetch(ctx, addr, copyRequest{Region: n.config.RegionID, Have: n.copies.partial(),
		MinEpoch: minEpoch}, progress)
	if err != nil {
		return "", succession.Copy{}, err
	}
	n.copies.keep(id, term)
	return meta.Region, succession.Copy{ID: id, Origin: meta.Origin}, nil
}

// Offer implements secondary.Copies.
func (c copyPort) Offer(ctx context.Context, addr, id string, term uint64) error {
	return ask(ctx, c.node, addr, askStage, stageRequest{ID: id, From: c.node.config.PeerAddr, Term: term})
}

// installElsewhere is for a node that applies an install without having staged the copy: it takes the state of a node
// of its region that has installed it. That state may be further than the entry; what it contains is then passed over.
func (a *applier) installElsewhere(minIndex uint64) error {
	id, dir, meta, err := a.fetchOwn(minIndex)
	if err != nil {
		return err
	}
	defer a.discard(id)
	state, err := stateOf(meta)
	if err != nil {
		return err
	}
	if state.Region != a.region || meta.AppliedIndex < minIndex {
		return fmt.Errorf("%w: state of region %s at entry %d", ErrIdentity, state.Region, meta.AppliedIndex)
	}
	if err := a.replace(dir, meta); err != nil {
		return err
	}
	a.machine = timeline.NewMachine(state)
	a.rebase(state.Base.Index, state.Base.Position)
	a.index, a.term, a.saved = meta.AppliedIndex, meta.AppliedTerm, meta.AppliedIndex
	a.changed()
	return nil
}

// fetchOwn gets the state of a node of this region that has applied minIndex, and tries until the node stops.
func (n *node) fetchOwn(minIndex uint64) (id, dir string, meta *Metadata, err error) {
	ctx := n.life.Context()
	for {
		for _, addr := range n.directory.Others() {
			id, _, err := n.copies.fetch(ctx, addr, copyRequest{Region: n.config.RegionID, MinIndex: minIndex,
				Have: n.copies.partial()}, nil)
			if err == nil {
				n.copies.keep(id, math.MaxUint64) // nobody but the caller lets it go
				if dir, err = n.copies.stagedDir(id); err == nil {
					meta, err = n.applier.states.metadataOf(dir)
				}
				return id, dir, meta, err
			}
			n.logger.Info("waits for a node of the region with the installed state", "asked", addr, "err", err)
		}
		if err := n.life.Pause(ctx, time.Second); err != nil {
			return "", "", nil, err
		}
	}
}
