package laggate

import (
	"errors"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/contract"
)

func TestJudge(t *testing.T) {
	both := Limits{Delay: Bound{Bytes: 100, Age: 2 * time.Second}, Refuse: Bound{Bytes: 300, Age: 10 * time.Second}}
	two := both
	two.Regions = 2
	many := both
	many.Regions = 5
	refuse := Limits{Refuse: Bound{Bytes: 300}}
	below := Limits{Delay: Bound{Bytes: 9}, Refuse: Bound{Bytes: 5}}
	delay := Limits{Delay: Bound{Age: 4 * time.Second}}
	at := func(bytes int64, age time.Duration) Behind { return Behind{Region: "eu", Bytes: bytes, Age: age} }
	gone := Behind{Region: "ap", Unkept: true}
	for name, c := range map[string]struct {
		l       Limits
		regions []Behind
		delay   time.Duration
		refuses bool
	}{
		"no bounds":                          {Limits{Regions: 3}, []Behind{gone}, 0, false},
		"no other region":                    {both, nil, 0, false},
		"within":                             {both, []Behind{at(100, 2*time.Second)}, 0, false},
		"bytes, half the way":                {both, []Behind{at(200, 0)}, time.Second / 2, false},
		"time, a quarter of the way":         {both, []Behind{at(0, 4*time.Second)}, time.Second / 4, false},
		"what is further counts":             {both, []Behind{at(250, 4*time.Second)}, 3 * time.Second / 4, false},
		"bytes, too many":                    {both, []Behind{at(300, 0)}, 0, true},
		"time, too long":                     {both, []Behind{at(0, time.Minute)}, 0, true},
		"log is gone":                        {both, []Behind{gone}, 0, true},
		"one of two is within":               {both, []Behind{gone, at(0, 0)}, 0, false},
		"two are asked for":                  {two, []Behind{gone, at(0, 0)}, 0, true},
		"more are asked for than there are":  {many, []Behind{at(200, 0), at(0, 0)}, time.Second / 2, false},
		"refuse alone, just before":          {refuse, []Behind{at(299, time.Hour)}, 0, false},
		"refuse alone":                       {refuse, []Behind{at(301, 0)}, 0, true},
		"delay alone, in half the way again": {delay, []Behind{at(1<<40, 6*time.Second)}, time.Second / 2, false},
		"delay alone refuses nothing":        {delay, []Behind{at(0, time.Hour)}, 999 * time.Millisecond, false},
		"delay alone, with log that is gone": {delay, []Behind{gone}, 999 * time.Millisecond, false},
		"refuse below delay":                 {below, []Behind{at(6, 0)}, 0, true},
	} {
		v := judge(c.l, c.regions)
		if v.Delay != c.delay || errors.Is(v.Refuse, contract.ErrLagging) != c.refuses ||
			(v.Why == "") != (c.delay == 0 && !c.refuses) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// TestAges: how long something is there is never understated, but for what was there before.
func TestAges(t *testing.T) {
	var a ages
	began := time.Now()
	second := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	if a.of(began, 3) != 0 {
		t.Error("of nothing")
	}
	a.note(second(0), 10)
	a.note(second(1), 10)
	a.note(second(2), 20)
	a.note(second(3), 30)
	for p, want := range map[contract.Position]int{30: 0, 29: 1 + 1, 20: 2, 19: 3, 10: 3, 3: 4, 40: 0} {
		if got := a.of(second(4), p); got != time.Duration(want)*time.Second {
			t.Errorf("of %d: %v, want %d s", p, got, want)
		}
	}
	for i := range 10 * maxSamples {
		a.note(second(4+i), contract.Position(31+i))
		if i%97 == 0 && i > 0 {
			p := contract.Position(31 + i/2) // what follows it was there a second later
			if got, least := a.of(second(4+i), p), second(4+i).Sub(second(4+i/2+1)); got < least {
				t.Fatalf("of %d: %v, and it was %v", p, got, least)
			}
		}
	}
	if len(a.samples) > maxSamples {
		t.Errorf("%d samples", len(a.samples))
	}
}

// TestWhatWasThereBeforeGrowsOld: while nothing is written, too. It counts from the first look.
func TestWhatWasThereBeforeGrowsOld(t *testing.T) {
	var a ages
	began := time.Now()
	for i := range 3 {
		a.note(began.Add(time.Duration(i)*time.Hour), 100)
	}
	now := began.Add(2 * time.Hour)
	if before, all := a.of(now, 50), a.of(now, 100); before != 2*time.Hour || all != 0 {
		t.Errorf("who has a half of it is behind for %v, who has all of it for %v", before, all)
	}
}

// TestAgesOfHours: how long something is there is overstated by little, however long ago that was and whatever is
// written since. A region that is 20 minutes behind is not refused by a bound of an hour.
func TestAgesOfHours(t *testing.T) {
	var a ages
	began := time.Now()
	at := func(i int) time.Time { return began.Add(time.Duration(i) * every) }
	const day = int(24 * time.Hour / every)
	for i := range day {
		a.note(at(i), contract.Position(i+1))
	}
	now := at(day - 1)
	for _, real := range []time.Duration{
		time.Second, time.Minute, 10 * time.Minute, 20 * time.Minute, time.Hour, 5 * time.Hour, 20 * time.Hour,
	} {
		p := contract.Position(day - int(real/every))
		if got := a.of(now, p); got < real-every || got > real+real/16+2*every {
			t.Errorf("what is there for %v is told to be there for %v", real, got)
		}
	}
	if len(a.samples) > maxSamples {
		t.Errorf("%d samples", len(a.samples))
	}
}
