package raftgroup

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"
	"time"
)

// calledSlow returns after how many of at most n samples a disk is called slow, n+1 if it never is.
func calledSlow(n int, slow func(i int) bool) int {
	var p pace
	for i := range n {
		t := timing{slow: slow(i)}
		p.note(t, time.Time{})
		if t.slow && p.slow() { // as the loop asks
			return i + 1
		}
	}
	return n + 1
}

func TestADiskIsCalledSlow(t *testing.T) {
	const never = 1001
	for name, test := range map[string]struct {
		slow  func(i int) bool
		after int
	}{
		"always":                        {func(int) bool { return true }, 20},
		"never":                         {func(int) bool { return false }, never},
		"every second":                  {func(i int) bool { return i%2 == 1 }, 64},
		"two, and two not":              {func(i int) bool { return i%4 < 2 }, never}, // two in six are too few
		"three, and three not":          {func(i int) bool { return i%6 < 3 }, 67},
		"two of three":                  {func(i int) bool { return i%3 > 0 }, 65},
		"every third":                   {func(i int) bool { return i%3 == 0 }, never},
		"all but every twentieth":       {func(i int) bool { return i%20 > 0 }, 64},
		"19 in a row now and then":      {func(i int) bool { return i%64 < 19 }, never},
		"20 in a row once":              {func(i int) bool { return 100 <= i && i < 120 }, 120},
		"a while, and then every fifth": {func(i int) bool { return i < 12 || i%5 == 0 }, never},
	} {
		if got := calledSlow(never-1, test.slow); got != test.after {
			t.Errorf("slow %s: after %d samples, want %d", name, got, test.after)
		}
	}
}

// TestAThirdAtRandomIsNotSlow, in 200,000 windows. What is clearly more than half at random is.
func TestAThirdAtRandomIsNotSlow(t *testing.T) {
	for _, share := range []float64{1. / 4, 1. / 3, 0.6, 0.75} {
		random := rand.New(rand.NewPCG(1, 2))
		n := 200_000
		if share > 0.5 {
			n = 20_000
		}
		after := calledSlow(n, func(int) bool { return random.Float64() < share })
		if slow := after <= n; slow != (share > 0.5) {
			t.Errorf("a share of %.2f: called slow after %d of %d samples", share, after, n)
		}
	}
}

// TestHowOftenADiskIsCalledSlow computes how likely one sample more has a disk be called slow, of which a share of
// samples is slow at random, and that was not so far. The figures are those of the comment at paceSamples.
func TestHowOftenADiskIsCalledSlow(t *testing.T) {
	for _, test := range []struct{ share, least, most float64 }{
		{1. / 4, 0, 3e-12}, {1. / 3, 0, 6e-9}, {0.6, 1. / 800, 1}, {0.75, 1. / 150, 1},
	} {
		got := math.Pow(test.share, paceRow)*(1-test.share) + hazard(test.share)
		if got < test.least || got > test.most {
			t.Errorf("a share of %.2f: %.2g for each sample, want %.2g to %.2g", test.share, got, test.least, test.most)
		}
	}
	half := 0.0
	for k := paceSamples / 2; k <= paceSamples; k++ {
		ways, _ := math.Lgamma(paceSamples + 1)
		slow, _ := math.Lgamma(float64(k + 1))
		fast, _ := math.Lgamma(float64(paceSamples - k + 1))
		half += math.Exp(ways - slow - fast + float64(k)*math.Log(1./3) + float64(paceSamples-k)*math.Log(2./3))
	}
	if fmt.Sprintf("%.0f", 1/half) != "234" {
		t.Errorf("half of a window is slow once in %.0f windows", 1/half)
	}
}

// hazard is how likely the next sample is the last one of a stretch of paceSamples in which paceHalf of each pacePart
// in a row are slow, in the long run.
func hazard(share float64) (ends float64) {
	const parts = paceSamples - pacePart + 1 // of a stretch
	type state struct {
		last  uint64 // samples
		parts int    // of the stretch so far
	}
	now := map[state]float64{{}: 1}
	for range 3 * paceSamples {
		next := make(map[state]float64, len(now))
		ends = 0
		for s, p := range now {
			for sample, p := range []float64{p * (1 - share), p * share} {
				last := s.last<<1 | uint64(sample)
				to := state{last: last & (1<<(pacePart-1) - 1), parts: s.parts + 1}
				if bits.OnesCount64(last) < paceHalf {
					to.parts = 0
				} else if to.parts == parts {
					ends += p
					to = state{}
				}
				next[to] += p
			}
		}
		now = next
	}
	return ends
}

// TestWhatIsOldIsForgotten: slow samples of long ago say nothing.
func TestWhatIsOldIsForgotten(t *testing.T) {
	var p pace
	at := time.Now()
	for i := range paceRow {
		if p.slow() {
			t.Fatalf("slow after %d", i)
		}
		at = at.Add(time.Second)
		if i == paceRow-1 {
			at = at.Add(time.Minute)
		}
		p.note(timing{at: at, slow: true, before: []uint64{2}}, at.Add(-time.Minute))
	}
	if p.slow() || p.ahead(2) != 1 {
		t.Errorf("slow: %v, with %d samples", p.slow(), p.ahead(2))
	}
	for range 2 * paceSamples {
		p.note(timing{at: at, slow: true, before: []uint64{2, 3}}, at.Add(-time.Minute))
	}
	if !p.slow() || p.ahead(3) != paceSamples || len(p.samples) != paceSamples {
		t.Errorf("slow: %v, with %d samples of %d", p.slow(), p.ahead(3), len(p.samples))
	}
}
