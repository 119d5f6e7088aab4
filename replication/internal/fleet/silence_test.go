package fleet

import (
	"testing"
	"time"
)

// For how long a region has had no leader that answers and hears a majority is known whatever else of it answers, and
// whether it ever had one that was heard here; and nothing of it is time in which this process stood still.
func TestForHowLongARegionIsSilent(t *testing.T) {
	led, not := true, false
	leads, follows := Report{Region: "eu", Node: "eu-1", Leader: true, Led: &led}, Report{Region: "eu", Node: "eu-1"}
	cutOff, old := leads, leads
	cutOff.Led, old.Led = &not, nil
	const while, cycle = 20*time.Second + time.Second/2, 2 * time.Second
	for name, c := range map[string]struct {
		before, after *Report // what its one node says; nil: it does not answer
		least         time.Duration
	}{
		"it never answered":              {nil, nil, while},
		"it answers no more":             {&leads, nil, while},
		"it has no leader":               {&leads, &follows, while},
		"it never had one":               {&follows, &follows, while},
		"its leader hears no majority":   {&leads, &cutOff, while},
		"its leader answers":             {&leads, &leads, 0},
		"its leader is too old to say":   {nil, &old, 0},
		"it has a leader, and had none":  {&follows, &leads, 0},
		"it answers, and did not before": {nil, &leads, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := &answers{nodes: map[string]Report{}, asked: map[string]int{}}
			if c.before != nil {
				a.set("eu-1", *c.before)
			}
			watch(t, a, func(w *Watcher) {
				time.Sleep(cycle / 4)
				if c.after == nil {
					a.forget("eu-1")
				} else {
					a.set("eu-1", *c.after)
				}
				time.Sleep(while)
				got := silence(w, "eu", cycle)
				if got < c.least || c.least == 0 && got > 0 || got > c.least+cycle {
					t.Errorf("silent for %v", got)
				}
			})
		})
	}
}

func silence(w *Watcher, region string, cycle time.Duration) time.Duration {
	v, _ := w.View()
	r := v.Regions[region]
	return r.SilentFor(time.Now(), cycle)
}

// A process that stood still for an hour, with a question under way or before the next, asked for a moment of it.
func TestTimeInWhichNobodyWasAskedIsNoSilence(t *testing.T) {
	led := true
	a := &answers{nodes: map[string]Report{}, asked: map[string]int{}}
	a.set("eu-1", Report{Region: "eu", Node: "eu-1", Leader: true, Led: &led})
	watch(t, a, func(w *Watcher) {
		const pause, cycle = time.Hour, 2 * time.Second
		time.Sleep(cycle / 4)
		a.forget("eu-1")
		a.stand(pause)
		time.Sleep(cycle)
		a.stand(0)
		if got := silence(w, "eu", cycle); got != 0 {
			t.Errorf("with a question under way for %v: %v", cycle, got)
		}
		time.Sleep(pause)
		if got := silence(w, "eu", cycle); got == 0 || got > 3*cycle {
			t.Errorf("behind a pause of %v: %v", pause, got)
		}
		a.set("eu-1", Report{Region: "eu", Node: "eu-1", Leader: true, Led: &led})
		time.Sleep(cycle)
		if got := silence(w, "eu", cycle); got != 0 {
			t.Errorf("its leader answers again: %v", got)
		}
	})
	now := time.Unix(1_000, 0)
	first := Region{Name: "eu", Asked: now}
	if first.count(&Region{}, now.Add(time.Second), 2*time.Second); first.silent != time.Second {
		t.Errorf("in the first round: %v", first.silent)
	}
	silent := Region{Name: "eu", silent: 14 * time.Second, counted: now}
	if got := silent.SilentFor(now.Add(time.Hour), time.Second); got != 15*time.Second {
		t.Errorf("between two rounds: %v", got)
	}
	next := Region{Name: "eu", Asked: now.Add(time.Hour)}
	if next.count(&silent, now.Add(time.Hour), time.Second); next.silent != 15*time.Second {
		t.Errorf("in the next round: %v", next.silent)
	}
}
