package ballot

import (
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// slow is a holder that asks a voter whose log takes its time. The own voter answers at once, and the third is away.
type slow struct {
	t       *testing.T
	now     Instant
	takes   time.Duration // to write something down
	holder  *Holder
	view    HolderView
	voter   *Voter
	state   *timeline.State // of the voter
	open    *Effect         // the question under way
	asked   Instant
	written *Effect // what is being written down
	done    Instant
}

// tick lets it be now, and everything happen that is due.
func (w *slow) tick(now Instant) {
	w.now = now
	at := timeline.Position(50 + now/(10*time.Millisecond))
	w.view.Reached, w.view.Shared = at, at // there are writes all the time
	if w.written != nil && now >= w.done {
		e := *w.written
		w.written = nil
		m := timeline.NewMachine(w.state)
		outcome, why, err := m.Control(e.Control)
		if err != nil {
			w.t.Fatal(err)
		}
		s := m.State()
		w.state = &s
		w.vote(Recorded{Call: e.Call, Outcome: outcome, Why: why})
	}
	if w.open != nil && now-w.asked >= w.view.State.Charter().Lease/3 { // whoever asked waits no longer
		w.hold(Renewed{Call: w.open.Call, Voter: "b", Silence: "it takes too long"})
	}
	w.hold(nil)
}

func (w *slow) hold(in Input) {
	if r, ok := in.(Renewed); ok && r.Voter == "b" {
		w.open = nil
	}
	for _, e := range w.holder.Step(w.now, w.view, in) {
		switch e.Voter {
		case "a":
			w.hold(Renewed{Call: e.Call, Voter: "a", Answer: Answer{Granted: true}})
		case "b":
			w.open, w.asked = &e, w.now
			w.vote(RenewalAsked{Call: e.Call, Renewal: e.Renewal})
		default:
			w.hold(Renewed{Call: e.Call, Voter: e.Voter, Silence: "it is away"})
		}
	}
}

func (w *slow) vote(in Input) {
	for _, e := range w.voter.Step(w.now, w.state, in) {
		switch {
		case e.Do == Confirm:
			w.vote(Confirmed{Call: e.Call, OK: true})
		case e.Do == Record:
			w.written, w.done = &e, w.now+w.takes
		case e.Do == Reply && w.open != nil && w.open.Call == e.Call:
			w.hold(Renewed{Call: e.Call, Voter: "b", Answer: e.Answer})
		}
	}
}

// TestASlowVoterIsHeard although each renewal tells it of a higher ceiling, which it writes down before it answers: it
// is not asked for something new before it could answer what it was asked.
func TestASlowVoterIsHeard(t *testing.T) {
	for _, takes := range []time.Duration{0, 900 * time.Millisecond, 1500 * time.Millisecond, 1800 * time.Millisecond} {
		s := reigning("a")
		s.Ballot.Charter.MaxLoss = 1000
		w := &slow{t: t, takes: takes, holder: NewHolder("a"), view: HolderView{Term: 1, State: s},
			voter: NewVoter("b"), state: s.Clone()}
		w.state.Region = "b"
		w.voter.Step(0, w.state, Leads{Term: 1})
		begun := false
		for now := Instant(0); now < time.Minute; now += 10 * time.Millisecond {
			w.tick(now)
			e := w.holder.Evidence()
			held := now < e.Until && w.view.Reached <= e.Ceiling
			if begun = begun || held; !held && (begun || now > 3*takes) {
				t.Errorf("a voter that takes %v: at %v there is a lease until %v, up to %d of %d", takes, now, e.Until,
					e.Ceiling, w.view.Reached)
				break
			}
		}
	}
}
