package primary

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
	"github.com/mimir-kv/mimir/replication/internal/fleet"
	"github.com/mimir-kv/mimir/replication/internal/peer"
	"github.com/mimir-kv/mimir/replication/internal/succession"
	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestAPrimaryThatAppliesLateNeedsNoForce: what another region has of what this leader has proposed is not lost, and a
// forced failover to a primary that is well answers that it is primary.
func TestAPrimaryThatAppliesLateNeedsNoForce(t *testing.T) {
	run(t, begun, refused, func(g *Governor, u *us) {
		const reached = timeline.Position(20)
		u.mu.Lock()
		u.reached = reached
		u.mu.Unlock()
		has := func() timeline.Position { return g.view().Fleet.Leaders["eu"].Cursor.Position }
		for deadline := time.Now().Add(time.Minute); has() < reached && time.Now().Before(deadline); {
			g.config.Fleet.Refresh()
			time.Sleep(10 * time.Millisecond)
		}
		if has() != reached {
			t.Fatalf("eu has position %d", has())
		}
		before := u.applied.State().Reigns
		if _, err := g.failOver(context.Background(), Force{Any: true}); !errors.Is(err, contract.ErrAlreadyPrimary) {
			t.Errorf("it is answered %v", err)
		}
		if now := u.applied.State().Reigns; len(now) != len(before) {
			t.Errorf("reigns: %v, before %v", now, before)
		}
	})
}

// TestARegionDoesNotForceItselfOutOfASwitchover: a watchdog that keeps its region primary calls RegionFailover now and
// then. While the target of a switchover may have begun that is refused, and the target keeps what it has acknowledged.
func TestARegionDoesNotForceItselfOutOfASwitchover(t *testing.T) {
	run(t, cannot, cannot, func(g *Governor, u *us) {
		if err := g.RegionFailover(context.Background()); err != nil {
			t.Errorf("before the switchover it is answered %v", err)
		}
		if _, err := g.Switchover(context.Background(), "eu"); !errors.Is(err, contract.ErrUnknownOutcome) {
			t.Fatalf("the switchover is answered %v", err)
		}
		if u.applied.State().Seal == nil {
			t.Fatal("us is not sealed")
		}
		before := u.applied.State().Reigns
		for range 3 {
			if err := g.RegionFailover(context.Background()); !errors.Is(err, contract.ErrNotReady) {
				t.Errorf("it is answered %v", err)
			}
		}
		// The check of the state is not all: it may be sealed between that and the beginning.
		_, err := g.failOver(context.Background(), Force{Any: true, Unsealed: true})
		if !errors.Is(err, contract.ErrNotReady) {
			t.Errorf("an order that spares a handoff is answered %v", err)
		}
		if now := u.applied.State().Reigns; len(now) != len(before) || u.Open() {
			t.Errorf("reigns %v, before %v", now, before)
		}
		report, err := g.Failover(context.Background(), "us", Force{Any: true})
		if err != nil || report.Epoch != 3 || !u.Open() {
			t.Errorf("the operator's own order is answered %v, %v", report, err)
		}
	})
}

// TestVotesAreLookedForBehindTheAsking: a region without a vote hears of votes for the first time as it asks for a
// forced failover, and begins nothing beside them.
func TestVotesAreLookedForBehindTheAsking(t *testing.T) {
	run(t, cannot, cannot, func(g *Governor, u *us) {
		time.Sleep(1511 * time.Millisecond) // between two rounds
		u.mu.Lock()
		u.voting = &fleet.Voting{Charter: timeline.Mark{Number: 3}}
		u.mu.Unlock()
		for _, accepts := range []Force{{Any: true}, {Within: new(uint64)}} {
			if r, err := g.failOver(context.Background(), accepts); !errors.Is(err, contract.ErrRejected) {
				t.Errorf("it is answered %+v, %v", r, err)
			}
		}
	})
}

// forgets has it forget what it heard of eu, as one that starts.
func forgets(g *Governor) {
	g.config.Fleet.Set(nil)
	g.config.Fleet.Set(map[string][]string{"eu": {"eu-1"}})
}

// TestARegionWithoutAVoteGoesByNoSilenceThatWasShort: after a start, a cut that has just healed, or a long way, lets no
// answer through in the time of a question, or of a node alone that has nothing yet, and what would refuse the order is
// heard behind that.
func TestARegionWithoutAVoteGoesByNoSilenceThatWasShort(t *testing.T) {
	for name, away := range map[string]func(u *us, away bool){
		"nobody answers": func(u *us, away bool) {
			if u.silent = nil; away {
				u.silent = errors.New("cut off")
			}
		},
		"a node that has nothing does": func(u *us, away bool) { u.blank = away },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, cannot, cannot, func(g *Governor, u *us) {
				time.Sleep(1511 * time.Millisecond) // between two rounds
				u.mu.Lock()
				away(u, true)
				u.voting = &fleet.Voting{Charter: timeline.Mark{Number: 3}}
				u.mu.Unlock()
				forgets(g)
				time.AfterFunc(peer.SilentFor-time.Second, func() {
					u.mu.Lock()
					defer u.mu.Unlock()
					away(u, false)
				})
				if r, err := g.failOver(context.Background(), Force{Any: true}); !errors.Is(err, contract.ErrRejected) {
					t.Errorf("it is answered %+v, %v", r, err)
				}
			})
		})
	}
}

// TestVotesThatWereHeardOfAreNotForgotten: not by what a node says that has nothing yet.
func TestVotesThatWereHeardOfAreNotForgotten(t *testing.T) {
	run(t, cannot, cannot, func(g *Governor, u *us) {
		voting := &fleet.Voting{Charter: timeline.Mark{Number: 3}}
		for _, eu := range []struct {
			blank  bool
			voting *fleet.Voting
			want   error
		}{
			{false, voting, contract.ErrRejected}, {true, voting, contract.ErrRejected},
			{false, new(fleet.Voting), contract.ErrAlreadyPrimary}, // by votes nothing is refused
		} {
			time.Sleep(1511 * time.Millisecond) // between two rounds
			u.mu.Lock()
			u.blank, u.voting = eu.blank, eu.voting
			u.mu.Unlock()
			if r, err := g.failOver(context.Background(), Force{Any: true}); !errors.Is(err, eu.want) {
				t.Errorf("with %+v it is answered %+v, %v", eu, r, err)
			}
		}
	})
}

// TestNothingIsMovedForWhoDoesNotWaitForTheAsking: nobody is silent for that.
func TestNothingIsMovedForWhoDoesNotWaitForTheAsking(t *testing.T) {
	run(t, cannot, cannot, func(g *Governor, u *us) {
		u.mu.Lock()
		u.silent = errors.New("cut off")
		u.mu.Unlock()
		_, _ = u.Control(context.Background(), &timeline.Control{Op: timeline.OpYield, Claim: &timeline.Reign{Epoch: 2,
			Primary: "eu"}})
		before := len(u.applied.State().Reigns)
		forgets(g)
		ctx, cancel := context.WithTimeout(context.Background(), peer.SilentFor-time.Second)
		defer cancel()
		_, err := g.failOver(ctx, Force{Any: true})
		if peer.Kind(err) != contract.ErrNotReady || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it is answered %v", err)
		}
		if now := len(u.applied.State().Reigns); now != before {
			t.Errorf("%d reigns, before %d", now, before)
		}
		r, err := g.failOver(context.Background(), Force{Any: true})
		if err != nil || len(u.applied.State().Reigns) == before {
			t.Errorf("who waits is answered %+v, %v", r, err)
		}
	})
}

// TestNothingIsMovedByWhoLeadsNoMoreBehindTheAsking, or has ended: who was not waited for is not silent.
func TestNothingIsMovedByWhoLeadsNoMoreBehindTheAsking(t *testing.T) {
	failed := errors.New("the disk is gone")
	for _, c := range []struct {
		name string
		ends func(*Governor)
		want error
	}{
		{"it leads no more", func(g *Governor) { g.config.Leadership.Set(0) }, contract.ErrNotLeader},
		{"it ends", func(g *Governor) { g.config.Life.Fail(failed) }, failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, cannot, cannot, func(g *Governor, u *us) {
				u.mu.Lock()
				u.silent = errors.New("cut off")
				u.mu.Unlock()
				_, _ = u.Control(context.Background(), &timeline.Control{Op: timeline.OpYield,
					Claim: &timeline.Reign{Epoch: 2, Primary: "eu"}})
				before := len(u.applied.State().Reigns)
				forgets(g)
				time.AfterFunc(peer.SilentFor/2, func() { c.ends(g) })
				if r, err := g.failOver(context.Background(), Force{Any: true}); !errors.Is(err, c.want) {
					t.Errorf("it is answered %+v, %v", r, err)
				}
				if now := len(u.applied.State().Reigns); now != before {
					t.Errorf("%d reigns, before %d", now, before)
				}
			})
		})
	}
}

// TestForWhoHasLeftNothingBegins.
func TestForWhoHasLeftNothingBegins(t *testing.T) {
	run(t, cannot, cannot, func(g *Governor, u *us) {
		before := len(u.applied.State().Reigns)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r := g.order(ctx, func(call uint64) succession.Input {
			return succession.Takeover{Call: call, Operator: true, Accept: timeline.NoBound}
		})
		if peer.Kind(r.Err) != contract.ErrNotReady || len(u.applied.State().Reigns) != before {
			t.Errorf("it is answered %+v, and there are %d reigns", r, len(u.applied.State().Reigns))
		}
	})
}

// TestAForcedPrimaryThatHearsOfItsTargetIsTooLate: no switchover was aborted, and the region gives way.
func TestAForcedPrimaryThatHearsOfItsTargetIsTooLate(t *testing.T) {
	for name, order := range map[string]func(*Governor) error{
		"Failover": func(g *Governor) error {
			_, err := g.Failover(context.Background(), "us", Force{Any: true})
			return err
		},
		"RegionFailover": func(g *Governor) error { return g.RegionFailover(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, cannot, cannot, func(g *Governor, u *us) {
				if _, err := g.Switchover(context.Background(), "eu"); !errors.Is(err, contract.ErrUnknownOutcome) {
					t.Fatalf("the switchover is answered %v", err)
				}
				givesWay := func(err error) {
					u.mu.Lock()
					defer u.mu.Unlock()
					u.fails[timeline.OpYield] = err
				}
				givesWay(contract.ErrNotLeader) // not yet
				u.mu.Lock()
				u.claim = timeline.Reign{Epoch: 2, Primary: "eu", First: u.applied.State().Cursor.Position + 1}
				u.mu.Unlock()
				heard := func() bool { return g.config.Standing.Claim().Primary == "eu" }
				for deadline := time.Now().Add(time.Minute); !heard() && time.Now().Before(deadline); {
					g.config.Fleet.Refresh()
					time.Sleep(10 * time.Millisecond)
				}
				time.AfterFunc(10*time.Second, func() { givesWay(nil) })
				if err := order(g); peer.Kind(err) != contract.ErrAlreadyBegun {
					t.Errorf("it is answered %v", err)
				}
				if role := u.applied.State().Role(); role != timeline.Secondary {
					t.Errorf("us is %s", role)
				}
			})
		})
	}
}
