package e2e

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mimir-kv/mimir/localfleet"
	"github.com/mimir-kv/mimir/replication"
)

// ruin is something that TestFailovers does to a fleet whose regions and witness vote.
type ruin struct {
	name string
	// network says that it cuts single directions, or the witness off; three that it is about one node of several.
	network, three bool
	// strike does it, waits for what comes of it as long as it lasts, and returns what undoes it. It notes the time
	// that is measured.
	strike func(ctx context.Context, r *round) (mend func(context.Context) error, err error)
}

// ruins are all. Of most the primary moves.
var ruins = []ruin{
	{name: "region killed", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
		return r.startAgain(r.old.Nodes...), r.hit(ctx, r.killing(r.old), r.next)
	}},
	{name: "region cut off", network: true, strike: cutOff([2]int{0, 1}, [2]int{1, 0}, [2]int{0, 2}, [2]int{2, 0})},
	{name: "region cut off and killed", network: true, strike: cutOffAndKilled},
	{name: "region mute", network: true, strike: cutOff([2]int{0, 1}, [2]int{0, 2})},
	{name: "region deaf", network: true, strike: cutOff([2]int{1, 0}, [2]int{2, 0})},
	{name: "region stands still", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
		return r.still(ctx, r.next, r.old.Nodes...)
	}},
	{name: "killed twice", strike: killedTwice},
	{name: "killed during the rejoin", strike: killedDuringRejoin},
	{name: "killed during a switchover", strike: killedDuringSwitchover},
	{name: "failover by order", strike: byOrder},
	{name: "switchover", strike: switchedOver},
	{name: "leader stands still", three: true, strike: func(ctx context.Context, r *round) (
		func(context.Context) error, error) {
		n, err := r.c.leader(ctx, r.old)
		if err != nil {
			return nil, err
		}
		return r.still(ctx, nil, n)
	}},
	{name: "leader killed", three: true, strike: func(ctx context.Context, r *round) (
		func(context.Context) error, error) {
		n, err := r.c.leader(ctx, r.old)
		if err != nil {
			return nil, err
		}
		return r.startAgain(n), r.hit(ctx, func() error {
			n.Kill()
			return nil
		}, nil)
	}},
	{name: "witness stands still", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
		return r.still(ctx, nil, r.c.fleet.Witness)
	}},
	{name: "secondary stands still", strike: func(ctx context.Context, r *round) (func(context.Context) error, error) {
		return r.still(ctx, nil, r.next.Nodes...)
	}},
	{name: "regions parted", network: true, strike: apartFrom([2]int{0, 1}, [2]int{1, 0})},
	{name: "regions parted one way", network: true, strike: apartFrom([2]int{0, 1})},
	{name: "regions parted the other way", network: true, strike: apartFrom([2]int{1, 0})},
	{name: "rolling restart", strike: rolled},
}

// chosen reports whether a fault is to be done, and can.
func (f ruin) chosen(namespaces bool) bool {
	return (*campaignOf == "" || slices.Contains(strings.Split(*campaignOf, ","), f.name)) &&
		(namespaces || !f.network) && (*failoverNodes >= 3 || !f.three)
}

func ruinNames() (names []string) {
	for _, f := range ruins {
		names = append(names, f.name)
	}
	return names
}

// hit does something to the fleet and waits until the region moved is primary, or, if that is nil, for longer than a
// lease; and then until clients write.
func (r *round) hit(ctx context.Context, do func() error, moved *localfleet.Region) error {
	r.struck = time.Now()
	if err := do(); err != nil {
		return err
	}
	if moved == nil {
		if err := wait(ctx, *failoverLease*3/2+time.Second); err != nil {
			return err
		}
		err := r.acknowledged(ctx, r.serving(ctx)...)
		r.spans = append(r.spans, span{r.struck, time.Now(), ""})
		return err
	}
	err := r.taken(ctx, moved)
	r.spans = append(r.spans, span{r.struck, time.Now(), moved.Name})
	return err
}

// span is from when something was struck until it was over, by whom, if anybody took over.
type span struct {
	from, to time.Time
	by       string
}

// measure looks for how long clients waited, when that is over.
func (r *round) measure() {
	for _, s := range r.spans {
		r.gaps = append(r.gaps, r.pulse.gap(s.from, s.to, ""))
		if s.by != "" {
			r.apart = append(r.apart, r.pulse.gap(s.from, s.to, s.by))
		}
	}
}

// fewAcks are so many acknowledged writes of each region that it serves.
const fewAcks = 10

// taken waits until a region is primary in a later epoch, and its clients write.
func (r *round) taken(ctx context.Context, by *localfleet.Region) error {
	err := r.c.await(ctx, by.Name+" takes over", func(ctx context.Context) string {
		why := "none of its nodes leads"
		for _, n := range by.Nodes {
			node, err := ask(ctx, n)
			if err != nil || !node.IsLeader {
				continue
			}
			if node.Role == replication.RolePrimary && node.Epoch > r.epoch {
				r.epoch = node.Epoch
				return ""
			}
			why = fmt.Sprintf("%s is %s in epoch %d: %s", n.Config.Name, node.Role, node.Epoch, node.Problem)
		}
		return why
	})
	return errors.Join(err, r.acknowledged(ctx, by.Name))
}

// acknowledged waits until clients of regions write, unless nothing may be lost: then they do when all are back.
func (r *round) acknowledged(ctx context.Context, regions ...string) error {
	if *failoverLoss == 0 {
		return nil
	}
	return r.pulse.more(ctx, r.c.run, fewAcks, regions...)
}

// serving returns the primary's name: the region of which it is certain that clients can write to it.
func (r *round) serving(ctx context.Context) []string {
	primary, _, err := r.c.primary(ctx)
	if err != nil {
		return nil
	}
	return []string{primary.Name}
}

func (r *round) startAgain(nodes ...*localfleet.Node) func(context.Context) error {
	return func(context.Context) error { return localfleet.Start(nodes) }
}

// still stops processes past the lease.
func (r *round) still(
	ctx context.Context, moved *localfleet.Region, nodes ...*localfleet.Node,
) (func(context.Context) error, error) {
	each := func(do func(pid int) error) (err error) {
		for _, n := range nodes {
			err = errors.Join(err, do(n.PID()))
		}
		return err
	}
	mend := func(context.Context) error { return each(resume) }
	err := r.hit(ctx, func() error { return each(suspend) }, moved)
	if moved != nil && err == nil { // longer than an answer of before could be on its way
		err = wait(ctx, onItsWay*3/2)
	}
	return mend, err
}

// cutOff cuts directions between the primary (0), the other region (1) and the witness (2), of which the other region
// takes over.
func cutOff(directions ...[2]int) func(context.Context, *round) (func(context.Context) error, error) {
	return func(ctx context.Context, r *round) (func(context.Context) error, error) {
		return r.cut(ctx, r.next, directions)
	}
}

// apartFrom is the same, and nobody takes over.
func apartFrom(directions ...[2]int) func(context.Context, *round) (func(context.Context) error, error) {
	return func(ctx context.Context, r *round) (func(context.Context) error, error) {
		return r.cut(ctx, nil, directions)
	}
}

func (r *round) cut(
	ctx context.Context, moved *localfleet.Region, directions [][2]int,
) (func(context.Context) error, error) {
	sites := []string{r.old.Name, r.next.Name, localfleet.WitnessName}
	mend := func(context.Context) error {
		r.c.net.heal()
		return nil
	}
	return mend, r.hit(ctx, func() (err error) {
		for _, d := range directions {
			err = errors.Join(err, r.c.net.cut(sites[d[0]], sites[d[1]]))
		}
		return err
	}, moved)
}

// cutOffAndKilled kills the primary when it has acknowledged what nobody else has.
func cutOffAndKilled(ctx context.Context, r *round) (func(context.Context) error, error) {
	sites := []string{r.next.Name, localfleet.WitnessName}
	return func(context.Context) error {
			r.c.net.heal()
			return localfleet.Start(r.old.Nodes)
		}, r.hit(ctx, func() (err error) {
			for _, other := range sites {
				err = errors.Join(err, r.c.net.cut(r.old.Name, other), r.c.net.cut(other, r.old.Name))
			}
			err = errors.Join(err, r.acknowledged(ctx, r.old.Name))
			localfleet.Kill(r.old.Nodes)
			return err
		}, r.next)
}

// killedTwice kills the primary, and as soon as it follows again the one that took over.
func killedTwice(ctx context.Context, r *round) (func(context.Context) error, error) {
	first, second := r.old, r.next
	if err := r.hit(ctx, r.killing(first), second); err != nil {
		return nil, err
	}
	if err := localfleet.Start(first.Nodes); err != nil {
		return nil, err
	}
	if err := r.followed(ctx, second, first); err != nil {
		return nil, err
	}
	err := r.pulse.more(ctx, r.c.run, fewAcks, first.Name)
	return r.startAgain(second.Nodes...), errors.Join(err, r.hit(ctx, r.killing(second), first))
}

// followed waits until every node of a region has what is written at another one now.
func (r *round) followed(ctx context.Context, primary, by *localfleet.Region) error {
	client, err := connect(localfleet.Clients(primary.Nodes)...)
	if err != nil {
		return err
	}
	defer client.Close()
	key := fmt.Sprintf("/followed/%d", r.number)
	if _, err := client.Put(ctx, key, ""); err != nil {
		return fmt.Errorf("put what is to be followed: %w", err)
	}
	for _, n := range by.Nodes {
		at, err := connect(n.Config.ListenClient)
		if err != nil {
			return err
		}
		err = r.c.await(ctx, n.Config.Name+" follows", func(ctx context.Context) string {
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			switch answer, err := at.Get(ctx, key, clientv3.WithSerializable()); {
			case err != nil:
				return err.Error()
			case len(answer.Kvs) == 0:
				return "it has not got what was written"
			}
			return ""
		})
		at.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// killedDuringRejoin kills the primary, and the one that took over at some moment while the first one comes back: what
// that one has given up, or has not got yet, keeps it from taking over until the other one is back.
func killedDuringRejoin(ctx context.Context, r *round) (func(context.Context) error, error) {
	if err := r.hit(ctx, r.killing(r.old), r.next); err != nil {
		return nil, err
	}
	if err := localfleet.Start(r.old.Nodes); err != nil {
		return nil, err
	}
	if err := wait(ctx, time.Duration(r.rng.Int64N(int64(3*time.Second)))); err != nil {
		return nil, err
	}
	localfleet.Kill(r.next.Nodes)
	return r.startAgain(r.next.Nodes...), wait(ctx, *failoverLease*3/2)
}

func (r *round) killing(region *localfleet.Region) func() error {
	return func() error {
		localfleet.Kill(region.Nodes)
		return nil
	}
}

// killedDuringSwitchover kills the primary at some moment of a switchover. Either is primary then.
func killedDuringSwitchover(ctx context.Context, r *round) (func(context.Context) error, error) {
	done := make(chan error, 1)
	delay := time.Duration(r.rng.Int64N(int64(8 * *failoverTrip)))
	go func() {
		var report replication.MoveReport
		done <- r.c.operate(ctx, &report, "switchover", "--to", r.next.Name)
	}()
	err := r.hit(ctx, func() error {
		wait(ctx, delay)
		localfleet.Kill(r.old.Nodes)
		return nil
	}, r.next)
	<-done
	return r.startAgain(r.old.Nodes...), err
}

// switchedOver moves the primary by order.
func switchedOver(ctx context.Context, r *round) (func(context.Context) error, error) {
	var report replication.MoveReport
	return nil, r.hit(ctx, func() error {
		err := r.c.operate(ctx, &report, "switchover", "--to", r.next.Name)
		r.took = report.Pause // as the old primary measured it
		return err
	}, r.next)
}

// ofLoss is what a failover by order tells.
var ofLoss = regexp.MustCompile(`at most (\d+) acknowledged`)

// byOrder kills the primary while nothing may move by itself, and fails over when its lease is over.
func byOrder(ctx context.Context, r *round) (func(context.Context) error, error) {
	var charter struct{ Number uint64 }
	if err := r.c.operate(ctx, &charter, "fleet", "pause", "--reason", "a failover by order"); err != nil {
		return nil, err
	}
	err := r.c.await(ctx, "the pause is known to "+r.next.Name, func(ctx context.Context) string {
		for _, n := range r.next.Nodes {
			if node, err := ask(ctx, n); err != nil || node.Votes == nil || node.Votes.Paused == "" {
				return n.Config.Name + " does not know of it"
			}
		}
		return ""
	})
	if err != nil {
		return nil, err
	}
	localfleet.Kill(r.old.Nodes)
	if err := wait(ctx, *failoverLease*11/10); err != nil {
		return nil, err
	}
	var report replication.MoveReport
	err = r.hit(ctx, func() error {
		began := time.Now()
		err := r.c.operate(ctx, &report, "failover", "--to", r.next.Name, "--force")
		r.took = time.Since(began)
		return err
	}, r.next)
	if err != nil {
		return nil, err
	}
	told := ofLoss.FindStringSubmatch(report.Loss)
	if told == nil {
		return nil, fmt.Errorf("the failover did not say how much is lost at most: %s", report.Loss)
	}
	bound, err := strconv.ParseUint(told[1], 10, 64)
	r.bound += bound
	r.gaps, r.spans = []time.Duration{r.pulse.first(r.struck)}, nil // that it stood still before was its orders
	return func(ctx context.Context) error {
		return errors.Join(r.c.operate(ctx, &charter, "fleet", "resume"), localfleet.Start(r.old.Nodes))
	}, err
}

// rolled restarts one process after the other in good order.
func rolled(ctx context.Context, r *round) (func(context.Context) error, error) {
	nodes := append(slices.Clone(r.next.Nodes), r.c.fleet.Witness)
	return nil, r.hit(ctx, func() error {
		for _, n := range append(nodes, r.old.Nodes...) {
			if status := n.Stop(); status != 0 {
				return fmt.Errorf("%s ended with status %d: %s", n.Config.Name, status, n.LastWords())
			}
			if err := n.Start(); err != nil {
				return err
			}
			if n == r.c.fleet.Witness {
				continue
			}
			if err := r.c.awaitServing(ctx); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}
