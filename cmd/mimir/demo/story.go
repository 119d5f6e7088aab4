package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/server/admin"
)

// play is the story, in its order.
func (s *stage) play(ctx context.Context) error {
	watching, leave := context.WithCancel(ctx)
	defer leave()
	s.watch = watchAll(watching, s.client)
	defer func() { leave(); <-s.watch.done }()
	s.load = begin(ctx, s.client, s.o.Rate)
	ended := false
	end := func() {
		if !ended {
			ended = true
			s.load.end()
		}
	}
	defer end()
	for _, scene := range []func(context.Context) error{s.quiet, s.switchover, s.loss, s.rejoin} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	end()
	return s.verdict(ctx)
}

func (s *stage) quiet(ctx context.Context) error {
	began := time.Now()
	s.say("all nodes serve, and %s is primary", home)
	s.more("in a browser, as long as this runs: http://%s/console/", s.at(home))
	s.more("%d clients write %d keys a second, by way of any nodes of both regions, and one watches them", writers,
		s.o.Rate)
	if err := s.load.more(ctx, s.o.Writes); err != nil {
		return err
	}
	s.told(began)
	s.command(ctx, "status", "--endpoints", s.at(home))
	return nil
}

func (s *stage) switchover(ctx context.Context) error {
	s.title("A switchover: the primary moves to %s, in order, while they write", away)
	began := time.Now()
	if !s.command(ctx, "switchover", "--to", away, "--endpoints", s.at(home)) {
		return errors.New("the switchover failed")
	}
	if err := s.load.more(ctx, s.o.Writes); err != nil {
		return err
	}
	s.told(began)
	return nil
}

// loss kills the region that is primary now, with what is on its way from there, and has the other take over.
func (s *stage) loss(ctx context.Context) error {
	s.title("The loss of a region: all of %s, the primary, dies under the load", away)
	s.fleet.Cut(home, away)
	began := time.Now()
	localfleet.Kill(s.fleet.Region(away).Nodes)
	s.fleet.Lose(home, away)
	s.fleet.Heal(home, away)
	s.say("every process of %s is killed, and what was on its way from there is lost", away)
	alone := s.admin.At(localfleet.Clients(s.fleet.Region(home).Nodes)...)
	if err := s.until(ctx, alone, "the loss is noticed", func(f *replication.FleetStatus) bool {
		return !heard(f, away)
	}); err != nil {
		return err
	}
	s.command(ctx, "status", "--endpoints", s.at(home))
	s.say("nobody votes in this fleet, so that a person decides; without force it is told what it may cost")
	s.command(ctx, "failover", "--to", home, "--endpoints", s.at(home))
	ordered := time.Since(began)
	if !s.command(ctx, "failover", "--to", home, "--force", "--endpoints", s.at(home)) {
		return errors.New("the failover failed")
	}
	if err := s.load.more(ctx, s.o.Writes); err != nil {
		return err
	}
	s.told(began)
	s.more("the failover was ordered %.2f s after the loss; a person takes longer", ordered.Seconds())
	return nil
}

func (s *stage) rejoin(ctx context.Context) error {
	s.title("The lost region comes back, by itself")
	began := time.Now()
	if err := localfleet.Start(s.fleet.Region(away).Nodes); err != nil {
		return err
	}
	if err := s.until(ctx, s.admin, away+" follows", func(f *replication.FleetStatus) bool {
		return follows(f, away, home)
	}); err != nil {
		return err
	}
	s.say("%s was started with what it had on disk, and follows %s after %.1f s", away, home,
		time.Since(began).Seconds())
	s.command(ctx, "tail", "list", "--endpoints", s.at(away))
	return s.load.more(ctx, s.o.Writes)
}

// verdict compares what everybody was told with what there is, when nobody writes any more.
func (s *stage) verdict(ctx context.Context) error {
	s.title("What is true at the end")
	history, last, err := s.history(ctx)
	if err != nil {
		return err
	}
	tail, err := s.rescued(ctx)
	if err != nil {
		return err
	}
	var events []event
	resumed := 0
	err = until(ctx, sceneTimeout, func() bool {
		events, resumed = s.watch.seen()
		return last == 0 || len(events) > 0 && events[len(events)-1].revision >= last
	})
	if err != nil {
		return fmt.Errorf("the watcher does not come to revision %d: %w", last, err)
	}
	v := judge(s.load.seen(), history, tail, events)
	v.resumed = resumed
	s.say("writes: %d acknowledged, and %d with an outcome that clients were not told", v.acknowledged, v.unknown)
	s.more("%d acknowledged ones are in the history", v.kept)
	s.more("%d acknowledged ones the failover cut off, and they are in the rescue file of %s: mimir tail diff and "+
		"replay bring them back", v.rescued, away)
	s.more("%d acknowledged ones are nowhere", v.lost)
	s.say("events that the watcher saw: %d", v.events)
	s.more("%d writes of the history it missed, %d events it saw twice or out of order", v.missed, v.twice)
	s.more("%d were of writes that the failover cut off afterwards; %d times it was told from which revision to go on",
		v.undone, v.resumed)
	equal := s.command(ctx, "verify", "--endpoints", s.at(home))
	if err := v.err(); err != nil {
		return err
	}
	if !equal {
		return errors.New("the regions do not hold the same, or that cannot be told")
	}
	return nil
}

// pageKeys is how many keys are read at a time.
const pageKeys = 1000

// history returns the revision at which each key was written, and the highest of them.
func (s *stage) history(ctx context.Context) (at map[string]int64, last int64, err error) {
	at = map[string]int64{}
	ctx, cancel := context.WithTimeout(ctx, sceneTimeout)
	defer cancel()
	for from := prefix; ; {
		page, err := s.client.Get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)),
			clientv3.WithLimit(pageKeys), clientv3.WithKeysOnly())
		if err != nil {
			return nil, 0, fmt.Errorf("read the history: %w", err)
		}
		for _, kv := range page.Kvs {
			at[string(kv.Key)] = kv.ModRevision
			last = max(last, kv.ModRevision)
			from = string(kv.Key) + "\x00"
		}
		if !page.More {
			return at, last, nil
		}
	}
}

// rescued returns the keys that the rescue files of the region that was lost have.
func (s *stage) rescued(ctx context.Context) (map[string]bool, error) {
	keys := map[string]bool{}
	for _, n := range s.fleet.Region(away).Nodes {
		node := s.admin.At(n.Config.ListenClient)
		tails, err := node.Tails(ctx)
		for i := 0; err == nil && i < len(tails); i++ {
			err = node.ReadTail(ctx, tails[i].Name, func(w *admin.Write) error {
				r := &pb.PutRequest{}
				if w.Op != "put" {
					return nil
				}
				if err := protojson.Unmarshal(json.RawMessage(w.Request), r); err != nil {
					return err
				}
				keys[string(r.Key)] = true
				return nil
			})
		}
		if err != nil {
			return nil, fmt.Errorf("ask %s for its rescue files: %w", n.Config.Name, err)
		}
	}
	return keys, nil
}

// until asks nodes for the fleet until it is as is wanted.
func (s *stage) until(
	ctx context.Context, of *admin.Client, what string, ok func(*replication.FleetStatus) bool,
) error {
	err := until(ctx, sceneTimeout, func() bool {
		f, err := of.Fleet(ctx)
		return err == nil && ok(f)
	})
	if err != nil {
		return fmt.Errorf("waited until %s: %w", what, err)
	}
	return nil
}

func heard(f *replication.FleetStatus, name string) bool {
	for _, r := range f.Regions {
		if r.Name == name {
			return r.Heard
		}
	}
	return false
}

// follows reports whether a region follows another in its reign, with all of its nodes.
func follows(f *replication.FleetStatus, name, of string) bool {
	for _, r := range f.Regions {
		if r.Name == name {
			return f.Primary == of && r.Heard && r.Role == replication.RoleSecondary && r.Epoch == f.Epoch &&
				r.Lag.Seconds >= 0 && !r.Lag.AtLeast && len(r.Missing) == 0 && r.Problem == "" && r.Activity == ""
		}
	}
	return false
}

// at is an address at which a region serves clients.
func (s *stage) at(region string) string { return s.fleet.Region(region).Nodes[0].Config.ListenClient }

// told sums up what clients that write saw since a moment, and tells it.
func (s *stage) told(since time.Time) {
	sum := sumUp(s.load.seen(), since, time.Now())
	s.say("%d writes acknowledged, half of them within %s, 99 of 100 within %s", sum.acknowledged, short(sum.median),
		short(sum.p99))
	s.more("%d failed, with an outcome that the client is not told", sum.unknown)
	s.more("%s is the longest time in which none was acknowledged", short(sum.silence))
}

// short is a time for people, to a millisecond.
func short(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// command runs mimir as it is shown, and reports whether it ended with 0.
func (s *stage) command(ctx context.Context, arguments ...string) bool {
	fmt.Fprintf(s.o.Out, "\n    $ mimir %s\n", strings.Join(arguments, " "))
	text, done := s.o.Command(ctx, arguments...)
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		fmt.Fprint(s.o.Out, strings.TrimRight("    "+line, " \n"), "\n")
	}
	fmt.Fprintln(s.o.Out)
	return done
}

// say tells something, with the time since the beginning.
func (s *stage) say(format string, values ...any) {
	fmt.Fprintf(s.o.Out, "[%5.1f s] %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, values...))
}

// more goes on with what was said.
func (s *stage) more(format string, values ...any) {
	fmt.Fprintf(s.o.Out, "          %s\n", fmt.Sprintf(format, values...))
}

// title begins a scene.
func (s *stage) title(format string, values ...any) {
	fmt.Fprintf(s.o.Out, "\n== %s\n", fmt.Sprintf(format, values...))
}
