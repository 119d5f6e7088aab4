package sim

import (
	"strings"
	"testing"
)

// crashSeeds is within how many seeds the power has to have failed at a crash point that is aimed at.
const crashSeeds = 5

// TestEveryCrashPoint has the power fail at each crash point: one to which nobody comes tests nothing.
func TestEveryCrashPoint(t *testing.T) {
	if raceEnabled {
		t.Skip("a run takes many times longer")
	}
	for i, at := range crashPoints() {
		t.Run(strings.ReplaceAll(at.String(), " ", "_"), func(t *testing.T) {
			o := Options{Inject: injectCrash, Crash: at.String()}
			for o.Seed = uint64(100 * (i + 1)); o.Seed < uint64(100*(i+1)+crashSeeds); o.Seed++ {
				r := Run(t, o)
				for _, f := range r.Failures {
					t.Errorf("seed %d: %s\nplan: %s\n%s", o.Seed, f, r.Plan, r.Story(*traceLen))
				}
				if r.Injected[at.String()].Happened > 0 {
					t.Logf("in seed %d", o.Seed)
					return
				}
			}
			t.Errorf("the power failed there in none of %d seeds", crashSeeds)
		})
	}
}
