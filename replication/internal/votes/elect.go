package votes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// addresses returns where a voter is reached.
func (v *Votes) addresses(c *timeline.Charter, voter string) []string {
	if w := c.Voter(voter); w != nil && w.Witness() {
		return w.Addrs
	}
	return v.config.Fleet.Addresses(voter)
}

// named is an answer that says which voter gave it; "": it is too old to say.
type named interface{ voter() string }

// reach asks a voter at the first address, and at the others as well when that has not answered soon: there is one
// leader. Who answers at an address of the voter, and is another one, is not it (V7).
func reach[In any, Out named](
	ctx context.Context, v *Votes, voter string, addrs []string, q peer.Question[In, Out], in In,
) (Out, error) {
	var none Out
	if len(addrs) == 0 {
		return none, fmt.Errorf("%w: no address is known", contract.ErrNotReady)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type reply struct {
		out Out
		err error
	}
	replies := make(chan reply, len(addrs))
	ask := func(addr string) {
		go func() {
			out, err := peer.Ask(ctx, v.config.Client, addr, q, in)
			if by := out.voter(); err == nil && by != "" && by != voter {
				err = fmt.Errorf("%w: at %s it says that it is %s", contract.ErrNotReady, addr, by)
			}
			replies <- reply{out, err}
		}()
	}
	ask(addrs[0])
	soon := v.config.Clock.NewTimer(hurry)
	defer soon.Stop()
	asked, answered := 1, 0
	more := func() {
		for ; asked < len(addrs); asked++ {
			ask(addrs[asked])
		}
	}
	var last, led error
	for {
		select {
		case r := <-replies:
			if r.err == nil || !peer.Elsewhere(r.err) && peer.Kind(r.err) != nil {
				return r.out, r.err
			}
			if last = r.err; errors.Is(r.err, contract.ErrNotLeader) {
				led = r.err
			}
			more()
			if answered++; answered == len(addrs) {
				if led != nil {
					last = fmt.Errorf("nobody leads it: %w", led)
					v.config.Fleet.Refresh()
				}
				return none, last
			}
		case <-soon.C():
			more()
		case <-ctx.Done():
			if last == nil {
				last = ctx.Err()
			}
			return none, last
		}
	}
}

// hurry is how long the node that led a voter is asked alone.
const hurry = 150 * time.Millisecond

// sound asks a voter what it would say.
func (v *Votes) sound(ctx context.Context, c *timeline.Charter, voter string, in *timeline.Candidacy) (ballot.Answer,
	error) {
	if voter == v.config.Region {
		return v.seat.vote(ctx, in, true)
	}
	return askVoter(ctx, v, c, voter, askSound, of(v, in, voter))
}

// candidacy is what this region says of itself in epoch.
func (v *Votes) candidacy(epoch timeline.Epoch, operator bool, accept uint64) (*timeline.Candidacy, error) {
	s := v.sees()
	if s.Charter() == nil {
		return nil, fmt.Errorf("%w: no votes are taken", contract.ErrNotReady)
	}
	c := ballot.Of(s, epoch)
	if operator && c.Charter.Voter(c.For) == nil {
		return nil, noVote(s, c)
	}
	if operator {
		c.Operator, c.Accept = true, max(c.Accept, accept)
	}
	return c, nil
}

// noVote says that a region does not vote, so that nobody votes for it, and what is to be done instead. By its own
// history another one may reign than does: then its charter says of which epoch that is.
func noVote(s *timeline.State, c *timeline.Candidacy) error {
	at, claim, reigns, raised := c.Charter.Mark(), s.HighestClaim(), "", ""
	if reigns = claim.Primary; claim.Epoch < at.Epoch {
		reigns = fmt.Sprintf("the primary of epoch %d", at.Epoch)
	}
	more := c.Charter
	if more.Voters = append(slices.Clone(more.Voters), timeline.Voter{ID: c.For}); more.Spread() > c.Charter.Spread() {
		raised = fmt.Sprintf(", with another max-loss than 0 until it has, since what was acknowledged in %d regions "+
			"would have to be in %d", c.Charter.Spread(), more.Spread())
	}
	return fmt.Errorf("%w: by charter %d of epoch %d %s does not vote, so nobody votes for it: while %s reigns, "+
		"mimir fleet change --add %s%s; if %s is lost for good, recover: mimir fleet recover --keep %s",
		contract.ErrNotReady, at.Number, at.Epoch, c.For, reigns, c.For, raised, reigns, c.For)
}

// Elect implements primary.Elections.
func (v *Votes) Elect(
	ctx context.Context, r timeline.Reign, operator bool, accept uint64,
) (timeline.Mandate, error) {
	var mandate timeline.Mandate
	c, err := v.candidacy(r.Epoch, operator, accept)
	if err != nil {
		return mandate, err
	}
	if c.Handoff = r.Handoff; !operator && c.Handoff == 0 && timeline.Latest(c.Reigns).Primary != c.For {
		c.At = v.config.Clock.Now()
	}
	ctx, cancel := context.WithTimeout(ctx, max(v.config.Timeout, c.Charter.Lease/3))
	defer cancel()
	a, err := v.seat.vote(ctx, c, false)
	if err == nil && !a.Granted {
		err = errors.New(refusal(v.config.Region, a))
	}
	if err != nil {
		return mandate, fmt.Errorf("%w: %s does not vote for itself: %w", contract.ErrNotReady, v.config.Region, err)
	}
	votes, err := v.poll(c, func(voter string) (ballot.Answer, error) {
		if voter == v.config.Region {
			return a, nil
		}
		return askVoter(ctx, v, &c.Charter, voter, askVote, of(v, c, voter))
	})
	mandate = mandateOf(c, votes)
	if err == nil && !operator {
		accept = c.Charter.MaxLoss
		if lost := v.config.lost(); lost != "" { // it became known meanwhile
			err = fmt.Errorf("%w: %s", contract.ErrNotReady, lost)
		}
	}
	if err == nil {
		err = within(mandate, accept)
	}
	return mandate, err
}

func mandateOf(c *timeline.Candidacy, votes map[string]*ballot.Answer) (m timeline.Mandate) {
	for _, a := range votes {
		m = m.Counted(c, &a.Known)
	}
	m.Lost = max(m.Lost, c.Under())
	return m
}

// within returns why more would be lost than may be: of who ordered a candidacy than he accepts, and of who goes on
// from his own reign than the budget, which voters do not look at then.
func within(m timeline.Mandate, may uint64) error {
	if why := ballot.Within(m, may); why != "" {
		return fmt.Errorf("%w: %s", contract.ErrNotReady, why)
	}
	return nil
}

// poll asks every voter, and returns what those said who say yes once they are a majority, or why none is.
func (v *Votes) poll(
	c *timeline.Candidacy, ask func(voter string) (ballot.Answer, error),
) (map[string]*ballot.Answer, error) {
	type said struct {
		voter  string
		answer ballot.Answer
		yes    bool
		why    string // it does not say yes
	}
	answers := make(chan said, len(c.Charter.Voters))
	for _, w := range c.Charter.Voters {
		go func() {
			a, err := ask(w.ID)
			switch {
			case err != nil:
				answers <- said{voter: w.ID, why: fmt.Sprintf("%s does not answer: %v", w.ID, err)}
			case !a.Granted:
				answers <- said{voter: w.ID, why: refusal(w.ID, a)}
			default:
				answers <- said{voter: w.ID, answer: a, yes: true}
			}
		}()
	}
	yes, reasons := map[string]*ballot.Answer{}, []string{}
	for range c.Charter.Voters {
		s := <-answers // each ends with the question
		if !s.yes {
			reasons = append(reasons, s.why)
			continue
		}
		if yes[s.voter] = &s.answer; len(yes) >= c.Charter.Majority() {
			return yes, nil
		}
	}
	return nil, fmt.Errorf("%w: no majority of votes: %s", contract.ErrNotReady, strings.Join(reasons, "; "))
}

// refusal says why a voter says no, also if it did not.
func refusal(voter string, a ballot.Answer) string {
	if a.Why == nil || a.Why.Text == "" {
		return voter + " says no, and not why"
	}
	return a.Why.Text
}

// soundAgain is the pause between two soundings for an operator.
const soundAgain = 200 * time.Millisecond

// Sound implements primary.Elections.
func (v *Votes) Sound(ctx context.Context, accept uint64) (timeline.Epoch, error) {
	var before error // why a round before came to nothing
	for {
		s := v.sees()
		if s.Charter() == nil {
			return 0, fmt.Errorf("%w: no votes are taken", contract.ErrNotReady)
		}
		c, err := v.candidacy(max(s.Ballot.Promised, s.HighestClaim().Epoch)+1, true, accept)
		if err != nil {
			return 0, err
		}
		sounding, cancel := context.WithTimeout(ctx, v.config.Timeout)
		highest := make(chan timeline.Epoch, len(c.Charter.Voters))
		answers, err := v.poll(c, func(voter string) (ballot.Answer, error) {
			a, err := v.sound(sounding, &c.Charter, voter, c)
			v.adopt(voter, a)
			highest <- a.Promised
			if a.Why != nil && a.Why.Reason == timeline.ReasonEpoch { // a later epoch cures that
				a.Granted = true
			}
			return a, err
		})
		cancel()
		epoch := c.Epoch
		for len(highest) > 0 {
			epoch = max(epoch, <-highest+1)
		}
		if err == nil && !ballot.Rules(s, v.seat.supports(), answers) {
			err = fmt.Errorf("%w: %s", contract.ErrNotReady, ballot.Unruled(s))
		}
		if err == nil { // a loss does not become less
			return epoch, within(mandateOf(c, answers), accept)
		}
		if before != nil && ctx.Err() != nil { // nobody had the time to answer
			return 0, before
		}
		if before = err; v.config.Life.Pause(ctx, soundAgain) != nil {
			return 0, err
		}
	}
}
