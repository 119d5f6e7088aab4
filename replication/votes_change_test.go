package replication_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// changes has the fleet change its charter, and returns who votes then.
func (f *smallest) changes(c replication.VoteChange) (voters []string) {
	f.t.Helper()
	charter, err := f.nodes["eu-1"].Voting().Change(f.t.Context(), c)
	if err != nil {
		f.t.Fatalf("%+v: %v", c, err)
	}
	for _, v := range charter.Voters {
		voters = append(voters, v.ID)
	}
	if !charter.Automatic {
		f.t.Errorf("%+v: nothing moves by itself any more", c)
	}
	return voters
}

// TestALostWitnessIsReplaced while both regions run, without a new epoch; then either of them can be lost again.
func TestALostWitnessIsReplaced(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.witness.Shutdown()
		f.disk = freshDisk()
		f.startWitnessAs("w2")
		voters := f.changes(replication.VoteChange{Remove: "witness/w1", Witness: "w2", Addrs: []string{"w2"}})
		if !slices.Equal(voters, []string{"eu", "us", "witness/w2"}) {
			t.Errorf("vote: %v", voters)
		}
		if r := f.put("us-1", "c1"); r.Epoch != 1 {
			t.Errorf("epoch %d", r.Epoch)
		}
		f.eventually(values(0, 2))
		f.kill("us-1")
		if r := f.putAfter("eu-1", "c2"); r.Epoch != 2 {
			t.Errorf("epoch %d", r.Epoch)
		}
	})
}

// TestARegionThatLostItsBallotVotesAgain once it is added anew, and may be primary then.
func TestARegionThatLostItsBallotVotesAgain(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		f.kill("eu-1")
		f.nodes["eu-1"].disk = freshDisk()
		f.start("eu-1")
		f.eventually(values(0, 1))
		if voters := f.changes(replication.VoteChange{Remove: "eu", Add: "eu"}); len(voters) != 3 {
			t.Errorf("vote: %v", voters)
		}
		if _, err := f.nodes["us-1"].Switchover(f.t.Context(), "eu"); err != nil {
			t.Fatal(err)
		}
		f.kill("eu-1")
		if r := f.putAfter("us-1", "c1"); r.Epoch != 3 {
			t.Errorf("epoch %d", r.Epoch)
		}
	})
}

// TestWhatCannotBeChanged is refused, and nothing has changed.
func TestWhatCannotBeChanged(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		short, hours, off := time.Millisecond, 2*time.Hour, false
		absurd := ^uint64(4) // -5
		for _, c := range []struct {
			change replication.VoteChange
			want   string
		}{
			{replication.VoteChange{}, "nothing is to change"},
			{replication.VoteChange{Remove: "us"}, "switch over first"},
			{replication.VoteChange{Remove: "ap"}, `"ap" does not vote; known are eu, us, witness/w1`},
			{replication.VoteChange{Remove: "eu"}, "nothing can move by itself"},
			{replication.VoteChange{Add: "eu"}, "eu votes already"},
			{replication.VoteChange{Witness: "w1", Addrs: []string{"w1"}}, "witness/w1 votes already"},
			{replication.VoteChange{Witness: "w2"}, "addresses"},
			{replication.VoteChange{Witness: "w2", Addrs: []string{"w1"}}, "it says that it is witness/w1"},
			{replication.VoteChange{Witness: "w2", Addrs: []string{"x"}}, "cannot vote yet"},
			{replication.VoteChange{Remove: "witness/w1", Witness: "w2", Addrs: []string{"x"}}, "cannot vote yet"},
			{replication.VoteChange{FlapWithin: &short}, "1s to 24h0m0s"},
			{replication.VoteChange{Priorities: map[string]uint8{"ap": 1}}, `"ap" is no region that votes`},
			{replication.VoteChange{FlapMoves: new(uint32(33))}, "33 moves (at most 32)"},
			{replication.VoteChange{Lease: &hours}, "1s to 1h0m0s"},
			{replication.VoteChange{MaxLoss: &absurd}, "a loss of 18446744073709551611"},
		} {
			_, err := f.nodes["us-1"].Voting().Change(f.t.Context(), c.change)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: %v, want %q", c.change, err, c.want)
			}
		}
		if s := f.nodes["us-1"].Voting().Status(); s.Charter != 1 || len(s.Voters) != 3 {
			t.Errorf("then it is %+v", s)
		}
		f.network.Cut("us-1", "eu-1")
		f.network.Cut("eu-1", "w1")
		time.Sleep(4 * time.Second)
		if _, err := f.nodes["us-1"].Voting().Change(f.t.Context(), replication.VoteChange{
			Remove: "witness/w1", Automatic: &off}); !errors.Is(err, replication.ErrNotReady) {
			t.Errorf("with what it would be fenced by: %v", err)
		}
		f.put("us-1", "c1")
		f.kill("us-1")
		if _, err := f.nodes["eu-1"].Voting().Change(f.t.Context(),
			replication.VoteChange{Automatic: &off}); !errors.Is(err, replication.ErrNotReady) {
			t.Errorf("without a primary: %v", err)
		}
	})
}

// TestARuleIsChanged: the lease and the budget, and they count.
func TestARuleIsChanged(t *testing.T) {
	inSmallest(t, func(f *smallest) {
		longer, none := 8*time.Second, uint64(0)
		f.changes(replication.VoteChange{Lease: &longer, MaxLoss: &none})
		if r := f.put("us-1", "c1"); r.Regions != 2 {
			t.Errorf("where nothing may be lost it is acknowledged in %d regions", r.Regions)
		}
		// The budget of an epoch is not lowered.
		if _, err := f.nodes["us-1"].Switchover(f.t.Context(), "eu"); err != nil {
			t.Fatal(err)
		}
		f.holds("eu")
		f.kill("eu-1")
		began := time.Now()
		f.within(time.Minute, "us takes over", func() bool { return f.lastReign("us-1").Epoch == 3 })
		if took := time.Since(began); took < 7*time.Second { // it had promised a little before
			t.Errorf("another one takes over after %v", took)
		}
	})
}

// TestASwitchoverThereAndBack: a new primary writes its charter anew, and whoever takes over from it right then has
// that charter, or does not begin: by the one before nobody would support it.
func TestASwitchoverThereAndBack(t *testing.T) {
	for _, alone := range []bool{false, true} {
		inSmallest(t, func(f *smallest) {
			if alone { // then eu is one of those without whom us has no lease
				f.witness.Shutdown()
				defer f.startWitness()
			}
			for k := range 12 {
				epoch := f.lastReign("us-1").Epoch
				if _, err := f.nodes["us-1"].Switchover(f.t.Context(), "eu"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Duration(k) * 15 * time.Millisecond)
				if _, err := f.nodes["eu-1"].Switchover(f.t.Context(), "us"); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				f.holds("us")
				if took := time.Since(began); took > time.Second || f.lastReign("us-1").Epoch != epoch+2 {
					t.Fatalf("after %d: us has a lease %v later, in epoch %d, and that of before was %d", k, took,
						f.lastReign("us-1").Epoch, epoch)
				}
			}
		})
	}
}
