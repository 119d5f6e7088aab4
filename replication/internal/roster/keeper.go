package roster

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/internal/standing"
	"github.com/mimir-kv/mimir/replication/internal/wake"
	"github.com/mimir-kv/mimir/replication/timeline"
)

const (
	// every is how often it is looked without news.
	every = time.Second
	// patience is how long a node waits for its region to agree that it was removed.
	patience = 5 * time.Second
)

// Controls takes controls to the region's log.
type Controls interface {
	Control(ctx context.Context, c *timeline.Control) (region.Outcome, error)
}

// Group is the region's Raft group.
type Group interface {
	// ReadIndex returns a point at or after everything that the region agreed on before the call.
	ReadIndex(ctx context.Context) (uint64, error)
}

// Charter is who votes about the primary, at the leader of that. It is safe for concurrent use.
type Charter interface {
	// Removable returns why a region that votes cannot be taken out of the charter now, nil if it can.
	Removable(region string) error
	// Unvote takes its vote. Errors as of votes.Change.
	Unvote(ctx context.Context, region string) error
}

// Config is what a Keeper needs. All fields are required.
type Config struct {
	Region     string
	Configured map[string][]string // the others, by the configuration of this node
	Own        func() []string     // where nodes of this region are reached
	Timeout    time.Duration       // of one question, and of writing to the log
	Clock      clock.Clock
	Logger     *slog.Logger
	Life       *life.Life
	Group      Group
	Applied    *region.Applied
	Leadership *region.Leadership
	Fleet      *fleet.Watcher
	Standing   *standing.Standing
	Client     *peer.Client
	Controls   Controls
	Charter    Charter
	// Ready returns nil once every node of every region, but for the one called without, says that it understands what
	// is of a level.
	Ready func(ctx context.Context, level timeline.Level, without string) error
	// Level asks the other nodes of the region, and returns the lowest level of those that answer.
	Level func(ctx context.Context) timeline.Level
	// Seen returns regions that are, or may be, of the fleet by what other nodes say or do, with how that is known. It
	// is asked where there is no roster yet.
	Seen func(ctx context.Context) map[string]string
	// Moving returns the region to which this node moves the primary, "" if it does not.
	Moving func() string
	// Follows reports whether a source serves this node a stream now.
	Follows func() bool
	// OnGone is told of a region that is not one of the fleet any more, and OnStray again and again while it is not.
	// Neither blocks for long.
	OnGone, OnStray func(region string)
	// OnRemoved is told that this node's region is not one of the fleet any more. It may be called often, and must not
	// block.
	OnRemoved func(error)
}

// Keeper keeps this node by the roster of its region, and that by the newest one. It is safe for concurrent use.
type Keeper struct {
	config Config
	wake   wake.Signal
	order  turn
	named  hearsay // where there is no roster

	mu    sync.Mutex
	heard *timeline.Roster // the newest; nil: none
	told  time.Time        // when the leader of the primary was asked last who said that one
	since time.Time        // when without was first heard; zero: none was
	// without is the newest roster that was heard without this region.
	without *timeline.Roster
	// alone is since when this region has a part of the history, and is served no stream; zero: it has none, or is.
	alone time.Time
	of    *timeline.Roster  // others and names are of it
	by    [2]timeline.Reign // and of these: the last one, and the one that the region yielded to
	names []string
	other map[string][]string

	// Of Settle, learn and stamp alone, which one goroutine at a time calls.
	settled *timeline.Roster // by which the other rooms go
	beside  []string         // regions that count as ones of the fleet beside it
	old     *timeline.Roster // for which a node of this region is too old
	gone    map[string]bool  // regions that were there, in the time of this process
	reign   timeline.Reign   // in which the roster has to be written anew
	sought  time.Time        // since when that is known
}

// New returns a Keeper by which nothing goes before Settle.
func New(c Config) *Keeper {
	k := &Keeper{config: c, wake: wake.New(), gone: map[string]bool{},
		other: c.Configured, names: slices.Sorted(maps.Keys(c.Configured))}
	return k
}

// Nudge has it look again: a control was applied.
func (k *Keeper) Nudge() { k.wake.Nudge() }

// Others returns the other regions of the fleet with where they are said to be. It must not be changed.
func (k *Keeper) Others() map[string][]string {
	_, other := k.known()
	return other
}

// Names returns the names of the other regions, in order. It must not be changed.
func (k *Keeper) Names() []string {
	names, _ := k.known()
	return names
}

// All returns the names of all regions, in order.
func (k *Keeper) All() []string {
	all := append(slices.Clone(k.Names()), k.config.Region)
	slices.Sort(all)
	return all
}

func (k *Keeper) known() (names []string, other map[string][]string) {
	s := k.config.Applied.State()
	r, by := s.Roster, [2]timeline.Reign{timeline.Latest(s.Reigns), s.Yielded}
	k.mu.Lock()
	defer k.mu.Unlock()
	if r != nil && (r != k.of || by != k.by) {
		k.of, k.by, k.other = r, by, r.Others(k.config.Region)
		for name := range k.other {
			if ways := k.config.Configured[name]; ways != nil && r.Home(name).Since == 0 {
				k.other[name] = ways // as this region was told on purpose
			}
		}
		for _, h := range k.beyond(s) {
			k.other[h.Name] = append(slices.Clone(h.Addrs), k.config.Configured[h.Name]...)
		}
		k.names = slices.Sorted(maps.Keys(k.other))
	}
	return k.names, k.other
}

// beyond returns the regions that count as ones of the fleet beside the roster of a region in the state s, as far as it
// is known where they are.
func (k *Keeper) beyond(s *timeline.State) (homes []timeline.Home) {
	for _, reign := range s.Beyond(s.Roster) {
		h := s.Roster.Was(reign.Primary)
		switch ways := k.config.Configured[reign.Primary]; {
		case h != nil:
			homes = append(homes, *h)
		case len(ways) > 0:
			homes = append(homes, timeline.Home{Name: reign.Primary, Addrs: ways})
		}
	}
	return homes
}

// Strays returns regions of the configuration that the roster does not have.
func (k *Keeper) Strays() (names []string) {
	r := k.config.Applied.State().Roster
	for _, name := range slices.Sorted(maps.Keys(k.config.Configured)) {
		if r != nil && r.Home(name) == nil {
			names = append(names, name)
		}
	}
	return names
}

// Bars returns why another region is not one of the fleet, nil if it is: by the roster, or where there is none, by what
// is known instead.
func (k *Keeper) Bars(name string) error {
	s := k.config.Applied.State()
	if c := s.Charter(); c != nil && !strings.HasPrefix(name, timeline.WitnessPrefix) && c.Voter(name) != nil {
		return nil // who is removed has no vote any more; who has one may be in a roster that is not here yet
	}
	switch r := s.Roster; {
	case r == nil && (k.config.Configured[name] != nil || wasPrimary(s, name) || k.named.has(name)):
		return nil
	case r == nil:
		return fmt.Errorf("%w: %s is not one of the fleet, by the configuration, and there is no roster: mimir region "+
			"add %s --peers ADDR[,ADDR]", contract.ErrUnknownRegion, name, name)
	case r.Home(name) != nil || slices.Contains(k.Names(), name):
		return nil
	default:
		return fmt.Errorf("%w: %s is not one of the fleet, by roster %d of epoch %d: mimir region add %s "+
			"--peers ADDR[,ADDR]", contract.ErrUnknownRegion, name, r.Number, r.Epoch, name)
	}
}

// wasPrimary reports whether a region was it once, or is.
func wasPrimary(s *timeline.State, name string) bool {
	return name != "" && (s.Yielded.Primary == name || // of no reign it is ""
		slices.ContainsFunc(s.Reigns, func(r timeline.Reign) bool { return r.Primary == name }))
}

// mostNamed is how many regions are remembered that others have in their configuration.
const mostNamed = 64

// hearsay is regions that nodes of other regions have in their configuration. They are remembered for as long as this
// process lives: what they are served must not end because such a node is away. Safe for concurrent use.
type hearsay struct {
	mu  sync.Mutex
	all map[string]bool
}

func (n *hearsay) note(regions []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.all == nil {
		n.all = map[string]bool{}
	}
	for _, name := range regions {
		if len(n.all) < mostNamed {
			n.all[name] = true
		}
	}
}

func (n *hearsay) has(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all[name]
}

// Hear takes what a node of another region said. It does not block.
func (k *Keeper) Hear(r fleet.Heard) {
	s := k.config.Applied.State()
	if _, known := k.Others()[r.Region]; !known {
		return // it may be of another fleet
	}
	if s.Roster == nil {
		k.named.note(r.Configured)
	}
	if r.Roster == nil || r.Roster.Fault() != "" || len(s.Beyond(r.Roster)) > 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(s.Beyond(k.heard)) > 0 || k.heard.Before(r.Roster) {
		k.heard, k.told = r.Roster, time.Time{}
		k.wake.Nudge()
	}
	if r.Leader && r.Region == s.HighestClaim().Primary && same(k.heard, r.Roster) {
		k.told = r.At
	}
}

// same reports whether two rosters are the same one.
func same(a, b *timeline.Roster) bool { return !a.Before(b) && !b.Before(a) }

// Run looks whenever there is news, until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	ticker := k.config.Clock.NewTicker(every)
	defer ticker.Stop()
	for {
		k.Settle()
		k.learn(ctx)
		k.stamp(ctx)
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-ticker.C():
		}
	}
}

// Settle has the other rooms go by what is applied. It is called before Run, and by it.
func (k *Keeper) Settle() {
	r, before := k.config.Applied.State().Roster, k.settled
	if r == nil {
		return
	}
	if r.Lacks(k.config.Region, before) {
		k.config.OnRemoved(Removed(k.config.Region, r))
		return
	}
	beside := slices.DeleteFunc(slices.Clone(k.Names()), func(name string) bool { return r.Home(name) != nil })
	if before != r || !slices.Equal(beside, k.beside) {
		k.turn(before, r)
		k.settled, k.beside = r, beside
	}
	for name := range k.gone {
		k.config.OnStray(name)
	}
}

// turn goes from one roster to a newer one, or from the configuration to the first.
func (k *Keeper) turn(before, r *timeline.Roster) {
	others := k.Others()
	former := map[string][]string{}
	for _, h := range r.Former {
		if _, is := others[h.Name]; !is && h.Name != k.config.Region {
			former[h.Name] = h.Addrs
		}
	}
	known := k.config.Configured
	if before != nil {
		known = before.Others(k.config.Region)
	}
	again := map[string][]string{} // those that were there and are
	for name := range known {
		if _, is := others[name]; is && !r.Lacks(name, before) {
			again[name] = others[name]
			continue
		}
		k.gone[name] = true
		k.config.Logger.Info("a region is not one of the fleet any more", "gone", name, "roster", r.Number,
			"epoch", r.Epoch)
	}
	k.config.Fleet.SetWith(again, former) // one that came back under a name is another one
	for name := range k.gone {
		k.config.OnGone(name)
		if others[name] != nil { // it came again, and what still follows may be the former one
			k.config.OnStray(name)
			delete(k.gone, name)
		}
	}
	for name, addrs := range others {
		if again[name] == nil {
			k.config.Logger.Info("a region is one of the fleet", "come", name, "addrs", addrs, "roster", r.Number,
				"epoch", r.Epoch)
		}
	}
	k.config.Fleet.SetWith(others, former)
}

// Removed says that the roster r has a region no more, which took it or heard of it, and what to do.
func Removed(region string, r *timeline.Roster) error {
	return fmt.Errorf("%w: %s took region %s out of the fleet (roster %d of epoch %d); its nodes take no part again "+
		"with their data, which stays as it is; to add it again, start them with empty data directories: mimir region "+
		"add %s --peers ADDR[,ADDR]", contract.ErrRemoved, r.By, region, r.Number, r.Epoch, region)
}

// awaits reports whether a region takes no roster before the primary told it, which it asks: it has none, and one by
// which another region still goes may have a former region of its name, for which it would take itself, and end.
func awaits(s *timeline.State, others map[string][]string) bool {
	primary := s.HighestClaim().Primary
	_, asks := others[primary]
	return s.Roster == nil && s.Role() != timeline.Primary && (asks || primary == "")
}

// learn has the region take the newest roster that was heard, while this node leads it.
func (k *Keeper) learn(ctx context.Context) {
	leads := k.config.Leadership.Leads() // before the state, which has everything then
	s := k.config.Applied.State()
	k.mu.Lock()
	heard, told := k.heard, !k.told.IsZero()
	k.mu.Unlock()
	if !wanted(s, heard) || !told && awaits(s, k.Others()) {
		return
	}
	if heard.Lacks(k.config.Region, s.Roster) && !k.gives(s, heard) {
		return
	}
	if !leads {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, k.config.Timeout)
	defer cancel()
	if level := k.config.Level(ctx); level < heard.Level() {
		k.tooOld(heard, level)
		return
	}
	o, err := k.config.Controls.Control(ctx, &timeline.Control{Op: timeline.OpRoster, Roster: heard})
	if err == nil && o.Outcome == timeline.Refused {
		err = fmt.Errorf("%w: %s", contract.ErrRejected, o.Why)
	}
	if err != nil && ctx.Err() == nil {
		k.config.Logger.Debug("roster not taken", "roster", heard.Number, "epoch", heard.Epoch, "err", err)
	}
}

// tooOld warns, once for each roster, that a node of this region cannot take it.
func (k *Keeper) tooOld(heard *timeline.Roster, level timeline.Level) {
	if !same(k.old, heard) {
		k.old = heard
		k.config.Logger.Warn("cannot take the roster of the fleet: a node of this region is of a version that does "+
			"not know it; upgrade it", "roster", heard.Number, "epoch", heard.Epoch, "level", level)
	}
}

// wanted reports whether a region in the state s is to take a roster that was heard, or, if it is not in that, to end:
// it is newer, and lacks nobody only because who wrote it did not know of a reign. Who is primary ends by none but that
// of a reign which outranks its own, if it cannot even give way to that.
func wanted(s *timeline.State, heard *timeline.Roster) bool {
	return s.Roster.Before(heard) && len(s.Beyond(heard)) == 0 &&
		(s.Role() != timeline.Primary || !heard.Lacks(s.Region, s.Roster) || !heard.Outranked(s.HighestClaim()))
}

// gives looks at a roster without this region, and reports whether the region is to agree on it. It is only if it was
// removed: one that the roster does not name among the former may have been added by an order that was lost, or just
// now, or is about to be; it waits, and nobody serves it. Where another region came under its name there is nothing to
// agree on, and where it cannot agree within patience the node ends by itself.
func (k *Keeper) gives(s *timeline.State, heard *timeline.Roster) bool {
	now, follows := k.config.Clock.Now(), k.config.Follows()
	k.mu.Lock()
	switch {
	case len(s.Reigns) == 0 || follows:
		k.alone = time.Time{}
	case k.alone.IsZero():
		k.alone = now
	}
	was, known := heard.Was(k.config.Region), s.Roster.Home(k.config.Region)
	replaced := heard.Home(k.config.Region) != nil
	removed := was != nil && (known == nil || was.Arrived(known) == 0)
	// One that never was in a roster that it took may just have been added, which this roster is too old to say. If it
	// has nothing yet it waits; else it believes the primary, once that has not served it for long enough.
	early := known == nil && (k.alone.IsZero() || k.told.Sub(k.alone) < patience)
	if !replaced && !removed || early {
		k.mu.Unlock()
		return false
	}
	if !same(k.without, heard) {
		k.since, k.without = now, heard
	}
	late := now.Sub(k.since) >= patience
	k.mu.Unlock()
	if late || replaced {
		k.config.OnRemoved(Removed(k.config.Region, heard))
		return false
	}
	return true
}
