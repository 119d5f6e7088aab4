package succession

import (
	"fmt"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// vote is one that the region was asked to cast.
type vote struct {
	call    uint64
	control *timeline.Control
	cast    bool
}

// election is what a beginning waits for: a majority of votes.
type election struct {
	id   uint64
	done func(timeline.Mandate, error)
	came *Elected // its end; not nil while what the region decides on is on its way, be it a vote for another one
}

// voting is what a machine has to do with votes.
type voting struct {
	votes    []*vote // that wait, or are on their way
	election *election
}

func (v *voting) asked(m *Machine, in VoteAsked) {
	if m.term == 0 {
		m.fail(in.Call, contract.ErrNotLeader)
		return
	}
	v.votes = append(v.votes, &vote{call: in.Call, control: in.Control})
}

// cast takes the first vote that waits to the log, behind everything that was streamed: what is acknowledged to a
// source must be held by whoever is voted for (P10). It reports whether a vote waits.
func (v *voting) cast(m *Machine) bool {
	if len(v.votes) == 0 {
		return false
	}
	o := v.votes[0]
	if o.cast || m.stop() {
		return true
	}
	o.cast = true
	m.decide(o.control, func(in Decided) {
		if len(v.votes) > 0 && v.votes[0] == o {
			v.votes = v.votes[1:]
		}
		r := Reply{Outcome: in.Outcome, Why: in.Why}
		if in.Err != nil {
			r.Err = undecided(in.Err)
		}
		m.answer(o.call, r)
	})
	return true
}

// drop answers all who wait for a vote: another node leads the region.
func (v *voting) drop(m *Machine, unknown error) {
	for _, o := range v.votes {
		m.fail(o.call, errIf(o.cast, unknown))
	}
	v.votes, v.election = nil, nil
}

func (v *voting) elected(in Elected) {
	if o := v.election; o != nil && o.id == in.ID {
		o.came = &in
	}
}

// finish takes the end of an election, once nothing is on its way that may forbid what was voted for.
func (v *voting) finish() {
	if o := v.election; o != nil && o.came != nil {
		v.election = nil
		o.done(o.came.Mandate, o.came.Err)
	}
}

// bound reports whether the region's vote forbids to follow the reign claim: who votes for a later epoch acknowledges
// nothing more to an earlier one (P10).
func bound(s *timeline.State, claim timeline.Reign) bool {
	return s.Charter() != nil && s.Ballot.Promised > claim.Epoch
}

// begin has r begin once a majority has voted for it, asked by ask; where no votes are taken, at once. voted, if it is
// not nil, is told what the voters know before, and may change r; failed is told if there is no majority.
func (v *voting) begin(
	m *Machine, r *timeline.Reign, ask Effect, voted func(timeline.Mandate), failed func(error), done func(Decided),
) {
	if m.view.State.Charter() == nil {
		m.decideReign(*r, done)
		return
	}
	ask.Do, ask.Reign = Elect, *r
	v.election = &election{id: m.do(ask), done: func(k timeline.Mandate, err error) {
		if err != nil {
			failed(fmt.Errorf("epoch %d: %w", r.Epoch, err))
			return
		}
		if voted != nil {
			voted(k)
		}
		m.decideReign(*r, done)
	}}
}

// voteless returns why a region that is to be primary has no vote, though votes are taken; "" if nothing is known to
// speak against it. It would begin an epoch that nobody voted for.
func (v View) voteless(to string) string {
	c := v.State.Charter()
	if c == nil {
		return ""
	}
	voter, l := c.Voter(to), v.Fleet.Leaders[to]
	switch {
	case voter == nil:
		return fmt.Sprintf("region %s has no vote, by charter %d of epoch %d: see mimir fleet", to, c.Number, c.Epoch)
	case l.Ballot != nil && *l.Ballot != voter.Identity:
		return fmt.Sprintf("region %s lost its ballot, and has no vote", to)
	case l.Ballot != nil && l.Charter.Number == 0:
		return fmt.Sprintf("region %s has not got charter %d of epoch %d yet", to, c.Number, c.Epoch)
	case l.Charter.Number != 0 && l.Charter.Before(c.Mark()):
		return outdated(to, l.Charter, c.Mark())
	default:
		return ""
	}
}

// outdated says that a region has not got the newest charter. By an older one nobody would support it.
func outdated(region string, has, newest timeline.Mark) string {
	return fmt.Sprintf("region %s keeps charter %d of epoch %d, and has not got %d of epoch %d yet", region, has.Number,
		has.Epoch, newest.Number, newest.Epoch)
}

// stamps reports whether the primary is about to write its charter anew, as it does once in an epoch when it has a
// lease, or writes it for the first time.
func (v View) stamps() bool {
	c := v.State.Charter()
	return c != nil && c.Epoch < v.State.Cursor.Epoch
}
