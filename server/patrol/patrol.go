package patrol

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication"
	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/server/verify"
)

// Config is what a Patrol is made of. Every field is required.
type Config struct {
	// Every is the period in which all nodes are compared whole, if BytesPerSecond is enough for that; 0: never.
	Every time.Duration
	// BytesPerSecond of keys and values, of each node, are compared at most.
	BytesPerSecond int64
	// Tenure returns the one in which this node is the one that asks; the zero Tenure if another one is. Members
	// returns all nodes of the fleet, this one too, as far as they are known, and Unheard the regions of which none is.
	Tenure  func() replication.Tenure
	Members func() []Member
	Unheard func() []string
	Ask     Ask
	// History returns what tells the history that this node has from others, as of a fleet or region that was formed
	// anew under the same name; "": it is not known.
	History func() string
	// Aside reports whether an alarm says already that a node differs, so that it is not compared.
	Aside func(m Member) bool
	// Raise raises an alarm about nodes, for the fleet: that they differ from their region, or that they hold something
	// else than others and it is not known who is right. It may be raised already. They were compared in a tenure, and
	// nothing is raised in another one: who leads then may have seen them rebuilt.
	Raise  func(ctx context.Context, in replication.Tenure, wrong, unsure []Member) error
	Clock  clock.Clock
	Logger *slog.Logger
}

// Times and sizes.
const (
	lookEvery    = time.Second      // whether this node leads
	retryEvery   = 10 * time.Second // what could not be compared; less where the period is short
	firstShare   = 100              // the period through it passes before who begins to lead compares
	confirmAfter = 2 * time.Second  // a difference is looked at again
	confirmTries = 5                // if it cannot be looked at
	missedTries  = 3                // if somebody does not answer who did before
	raiseTimeout = 10 * time.Second
	pieceBytes   = 1 << 20 // about, of one question; a part with large values has more
)

// Patrol compares nodes. Run is called once; Report is safe for concurrent use.
type Patrol struct {
	Config

	mu     sync.Mutex
	report Report
	rounds int            // begun
	told   map[string]int // in which of them something was told last
}

// New returns a patrol.
func New(c Config) *Patrol { return &Patrol{Config: c, told: map[string]int{}} }

// Run compares, while this node leads, until ctx ends.
func (p *Patrol) Run(ctx context.Context) {
	if p.Every <= 0 {
		return
	}
	in, last := replication.Tenure{}, int64(0)
	for pause(ctx, p.Clock, lookEvery) == nil {
		now := p.Tenure()
		anew := now != in
		if in = now; anew {
			last = 0
		}
		switch {
		case in != replication.Tenure{}:
			p.begin(true, anew)
		case anew:
			p.begin(false, false)
			continue
		default:
			continue
		}
		if anew { // who has just taken over has other things to do
			p.idle(ctx, in, p.Every/firstShare)
			continue
		}
		began := p.Clock.Elapsed()
		last = p.round(ctx, in, last)
		p.idle(ctx, in, p.Every-(p.Clock.Elapsed()-began))
	}
}

// retry is how long it takes until what could not be compared is tried again.
func (p *Patrol) retry() time.Duration { return min(retryEvery, max(p.Every/firstShare, lookEvery)) }

// idle waits, while a tenure lasts.
func (p *Patrol) idle(ctx context.Context, in replication.Tenure, d time.Duration) {
	for until := p.Clock.Elapsed() + d; p.Tenure() == in; {
		left := until - p.Clock.Elapsed()
		if left <= 0 || pause(ctx, p.Clock, min(lookEvery, left)) != nil {
			return
		}
	}
}

// round is one walk over all that nodes hold.
type round struct {
	*Patrol
	in      replication.Tenure
	rate    int64
	bytes   int64
	low     int64 // the earliest revision at which a piece was compared; 0: none was
	members []Member
	why     map[string]string // who is not compared whole in it
	old     bool              // there is a node that does not know the question
}

// round compares all that nodes hold, once, and returns how many bytes that was of each; 0 if it did not get to the
// end.
func (p *Patrol) round(ctx context.Context, in replication.Tenure, last int64) int64 {
	r := &round{
		Patrol: p, in: in, rate: pace(last, p.BytesPerSecond, p.Every), members: p.Members(), why: map[string]string{},
	}
	var from []byte
	for {
		if ctx.Err() != nil || p.Tenure() != in {
			return 0
		}
		began := p.Clock.Elapsed()
		result, err := r.piece(ctx, from)
		from = result.Reached
		wait := lasts(result.Bytes, r.rate) - (p.Clock.Elapsed() - began)
		if err == nil && !result.More {
			break
		} else if err != nil {
			p.Logger.Debug("nodes were not compared", "err", err)
			if wait = max(wait, p.retry()); errors.Is(err, verify.ErrCompacted) {
				wait = lookEvery
			}
		}
		if pause(ctx, p.Clock, wait) != nil {
			return 0
		}
	}
	r.beside(ctx)
	p.ended(r.members, r.why, r.low)
	return max(r.bytes, 1)
}

// stand asks all nodes where they stand, and says why those do not who do not.
func (r *round) stand(ctx context.Context) (nodes []verify.Node, standings []verify.Standing, why map[string]string) {
	now, history := r.Members(), r.History()
	r.left(now)
	r.members, r.old, why = now, false, map[string]string{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, m := range r.members {
		all.Go(func() {
			s, err := verify.Standing{}, errAside
			if !r.Aside(m) {
				s, err = r.Ask.stand(ctx, m)
			}
			if err == nil && history != "" && s.History != "" && s.History != history {
				err = errElsewhere
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				why[m.Name] = err.Error()
				r.old = r.old || errors.Is(err, ErrUnknown)
				return
			}
			nodes, standings = append(nodes, r.Ask.node(m)), append(standings, s)
		})
	}
	all.Wait()
	slices.SortFunc(nodes, func(a, b verify.Node) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(standings, func(a, b verify.Standing) int { return strings.Compare(a.Name, b.Name) })
	return nodes, standings, why
}

var (
	errAside = errors.New("an alarm says that it differs")
	// errElsewhere says of a node that at no revision it has to hold what others do.
	errElsewhere = errors.New("it has another history from the beginning on: it, or its region, was formed anew by " +
		"itself")
)

// left notes nodes that came while a round was under way: it has not compared all of them.
func (r *round) left(now []Member) {
	for _, m := range now {
		before := func(o Member) bool { return o.Name == m.Name && o.Region == m.Region }
		if !slices.ContainsFunc(r.members, before) && r.why[m.Name] == "" {
			r.why[m.Name] = "it came while a round was under way"
		}
	}
}

// piece compares a piece of the keys, from a key on, of those who can be compared with each other; and of those who are
// too late for that among themselves. The result is never nil, and Reached in it is where the next piece begins.
func (r *round) piece(ctx context.Context, from []byte) (*verify.Result, error) {
	for tries := 0; ; {
		nodes, standings, why := r.stand(ctx)
		result, err := verify.Together(ctx, nodes, standings,
			verify.Options{Range: verify.Range{From: from}, Most: pieceBytes})
		for _, m := range result.Missing {
			why[m.Node] = m.Why
		}
		r.bytes += result.Bytes
		if err == nil && (r.low == 0 || result.Revision < r.low) {
			r.low = result.Revision
		}
		r.counted(result)
		again := r.examine(ctx, result)
		if err == nil {
			again = r.late(ctx, nodes, standings, verify.Range{From: from, To: to(result)}) || again
		}
		if !again && r.lost(why) && tries < missedTries {
			tries++
			again = pause(ctx, r.Clock, r.retry()) == nil
		}
		if !again || ctx.Err() != nil {
			for name, text := range why {
				r.why[name] = text
			}
			return result, err
		}
	}
}

// lost reports whether somebody is not compared in a piece who was in all of them before.
func (r *round) lost(why map[string]string) bool {
	for name := range why {
		if r.why[name] == "" {
			return true
		}
	}
	return false
}

// to is where a piece ended; nil: with the last key.
func to(r *verify.Result) []byte {
	if r.More {
		return r.Reached
	}
	return nil
}

// late compares those who are too late to be compared with others, among themselves.
func (r *round) late(ctx context.Context, nodes []verify.Node, all []verify.Standing, of verify.Range) (again bool) {
	for i, cohort := range verify.Cohorts(all) {
		if i == 0 || len(cohort) < 2 {
			continue
		}
		result, err := verify.Together(ctx, nodes, cohort, verify.Options{Range: of})
		if err != nil {
			continue // who is late is told as not compared with the others in any case
		}
		r.counted(result)
		again = r.examine(ctx, result) || again
	}
	return again
}

// examine looks again at the first difference that a comparison found. again says that nodes were excluded by it, so
// that others may differ behind it.
func (r *round) examine(ctx context.Context, result *verify.Result) (again bool) {
	if result.First == nil {
		return false
	}
	of, involved := result.First.Range, 0
	for _, g := range result.First.Groups {
		involved += len(g.Nodes)
	}
	for range confirmTries {
		if pause(ctx, r.Clock, confirmAfter) != nil {
			return false
		}
		nodes, standings, _ := r.stand(ctx)
		standings = slices.DeleteFunc(standings, func(s verify.Standing) bool {
			return !slices.ContainsFunc(result.First.Groups, func(g verify.Group) bool {
				return slices.Contains(g.Nodes, s.Name)
			})
		})
		second, err := verify.Together(ctx, nodes, standings, verify.Options{Range: of})
		if second.First == nil && (err != nil || len(second.Nodes) < involved) {
			continue // who may have differed was not heard
		}
		if second.First == nil {
			r.Logger.Warn("nodes held different things, and do not any more", "revision", result.Revision)
			return false
		}
		return r.tell(ctx, Finding{What: "keys", Revision: second.Revision}, second.First.Groups)
	}
	r.Logger.Warn("nodes held different things, which could not be looked at again", "revision", result.Revision)
	return false
}

// beside compares leases, users and roles, and looks again at what differs; once more where somebody did not answer
// then who may have differed.
func (r *round) beside(ctx context.Context) {
	var first, second *verify.BesideResult
	var why map[string]string // who was not compared in the last look
	defer func() { r.notBeside(why) }()
	for range confirmTries {
		first, why = r.lookBeside(ctx)
		if !differs(first) || pause(ctx, r.Clock, confirmAfter) != nil {
			return
		}
		second, why = r.lookBeside(ctx)
		told, again := false, false
		for _, d := range second.Differ {
			if d.What != verify.Alarms && slices.ContainsFunc(first.Differ, func(b verify.BesideDiff) bool {
				return b.What == d.What
			}) {
				told = true
				again = r.tell(ctx, Finding{What: d.What}, d.Groups) || again
			}
		}
		if told && !again || !told && !missing(first.Differ, why) {
			return
		}
	}
}

// missing reports whether somebody was not compared of whom a difference is.
func missing(differ []verify.BesideDiff, why map[string]string) bool {
	return slices.ContainsFunc(differ, func(d verify.BesideDiff) bool {
		return slices.ContainsFunc(d.Groups, func(g verify.Group) bool {
			return slices.ContainsFunc(g.Nodes, func(name string) bool { return why[name] != "" })
		})
	})
}

// lookBeside compares leases, users and roles once, and says why those were not who were not.
func (r *round) lookBeside(ctx context.Context) (*verify.BesideResult, map[string]string) {
	nodes, standings, why := r.stand(ctx)
	if len(nodes) < 2 {
		for _, n := range nodes {
			if len(r.members) > 1 {
				why[n.Name] = "nobody else was there to compare it with"
			}
		}
		return &verify.BesideResult{}, why
	}
	b := verify.AskBeside(ctx, nodes, latest(standings))
	for _, m := range b.Missing {
		why[m.Node] = m.Why
	}
	for _, d := range b.Differ {
		if d.What == verify.Alarms {
			r.Logger.Warn("nodes have different alarms; mimir verify says which", "position", b.Position)
		}
	}
	return b, why
}

// notBeside notes who was not compared in all that is beside the keys.
func (r *round) notBeside(why map[string]string) {
	for name, text := range why {
		if r.why[name] == "" {
			r.why[name] = "leases and users: " + text
		}
	}
}

// differs reports whether there is a difference of which an alarm may come, and has the log tell the others.
func differs(b *verify.BesideResult) bool {
	return slices.ContainsFunc(b.Differ, func(d verify.BesideDiff) bool { return d.What != verify.Alarms })
}

func latest(standings []verify.Standing) (position uint64) {
	for _, s := range standings {
		position = max(position, s.Position)
	}
	return position
}

// tell says that nodes differ, and raises the alarm. again says that some were excluded by it.
func (r *round) tell(ctx context.Context, f Finding, groups []verify.Group) (again bool) {
	f.At, f.Verdict = r.Clock.Now(), Judge(groups, r.members, r.Unheard())
	for _, g := range groups {
		f.Groups = append(f.Groups, g.Nodes)
	}
	if r.old {
		f.Untold = "a node of the fleet is of a version that does not know this alarm"
	} else if err := r.raise(ctx, &f.Verdict); err != nil {
		f.Untold = err.Error()
	}
	if !r.known(&f) {
		r.Logger.Error("nodes hold different things; mimir verify says which", "what", f.What, "verdict", f.text(),
			"revision", f.Revision, "no alarm", f.Untold)
		r.found(f)
	}
	return f.Untold == "" && len(f.Wrong) > 0
}

// known reports whether the same was told in this round or the one before: those that hold different things and are
// not excluded are found in every round, and in every piece in which they do.
func (p *Patrol) known(f *Finding) bool {
	if f.Untold == "" && len(f.Wrong) > 0 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	last, told := p.told[f.key()]
	p.told[f.key()] = p.rounds
	return told && last >= p.rounds-1
}

func (r *round) raise(ctx context.Context, v *Verdict) error {
	named := func(names []string) (those []Member) {
		for _, m := range r.members {
			if slices.Contains(names, m.Name) {
				those = append(those, m)
			}
		}
		return those
	}
	ctx, cancel := context.WithTimeout(ctx, raiseTimeout)
	defer cancel()
	return r.Raise(ctx, r.in, named(v.Wrong), named(v.Unsure))
}
