package sim

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// changeVoters has somebody take the vote of a region or of a witness away, give it back, or do both in one order. Half
// of the time the primary is lost right behind it, while others may be behind.
func (x elections) changeVoters(ctx context.Context) {
	if x.fleet.plan.election == nil {
		return
	}
	upgrades(x).upgradeAll(ctx)
	x.heal(ctx)
	x.startAll(ctx)
	x.wait(quiet)
	p, ids := x.someone(), slices.Clone(x.fleet.plan.regions)
	for _, o := range x.fleet.observers {
		ids = append(ids, timeline.WitnessPrefix+o.name)
	}
	x.random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	both := x.random.IntN(4) == 0
	if p == nil {
		return
	}
	x.background(ctx, 15*time.Second, func(ctx context.Context) {
		order := voterOrder(p, ids, both)
		c, err := p.Voting().Change(ctx, order)
		for errors.Is(err, replication.ErrNotReady) && ctx.Err() == nil { // nothing has changed
			time.Sleep(200 * time.Millisecond)
			order = voterOrder(p, ids, both)
			c, err = p.Voting().Change(ctx, order)
		}
		x.tell("order by %s to change who votes: %+v: %+v, %v", p.NodeID(), order, c, err)
		x.noteIf(injectCharters, err == nil)
	})
	if x.random.IntN(2) == 0 {
		x.wait(time.Duration(x.random.IntN(1000)) * time.Millisecond)
		x.losePrimary(ctx)
	}
}

// voterOrder takes the vote away of who has one as far as p knows, the first of these that is not primary, and gives it
// to who has none. Of three voters none can be missing: there both is one order.
func voterOrder(p *process, ids []string, both bool) (o replication.VoteChange) {
	var voters []replication.VoterStatus
	id := ids[0]
	if s := p.Voting().Status(); s != nil {
		voters = s.Voters
		if id == s.For {
			id = ids[1]
		}
	}
	votes := slices.ContainsFunc(voters, func(v replication.VoterStatus) bool { return v.ID == id })
	if votes {
		o.Remove = id
	}
	name, witness := strings.CutPrefix(id, timeline.WitnessPrefix)
	switch {
	case votes && !both && len(voters) > 3:
	case witness:
		o.Witness, o.Addrs = name, []string{name}
	default:
		o.Add = id
	}
	return o
}
