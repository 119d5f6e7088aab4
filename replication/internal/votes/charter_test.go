package votes

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/internal/region"
	"github.com/mimir-kv/mimir/replication/timeline"
)

type endless struct{}

func (endless) Stopped() <-chan struct{} { return nil }
func (endless) Failure() error           { return nil }

// TestACharterThatCannotBeKeptAloneIsAskedBy: the region voted in an epoch that never began, later than that of the
// newest charter; with its own charter nobody votes for it, and its log takes the other one only with a vote.
func TestACharterThatCannotBeKeptAloneIsAskedBy(t *testing.T) {
	old := timeline.Charter{Epoch: 1, Number: 1, Lease: time.Second, Automatic: true, Voters: []timeline.Voter{
		{ID: "eu", Priority: 1}, {ID: "us", Priority: 1}, {ID: "witness/w", Addrs: []string{"w"}},
	}}
	s := timeline.State{
		Region: "eu", Cursor: timeline.Cursor{Epoch: 1}, Reigns: []timeline.Reign{{Epoch: 1, First: 1, Primary: "us"}},
		Ballot: &timeline.Ballot{Charter: old, Promised: 2, For: "eu"},
	}
	v := &Votes{config: Config{Applied: region.NewApplied(&region.View{State: s}, endless{})}}
	newer := old
	newer.Number = 2
	alone := &timeline.Control{Op: timeline.OpCharter, Charter: &newer, To: "us"}
	if outcome, _ := timeline.Would(&s, alone); outcome != timeline.Refused {
		t.Fatalf("the log would take it: %v", outcome)
	}
	v.adopt("us", ballot.Answer{Charter: &newer, Promised: 1, For: "us"})
	v.adopt("witness/w", ballot.Answer{Charter: &old, Promised: 1, For: "us"}) // another voter is as far behind
	c, err := v.candidacy(3, false, 0)
	if err != nil || c.Charter.Number != 2 {
		t.Fatalf("asks for votes by charter %d, %v", c.Charter.Number, err)
	}
	m := timeline.NewMachine(&s)
	if outcome, why, err := m.Control(&timeline.Control{Op: timeline.OpVote, Vote: c}); outcome != timeline.Applied {
		t.Fatal(outcome, why, err)
	}
	if kept := m.State(); kept.Charter().Number != 2 {
		t.Errorf("with its vote it keeps charter %d", kept.Charter().Number)
	}
}

// An order that came behind a charter which the region wrote by itself is made anew, and what is refused then is told.
func TestAnOrderThatWasOutrunIsMadeAnew(t *testing.T) {
	calls := 0
	_, err := Orders{&Votes{}}.known(t.Context(), func() (*timeline.Charter, error) {
		if calls++; calls < 4 {
			return nil, fmt.Errorf("charter 7 of epoch 2: %w", errOutrun)
		}
		return nil, contract.ErrRejected
	})
	if calls != 4 || !errors.Is(err, contract.ErrRejected) {
		t.Errorf("%v after %d tries", err, calls)
	}
}

// TestACharterOfAnotherFleetIsNotTaken, although a witness that votes in both, or who is at the address of a region,
// tells of it; that of a region which was recovered, and is its only voter, is.
func TestACharterOfAnotherFleetIsNotTaken(t *testing.T) {
	voter := func(id string, identity byte) timeline.Voter {
		v := timeline.Voter{ID: id, Identity: timeline.Nonce{identity}}
		if v.Witness() {
			v.Addrs = []string{"w"}
		} else {
			v.Priority = 1
		}
		return v
	}
	charter := func(number uint64, voters ...timeline.Voter) *timeline.Charter {
		return &timeline.Charter{Epoch: 1, Number: number, Lease: time.Second, Voters: voters}
	}
	own := charter(1, voter("eu", 1), voter("us", 2), voter("witness/w", 3))
	for _, test := range []struct {
		by    string
		told  *timeline.Charter
		taken bool
	}{
		{"witness/w", charter(2, voter("eu", 7), voter("us", 8), voter("witness/w", 3)), false},
		{"us", charter(2, voter("eu", 7), voter("us", 8), voter("witness/x", 9)), false},
		{"witness/w", charter(2, voter("us", 2), voter("witness/w", 3)), true},
		{"us", charter(2, voter("us", 2)), true},
	} {
		s := timeline.State{
			Region: "eu", Cursor: timeline.Cursor{Epoch: 1},
			Ballot: &timeline.Ballot{Charter: *own, Promised: 2, For: "eu"},
			Reigns: []timeline.Reign{{Epoch: 1, First: 1, Primary: "us"}},
		}
		v := &Votes{config: Config{Applied: region.NewApplied(&region.View{State: s}, endless{})}}
		v.adopt(test.by, ballot.Answer{Charter: test.told, Promised: 1, For: "us"})
		if taken := v.sees().Charter().Number == 2; taken != test.taken {
			t.Errorf("told by %s of %+v: taken %t", test.by, test.told.Voters, taken)
		}
	}
}
