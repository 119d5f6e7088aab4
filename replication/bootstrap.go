package replication

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// bootstrap replaces this region's state by the source's: the leader fetches a copy, a majority of the nodes stages it, and then
// the region agrees to install it. A crash at any point leaves either the old state or the new one on each node.
func (n *node) bootstrap(ctx context.Context, f *following) error {
	defer n.governor.setActivity(f, "")
	if f.copied == nil {
		if err := n.fetchFrom(ctx, f); err != nil {
			return err
		}
	}
	id, meta := f.copied.id, f.copied.meta
	n.governor.setActivity(f, "staging copy "+id)
	if err := n.stageOnMajority(ctx, id, f.term); err != nil {
		return err
	}
	f.copied = nil
	a, err := n.proposer.Control(ctx, &timeline.Control{Op: timeline.OpInstall, Checkpoint: id, Origin: &meta.Origin})
	if err != nil {
		return err
	}
	if a.Outcome == timeline.Refused {
		return fmt.Errorf("install copy %s: %w: %s", id, ErrRejected, a.Why)
	}
	return nil
}

// fetchFrom gets a copy from any node of the source.
func (n *node) fetchFrom(ctx context.Context, f *following) error {
	var errs []error
	claim := n.applied.View().State.HighestClaim()
	for _, addr := range n.fleet.Addresses(f.source) {
		began := n.config.Clock.Now()
		n.logger.Info("bootstraps", "source", f.source, "addr", addr)
		progress := n.reportProgress(f, began)
		id, meta, err := n.copies.fetch(ctx, addr, copyRequest{Region: n.config.RegionID, Have: n.copies.partial(), MinEpoch: claim.Epoch}, progress)
		if err == nil && meta.Region != f.source {
			err = fmt.Errorf("%w: copy of region %s, asked %s", ErrMessage, meta.Region, f.source)
		}
		if err == nil {
			n.copies.keep(id, f.term)
			f.copied = &copiedSource{id, meta}
			return nil
		}
		errs = append(errs, fmt.Errorf("bootstrap from %s: %w", addr, err))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// reportProgress keeps the activity that status shows: bytes and the time that remains at the pace so far.
func (n *node) reportProgress(f *following, began time.Time) func(checkpoint.Progress) {
	return func(p checkpoint.Progress) {
		text := fmt.Sprintf("bootstrap: %d of %d bytes", p.DoneBytes, p.TotalBytes)
		if spent := n.config.Clock.Now().Sub(began); p.DoneBytes > 0 && spent > time.Second {
			left := time.Duration(float64(spent) * float64(p.TotalBytes-p.DoneBytes) / float64(p.DoneBytes))
			text += ", about " + left.Round(time.Second).String() + " left"
		}
		n.governor.setActivity(f, text)
	}
}

// stageOnMajority has the other nodes fetch the copy from this one, which leads term.
func (n *node) stageOnMajority(ctx context.Context, id string, term uint64) error {
	status := n.group.Status()
	voters := status.Conf.GetVoters()
	var mu sync.Mutex
	var wg sync.WaitGroup
	have, errs := 0, []error(nil)
	for _, voter := range voters {
		if voter == n.id {
			mu.Lock()
			have++
			mu.Unlock()
			continue
		}
		addr, ok := n.directory.Addr(voter)
		if !ok {
			continue
		}
		wg.Go(func() {
			err := ask(ctx, n, addr, askStage, stageRequest{ID: id, From: n.config.PeerAddr, Term: term})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			} else {
				have++
			}
		})
	}
	wg.Wait()
	if have <= len(voters)/2 {
		return fmt.Errorf("copy %s is on %d of %d nodes: %w", id, have, len(voters), errors.Join(errs...))
	}
	return nil
}

// installElsewhere is for a node that applies an install without having staged the copy: it takes the state of a node of its region that
// has installed it. That state may be further than the entry; what it contains is then passed over.
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
			id, _, err := n.copies.fetch(ctx, addr, copyRequest{Region: n.config.RegionID, MinIndex: minIndex, Have: n.copies.partial()}, nil)
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

// askReport asks a node how it and its region are.
func (n *node) askReport(ctx context.Context, addr string) (fleet.Report, error) {
	return peer.Ask(ctx, n.client, addr, askReport, peer.Nothing{})
}
