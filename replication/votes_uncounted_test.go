package replication_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication"
)

// inLossless is inBubble of a fleet in which nothing may be lost: regions of one node, a witness, and one region to
// which the stream is slow, while everything else is not.
func inLossless(t *testing.T, slow string, regions []string, body func(f *smallest)) {
	settings, nodes := replication.DefaultVotes(), map[string]int{}
	settings.MaxLoss = 0
	for _, region := range regions {
		nodes[region] = 1
	}
	held := func(c *replication.Config) {
		c.RegionRate = func(to string, _ time.Time) (r replication.RegionRate) {
			if to == slow {
				r.Stream = 16 << 10
			}
			return r
		}
	}
	ofOneEach(t, nodes, settings, held, body)
}

// large writes so much at us that a region to which the stream is slow is behind for a minute.
func (f *smallest) large() (written []string) {
	f.t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 16 {
		value := make([]byte, 64<<10) // it does not compress
		for k := range value {
			value[k] = byte(random.Uint32())
		}
		written = append(written, string(value))
		f.put("us-1", written[i])
	}
	return written
}

// comesToNothing has a region that lacks what was acknowledged stay what it is while us is gone, and us go on then.
func (f *smallest) comesToNothing(region string, written []string) {
	f.t.Helper()
	f.saysWhy(region+"-1", "acknowledged commands")
	time.Sleep(time.Minute)
	if r := f.lastReign(region + "-1"); r.Primary == region {
		f.t.Errorf("%s took over without what was acknowledged: %+v", region, r)
	}
	f.start("us-1")
	f.within(5*time.Minute, region+" has what was acknowledged", func() bool {
		return len(f.nodes[region+"-1"].ledger.commands()) == len(written)+1
	})
	f.putAfter("us-1", "last")
}

// TestAVoteThatIsTakenAwayLosesNothing: what was acknowledged is in us and in eu, which votes no more, and ap and the
// witness, a majority of those who do, are without.
func TestAVoteThatIsTakenAwayLosesNothing(t *testing.T) {
	inLossless(t, "ap", []string{"us", "eu", "ap"}, func(f *smallest) {
		written := f.large()
		f.change("us-1", replication.VoteChange{Remove: "eu"})
		f.kill("us-1")
		f.kill("eu-1")
		f.comesToNothing("ap", written)
	})
}

// TestWhatTheOnlyVoterAcknowledgedIsNotLost: others vote again behind a recovery, before they have it.
func TestWhatTheOnlyVoterAcknowledgedIsNotLost(t *testing.T) {
	inLossless(t, "eu", []string{"us", "eu"}, func(f *smallest) {
		f.kill("eu-1")
		f.witness.Shutdown()
		if _, err := f.nodes["us-1"].Voting().Recover(f.t.Context(), "us"); err != nil {
			f.t.Fatal(err)
		}
		written := f.large()
		f.start("eu-1")
		f.disk = freshDisk()
		f.startWitnessAs("w2")
		set := replication.DefaultVotes()
		set.MaxLoss, set.Witnesses = 0, map[string][]string{"w2": {"w2"}}
		f.within(time.Minute, "votes are taken again", func() bool {
			_, err := f.nodes["us-1"].Voting().Enable(f.t.Context(), set)
			return err == nil
		})
		f.kill("us-1")
		f.comesToNothing("eu", written)
	})
}

// TestARecoverySaysNothingOfHowFarItWas: it judges by itself, and goes on where it is told to.
func TestARecoverySaysNothingOfHowFarItWas(t *testing.T) {
	inLossless(t, "", []string{"us", "eu", "ap"}, func(f *smallest) {
		f.kill("eu-1")
		f.kill("ap-1")
		f.witness.Shutdown()
		if _, err := f.nodes["us-1"].Voting().Recover(f.t.Context(), "us"); err != nil {
			f.t.Fatal(err)
		}
		f.putAfter("us-1", "c1")
		c := f.change("us-1", replication.VoteChange{Automatic: new(false)})
		if len(c.Voters) != 1 || c.Under.Epoch != 0 {
			f.t.Errorf("%+v", c)
		}
		f.startWitness()
	})
}
