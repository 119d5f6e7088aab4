package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
)

// upheavals are what happens to the regions of TestFiveRegions, in the order of the bounded form. Each is mended when
// it returns.
var upheavals = []struct {
	name string
	make func(l *levels, ctx context.Context) (what string, err error)
}{
	{"cut", (*levels).cut},
	{"flapping", (*levels).flapping},
	{"switchover", (*levels).switchover},
	{"island", (*levels).island},
	{"parent", (*levels).parent},
	{"death", (*levels).death},
	{"again", (*levels).again},
	{"standstill", (*levels).standstill},
}

// some draws a number of regions, none of them twice.
func (l *levels) some(count int) (chosen []*localfleet.Region) {
	for _, i := range l.rng.Perm(len(l.fleet.Regions))[:count] {
		chosen = append(chosen, l.fleet.Regions[i])
	}
	return chosen
}

// hold waits for a while, a second in the bounded form.
func (l *levels) hold(ctx context.Context) error {
	d := time.Second
	if *levelsTime > 0 {
		d = shortestHold + time.Duration(l.rng.Int64N(int64(longestHold-shortestHold)))
	}
	return wait(ctx, d)
}

// cut silences the link between two regions.
func (l *levels) cut(ctx context.Context) (string, error) {
	pair := l.some(2)
	a, b := pair[0].Name, pair[1].Name
	l.fleet.Cut(a, b)
	err := l.hold(ctx)
	l.fleet.Heal(a, b)
	return fmt.Sprintf("%s and %s were cut off from each other", a, b), err
}

// island cuts a region off from all others.
func (l *levels) island(ctx context.Context) (string, error) {
	alone := l.some(1)[0].Name
	for _, r := range l.fleet.Regions {
		l.fleet.Cut(alone, r.Name)
	}
	err := l.hold(ctx)
	for _, r := range l.fleet.Regions {
		l.fleet.Heal(alone, r.Name)
	}
	return alone + " was cut off from all", err
}

// How often connections are broken by flapping, and how far apart.
const (
	flaps     = 200
	flapPause = 25 * time.Millisecond
)

// flapping breaks the connections between two regions, and others, and so on.
func (l *levels) flapping(ctx context.Context) (string, error) {
	before := l.fleet.Connections()
	for range flaps {
		pair := l.some(2)
		l.fleet.Lose(pair[0].Name, pair[1].Name)
		if err := wait(ctx, flapPause); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("connections between regions were broken %d times, and made %d times", flaps,
		l.fleet.Connections()-before), nil
}

// death kills a region, or one node of it, and starts it again.
func (l *levels) death(ctx context.Context) (string, error) {
	nodes := l.some(1)[0].Nodes
	if l.rng.IntN(2) == 0 {
		at := l.rng.IntN(len(nodes))
		nodes = nodes[at : at+1]
	}
	localfleet.Kill(nodes)
	what := fmt.Sprintf("%d of %s were killed", len(nodes), nodes[0].Config.Region)
	return what, errors.Join(l.hold(ctx), localfleet.Start(nodes))
}

// standstill stops the processes of a region for a while.
func (l *levels) standstill(ctx context.Context) (string, error) {
	nodes := l.some(1)[0].Nodes
	for _, n := range nodes {
		if err := suspend(n.PID()); err != nil {
			return "", err
		}
	}
	err := l.hold(ctx)
	for _, n := range nodes {
		err = errors.Join(err, resume(n.PID()))
	}
	return nodes[0].Config.Region + " stood still", err
}

// secondary draws a region that is not primary.
func (l *levels) secondary(ctx context.Context) (*localfleet.Region, error) {
	primary := ""
	if err := l.await(ctx, "the primary is known", func(ctx context.Context) string {
		status, err := fleetOf(ctx, l.fleet.Regions[0].Nodes[0])
		if err != nil {
			return err.Error()
		}
		if primary = status.Primary; primary == "" {
			return "it is not"
		}
		return ""
	}); err != nil {
		return nil, err
	}
	drawn := l.some(2)
	if drawn[0].Name == primary {
		return drawn[1], nil
	}
	return drawn[0], nil
}

// switchover moves the primary. It is told no, and asked again, where a region does not hear another one yet.
func (l *levels) switchover(ctx context.Context) (string, error) {
	to, err := l.secondary(ctx)
	if err != nil {
		return "", err
	}
	var report replication.MoveReport
	return "the primary moved to " + to.Name, l.await(ctx, "switchover to "+to.Name, func(ctx context.Context) string {
		if err := l.operate(ctx, &report, "switchover", "--to", to.Name); err != nil {
			return err.Error()
		}
		return ""
	})
}

// parent has a region follow another one, or the primary, unless they would follow each other.
func (l *levels) parent(ctx context.Context) (string, error) {
	child, err := l.secondary(ctx)
	if err != nil {
		return "", err
	}
	sources := []string{"primary"}
	for _, r := range l.fleet.Regions {
		if r != child {
			sources = append(sources, r.Name)
		}
	}
	source := sources[l.rng.IntN(len(sources))]
	what := fmt.Sprintf("%s follows %s", child.Name, source)
	var change replication.RegionChange
	err = l.await(ctx, "an order about "+child.Name, func(ctx context.Context) string {
		err := l.operate(ctx, &change, "region", "move", child.Name, "--source", source)
		if err == nil {
			return ""
		}
		if strings.Contains(err.Error(), "follow each other") {
			what += " was refused: they would follow each other"
			return ""
		}
		return err.Error()
	})
	if err != nil {
		return what, err
	}
	return what, l.settled(ctx)
}

// again removes a region, and adds it again with empty directories, sometimes to follow another one.
func (l *levels) again(ctx context.Context) (string, error) {
	gone, err := l.secondary(ctx)
	if err != nil {
		return "", err
	}
	what := gone.Name + " was removed, and added again with empty directories"
	var change replication.RegionChange
	if err := l.operate(ctx, &change, "region", "remove", gone.Name); err != nil {
		return what, err
	}
	peers, err := l.fleet.Shared(gone)
	if err != nil {
		return what, err
	}
	for _, n := range gone.Nodes {
		if err := l.dismissed(ctx, n); err != nil {
			return what, err
		}
		if err := os.RemoveAll(n.Config.DataDir); err != nil {
			return what, err
		}
		n.Config.InitialClusterState = "existing"
	}
	if err := gone.Save(); err != nil {
		return what, err
	}
	if err := localfleet.Start(gone.Nodes); err != nil {
		return what, err
	}
	order := []string{"region", "add", gone.Name, "--peers", strings.Join(peers, ",")}
	if source := l.some(1)[0]; source != gone {
		order = append(order, "--source", source.Name)
		what += ", to follow " + source.Name
	}
	err = l.await(ctx, gone.Name+" is added", func(ctx context.Context) string {
		err := l.operate(ctx, &change, order...)
		if err != nil {
			return err.Error() // its nodes began just now
		}
		return ""
	})
	if err != nil {
		return what, err
	}
	return what, l.settled(ctx)
}

// dismissed waits for a node to end, since its region was removed.
func (l *levels) dismissed(ctx context.Context, n *localfleet.Node) error {
	if err := l.await(ctx, n.Config.Name+" ends", func(context.Context) string {
		if n.Running() {
			return "it runs"
		}
		return ""
	}); err != nil {
		return err
	}
	if n.ExitStatus() != statusRemoved {
		return fmt.Errorf("%s ended with %s: %s", n.Config.Name, n.Exit(), n.LastWords())
	}
	return nil
}
