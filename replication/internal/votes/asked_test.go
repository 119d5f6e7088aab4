package votes

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/ballot"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestASeatSpeaksForItsVoter, and says for whom; who does not say whom he asks is of a version before.
func TestASeatSpeaksForItsVoter(t *testing.T) {
	for asked, answers := range map[string]bool{"": true, "witness/w": true, "a": false} {
		called := false
		a, err := NewSeat("witness/w", nil, nil, speaking{}).answers(asked, "us", nil, func() (ballot.Answer, error) {
			called = true
			return ballot.Answer{Granted: true}, nil
		})
		if called != answers || a.Granted != answers || (err == nil) != answers || answers && a.By != "witness/w" {
			t.Errorf("asked as %q: %+v, %v", asked, a, err)
		}
	}
}

// TestNobodyVotesTwice: an address of a that leads to b, which asks, is no vote of a, and hides none.
func TestNobodyVotesTwice(t *testing.T) {
	for _, test := range []struct {
		name  string
		addrs []string
		voted bool
	}{
		{"it leads to b", []string{"b"}, false},
		{"one leads to b, and nobody is at the other", []string{"b", "nowhere"}, false},
		{"one leads to b, and at the other is a", []string{"b", "a"}, true},
		{"the same in another order", []string{"a", "b"}, true},
		{"there is somebody who says that he is b", []string{"liar"}, false},
		{"there is a voter that is too old to say who it is", []string{"old"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			asks(t, test.addrs, func(t *testing.T, v *Votes) {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				_, err := v.Sound(ctx, timeline.NoBound)
				if none := err != nil && strings.Contains(err.Error(), "no majority of votes"); none == test.voted {
					t.Errorf("sounds: %v", err)
				}
				_, err = v.Elect(ctx, timeline.Reign{Epoch: 2, Primary: "b"}, true, timeline.NoBound)
				if (err == nil) != test.voted {
					t.Errorf("asks for votes: %v", err)
				}
			})
		})
	}
}

// TestARegionIsRecoveredByItsName: an address of another may lead here.
func TestARegionIsRecoveredByItsName(t *testing.T) {
	v := &Votes{config: Config{Region: "eu"}}
	if _, err := (Orders{v}).recoverHere(t.Context(), "us", nil); !errors.Is(err, contract.ErrRejected) {
		t.Errorf("an order about us came to eu: %v", err)
	}
}
