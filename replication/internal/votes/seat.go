package votes

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/life"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// Questions to a voter. The names are on the wire.
const (
	askRenew = peer.Question[*renewal, answer]("vote-renew")
	askSound = peer.Question[*candidacy, answer]("vote-sound")
	askVote  = peer.Question[*candidacy, answer]("vote")
	// Who votes as what? The voter has a ballot from then on.
	askEnrol = peer.Question[peer.Nothing, Enrolment]("vote-enrol")
)

// Enrolment is what a voter says of itself before there is a charter.
type Enrolment struct {
	Voter    string         `json:"voter"`
	Identity timeline.Nonce `json:"identity"`
	Priority uint8          `json:"priority"`
	// Charter is the one by which it votes already; nil: it does not, or is too old to say.
	Charter *timeline.Charter `json:"charter,omitempty"`
	// Level says of a witness which charters it understands.
	Level timeline.Level `json:"level,omitempty"`
}

var errEmpty = fmt.Errorf("%w: an empty question", contract.ErrMessage)

// renewal, candidacy and answer are what travels, as JSON: what the machines decide by, and beside it who is asked and
// who answers, by the IDs of voters, and what is remembered of a witness. Versions that do not know that leave it out:
// then nothing is noticed of an address of one voter that leads to another, nor of a directory that went back.
type (
	renewal struct {
		*ballot.Renewal
		Asked string       `json:"asked,omitempty"`
		Heard []fleet.Word `json:"heard,omitempty"` // of the voter that is asked
	}
	candidacy struct {
		*timeline.Candidacy
		Asked string       `json:"asked,omitempty"`
		Heard []fleet.Word `json:"heard,omitempty"`
		// Formed are the disks with which the candidate's region was formed; nil: it does not know, or is too old to
		// say.
		Formed map[uint64]string `json:"formed,omitempty"`
	}
	answer struct {
		ballot.Answer
		By   string     `json:"by,omitempty"`
		Word fleet.Word `json:"word,omitzero"`
	}
)

func (a answer) voter() string    { return a.By }
func (e Enrolment) voter() string { return e.Voter }

// Store is where the ballot of a voter is: a region's log, or a witness' file. It is safe for concurrent use.
type Store interface {
	// Term returns the one in which this process speaks for the voter, zero if it does not.
	Term() uint64
	// State returns the voter's, which must not be changed.
	State() *timeline.State
	// Confirm returns nil once it is certain that this process spoke for the voter after the call, and that State is
	// no older than the call.
	Confirm(ctx context.Context) error
	// Record makes c durable, and returns what became of it. An error: it may still happen, unless it is ErrNotLeader.
	Record(ctx context.Context, c *timeline.Control) (timeline.Outcome, string, error)
	// Enrol returns the voter's ballot, which it has from then on.
	Enrol(ctx context.Context) (Enrolment, error)
	// Recall returns why the voter must not vote any more, given what others heard of it: it has forgotten something of
	// that. Nil: nothing is known to speak against it.
	Recall(heard []fleet.Word) *timeline.Objection
	// Word is told with an answer, and includes what the answer rests on; zero: there is none to tell. An error:
	// nothing is answered.
	Word() (fleet.Word, error)
}

// acquainted is a Store of who knows regions, which a witness does not.
type acquainted interface {
	// Strange says why a region that was formed with these disks is not the one that is known here under that name.
	Strange(region string, formed map[uint64]string) error
}

// Seat is the place of a voter: it answers what a voter is asked. It is safe for concurrent use.
type Seat struct {
	id    string // of the voter
	clock clock.Clock
	life  *life.Life
	store Store

	mu      sync.Mutex
	machine *ballot.Voter
	term    uint64
	call    uint64
	calls   map[uint64]chan ballot.Answer
}

// NewSeat returns the seat of the voter id.
func NewSeat(id string, c clock.Clock, l *life.Life, s Store) *Seat {
	return &Seat{
		id: id, clock: c, life: l, store: s, machine: ballot.NewVoter(id), calls: map[uint64]chan ballot.Answer{},
	}
}

// Begin says that this process speaks for the voter from now on, if it does. Who spoke for it before may have promised
// its support until a lease from now (B4), and not from when somebody asks first.
func (s *Seat) Begin() { s.step(nil) }

// Register registers what a voter answers.
func (s *Seat) Register(r *peer.Registry) {
	peer.Handle(r, askRenew, peer.FleetNode, func(ctx context.Context, q *renewal) (answer, error) {
		if q == nil || q.Renewal == nil {
			return answer{}, errEmpty
		}
		if err := peer.MaySpeak(ctx, q.Region); err != nil {
			return answer{}, err
		}
		return s.answers(q.Asked, q.Region, q.Heard, func() (ballot.Answer, error) { return s.renew(ctx, q.Renewal) })
	})
	for _, q := range []peer.Question[*candidacy, answer]{askSound, askVote} {
		peer.Handle(r, q, peer.FleetNode, func(ctx context.Context, c *candidacy) (answer, error) {
			if c == nil || c.Candidacy == nil {
				return answer{}, errEmpty
			}
			if err := peer.MaySpeak(ctx, c.For); err != nil {
				return answer{}, err
			}
			return s.answers(c.Asked, c.For, c.Heard, func() (ballot.Answer, error) {
				if o := s.against(c); o != nil {
					return ballot.Answer{Why: o}, nil
				}
				return s.vote(ctx, c.Candidacy, q == askSound)
			})
		})
	}
	peer.Handle(r, askEnrol, peer.FleetNode, func(ctx context.Context, _ peer.Nothing) (Enrolment, error) {
		return s.store.Enrol(ctx)
	})
}

// against returns why whoever asks is no candidate, whatever the machine would say: a node that formed its region anew
// by itself does not speak for that.
func (s *Seat) against(c *candidacy) *timeline.Objection {
	knows, ok := s.store.(acquainted)
	if !ok {
		return nil
	}
	if err := knows.Strange(c.For, c.Formed); err != nil {
		return &timeline.Objection{Reason: timeline.ReasonEligible, Text: err.Error()}
	}
	return nil
}

// answers is recalled, for the voter that was asked and for no other (V7): one that came here by an address of another
// has not this one's vote once more.
func (s *Seat) answers(
	asked, region string, heard []fleet.Word, ask func() (ballot.Answer, error),
) (answer, error) {
	if asked != "" && asked != s.id {
		return answer{}, fmt.Errorf("%w: here votes %s, and %s is asked", contract.ErrNotReady, s.id, asked)
	}
	a, err := s.recalled(region, heard, ask)
	a.By = s.id
	return a, err
}

// recalled asks the machine for a region, unless the voter has forgotten something of what others heard of it: then
// nothing is promised, nor what was promised meanwhile told. Its word goes with what is granted, and to the voters of
// its charter. What was heard is taken from whoever asks: the voter knows what it said, and a copy of long ago has
// another charter.
func (s *Seat) recalled(
	region string, heard []fleet.Word, ask func() (ballot.Answer, error),
) (answer, error) {
	if o := s.store.Recall(heard); o != nil {
		return answer{Answer: ballot.Answer{Why: o}}, nil
	}
	a, err := ask()
	if o := s.store.Recall(nil); o != nil {
		return answer{Answer: ballot.Answer{Why: o}}, nil
	}
	if err != nil || !a.Granted && !s.votesWith(region) {
		return answer{Answer: a}, err
	}
	word, err := s.store.Word()
	if err != nil {
		return answer{}, err
	}
	return answer{Answer: a, Word: word}, nil
}

// votesWith reports whether a region is a voter of the charter by which this one votes.
func (s *Seat) votesWith(region string) bool {
	c := s.store.State().Charter()
	return c != nil && c.Voter(region) != nil
}

func (s *Seat) renew(ctx context.Context, r *ballot.Renewal) (ballot.Answer, error) {
	return s.ask(ctx, r != nil, func(call uint64) ballot.Input { return ballot.RenewalAsked{Call: call, Renewal: r} })
}

// vote is also asked by the own region, in the context of whoever ordered it to stand.
func (s *Seat) vote(ctx context.Context, c *timeline.Candidacy, sounding bool) (ballot.Answer, error) {
	return s.ask(ctx, c != nil, func(call uint64) ballot.Input {
		return ballot.VoteAsked{Call: call, Candidacy: c, Sounding: sounding}
	})
}

// ask puts a question to the machine at once (V1), and returns its answer.
func (s *Seat) ask(ctx context.Context, ok bool, in func(call uint64) ballot.Input) (ballot.Answer, error) {
	switch {
	case !ok:
		return ballot.Answer{}, errEmpty
	case s.store.Term() == 0:
		return ballot.Answer{}, contract.ErrNotLeader
	}
	done := make(chan ballot.Answer, 1)
	s.mu.Lock()
	s.call++
	call := s.call
	s.calls[call] = done
	s.stepLocked(in(call))
	s.mu.Unlock()
	select {
	case a := <-done:
		return a, nil
	case <-ctx.Done():
		s.mu.Lock()
		delete(s.calls, call)
		s.mu.Unlock()
		return ballot.Answer{}, ctx.Err()
	case <-s.life.Stopped():
		return ballot.Answer{}, s.life.Failure()
	}
}

func (s *Seat) step(in ballot.Input) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stepLocked(in)
}

func (s *Seat) stepLocked(in ballot.Input) {
	term, state := s.store.Term(), s.store.State()
	now := s.clock.Elapsed() // what is applied was before
	if term != s.term {
		s.term = term
		s.perform(s.machine.Step(now, state, ballot.Leads{Term: term}))
	}
	s.perform(s.machine.Step(now, state, in))
}

// perform begins what the machine wants. The caller holds mu.
func (s *Seat) perform(effects []ballot.Effect) {
	for _, e := range effects {
		switch e.Do {
		case ballot.Reply:
			if done := s.calls[e.Call]; done != nil {
				delete(s.calls, e.Call)
				done <- e.Answer
			}
		case ballot.Confirm:
			s.life.Try(func(ctx context.Context) {
				s.step(ballot.Confirmed{Call: e.Call, OK: s.store.Confirm(ctx) == nil})
			})
		case ballot.Record:
			s.life.Try(func(ctx context.Context) { s.record(ctx, e) })
		}
	}
}

func (s *Seat) record(ctx context.Context, e ballot.Effect) {
	in := ballot.Recorded{Call: e.Call}
	var err error
	in.Outcome, in.Why, err = s.store.Record(ctx, e.Control)
	switch {
	case errors.Is(err, contract.ErrNotLeader) && !errors.Is(err, contract.ErrUnknownOutcome):
		in.Outcome, in.Why = timeline.Refused, err.Error()
	case err != nil:
		in.Unknown, in.Why = true, err.Error()
	}
	s.step(in)
}

// Tend has the voter note what time makes of its promises, until ctx ends. Who asks for votes does so anyhow.
func (s *Seat) Tend(ctx context.Context) {
	ticker := s.clock.NewTicker(idle)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			s.step(nil)
		}
	}
}

// supports returns whom the voter supported last.
func (s *Seat) supports() ballot.Ruler {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine.Supports()
}

// held returns for how long what may be promised by a hold is not over, at most.
func (s *Seat) held() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stepLocked(nil)
	return s.machine.Held(s.clock.Elapsed())
}

// quiet returns from when on the voter's promise forbids nothing.
func (s *Seat) quiet() (ballot.Instant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stepLocked(nil)
	return s.machine.Quiet(s.store.State())
}
