package e2e

import (
	"context"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
)

// restart is the phase of that name.
func (r *run) restart(ctx context.Context) error {
	a, b, err := r.primary(ctx)
	if err != nil {
		return err
	}
	clients, closeAll, err := connectEach(localfleet.Clients(r.fleet.Nodes()))
	if err != nil {
		return err
	}
	defer closeAll()
	w := startWriters(ctx, clients, r.prefix("restart"), r.Pause)
	defer w.stop()
	if err := w.more(ctx, r.Writes); err != nil {
		return err
	}
	rate := w.rate()
	seen, err := r.look(ctx)
	if err != nil {
		return err
	}
	defer seen.stop()
	if err := w.more(ctx, r.Writes/4); err != nil {
		return err
	}
	localfleet.Kill(r.fleet.Nodes())
	writes := w.stop()
	seen.stop()
	r.line("killed all nodes of all regions, which took %.0f writes a second", rate)
	began := time.Now()
	if err := localfleet.Start(r.fleet.Nodes()); err != nil {
		return err
	}
	if err := seen.check(ctx); err != nil {
		return err
	}
	if err := r.awaitServing(ctx); err != nil {
		return err
	}
	r.line("serves again %s after the start of the processes", short(time.Since(began)))
	end, err := r.awaitEqual(ctx)
	if err != nil {
		return err
	}
	held, err := sameContents(ctx, a, b, r.prefix("restart"), end)
	if err != nil {
		return err
	}
	acked, err := checkAcknowledged(writes, held, nothingMissing)
	if err != nil {
		return err
	}
	r.line("all %d acknowledged writes are in both regions", acked)
	return r.checkHashes(ctx, end)
}
