package ballot

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// The ways to a second primary in a hold that are longer than walks find, as acts of the search; what is not possible
// without the mistake is left out. The wall clock of region a's next leader is behind, so that it asks for all of the
// hold again.
var (
	// The witness promised that, notes that the first promise is almost over, and starts anew.
	restartsCounting = `tick|tick|witness/w counts|tick|tick|witness/w counts|a has another leader|
		a renews at witness/w, former false false|a renews at a, former false false|a confirms, former false|
		witness/w restarts|tick|tick|a renews at a, former false false|a confirms, former false|
		b stands for epoch 2|b asks b to vote in epoch 2|b agrees on vote|b asks witness/w to vote in epoch 2`
	// The leader of b learns of the hold later than another node of b, and promises it; that node leads then.
	leadsCounting = `a node of b sees|tick|tick|tick|a has another leader|a renews at b, former false false|
		b confirms, former false|b agrees on count|b agrees on ceiling|a node of b sees|
		a renews at a, former false false|a confirms, former false|b has another leader, which was up|tick|tick|
		a renews at a, former false false|
		a confirms, former false|b stands for epoch 2|b asks b to vote in epoch 2|b agrees on vote|
		b asks witness/w to vote in epoch 2`
)

// TestCountingAHold: who notes how much of a hold is over, and goes on by that, has to do it just so.
func TestCountingAHold(t *testing.T) {
	for bug, acts := range map[string]string{
		"a voter promises as much of a hold as it is asked for":  restartsCounting,
		"the holder of a hold counts what it asked for":          restartsCounting,
		"a hold is promised before it is noted how much is left": leadsCounting,
		"who sees a note goes on by the one before":              leadsCounting,
	} {
		if broken, did := act(counting, acts, ""); broken != "" {
			t.Errorf("without a mistake: %s\n%s", broken, strings.Join(did, "\n"))
		}
		if broken, did := act(counting, acts, bug); !strings.HasPrefix(broken, "B2") {
			t.Errorf("%s: nothing noticed it (%q)\n%s", bug, broken, strings.Join(did, "\n"))
		}
	}
}

var counting = limits{
	Epochs: 2, Changes: 2, Restarts: 1, Stands: 1, MaxLoss: anyLoss, Holds: 1, Held: true, Behind: true,
}

// act goes through acts, and returns what is wrong then, and what was possible.
func act(l limits, acts, bug string) (broken string, did []string) {
	n := begin(l, bug)
	n.plantHold(bug)
	for act := range strings.SplitSeq(acts, "|") {
		steps := n.next(bug)
		i := slices.IndexFunc(steps, func(s step) bool { return s.act == strings.TrimSpace(act) })
		if i < 0 {
			continue
		}
		steps[i].do(n)
		n.plantHold(bug)
		did = append(did, steps[i].act)
		if n.check(); n.broken != "" {
			return n.broken, did
		}
	}
	return "", did
}

// TestAHoldCostsWhatWasSaid: a witness that is started anew again and again waits no longer than until the hold is
// over, and for as much again as is between two notes; and it writes a bounded number of them.
func TestAHoldCostsWhatWasSaid(t *testing.T) {
	const hold, lease, step = time.Hour, 3 * time.Second, time.Minute
	for name, c := range map[string]struct {
		every  time.Duration // it is started anew
		until  time.Duration
		writes int
	}{
		"never":             {2 * hold, hold, counts + 2},
		"once":              {hold * 2 / 3, hold + step, counts + 3},
		"every ten minutes": {10 * time.Minute, hold + 7*step, counts + 9},
		"when it is over":   {hold + time.Second, hold + time.Second + lease, counts + 2},
	} {
		s := reigning(names[w])
		s.Reigns, s.Cursor = nil, timeline.Cursor{}
		s.Ballot.Charter.Lease = lease
		s.Ballot.Charter.Hold = &timeline.Hold{For: hold, Until: time.Unix(0, 0), Counted: true}
		v, writes := NewVoter(names[w]), 0
		step := func(now Instant, in Input) (answer Answer) {
			for queue := v.Step(now, s, in); len(queue) > 0; queue = queue[1:] {
				switch e := queue[0]; e.Do {
				case Confirm:
					queue = append(queue, v.Step(now, s, Confirmed{e.Call, true})...)
				case Record:
					m := timeline.NewMachine(s)
					outcome, why, _ := m.Control(e.Control)
					next := m.State()
					s, writes = &next, writes+1
					queue = append(queue, v.Step(now, s, Recorded{Call: e.Call, Outcome: outcome, Why: why})...)
				case Reply:
					answer = e.Answer
				}
			}
			return answer
		}
		b := &timeline.State{Region: "b", Ballot: s.Ballot}
		began := 100 * time.Hour
		step(began, Leads{1})
		renewal := &Renewal{Epoch: 1, Region: "a", Charter: s.Ballot.Charter, Hold: hold, Held: true,
			Reigns: reigning("a").Reigns, Ceiling: 60}
		if a := step(began, RenewalAsked{1, renewal}); !a.Granted || a.Hold != hold {
			t.Fatalf("%s: %+v", name, a)
		}
		for now := began; ; now += time.Second {
			if now > began && (now-began)%c.every == 0 {
				v = NewVoter(names[w])
				step(now, Leads{1})
			}
			step(now, nil)
			candidacy := Of(b, 2)
			candidacy.Operator, candidacy.Accept = true, timeline.NoBound
			if a := step(now, VoteAsked{2, candidacy, true}); a.Granted {
				if took := now - began; took < hold || took > c.until || writes > c.writes {
					t.Errorf("%s: waits for %v, at most %v; %d writes, at most %d", name, took, c.until, writes,
						c.writes)
				}
				break
			} else if now > began+3*hold {
				t.Fatalf("%s: %+v", name, a)
			}
		}
	}
}
