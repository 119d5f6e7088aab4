package e2e

import (
	"context"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
)

// switchover is the phase of that name.
func (r *run) switchover(ctx context.Context) error {
	from, to, err := r.primary(ctx)
	if err != nil {
		return err
	}
	start, err := r.awaitEqual(ctx)
	if err != nil {
		return err
	}
	watching, err := connect(localfleet.Clients(to.Nodes)...)
	if err != nil {
		return err
	}
	defer watching.Close()
	watcher := record(ctx, watching, start+1)
	if err := r.move(ctx, from, to, r.prefix("there")); err != nil {
		return err
	}
	if err := r.move(ctx, to, from, r.prefix("back")); err != nil {
		return err
	}
	end, err := r.awaitEqual(ctx)
	if err != nil {
		return err
	}
	events, err := watcher.upTo(ctx, end)
	if err != nil {
		return err
	}
	if err := r.checkEvents(ctx, watcher, from, events); err != nil {
		return err
	}
	return r.checkHashes(ctx, end)
}

// move does one switchover while clients of all nodes write, and checks that they noticed a pause at most. Where a
// region elected a leader beside it, which a busy machine has it do, they noticed that as well: see unsettled.
func (r *run) move(ctx context.Context, from, to *localfleet.Region, prefix string) error {
	clients, closeAll, err := connectEach(localfleet.Clients(r.fleet.Nodes()))
	if err != nil {
		return err
	}
	defer closeAll()
	elections, err := r.elections(ctx)
	if err != nil {
		return err
	}
	w := startWriters(ctx, clients, prefix, r.Pause)
	defer w.stop()
	if err := w.more(ctx, r.Writes); err != nil {
		return err
	}
	rate := w.rate()
	var report replication.MoveReport
	began := time.Now()
	if err := r.operate(ctx, &report, "switchover", "--to", to.Name); err != nil {
		return err
	}
	took := time.Since(began)
	if err := w.more(ctx, r.Writes); err != nil {
		return err
	}
	writes := w.stop()
	seen, err := outcome(ctx, r, writes, elections)
	if err != nil {
		return err
	}
	if report.From != from.Name || report.To != to.Name || report.Lossy {
		return fmt.Errorf("unexpected report: %+v", report)
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
	pause, at := longestPause(writes)
	r.line("%s took over from %s in epoch %d; writes paused for %s (as measured by the primary), the command took %s",
		to.Name, from.Name, report.Epoch, short(report.Pause), short(took))
	r.line("clients of all nodes: %d writes acknowledged (%.0f a second before the move) and all there, %s",
		acked, rate, seen)
	r.line("longest time without an acknowledgement %s, %s after the command began; slowest write %s", short(pause),
		short(at.Sub(began)), short(slowest(writes)))
	return nil
}

// outcome says what clients saw but for acknowledgements, since there had been so many elections.
func outcome(ctx context.Context, r *run, writes []write, elections uint64) (string, error) {
	now, err := r.elections(ctx)
	if err != nil {
		return "", err
	}
	count, err := unsettled(writes, now > elections)
	if err != nil || count == 0 {
		return "no error", err
	}
	return fmt.Sprintf("%d ended without one in an election", count), nil
}
