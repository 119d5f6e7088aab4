package sim

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

var (
	campaignSeeds = flag.Int("sim.campaign", 0, "how many seeds with drawn kinds of faults TestCampaign runs")
	moreSeeds     = flag.Int("sim.more", 0, "how many further ones it begins, at most, within -sim.within")
	within        = flag.Duration("sim.within", 0, "how long it begins further ones, from its own beginning on")
)

const (
	// campaignFrom is the first seed of a campaign, if -sim.from does not say another one.
	campaignFrom = 20_000
	// campaignShare is how many seeds one process runs.
	campaignShare = 15
	// fewest is in how many of 100 seeds each kind has to happen.
	fewest = 10
	// manySeeds is from how many on every crash point has to be come to, with these further seeds that aim at one to
	// which nobody came.
	manySeeds   = 100
	aimedShare  = 5
	aimedShares = 4
)

// TestCampaign runs many seeds with drawn kinds of faults, in a process for each processor, and shows in how many of
// them each kind happened. The test command does it with a program that was built without the race detector.
func TestCampaign(t *testing.T) {
	if *campaignSeeds == 0 {
		t.Skip("-sim.campaign is not given")
	}
	from := *fromSeed
	if from == 1 {
		from = campaignFrom
	}
	c := campaign{began: time.Now(), tally: Tally{}, shares: make(chan share)}
	var work sync.WaitGroup
	for range runtime.NumCPU() {
		work.Go(func() { c.work(t) })
	}
	ran, all := 0, *campaignSeeds+*moreSeeds
	for ran < *campaignSeeds || ran < all && time.Since(c.began) < *within {
		s := share{from: from, count: min(all-ran, campaignShare)}
		c.shares <- s
		from, ran = from+campaignShare, ran+s.count
	}
	close(c.shares)
	work.Wait()
	if ran >= manySeeds {
		c.aim(t, from)
	}
	fmt.Fprintf(t.Output(), "%d seeds of %d in %v\n%v", ran, all, time.Since(c.began).Round(time.Second), c.tally)
	if kind, happened := c.tally.Least(); happened*100 < ran*fewest {
		t.Errorf("kind %q happened in %d of %d seeds: it is hardly tested", kind, happened, ran)
	}
	if points := c.tally.Missed(); len(points) > 0 && ran >= manySeeds {
		t.Errorf("in %d seeds the power never failed at %q", ran, points)
	}
}

// share is some consecutive seeds.
type share struct {
	from  uint64
	count int
	crash string // the crash point at which they aim; "": each at its own
}

type campaign struct {
	began  time.Time
	shares chan share

	mu    sync.Mutex
	tally Tally
}

// work runs one share after the other.
func (c *campaign) work(t *testing.T) {
	for s := range c.shares {
		c.run(t, s)
	}
}

func (c *campaign) run(t *testing.T, s share) {
	tally, out, err := s.run(t.Context(), t.TempDir(), left(t))
	if err != nil {
		t.Errorf("seeds from %d on: %v\n%s", s.from, err, out)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tally.Add(tally)
}

// aim runs seeds from this one on, in which the power has to fail at those crash points to which nobody came yet.
func (c *campaign) aim(t *testing.T, from uint64) {
	for _, point := range c.tally.Missed() {
		for range aimedShares {
			c.run(t, share{from, aimedShare, point})
			if from += aimedShare; c.tally[point].Happened > 0 {
				break
			}
		}
	}
}

// run runs the share in a process of its own, on one processor: several would mostly wait for each other.
func (s share) run(ctx context.Context, dir, timeout string) (tally Tally, out []byte, err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	file := filepath.Join(dir, "tally")
	p := exec.CommandContext(ctx, program, "-test.run=^TestSeeds$", "-test.timeout="+timeout, "-sim.inject=drawn",
		"-sim.crash="+s.crash,
		fmt.Sprintf("-sim.from=%d", s.from), fmt.Sprintf("-sim.seeds=%d", s.count), "-sim.tally="+file)
	p.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=800")
	if out, err = p.CombinedOutput(); err != nil {
		return nil, out, err
	}
	encoded, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(encoded, &tally)
	}
	return tally, out, err
}
