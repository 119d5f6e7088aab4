package roster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Addition is a region that is to be one of the fleet. It travels as JSON.
type Addition struct {
	Region string `json:"region"`
	// Peers are where nodes of it are reached. Empty: where the roster, or the configuration of the primary, has them.
	Peers []string `json:"peers,omitempty"`
	// Source is the region that it is to follow, and to have its first copy of. Empty: the primary, or whom it follows.
	Source string `json:"source,omitempty"`
	// Try has everything looked at, and nothing written.
	Try bool `json:"try,omitempty"`
}

// Removal is a region that is to be none of the fleet any more. It travels as JSON.
type Removal struct {
	Region string `json:"region"`
	// Gone says that no node of it runs, and none comes back: else it has to answer, so that it can be told.
	Gone bool `json:"gone,omitempty"`
	// LoseTail says that what the region holds alone, since a failover cut it off, may be lost.
	LoseTail bool `json:"loseTail,omitempty"`
	// Try has everything looked at, and nothing written.
	Try bool `json:"try,omitempty"`
}

// Change is what became of such an order. It travels as JSON.
type Change struct {
	Region  string   `json:"region"`
	Epoch   uint64   `json:"epoch"`  // of the roster that is in force
	Number  uint64   `json:"number"` // of it; zero: there is none, the configuration is
	Regions []string `json:"regions"`
	Written bool     `json:"written"` // else nothing had to be, or nothing was to be
	// Source is the region that an added one is to follow, "" for the primary, or from a node that is too old to know.
	Source string `json:"source,omitempty"`
	// Steps say in words what was looked at and done, or would be done.
	Steps []string `json:"steps"`
}

func (c *Change) say(format string, args ...any) {
	c.Steps = append(c.Steps, fmt.Sprintf(format, args...))
}

// of fills in which roster is in force.
func (c *Change) of(r *timeline.Roster) *Change {
	c.Epoch, c.Number, c.Regions = uint64(r.Epoch), r.Number, names(r)
	return c
}

func names(r *timeline.Roster) (list []string) {
	for i := range r.Regions {
		list = append(list, r.Regions[i].Name)
	}
	return list
}

// To the leader of the primary. The names are on the wire.
const (
	askAdd    = peer.Question[Addition, *Change]("roster-add")
	askRemove = peer.Question[Removal, *Change]("roster-remove")
)

// Register registers what the leader of the primary answers.
func (k *Keeper) Register(to *peer.Registry) {
	peer.Handle(to, askAdd, peer.FleetNode, k.add)
	peer.Handle(to, askRemove, peer.FleetNode, k.remove)
	peer.Handle(to, askSource, peer.FleetNode, Sources{k}.follow)
}

// Add has a region be one of the fleet. It is watched and served from then on; that it follows is not waited for. Any
// node takes the call. Errors: ErrArgument, ErrRejected if it has a history of its own, ErrNotReady with what is
// missing, ErrUnknownOutcome.
func (k *Keeper) Add(ctx context.Context, a Addition) (*Change, error) {
	return atPrimary(ctx, k, askAdd, a, "", k.add)
}

// Remove has a region be none of the fleet any more: what is kept for it goes, with its vote, and its nodes end when
// they hear of it. Any node of the fleet takes the call. Errors: ErrArgument for the primary, ErrUnknownRegion,
// ErrRejected if it does not answer and is not said to be gone, ErrNotReady with what is missing, ErrUnknownOutcome.
func (k *Keeper) Remove(ctx context.Context, r Removal) (*Change, error) {
	return atPrimary(ctx, k, askRemove, r, r.Region, k.remove)
}

// atPrimary has the leader of the primary carry out an order, once all nodes are known to understand it.
func atPrimary[In any](
	ctx context.Context, k *Keeper, q peer.Question[In, *Change], in In, without string,
	do func(context.Context, In) (*Change, error),
) (*Change, error) {
	if err := k.ready(ctx, without); err != nil {
		return nil, err
	}
	switch to := k.config.Standing.Route(); {
	case to.Local:
		return do(ctx, in)
	case to.Addr != "":
		return peer.Order(ctx, k.config.Client, to.Addr, q, in)
	default:
		return nil, fmt.Errorf("%w: no leader of the primary answers, and nobody else changes the regions",
			contract.ErrNotReady)
	}
}

// ready returns nil if all nodes know rosters: they do where there is one.
func (k *Keeper) ready(ctx context.Context, without string) error {
	if k.config.Applied.State().Roster != nil {
		return nil
	}
	if err := k.config.Ready(ctx, timeline.LevelRoster, without); err != nil {
		return fmt.Errorf("%w: regions cannot be state of the fleet yet: %w", contract.ErrNotReady, err)
	}
	return nil
}

// begin returns the state of the primary, which this node leads, with the roster that it goes by. One order is carried
// out at a time, which is what it does for people, and no move beside it, until end is called.
func (k *Keeper) begin(ctx context.Context, what, without string) (
	s *timeline.State, base *timeline.Roster, end func(), err error,
) {
	if !k.order.take(what) {
		return nil, nil, nil, fmt.Errorf("%w: another change of the regions is under way", contract.ErrNotReady)
	}
	if err = k.config.still(); err == nil {
		err = k.ready(ctx, without)
	}
	if err == nil {
		err = k.fresh(ctx)
	}
	if err == nil {
		if s = k.entitled(ctx); s == nil {
			err = fmt.Errorf("%w: this node does not lead the primary, or takes no writes now", contract.ErrNotReady)
		}
	}
	if err != nil {
		k.order.end()
		return nil, nil, nil, err
	}
	ranked := k.ranks(ctx, s.Roster, without)
	switch base = s.Roster; {
	case base == nil:
		base = timeline.FirstRoster(k.config.Region, k.config.Own(), k.config.Configured)
		base.Ranked = ranked
	case ranked && outlived(s):
		base = base.Stamped(s.Cursor.Epoch, k.config.Region, k.beyond(s))
	}
	return s, base, k.order.end, nil
}

// entitled returns the state of the primary, nil unless this node leads it and takes writes, which for a moment it may
// not do: while somebody who was just found is asked who leads.
func (k *Keeper) entitled(ctx context.Context) *timeline.State {
	for began := k.config.Clock.Now(); k.config.Leadership.Leads(); {
		s := k.config.Applied.State()
		switch {
		case k.config.Standing.Entitled(s):
			return s
		case !s.Writable() || k.config.Clock.Now().Sub(began) > k.config.Timeout,
			k.config.Life.Pause(ctx, again) != nil:
			return nil
		}
	}
	return nil
}

// askedWithin is how long it takes at most until every region was asked: a round may be under way that began before.
func askedWithin(c *Config) time.Duration { return 2*c.Timeout + again }

// askAnew asks the other regions once more, and returns when each has answered or its time, askedWithin, is over:
// nobody is silent because he was before. Its error says that the node, or the caller, ends.
func askAnew(ctx context.Context, k *Keeper) error {
	k.config.Fleet.RefreshAnew()
	asked := k.config.Clock.Now()
	for k.config.Clock.Now().Sub(asked) < askedWithin(&k.config) && !k.heardSince(asked) {
		if err := k.config.Life.Pause(ctx, again); err != nil {
			return fmt.Errorf("%w: %w", contract.ErrNotReady, err)
		}
	}
	return nil
}

// fresh asks the other regions once more, as far as they answer, and returns an error if one of them has a newer
// roster: this region was just made primary, and takes that first.
func (k *Keeper) fresh(ctx context.Context) error {
	if err := askAnew(ctx, k); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if wanted(k.config.Applied.State(), k.heard) {
		return fmt.Errorf("%w: roster %d of epoch %d was heard of, and is taken first: try again", contract.ErrNotReady,
			k.heard.Number, k.heard.Epoch)
	}
	return nil
}

// again is the pause between two looks at what is waited for.
const again = 20 * time.Millisecond

func (k *Keeper) add(ctx context.Context, a Addition) (*Change, error) {
	s, base, end, err := k.begin(ctx, fmt.Sprintf("region %s is being added", a.Region), "")
	if err != nil {
		return nil, err
	}
	defer end()
	c := &Change{Region: a.Region}
	home := base.Home(a.Region)
	switch {
	case a.Region == k.config.Region:
		return nil, fmt.Errorf("%w: region %s is the primary of this fleet", contract.ErrArgument, a.Region)
	case home == nil && len(a.Peers) == 0:
		return nil, fmt.Errorf("%w: nobody knows where region %q is: name addresses of its nodes", contract.ErrArgument,
			a.Region)
	case home != nil && len(a.Peers) == 0:
		a.Peers = home.Addrs
	case base.Was(a.Region) != nil && base.Was(a.Region).Untold:
		return nil, fmt.Errorf("%w: region %s was removed while none of its nodes was known to have a roster: should "+
			"these come back, they would pass for the new ones: add the region under another name",
			contract.ErrRejected, a.Region)
	}
	a.Source = cmp.Or(a.Source, base.SourceOf(a.Region))
	c.Source = a.Source
	if home != nil && s.Roster != nil && slices.Equal(a.Peers, home.Addrs) && a.Source == home.Source {
		c.say("region %s is one of the fleet already: nothing is to be written", a.Region)
		return c.of(s.Roster), nil
	}
	next, err := wider(ctx, k, s, base, &a)
	if err != nil {
		return nil, err
	}
	k.config.Fleet.Expect(a.Region, a.Peers)
	defer k.config.Fleet.Dismiss(a.Region) // it is part of the picture by then, if it is one of the fleet
	newcomer, err := k.meet(ctx, a.Region)
	if err != nil {
		return nil, err
	}
	if err := reached(ctx, k, c, &a); err != nil {
		return nil, err
	}
	readmit(base, next, newcomer)
	if err := judge(c, newcomer, k.caughtUp(ctx, newcomer), next); err != nil {
		return nil, err
	}
	if err := k.whole(ctx, s, next, ""); err != nil {
		return nil, err
	}
	if a.Source != "" {
		c.say("it is to follow region %s while it is secondary, and to have its first copy of that, while that is well",
			a.Source)
	}
	return k.write(ctx, c, base, next, a.Try)
}

// reached returns nil if a node of the region answers at one of the addresses that are named, at least, and none of
// another region at any: one that is known answers where it is by what is in force, and is asked by these from then on.
func reached(ctx context.Context, k *Keeper, c *Change, a *Addition) error {
	var silent []error
	for _, addr := range a.Peers {
		switch r, err := k.config.Fleet.At(ctx, addr); {
		case err != nil:
			silent = append(silent, err)
			c.say("nobody answers at %s: %v", addr, err)
		case r.Region != a.Region:
			return fmt.Errorf("%w: region %s cannot be added: at %s a node of region %q answers", contract.ErrRejected,
				a.Region, addr, r.Region)
		}
	}
	if len(silent) == len(a.Peers) {
		return fmt.Errorf("%w: region %s cannot be added: no node of it answers at %s: %w", contract.ErrNotReady,
			a.Region, strings.Join(a.Peers, ", "), errors.Join(silent...))
	}
	return nil
}

// wider returns the roster with a region more, or with other addresses or another source of one.
func wider(
	ctx context.Context, k *Keeper, s *timeline.State, base *timeline.Roster, a *Addition,
) (*timeline.Roster, error) {
	next := base.With(s.Cursor.Epoch, k.config.Region, a.Region, a.Peers)
	next.Home(a.Region).Source = a.Source
	if fault := next.Fault(); fault != "" {
		return nil, fmt.Errorf("%w: %s", contract.ErrArgument, fault)
	}
	if a.Source == "" {
		return next, nil
	}
	return next, sourced(ctx, k, next)
}

// whole returns nil if every region that is known of is in the next roster, but for the one that goes: nodes of a
// region that is not in it end.
func (k *Keeper) whole(ctx context.Context, s *timeline.State, next *timeline.Roster, goes string) error {
	seen := map[string]string{}
	if s.Roster == nil {
		seen = k.config.Seen(ctx)
	}
	if missing := left(s, next, seen, goes); len(missing) > 0 {
		return fmt.Errorf("%w: the roster would be written by the configuration of %s, which lacks %s: have it under "+
			"regions in every file of region %s, or add it first, or stop it", contract.ErrNotReady, k.config.Region,
			strings.Join(missing, "; "), k.config.Region)
	}
	return nil
}

// left returns the regions that a primary in the state s knows of, or of which somebody else has seen something, and
// that the next roster does not have, in order, with how they are known.
func left(s *timeline.State, next *timeline.Roster, seen map[string]string, goes string) (missing []string) {
	known := maps.Clone(seen)
	for _, o := range s.Slots {
		known[o.Region] = "it has a slot"
	}
	if charter := s.Charter(); charter != nil {
		for i := range charter.Voters {
			if v := &charter.Voters[i]; !v.Witness() {
				known[v.ID] = "it votes"
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if name != goes && next.Home(name) == nil {
			missing = append(missing, fmt.Sprintf("region %s (%s)", name, known[name]))
		}
	}
	return missing
}

// meet waits until all nodes of a region that is expected answer, and one of them leads it.
func (k *Keeper) meet(ctx context.Context, name string) (*fleet.Region, error) {
	missing := ""
	for began := k.config.Clock.Now(); ; {
		r, _ := k.config.Fleet.Expected(name)
		l := r.Leader()
		switch {
		case l == nil && r.Err != nil:
			missing = fmt.Sprintf("no node of it answers: %v", r.Err)
		case l == nil:
			missing = "no node of it that answers leads it: start a majority of them"
		default:
			if missing = silent(&r, l); missing == "" {
				return &r, nil
			}
		}
		if k.config.Clock.Now().Sub(began) > 5*k.config.Timeout {
			return nil, fmt.Errorf("%w: region %s cannot be added: %s", contract.ErrNotReady, name, missing)
		}
		k.config.Fleet.Refresh()
		if err := k.config.Life.Pause(ctx, again); err != nil {
			return nil, fmt.Errorf("%w: region %s: %s: %w", contract.ErrNotReady, name, missing, err)
		}
	}
}

// caughtUp returns the state of this region once it has what a region had when that was heard, if it comes to have it:
// one that follows already has it from here, or from another node of this region, which is further.
func (k *Keeper) caughtUp(ctx context.Context, r *fleet.Region) *timeline.State {
	ctx, cancel := context.WithTimeout(ctx, k.config.Timeout)
	defer cancel()
	at := r.Leader().Cursor.Position
	v, _ := k.config.Applied.Wait(ctx, func(v *region.View) bool { return v.State.Cursor.Position >= at })
	return &v.State
}

// silent says which node of a region does not answer, "" if all do.
func silent(r *fleet.Region, l *fleet.Heard) string {
	for _, o := range l.Nodes {
		if !slices.ContainsFunc(r.Nodes, func(h fleet.Heard) bool { return h.ID == o.ID }) {
			return fmt.Sprintf("node %s of it does not answer", cmp.Or(o.Name, fmt.Sprintf("%x", o.ID)))
		}
	}
	return ""
}

// judge looks at a region that is to come, with the roster next, to the fleet of a primary in the state s, and says
// what it found.
func judge(c *Change, r *fleet.Region, s *timeline.State, next *timeline.Roster) error {
	l := r.Leader()
	var nodes []string
	for i := range r.Nodes {
		nodes = append(nodes, r.Nodes[i].Node)
	}
	slices.Sort(nodes)
	c.say("region %s answers: %s, led by %s", r.Name, strings.Join(nodes, ", "), l.Node)
	const empty = "start its nodes with empty data directories"
	switch {
	case r.Level < next.Level():
		return fmt.Errorf("%w: %w: a node of region %s does not know regions as state of the fleet as others do: "+
			"upgrade it first", contract.ErrNotReady, contract.ErrOldNode, r.Name)
	case l.Diverged, l.Role == timeline.Primary, timeline.Supersedes(l.Claim, s.HighestClaim()):
		return fmt.Errorf("%w: region %s has a history of its own, with epoch %d of %s: %s", contract.ErrRejected,
			r.Name, l.Claim.Epoch, l.Claim.Primary, empty)
	case next.Lacks(r.Name, l.Roster):
		return fmt.Errorf("%w: region %s was removed since roster %d of epoch %d, by which it goes, and its nodes "+
			"take no part again with their data: %s", contract.ErrRejected, r.Name,
			l.Roster.Number, l.Roster.Epoch, empty)
	case next.Before(l.Roster):
		return fmt.Errorf("%w: region %s goes by roster %d of epoch %d, which is newer than that of this fleet: %s",
			contract.ErrRejected, r.Name, l.Roster.Number, l.Roster.Epoch, empty)
	}
	if len(l.Reigns) == 0 {
		c.say("it holds nothing yet, and takes the history of %s from its beginning, or a copy of the state first",
			s.Region)
		return nil
	}
	relation, shared := timeline.Compare(l.Reigns, s.Reigns, l.Cursor.Position, s.Cursor.Position)
	if relation != timeline.Prefix {
		return fmt.Errorf("%w: region %s holds position %d of epoch %d, of which %s shares what is up to %d: %s",
			contract.ErrRejected, r.Name, l.Cursor.Position, l.Cursor.Epoch, s.Region, shared, empty)
	}
	c.say("it holds the history up to position %d of %d, and goes on from there", l.Cursor.Position, s.Cursor.Position)
	return nil
}

// readmit has a region be in the roster next as it is in the one that it goes by itself, where the order which wrote
// that was lost in a failover: nobody removed it here.
func readmit(base, next *timeline.Roster, r *fleet.Region) {
	h, has := next.Home(r.Name), r.Leader().Roster.Home(r.Name)
	if base.Home(r.Name) == nil && base.Was(r.Name) == nil && has != nil && has.Arrived(h) < 0 {
		h.Since, h.Came = has.Since, has.Came
	}
}

// write has the region agree on the next roster, unless it is only tried.
func (k *Keeper) write(ctx context.Context, c *Change, base, next *timeline.Roster, try bool) (*Change, error) {
	c.say("roster %d of epoch %d: %s", next.Number, next.Epoch, strings.Join(names(next), ", "))
	if try {
		return c.of(base), nil
	}
	o, err := k.config.Controls.Control(ctx, &timeline.Control{
		Op: timeline.OpRoster, Roster: next, To: k.config.Region,
	})
	switch {
	case err == nil && o.Outcome == timeline.Skipped:
		err = fmt.Errorf("%w: another one was written just before", contract.ErrNotReady)
	case err == nil && o.Outcome != timeline.Applied:
		err = fmt.Errorf("%w: %s", contract.ErrRejected, o.Why)
	}
	if err != nil {
		return nil, fmt.Errorf("roster %d of epoch %d: %w", next.Number, next.Epoch, err)
	}
	c.Written = true
	k.config.Logger.Info("the fleet has another roster", "roster", next.Number, "epoch", next.Epoch,
		"regions", names(next))
	k.until(ctx, next)
	return c.of(next), nil
}

// until waits until this node goes by a roster that is applied, so that whoever looks next sees it.
func (k *Keeper) until(ctx context.Context, r *timeline.Roster) {
	for began := k.config.Clock.Now(); k.config.Clock.Now().Sub(began) < k.config.Timeout; {
		k.Nudge()
		v, _ := k.config.Fleet.View()
		settled := len(v.Regions) == len(r.Regions)-1
		for name := range r.Others(k.config.Region) {
			_, shown := v.Regions[name]
			settled = settled && shown
		}
		if settled || k.config.Life.Pause(ctx, again) != nil {
			return
		}
	}
}
