package e2e

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
)

// loadTimeout bounds the whole load with its faults.
const loadTimeout = 20 * time.Minute

// loadClients is how many clients load, each with all endpoints of the primary region.
const loadClients = 3

// load is the phase of that name.
func (r *run) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	primary, secondary, err := r.primary(ctx)
	if err != nil {
		return err
	}
	start, err := r.awaitEqual(ctx)
	if err != nil {
		return err
	}
	clients, closeAll, err := connectTimes(loadClients, localfleet.Clients(primary.Nodes))
	if err != nil {
		return err
	}
	defer closeAll()
	watching, err := connect(localfleet.Clients(secondary.Nodes)...)
	if err != nil {
		return err
	}
	defer watching.Close()
	watcher := record(ctx, watching, start+1)
	began := time.Now()
	l := startLoader(ctx, clients, r.Records)
	if err := r.disturb(ctx, l, primary, secondary); err != nil {
		return err
	}
	<-l.whole
	if l.failed != nil {
		return l.failed
	}
	r.reportLoad(l, time.Since(began))
	caughtUp := time.Now()
	end, err := r.awaitEqual(ctx)
	if err != nil {
		return err
	}
	r.line("all nodes equal at revision %d, %s after the last acknowledgement", end, short(time.Since(caughtUp)))
	events, err := watcher.upTo(ctx, end)
	if err != nil {
		return err
	}
	if err := r.checkEvents(ctx, watcher, primary, events); err != nil {
		return err
	}
	r.reportLag(l, watcher)
	if err := r.checkRecords(ctx, primary, secondary, end); err != nil {
		return err
	}
	return r.checkHashes(ctx, end)
}

// calmShare is the share of the records that is loaded before anything happens.
const calmShare = 0.1

// disturb kills the leader of each region, starts it again, and cuts the link, at fixed shares of the load.
func (r *run) disturb(ctx context.Context, l *loader, primary, secondary *localfleet.Region) error {
	if err := l.reaches(ctx, calmShare); err != nil {
		return err
	}
	var killed []*localfleet.Node
	for _, region := range []*localfleet.Region{primary, secondary} {
		n, err := r.leader(ctx, region)
		if err != nil {
			return err
		}
		n.Kill()
		killed = append(killed, n)
		r.line("killed %s, the leader of %s, with %d records loaded", n.Config.Name, region.Name, l.done.Load())
	}
	if err := l.reaches(ctx, 0.3); err != nil {
		return err
	}
	if err := localfleet.Start(killed); err != nil {
		return err
	}
	r.line("started both again with %d records loaded", l.done.Load())
	if err := r.awaitServing(ctx); err != nil {
		return err
	}
	r.line("both serve again with %d records loaded", l.done.Load())
	if err := l.reaches(ctx, 0.4); err != nil {
		return err
	}
	before := l.done.Load()
	r.fleet.Cut(primary.Name, secondary.Name)
	r.line("cut the link between the regions")
	select {
	case <-time.After(r.Cut):
	case <-ctx.Done():
		return ctx.Err()
	}
	r.fleet.Heal(primary.Name, secondary.Name)
	r.line("healed the link after %s, in which %d records were loaded", r.Cut, l.done.Load()-before)
	l.release()
	return nil
}

func (r *run) reportLoad(l *loader, took time.Duration) {
	var bytes int
	var latencies []time.Duration
	for i := range l.records {
		bytes += len(l.records[i].Value)
		latencies = append(latencies, l.acked[i].took)
	}
	r.line("loaded %d records, %.1f MB, in %s: %.0f a second (the last tenth waits for the link)", len(l.records),
		float64(bytes)/1e6, short(took), perSecond(len(l.records), took))
	for text, count := range l.failures {
		r.line("%d puts were repeated after: %s", count, text)
	}
	r.line("acknowledged after: %s", spread(latencies))
}

// reportLag says how long after its acknowledgement by the primary the watcher of the secondary saw each write.
func (r *run) reportLag(l *loader, watcher *recorder) {
	var all, calm []time.Duration
	for i, a := range l.acked {
		lag := max(0, watcher.arrival(a.revision).Sub(a.at))
		if all = append(all, lag); i < int(calmShare/2*float64(len(l.records))) {
			calm = append(calm, lag)
		}
	}
	r.line("seen by the watcher after the acknowledgement: %s; of the first records, before any fault: %s", spread(all),
		spread(calm))
}

// checkEvents compares what the watcher of the secondary was told during the load with the history that the primary
// tells afterwards.
func (r *run) checkEvents(ctx context.Context, watcher *recorder, primary *localfleet.Region, events []event) error {
	client, err := connect(localfleet.Clients(primary.Nodes)...)
	if err != nil {
		return err
	}
	defer client.Close()
	last := events[len(events)-1].Revision
	history, err := record(ctx, client, watcher.from).upTo(ctx, last)
	if err != nil {
		return errors.Join(errors.New("history of the primary"), err)
	}
	versions := map[string]int64{}
	for i, e := range events {
		if e != history[i] {
			return fmt.Errorf("the watcher saw %+v, but the history of %s is %+v", e, primary.Name, history[i])
		}
		if versions[e.Key]++; e.Version != versions[e.Key] {
			return fmt.Errorf("event %d of %s has version %d", versions[e.Key], e.Key, e.Version)
		}
	}
	r.line("the watcher saw each of %d events once and in order, as the primary's history has them; "+
		"its watch was resumed %d times", len(events), watcher.resumptions())
	return nil
}
