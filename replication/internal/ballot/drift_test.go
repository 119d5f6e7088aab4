package ballot

import (
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// skewed is a process that speaks for region b, whose clock runs at a part of the real time.
type skewed struct {
	*Voter
	percent int64
}

func (k *skewed) at(real time.Duration) Instant { return real / 100 * time.Duration(k.percent) }

// run steps the voter and does what it asks for, on the state of its region.
func (k *skewed) run(real time.Duration, s **timeline.State, in Input) (a Answer) {
	for queue := k.Step(k.at(real), *s, in); len(queue) > 0; queue = queue[1:] {
		switch e := queue[0]; e.Do {
		case Confirm:
			queue = append(queue, k.Step(k.at(real), *s, Confirmed{e.Call, true})...)
		case Record:
			m := timeline.NewMachine(*s)
			outcome, why, _ := m.Control(e.Control)
			next := m.State()
			*s = &next
			queue = append(queue, k.Step(k.at(real), *s, Recorded{Call: e.Call, Outcome: outcome, Why: why})...)
		case Reply:
			a = e.Answer
		}
	}
	return a
}

// A hold that is counted by two processes of one region, one whose clock is as slow as it may be and one whose is as
// fast, ends for the holder before the second one votes for another (B3, B9).
func TestACountedHoldOutlastsNoDrift(t *testing.T) {
	for k := range 12 {
		countedByTwo(t, 30*time.Minute+time.Duration(k)*7*time.Second)
	}
}

func countedByTwo(t *testing.T, gone time.Duration) {
	const lease, hold, began, percent = 3 * time.Second, time.Hour, 100 * time.Hour, 100
	s := reigning("b")
	s.Reigns, s.Cursor = nil, timeline.Cursor{}
	s.Ballot.Charter.Lease, s.Ballot.Charter.DriftPPM = lease, 10_000
	s.Ballot.Charter.Hold = &timeline.Hold{For: hold, Until: time.Unix(0, 0), Counted: true}
	slow, fast := &skewed{NewVoter("b"), percent - 1}, &skewed{NewVoter("b"), percent + 1}
	slow.run(began, &s, Leads{1})
	fast.run(began, &s, nil)
	c, ends := s.Ballot.Charter, time.Duration(0)
	for real := began; real < began+gone; real += 500 * time.Millisecond {
		r := &Renewal{Epoch: 1, Region: "a", Charter: c, Hold: hold - slow.at(real-began), Held: true,
			Reigns: reigning("a").Reigns, Ceiling: 60}
		a := slow.run(real, &s, RenewalAsked{1, r})
		if !a.Granted {
			t.Fatal(a.Why)
		}
		// The holder's clock is slow too.
		ends = max(ends, real+c.Certain(min(r.Hold, max(a.Hold, lease)))*percent/(percent-1))
		fast.run(real, &s, nil)
	}
	fast.run(began+gone, &s, Leads{2})
	for real := began + gone; real < began+2*hold; real += 100 * time.Millisecond {
		fast.run(real, &s, nil)
		other := Of(&timeline.State{Region: "b", Ballot: s.Ballot}, 2)
		other.Operator, other.Accept = true, timeline.NoBound
		if fast.run(real, &s, VoteAsked{2, other, true}).Granted {
			if real < ends {
				t.Errorf("gone after %v: it votes %v before the holder's lease is over", gone, ends-real)
			}
			return
		}
	}
	t.Fatal("it never votes")
}

// Who leads anew in a hold that is not counted does not say that it is over while who spoke before may have promised by
// it.
func TestAHoldThatIsNotCountedIsToldAsItIsKept(t *testing.T) {
	s := reigning("b")
	s.Reigns, s.Cursor = nil, timeline.Cursor{}
	s.Ballot.Charter.Lease = 3 * time.Second
	s.Ballot.Charter.Hold = &timeline.Hold{For: 10 * time.Minute, Until: time.Unix(0, 0)}
	v := NewVoter("b")
	v.Step(time.Hour, s, nil)
	v.Step(time.Hour+8*time.Minute, s, Leads{7})
	for minute, over := range map[time.Duration]bool{11: false, 17: false, 19: true} {
		now := time.Hour + minute*time.Minute
		if got := v.Held(now) == 0; got != over {
			t.Errorf("after %d minutes: over %t, and %t is so", minute, got, over)
		}
	}
}
