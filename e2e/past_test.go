package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
)

// past is two regions of which the second one is kept delayed.
type past struct {
	*run
	us, eu *localfleet.Region
	client *clientv3.Client // of us
}

// Somebody deletes everything, and a region that is kept delayed takes over at the last revision before:
// docs/failover.md has it as a runbook.
func TestEverythingIsDeletedAndADelayedRegionTakesOver(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes")
	}
	ctx, dir := t.Context(), t.TempDir()
	binary := built(t)
	f, err := localfleet.New(localfleet.Options{
		Dir: dir, Command: []string{binary, "serve"}, Regions: []string{"us", "eu"}, Nodes: 1, Direct: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := &past{us: f.Regions[0], eu: f.Regions[1]}
	p.run = &run{Options: Options{Binary: binary, Dir: dir, Out: testWriter{t}}, fleet: f}
	p.report = report{out: p.Out, start: time.Now()}
	for _, n := range p.eu.Nodes {
		n.Config.ApplyDelay = "1h"
	}
	if err := p.eu.Save(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(localfleet.Start(f.Nodes()), p.awaitServing(ctx)); err != nil {
		t.Fatal(err)
	}
	if p.client, err = connect(localfleet.Clients(p.us.Nodes)...); err != nil {
		t.Fatal(err)
	}
	defer p.client.Close()
	if err := p.story(ctx); err != nil {
		for _, n := range f.Nodes() {
			t.Logf("%s: %s", n.Config.Name, n.LastWords())
		}
		t.Fatal(err)
	}
}

func (p *past) story(ctx context.Context) error {
	if err := p.await(ctx, "eu is delayed", func(ctx context.Context) string {
		if n, err := ask(ctx, p.eu.Nodes[0]); err != nil || n.Late == nil {
			return fmt.Sprint("it is not: ", err)
		}
		return ""
	}); err != nil {
		return err
	}
	for i := range 20 {
		if _, err := p.client.Put(ctx, fmt.Sprintf("/kept/%02d", i), "x"); err != nil {
			return err
		}
	}
	last, err := p.client.Get(ctx, "/kept/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	if _, err := p.client.Delete(ctx, "", clientv3.WithFromKey()); err != nil {
		return err
	}
	if _, err := p.client.Put(ctx, "/after", "x"); err != nil {
		return err
	}
	if err := p.awaitSame(ctx); err != nil {
		return err
	}
	if err := p.killLate(ctx); err != nil {
		return err
	}
	if err := p.checkLate(ctx, last.Header.Revision); err != nil {
		return err
	}
	var report replication.MoveReport
	if err := p.operate(ctx, &report, "failover", "--to", "eu", "--force", "--at-revision",
		fmt.Sprint(last.Header.Revision)); err != nil {
		return err
	}
	p.line("eu took over at position %d: %s", report.Position, report.Loss)
	return p.checkBack(ctx)
}

// awaitSame waits until the logs of both regions have the same.
func (p *past) awaitSame(ctx context.Context) error {
	return p.await(ctx, "eu has what us has", func(ctx context.Context) string {
		nodes, missing := p.askAll(ctx)
		if missing == "" && nodes["us-1"].Chain != nodes["eu-1"].Chain {
			missing = fmt.Sprintf("position %d of %d", nodes["eu-1"].Position, nodes["us-1"].Position)
		}
		return missing
	})
}

// killLate kills the delayed region while history is held back: it finds that in its log, and shows no more of it.
func (p *past) killLate(ctx context.Context) error {
	n := p.eu.Nodes[0]
	n.Kill()
	if err := n.Start(); err != nil {
		return err
	}
	if err := p.awaitServing(ctx); err != nil {
		return err
	}
	return p.awaitSame(ctx)
}

// checkLate checks what a delayed region says of itself and to readers.
func (p *past) checkLate(ctx context.Context, revision int64) error {
	eu, err := connect(localfleet.Clients(p.eu.Nodes)...)
	if err != nil {
		return err
	}
	defer eu.Close()
	if err := showsNothing(ctx, eu); err != nil {
		return fmt.Errorf("at once: %w", err)
	}
	if _, err := eu.Get(ctx, "/kept/"); err == nil || !strings.Contains(err.Error(), "delayed") {
		return fmt.Errorf("a linearizable read at eu: %w", err)
	}
	_, out, _, err := p.mimir(ctx, "status", "--endpoints", localfleet.Clients(p.us.Nodes)[0])
	if err != nil || !strings.Contains(out, "eu: delayed by 1h0m0s, shows ") {
		return fmt.Errorf("status: %s %w", out, err)
	}
	status, _, errs, _ := p.mimir(ctx, "failover", "--to", "eu", "--force", "--at-revision", fmt.Sprint(revision+1e6),
		"--endpoints", localfleet.Clients(p.us.Nodes)[0])
	if status != 1 || !strings.Contains(errs, "has 22 commands behind that") {
		return fmt.Errorf("a revision that nobody wrote: exit status %d, %s", status, errs)
	}
	return showsNothing(ctx, eu)
}

// showsNothing checks that a delayed region does not show what was written yet.
func showsNothing(ctx context.Context, eu *clientv3.Client) error {
	g, err := eu.Get(ctx, "/kept/", clientv3.WithPrefix(), clientv3.WithSerializable())
	if err != nil {
		return fmt.Errorf("read eu: %w", err)
	}
	if g.Header.Revision != 1 {
		return fmt.Errorf("eu shows revision %d", g.Header.Revision)
	}
	return nil
}

// checkBack checks that everything is back, in both regions, and what came after it in rescue files.
func (p *past) checkBack(ctx context.Context) error {
	if _, err := p.awaitEqual(ctx); err != nil {
		return err
	}
	for _, r := range p.fleet.Regions {
		c, err := connect(localfleet.Clients(r.Nodes)...)
		if err != nil {
			return err
		}
		g, err := c.Get(ctx, "", clientv3.WithFromKey())
		c.Close()
		if err != nil {
			return fmt.Errorf("read %s: %w", r.Name, err)
		}
		if g.Count != 20 {
			return fmt.Errorf("%s has %d keys instead of 20", r.Name, g.Count)
		}
	}
	var tails []replication.TailInfo
	if err := p.operate(ctx, &tails, "tail", "list"); err != nil {
		return err
	}
	regions := map[string]int{}
	for _, t := range tails {
		if t.Commands == 2 {
			regions[t.Region]++
		}
	}
	if regions["us"] != 1 || regions["eu"] != 1 {
		return fmt.Errorf("tails: %+v", tails)
	}
	return nil
}
