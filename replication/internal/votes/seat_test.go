package votes

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mimir-kv/mimir/replication/clock"
	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/timeline"
	"github.com/mimir-kv/mimir/replication/transport"
	"github.com/mimir-kv/mimir/replication/transport/memory"
)

// nobody is the store of a process that does not speak for its voter.
type nobody struct{ Store }

func (nobody) Term() uint64 { return 0 }

// TestARegionVotesForItselfOnTheOrderOfAnother: an order to take over may come from a node of any region, and in its
// context the region asks its own voter, who refuses nothing for that.
func TestARegionVotesForItselfOnTheOrderOfAnother(t *testing.T) {
	ctx := transport.WithCaller(context.Background(), transport.Caller{Region: "ap", Node: "ap-1"})
	_, err := NewSeat("eu", nil, nil, nobody{}).vote(ctx, &timeline.Candidacy{For: "eu"}, false)
	if !errors.Is(err, contract.ErrNotLeader) { // and not contract.ErrRejected
		t.Errorf("its own vote: %v", err)
	}
}

// speaking is the store of a witness by whose charter us votes, and which is found out by any word.
type speaking struct{ Store }

func (speaking) Word() (fleet.Word, error) { return fleet.Word{Line: "l", Start: 1}, nil }

func (speaking) State() *timeline.State {
	return &timeline.State{Ballot: &timeline.Ballot{Charter: timeline.Charter{Number: 1,
		Voters: []timeline.Voter{{ID: "us"}}}}}
}

func (speaking) Recall(heard []fleet.Word) *timeline.Objection {
	if len(heard) == 0 {
		return nil
	}
	return &timeline.Objection{Reason: timeline.ReasonCharter}
}

// TestAWordIsForVoters of the charter, and for whom something is granted; what they heard counts whoever they are: a
// copy of before a region voted has to be found out by it.
func TestAWordIsForVoters(t *testing.T) {
	seat := NewSeat("witness/w", nil, nil, speaking{})
	for _, c := range []struct {
		region        string
		granted, told bool
	}{{"us", false, true}, {"us", true, true}, {"eu", false, false}, {"eu", true, true}} {
		a, err := seat.recalled(c.region, nil, func() (ballot.Answer, error) {
			return ballot.Answer{Granted: c.granted}, nil
		})
		if err != nil || (a.Word.Line != "") != c.told {
			t.Errorf("%+v: %+v, %v", c, a, err)
		}
		a, err = seat.recalled(c.region, []fleet.Word{{Line: "l"}}, func() (ballot.Answer, error) {
			return ballot.Answer{Granted: true}, nil
		})
		if err != nil || a.Granted || a.Why == nil || a.Word.Line != "" {
			t.Errorf("%+v, found out: %+v, %v", c, a, err)
		}
	}
	if a, err := seat.recalled("us", nil, func() (ballot.Answer, error) {
		return ballot.Answer{}, contract.ErrStopped
	}); !errors.Is(err, contract.ErrStopped) || a.Word.Line != "" {
		t.Errorf("an error: %+v, %v", a, err)
	}
}

// knowing is the store of a region's node that does not lead it, and knows of which life the region us is.
type knowing struct {
	nobody
	region acquainted
}

func (k knowing) Strange(region string, formed map[uint64]string) error {
	return k.region.Strange(region, formed)
}

// TestWhoIsOfAnotherLifeIsNotVotedFor, nor told that it would be; who does not say of which it is, is heard as before.
func TestWhoIsOfAnotherLifeIsNotVotedFor(t *testing.T) {
	network := memory.NewNetwork(clock.Real, 1)
	known := store{&Config{Strange: func(region string, formed map[uint64]string) error {
		if region == "us" && formed[3] == "x" {
			return errors.New("of another life of region us")
		}
		return nil
	}}}
	seat := NewSeat("ap", nil, nil, knowing{nobody{speaking{}}, known})
	questions := peer.NewRegistry(func() error { return nil }, nil)
	at, asks := network.Node("ap-1"), network.Node("us-3")
	seat.Register(questions)
	if err := at.Serve(map[string]transport.Handler{peer.Service: questions.Serve}); err != nil {
		t.Fatal(err)
	}
	defer at.Close()
	defer asks.Close()
	for _, disk := range []string{"x", "c", ""} {
		v := &Votes{config: Config{Client: peer.NewClient(asks)}}
		if disk != "" {
			v.config.Formed = func() map[uint64]string { return map[uint64]string{3: disk} }
		}
		for _, q := range []peer.Question[*candidacy, answer]{askSound, askVote} {
			a, err := peer.Ask(t.Context(), v.config.Client, "ap-1", q,
				of(v, &timeline.Candidacy{For: "us", Epoch: 2}, "ap")(nil))
			refused := err == nil && !a.Granted && a.Why != nil && strings.Contains(a.Why.Text, "of another life")
			if refused != (disk == "x") || !refused && !errors.Is(err, contract.ErrNotLeader) {
				t.Errorf("formed with %q: %+v, %v", disk, a, err)
			}
		}
	}
}
