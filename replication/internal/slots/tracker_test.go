package slots

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// past is a history that a test changes.
type past struct{ state timeline.State }

func (p *past) State() *timeline.State { return &p.state }

// newPast returns a history of two reigns: epoch 1 up to position 10, epoch 3 up to position end.
func newPast(end contract.Position) *past {
	return &past{timeline.State{
		Region: "us",
		Cursor: timeline.Cursor{Epoch: 3, Position: end},
		Reigns: []timeline.Reign{{Epoch: 1, First: 1, Primary: "eu"}, {Epoch: 3, First: 11, Primary: "us"}},
	}}
}

func TestAnAcknowledgementCountsInItsHistory(t *testing.T) {
	for _, c := range []struct {
		epoch    contract.Epoch
		position contract.Position
		want     contract.Position
	}{
		{3, 15, 15},
		{3, 99, 20}, // further than this node has applied
		{1, 7, 7},
		{1, 15, 10}, // a tail of epoch 1 that this history does not have
		{2, 15, 0},  // of another history altogether
		{4, 30, 0},
	} {
		if got := (acknowledgement{Epoch: c.epoch, Position: c.position}).within(&newPast(20).state); got != c.want {
			t.Errorf("epoch %d, position %d covers %d, want %d", c.epoch, c.position, got, c.want)
		}
	}
}

// TestWhoHasNoVoteDoesNotCount where nothing may be lost: a majority of voters can be without what it has.
func TestWhoHasNoVoteDoesNotCount(t *testing.T) {
	reign := timeline.Reign{Epoch: 1, First: 1, Primary: "us"}
	has := acknowledgements{}
	has.note(acknowledgement{Region: "eu", Epoch: 1, Position: 5})
	has.note(acknowledgement{Region: "new", Epoch: 1, Position: 5})
	for maxLoss, want := range map[uint64]int{0: 2, 9: 3} {
		s := &timeline.State{
			Region: "us", Reigns: []timeline.Reign{reign}, Cursor: timeline.Cursor{Epoch: 1, Position: 5},
			Ballot: &timeline.Ballot{Charter: timeline.Charter{Epoch: 1, Number: 1, MaxLoss: maxLoss,
				Voters: []timeline.Voter{{ID: "eu"}, {ID: "us"}, {ID: "witness/w"}}}},
		}
		tracker := &Tracker{acked: has}
		if p := tracker.Reached(want, s); p != 5 {
			t.Errorf("where %d may be lost, %d regions have %d", maxLoss, want, p)
		}
		if p := tracker.Reached(want+1, s); p != 0 {
			t.Errorf("where %d may be lost, %d regions have %d", maxLoss, want+1, p)
		}
		s.Slots = []timeline.Slot{{Region: "new", Position: 3}, {Region: "eu", Position: 4}} // by a leader before
		if p := (&Tracker{}).Reached(2, s); p != 4 {
			t.Errorf("where %d may be lost, who has heard nobody knows that 2 regions have %d, want 4", maxLoss, p)
		}
		if k := has.regionsAt(&contract.Receipt{Epoch: 1, Position: 5}, s); k != want {
			t.Errorf("where %d may be lost, it is in %d regions, want %d", maxLoss, k, want)
		}
	}
}

// TestTracker writes steps as words: "lead", "down", "stop", "await NAME K POSITION [AT]", "leave NAME", "at SECOND",
// "ack REGION EPOCH POSITION"; and what is applied: "charter MAXLOSS VOTER…", "fleet REGION…", "begins REGION", "yields
// REGION FIRST" (behind another chain, if that is negative), "parts POSITION" (what is behind it is to be given up) and
// "cut POSITION" (a beginning above it takes the place of epoch 3). Answers are "NAME=REGIONS", "NAME!REGIONS" if
// under-replicated, and "NAME?" if nobody knows.
func TestTracker(t *testing.T) {
	for _, c := range []struct{ name, steps, want string }{
		{"enough at once", "lead; ack eu 3 12; await a 2 12", "a=2"},
		{"when it comes", "lead; await a 2 12; ack eu 3 11; ack eu 3 12", "a=2"},
		{"every region counts once", "lead; await a 3 12; ack eu 3 12; ack eu 3 13; ack ap 3 12", "a=3"},
		{"one acknowledgement for many", "lead; await a 2 12; await b 2 13; await c 2 14; ack eu 3 13", "a=2 b=2"},
		{"an older one changes nothing", "lead; ack eu 3 12; ack eu 3 5; await a 2 12", "a=2"},
		{"a higher epoch is newer", "lead; ack eu 1 10; ack eu 3 11; await a 2 11", "a=2"},
		{"of another history", "lead; await a 2 12; ack eu 2 99; ack eu 1 99", ""},
		{"the reign before", "lead; await a 2 9 5; ack eu 1 99", "a=2"},
		{"time is over", "lead; await a 3 12 5; ack eu 3 12; at 4; at 5", "a!2"},
		{"no deadline", "lead; await a 2 12; at 3600", ""},
		{"one of two is late", "lead; await a 2 12 5; await b 2 13 9; at 6; ack eu 3 13", "a!1 b=2"},
		{"steps down", "lead; await a 2 12; down; ack eu 3 12", "a!1"},
		{"landed after it stepped down", "lead; down; await a 2 12", "a!1"},
		{"enough although it does not lead", "lead; ack eu 3 12; down; await a 2 12", "a=2"},
		{"never led", "await a 2 12", "a!1"},
		{"leads again", "lead; down; lead; await a 2 12; ack eu 3 12", "a=2"},
		{"the node stops", "lead; await a 2 12; stop; await b 2 13", "a!1 b!1"},
		{"the write was cut", "lead; await a 2 12; await b 2 11 5; cut 11; ack eu 4 12; at 5", "b=2 a?"},
		{"its reign is gone", "lead; await a 2 12; cut 9", "a?"},
		{"cut before it waits", "lead; cut 11; ack eu 3 20; await a 2 12", "a?"},
		{"it is to be cut", "lead; await a 2 12; await b 2 14; parts 13", "a!1 b?"},
		{"another region begins", "lead; await a 2 12; begins eu", "a=2"}, // which has it
		{"and is asked for more", "lead; await a 3 12; begins eu", "a!2"},
		{"it waits afterwards", "lead; begins eu; await a 2 12", "a=2"},
		{"it was heard as well", "lead; ack eu 3 12; await a 3 12; begins eu", "a!2"},
		{"it has no vote", "charter 0 ap us w; lead; await a 2 12; begins eu", "a!1"},
		{"it yields to who goes on here", "lead; await a 2 12; await b 3 12; yields eu 21", "a=2 b!2"},
		{"it yields to another history", "lead; await a 2 12; yields eu 15", "a!1"},
		{"and to one of as much", "lead; await a 2 12; yields eu -21", "a!1"},
		{"it begins anew itself", "lead; await a 2 12; begins us; ack eu 5 20", "a=2"},
		{"they are not needed any more", "charter 0 eu us w; lead; await a 0 12; charter 9 eu us w", "a=1"},
		{"and asked for", "charter 0 eu us w; lead; await a 2 12; charter 9 eu us w; ack eu 3 12", "a=2"},
		{"more are needed", "lead; await a 2 12; charter 0 a b eu us w; ack a 3 12; ack eu 3 12", "a=3"},
		{"it is given a vote", "charter 0 eu us w; lead; ack a 3 12; await a 0 12; charter 0 a eu us w", "a=2"},
		{"a region goes", "fleet ap eu us; lead; await a 3 12; await b 2 12; fleet ap us; ack ap 3 12", "a!1 b=2"},
		{"nobody waits for the answer", "lead; await a 2 12; await b 2 13; leave a; at 1; ack eu 3 13", "a!1 b=2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTrackerBench(t)
			for _, step := range strings.Split(c.steps, "; ") {
				b.do(step)
			}
			if got := strings.Join(b.answers, " "); got != c.want {
				t.Errorf("%s: %q, want %q", c.steps, got, c.want)
			}
			if answers := len(strings.Fields(c.want)); len(b.waiting) != strings.Count(c.steps, "await")-answers {
				t.Errorf("%s: %d answers, and %d wait", c.steps, answers, len(b.waiting))
			}
		})
	}
}

type trackerBench struct {
	*Tracker
	t       *testing.T
	past    *past
	start   time.Time
	answers []string
	left    map[string]bool
}

func newTrackerBench(t *testing.T) *trackerBench {
	p := newPast(20)
	return &trackerBench{
		Tracker: NewTracker(p), t: t, past: p, start: time.Unix(1000, 0), left: map[string]bool{},
	}
}

func (b *trackerBench) after(seconds int) time.Time {
	return b.start.Add(time.Duration(seconds) * time.Second)
}

func (b *trackerBench) do(step string) {
	word, rest, _ := strings.Cut(step, " ")
	var name string
	var k, position, second int
	switch word {
	case "lead":
		b.Lead()
	case "down":
		b.StepDown()
	case "stop":
		b.Abandon(errStops)
	case "await":
		if n, _ := fmt.Sscan(rest, &name, &k, &position, &second); n < 3 {
			b.t.Fatal(step)
		}
		b.await(name, k, contract.Position(position), second)
	case "ack":
		fmt.Sscan(rest, &name, &k, &position)
		b.acknowledge(acknowledgement{Region: name, Epoch: contract.Epoch(k), Position: contract.Position(position)})
	case "at":
		fmt.Sscan(rest, &second)
		b.expire(b.after(second))
	case "leave":
		b.left[rest] = true
	default:
		b.apply(word, strings.Fields(rest))
		b.Look()
	}
}

func (b *trackerBench) apply(word string, args []string) {
	s := b.past.state.Clone()
	var number contract.Position
	fmt.Sscan(args[0], &number)
	switch word {
	case "charter":
		c := timeline.Charter{Epoch: 3, Number: 1, MaxLoss: uint64(number)}
		for _, id := range args[1:] {
			c.Voters = append(c.Voters, timeline.Voter{ID: id})
		}
		s.Ballot = &timeline.Ballot{Charter: c}
	case "fleet":
		s.Roster = &timeline.Roster{Epoch: 3, Number: 1, By: "us"}
		for i, name := range args {
			s.Roster.Regions = append(s.Roster.Regions, timeline.Home{Name: name, Place: uint8(i + 1)})
		}
	case "begins":
		s.Reigns = append(s.Reigns, timeline.Reign{Epoch: 5, First: s.Cursor.Position + 1, Primary: args[0]})
		s.Cursor.Epoch = 5
	case "yields":
		var first int
		fmt.Sscan(args[1], &first)
		s.Yielded = timeline.Reign{Epoch: 5, First: contract.Position(max(first, -first)), Primary: args[0]}
		if first < 0 {
			s.Yielded.Previous[0]++
		}
	case "parts":
		s.Diverged = &timeline.Divergence{Fork: number, At: s.Cursor.Position}
	case "cut":
		s.Cursor = timeline.Cursor{Epoch: 4, Position: number}
		s.Reigns[1] = timeline.Reign{Epoch: 4, First: number + 1, Primary: "eu"}
		if number > 10 {
			s.Reigns = []timeline.Reign{s.Reigns[0], {Epoch: 3, First: 11, Primary: "us"}, s.Reigns[1]}
		}
	default:
		b.t.Fatal(word)
	}
	b.past.state = *s
}

func (b *trackerBench) await(name string, k int, p contract.Position, second int) {
	var deadline time.Time
	if second > 0 {
		deadline = b.after(second)
	}
	epoch := contract.Epoch(3)
	if p <= 10 {
		epoch = 1
	}
	left := func() bool { return b.left[name] }
	b.Await(k, &contract.Receipt{Epoch: epoch, Position: p, Regions: 1}, deadline, left,
		func(r *contract.Receipt, err error) {
			if !b.mu.TryLock() {
				b.t.Error("answered with the lock held")
			} else {
				b.mu.Unlock()
			}
			if r == nil && peer.Kind(err) == contract.ErrUnknownOutcome {
				b.answers = append(b.answers, name+"?")
				return
			}
			sign := "="
			if err != nil {
				sign = "!"
				if peer.Kind(err) != contract.ErrUnderReplicated {
					b.t.Errorf("%s ends with %v", name, err)
				}
			}
			b.answers = append(b.answers, fmt.Sprintf("%s%s%d", name, sign, r.Regions))
		})
}

// The one who calls expire has to know when: Await tells of a new deadline, and next says the nearest.
func TestTheNearestDeadlineIsKnown(t *testing.T) {
	b := newTrackerBench(t)
	b.do("lead")
	if got := b.next(b.start, time.Hour); got != time.Hour {
		t.Errorf("nobody waits: %v", got)
	}
	b.do("await a 2 12 9")
	b.do("await b 2 12 5")
	b.do("await c 2 12")
	if len(b.changed) != 1 {
		t.Error("nobody was woken")
	}
	if got := b.next(b.start, time.Hour); got != 5*time.Second {
		t.Errorf("next deadline in %v", got)
	}
}
