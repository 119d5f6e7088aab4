package replication

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/internal/checkpoint"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/transfer"
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
		id, meta, err := n.staging.Fetch(ctx, addr, transfer.Request{Region: n.config.RegionID, Have: n.staging.Partial(), MinEpoch: claim.Epoch}, progress)
		if err == nil && meta.Region != f.source {
			err = fmt.Errorf("%w: copy of region %s, asked %s", ErrMessage, meta.Region, f.source)
		}
		if err == nil {
			n.staging.Keep(id, f.term)
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
			err := ask(ctx, n, addr, transfer.AskStage, transfer.StageRequest{ID: id, From: n.config.PeerAddr, Term: term})
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

// askReport asks a node how it and its region are.
func (n *node) askReport(ctx context.Context, addr string) (fleet.Report, error) {
	return peer.Ask(ctx, n.client, addr, askReport, peer.Nothing{})
}
