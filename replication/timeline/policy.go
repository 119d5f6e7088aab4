package timeline

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Flap bounds how often the primary moves by itself: Moves times Within. No Moves: as often as it may be.
type Flap struct {
	Moves  uint32        `json:"moves"`
	Within time.Duration `json:"within"`
}

// DefaultFlap is the bound of a charter that says nothing.
var DefaultFlap = Flap{Moves: 3, Within: 10 * time.Minute}

// MaxMoves is how many moves a voter remembers, and the most that a bound may allow.
const MaxMoves = 32

// Move is one of the primary by itself: the epoch that was to begin by it, and when, by the wall clock of who asked for
// votes. Nothing that must be safe depends on that clock.
type Move struct {
	Epoch Epoch     `json:"epoch"`
	At    time.Time `json:"at"`
}

// Bound returns how often the primary moves by itself.
func (c *Charter) Bound() Flap {
	if c.Flap == nil {
		return DefaultFlap
	}
	return *c.Flap
}

// Level returns the earliest level of nodes that understand the charter.
func (c *Charter) Level() Level {
	if c.Hold != nil && c.Hold.Counted {
		return LevelCount
	}
	if c.Hold != nil || c.Under.Epoch != 0 {
		return LevelHold
	}
	if c.Flap != nil || c.Failback != 0 || len(c.Returns) > 0 || c.Former != 0 {
		return LevelPolicy
	}
	return LevelBallots
}

// Awaits reports whether the charter has a return by which a later epoch than e was to begin: it is under way, or came
// to nothing.
func (c *Charter) Awaits(e Epoch) bool {
	return slices.ContainsFunc(c.Returns, func(m Move) bool { return m.Epoch > e })
}

// Merge returns the moves of both without repetition, by epoch, the last ones.
func Merge(a, b []Move) []Move {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(x, y Move) int {
		return cmp.Or(cmp.Compare(x.Epoch, y.Epoch), x.At.Compare(y.At))
	})
	all = slices.CompactFunc(all, func(x, y Move) bool { return x.Epoch == y.Epoch })
	return all[max(0, len(all)-MaxMoves):]
}

// Recent returns those of the moves that count by the bound at now: their epochs are known to have begun. A clock that
// is wrong makes them count for at most twice as long.
func (f Flap) Recent(moves []Move, begun func(Epoch) bool, now time.Time) (list []Move) {
	for _, m := range moves {
		if m.At.Before(now.Add(f.Within)) && now.Before(m.At.Add(f.Within)) && begun(m.Epoch) {
			list = append(list, m)
		}
	}
	return list
}

// Until returns from when on the primary may move by itself again, if those moves count; zero: it may.
func (f Flap) Until(recent []Move) time.Time {
	if f.Moves == 0 || len(recent) < int(f.Moves) {
		return time.Time{}
	}
	times := make([]time.Time, 0, len(recent))
	for _, m := range recent {
		times = append(times, m.At)
	}
	slices.SortFunc(times, time.Time.Compare)
	return times[len(times)-int(f.Moves)].Add(f.Within)
}

// moved takes note of a vote for a region that moves the primary by itself.
func (b *Ballot) moved(c *Candidacy) {
	if !c.At.IsZero() {
		b.Moves = Merge(b.Moves, []Move{{c.Epoch, c.At}})
	}
}

// Level returns the earliest level of nodes that understand c.
func (c *Control) Level() Level {
	level := c.Op.Level()
	if c.Back {
		level = LevelCount
	}
	if c.Charter != nil {
		level = max(level, c.Charter.Level())
	}
	if c.Vote != nil {
		level = max(level, c.Vote.Charter.Level())
	}
	if c.Roster != nil {
		level = max(level, c.Roster.Level())
	}
	if c.Origin != nil {
		level = max(level, c.Origin.Commands)
	}
	return level
}

// Keeps has the charter know which priority a region had, for when it votes again; unless that is known.
func (c *Charter) Keeps(v *Voter) {
	if _, known := c.Priorities[v.ID]; known || v.Witness() {
		return
	}
	c.Priorities = maps.Clone(c.Priorities)
	if c.Priorities == nil {
		c.Priorities = map[string]uint8{}
	}
	c.Priorities[v.ID] = v.Priority
}

// Again returns the priority that a voter gets which votes from now on: the one that it had, or else its own. What was
// kept of it is forgotten.
func (c *Charter) Again(v *Voter) uint8 {
	p, known := c.Priorities[v.ID]
	if !known {
		return v.Priority
	}
	c.Priorities = maps.Clone(c.Priorities)
	if delete(c.Priorities, v.ID); len(c.Priorities) == 0 {
		c.Priorities = nil
	}
	return p
}
