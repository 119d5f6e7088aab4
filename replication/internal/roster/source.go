package roster

import (
	"cmp"
	"context"
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Sourcing says whom a region is to follow. It travels as JSON.
type Sourcing struct {
	Region string `json:"region"`
	Source string `json:"source"` // "": the primary, whichever that is
	// Try has everything looked at, and nothing written.
	Try bool `json:"try,omitempty"`
}

// To the leader of the primary. The name is on the wire.
const askSource = peer.Question[Sourcing, *Change]("roster-source")

// Sources orders whom regions are to follow.
type Sources struct{ keeper *Keeper }

// SourcesOf returns what does so by a keeper.
func SourcesOf(k *Keeper) Sources { return Sources{k} }

// Wanted returns the region that the one of a keeper is to follow, "" for the primary: by the roster that it has, or by
// the newest that it was told of, where it has none yet. It is not known while that does not have the region.
func Wanted(k *Keeper) (region string, known bool) {
	r := k.config.Applied.State().Roster
	if r == nil {
		k.mu.Lock()
		r = k.heard
		k.mu.Unlock()
	}
	return r.SourceOf(k.config.Region), r == nil || r.Home(k.config.Region) != nil
}

// Follow says whom a region is to follow while that is well, and it is secondary. That it does is not waited for. Any
// node takes the call. Errors: ErrArgument where regions would follow each other, ErrUnknownRegion, ErrNotReady with
// what is missing, ErrUnknownOutcome.
func (f Sources) Follow(ctx context.Context, o Sourcing) (*Change, error) {
	return atPrimary(ctx, f.keeper, askSource, o, "", f.follow)
}

func (f Sources) follow(ctx context.Context, o Sourcing) (*Change, error) {
	k := f.keeper
	s, base, end, err := k.begin(ctx, fmt.Sprintf("region %s is to follow another one", o.Region), "")
	if err != nil {
		return nil, err
	}
	defer end()
	c := &Change{Region: o.Region}
	for _, name := range []string{o.Region, cmp.Or(o.Source, o.Region)} {
		if base.Home(name) == nil {
			return nil, fmt.Errorf("%w: %q is none of the fleet", contract.ErrUnknownRegion, name)
		}
	}
	if base.SourceOf(o.Region) == o.Source {
		c.say("region %s is to follow %s already: nothing is to be written", o.Region, sourceName(o.Source))
		return c.of(base), nil
	}
	next := base.Sourced(s.Cursor.Epoch, k.config.Region, o.Region, o.Source)
	if fault := next.Fault(); fault != "" {
		return nil, fmt.Errorf("%w: %s", contract.ErrArgument, fault)
	}
	if err := sourced(ctx, k, next); err != nil {
		return nil, err
	}
	if err := k.whole(ctx, s, next, ""); err != nil {
		return nil, err
	}
	c.say("region %s is to follow %s while it is secondary; while that is not well it follows the primary, or another "+
		"one, by itself", o.Region, sourceName(o.Source))
	return k.write(ctx, c, base, next, o.Try)
}

// sourced returns nil if all nodes understand a roster that says whom regions are to follow.
func sourced(ctx context.Context, k *Keeper, next *timeline.Roster) error {
	if err := k.config.Ready(ctx, max(next.Level(), timeline.LevelRanks), ""); err != nil {
		return fmt.Errorf("%w: regions cannot follow others than the primary yet: %w", contract.ErrNotReady, err)
	}
	return nil
}

// sourceName names whom a region is to follow for people.
func sourceName(source string) string {
	if source == "" {
		return "the primary"
	}
	return "region " + source
}
