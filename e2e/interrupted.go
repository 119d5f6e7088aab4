package e2e

import (
	"context"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
)

// interruption is something that goes wrong during a switchover, and how it ends.
type interruption struct {
	what       string
	begin, end func() error
}

// interrupted is the phase of that name. However a switchover ends, one region takes writes afterwards, and has all of
// them.
func (r *run) interrupted(ctx context.Context) error {
	beside, err := r.cross(ctx, r.prefix("crossing"))
	if err != nil {
		return err
	}
	defer beside.end()
	for i := range 3 {
		from, to, err := r.primary(ctx)
		if err != nil {
			return err
		}
		leaders := map[*localfleet.Region]*localfleet.Node{}
		for _, region := range r.fleet.Regions {
			if leaders[region], err = r.leader(ctx, region); err != nil {
				return err
			}
		}
		kill := func(region *localfleet.Region) interruption {
			n := leaders[region]
			return interruption{"kill of the leader of " + region.Name, func() error { n.Kill(); return nil }, n.Start}
		}
		fault := []interruption{
			{"cut of the link", func() error { r.fleet.Cut(from.Name, to.Name); return nil },
				func() error { r.fleet.Heal(from.Name, to.Name); return nil }},
			kill(from), kill(to),
		}[i]
		prefix := fmt.Sprintf("%s%d/", r.prefix("interrupted"), i)
		if err := r.interrupt(ctx, from, to, fault, prefix, beside); err != nil {
			return fmt.Errorf("%s: %w", fault.what, err)
		}
	}
	return beside.check(ctx, r)
}

// interrupt begins a switchover under load and lets the fault happen while it is under way.
func (r *run) interrupt(
	ctx context.Context, from, to *localfleet.Region, fault interruption, prefix string, beside *crossing,
) error {
	clients, closeAll, err := connectEach(localfleet.Clients(r.fleet.Nodes()))
	if err != nil {
		return err
	}
	defer closeAll()
	w := startWriters(ctx, clients, prefix, r.Pause)
	defer w.stop()
	beside.write()
	defer beside.rest()
	if err := w.more(ctx, r.Writes); err != nil {
		return err
	}
	moved := make(chan error, 1)
	go func() {
		var report replication.MoveReport
		moved <- r.operate(ctx, &report, "switchover", "--to", to.Name)
	}()
	if err := r.awaitSeal(ctx, from); err != nil {
		return err
	}
	if err := fault.begin(); err != nil {
		return err
	}
	select {
	case <-time.After(r.Cut):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := fault.end(); err != nil {
		return err
	}
	outcome := <-moved
	if outcome == nil {
		r.line("%s for %s, once writes paused: the command says that the primary moved", fault.what, r.Cut)
	} else {
		r.line("%s for %s, once writes paused: the command says: %s", fault.what, r.Cut, outcome)
	}
	if err := w.more(ctx, r.Writes); err != nil {
		return err
	}
	writes := w.stop()
	beside.rest()
	return r.checkInterrupted(ctx, from, to, prefix, writes, outcome)
}

// awaitSeal waits until a region has stopped taking writes, or is no longer primary.
func (r *run) awaitSeal(ctx context.Context, region *localfleet.Region) error {
	return r.await(ctx, region.Name+" pauses writes", func(ctx context.Context) string {
		for _, n := range region.Nodes {
			if node, err := ask(ctx, n); err == nil && (node.Sealed || node.Role != replication.RolePrimary) {
				return ""
			}
		}
		return "it still takes them"
	})
}

func (r *run) checkInterrupted(
	ctx context.Context, from, to *localfleet.Region, prefix string, writes []write, outcome error,
) error {
	if err := r.awaitServing(ctx); err != nil {
		return err
	}
	end, err := r.awaitEqual(ctx)
	if err != nil {
		return err
	}
	held, err := sameContents(ctx, from, to, prefix, end)
	if err != nil {
		return err
	}
	acked, err := checkAcknowledged(writes, held, nothingMissing)
	if err != nil {
		return err
	}
	primary, _, err := r.primary(ctx)
	if err != nil {
		return err
	}
	if outcome == nil && primary != to {
		return fmt.Errorf("%s is primary, though the command says that %s is", primary.Name, to.Name)
	}
	pause, _ := longestPause(writes)
	r.line("%s takes writes; all %d acknowledged ones are in both regions, %d ended with an error; "+
		"longest time without an acknowledgement %s", primary.Name, acked, failures(writes), short(pause))
	return r.checkHashes(ctx, end)
}
