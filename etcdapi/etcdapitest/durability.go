package etcdapitest

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/mimir-kv/mimir/replication"
)

// regions are those beside a replicator's, and what becomes of writes that ask for them.
type regions struct {
	others []string
	votes  *replication.VoteStatus
	state  replication.State // "": ready
	reigns bool              // the node's region is the primary
	short  error             // of writes that ask for further ones, which are done
	older  bool              // the leader counts none by itself
	stalls bool              // writes wait for as long as they may
	asked  []int             // by each write: in how many, 1 for the primary
}

// Beside has the fleet of r have these regions too.
func Beside(r *Replicator, others ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.regions.others = others
}

// Vote has these vote, and nothing be lost.
func Vote(r *Replicator, voters ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.regions.votes = &replication.VoteStatus{}
	for _, id := range voters {
		r.regions.votes.Voters = append(r.regions.votes.Voters, replication.VoterStatus{ID: id})
	}
}

// Reign has the region be the primary.
func Reign(r *Replicator) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.regions.reigns = true
}

// Begin has the node not be started yet: it knows nothing, and takes no calls.
func Begin(r *Replicator) {
	r.Fail(fmt.Errorf("%w: on purpose", replication.ErrNotReady))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.regions.state = replication.StateInitializing
}

// Shorten has writes that ask for further regions be done and end with err; nil: they are in those.
func Shorten(r *Replicator, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.regions.short = err
}

// BeLedByOlder has the leader of the primary be of a version that knows numbers of regions alone.
func BeLedByOlder(r *Replicator) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.regions.older = true
}

// Stall has writes wait for a leader for as long as they may.
func Stall(r *Replicator) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.regions.stalls = true
}

// Proposals returns in how many regions each write was to be that was applied or refused, and how many were applied.
func Proposals(r *Replicator) (asked []int, applied int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.regions.asked), r.proposals
}

// refuse notes what a write asks for, and says why it is not taken.
func (g *regions) refuse(asked int) error {
	g.asked = append(g.asked, asked)
	if most := len(g.others) + 1; g.older && asked > most {
		return fmt.Errorf("%w: durability in %d regions asked, the fleet has %d", replication.ErrRejected, asked, most)
	}
	return nil
}

// taken returns why a write is not taken, once that is known.
func taken(ctx context.Context, r *Replicator, opts []replication.ProposeOption) error {
	r.mu.Lock()
	err, stalls := r.regions.refuse(regionsOf(opts)), r.regions.stalls
	r.mu.Unlock()
	if err == nil && stalls {
		<-ctx.Done()
		err = fmt.Errorf("%w: %w", replication.ErrNotReady, ctx.Err())
	}
	return err
}

// shortOf returns how a write ends that was done.
func shortOf(r *Replicator, opts []replication.ProposeOption) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proposals++
	if regionsOf(opts) == 1 {
		return nil
	}
	return r.regions.short
}

// named is in how many regions a write is asked for that names a quorum of them, or all, as it travels.
var named = map[uint64]int{1: 254, 2: 255}

// regionsOf returns in how many regions a write is to be by its options, of which the type is the library's own.
func regionsOf(opts []replication.ProposeOption) int {
	for _, option := range opts {
		o := reflect.New(reflect.TypeOf(option).In(0).Elem())
		reflect.ValueOf(option).Call([]reflect.Value{o})
		if n := named[o.Elem().FieldByName("Named").Uint()]; n > 0 {
			return n
		}
		if n := o.Elem().FieldByName("Regions").Int(); n > 0 {
			return int(n)
		}
	}
	return 1
}
