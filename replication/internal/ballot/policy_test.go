package ballot

import (
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/replication/timeline"
)

// TestARegionThatMovedTooOftenDoesNotAskForVotes, whoever of those who answer remembers it, and says until when.
func TestARegionThatMovedTooOftenDoesNotAskForVotes(t *testing.T) {
	wall := time.Unix(10_000, 0)
	move := timeline.Move{Epoch: 1, At: wall.Add(-9 * time.Minute)}
	own := func(s *timeline.State, _ *Answer) { s.Ballot.Moves = []timeline.Move{move} }
	const kept = "the primary moved by itself once within 10m, and does not again before 1970-01-01T02:47:40Z; " +
		"by order it does"
	for what, test := range map[string]struct {
		change func(s *timeline.State, w *Answer)
		wall   time.Time
		why    string
	}{
		"nobody knows of any": {func(*timeline.State, *Answer) {}, wall, ""},
		"its own voter does":  {own, wall, kept},
		"it is long ago":      {own, wall.Add(time.Minute), ""},
		"another voter does":  {func(_ *timeline.State, w *Answer) { w.Moves = []timeline.Move{move} }, wall, kept},
		"the charter does": {func(s *timeline.State, _ *Answer) {
			s.Ballot.Charter.Returns = []timeline.Move{move}
		}, wall, kept},
		"another voter's charter": {func(s *timeline.State, w *Answer) {
			c := *s.Charter()
			c.Returns, w.Charter = []timeline.Move{move}, &c
		}, wall, kept},
		"nothing came of it": {func(_ *timeline.State, w *Answer) {
			w.Moves = []timeline.Move{{Epoch: 2, At: move.At}}
		}, wall, ""},
		"a later reign of which a voter knows": {func(_ *timeline.State, w *Answer) {
			w.Moves = []timeline.Move{{Epoch: 2, At: move.At}}
			w.Reigns = []timeline.Reign{{Epoch: 2}}
		}, wall, kept},
		"there is no bound": {func(s *timeline.State, _ *Answer) {
			s.Ballot.Moves, s.Ballot.Charter.Flap.Moves = []timeline.Move{move}, 0
		}, wall, ""},
	} {
		s := reigning("b")
		s.Ballot.Charter.Flap = &timeline.Flap{Moves: 1, Within: 10 * time.Minute}
		yes := Answer{Granted: true}
		test.change(s, &yes)
		c, v := NewCandidate("b"), CandidateView{Term: 1, State: s, Quiet: 10 * time.Second, Wall: test.wall}
		v.Supports = Ruler{1, "a"}
		asked := c.Step(12*time.Second, v, nil)
		c.Step(12*time.Second, v, Sounded{Call: asked[0].Call, Voter: "b", Answer: Answer{Granted: true}})
		stands := c.Step(12*time.Second, v, Sounded{Call: asked[0].Call, Voter: names[w], Answer: yes})
		if c.Why() != test.why || (len(stands) == 1) != (test.why == "") {
			t.Errorf("%s: asks %+v, says %q", what, stands, c.Why())
		}
		v.Quiet = 20 * time.Second
		if c.phase == waiting {
			if c.Step(13*time.Second, v, nil); c.Why() != "" {
				t.Errorf("%s: says %q while it hears of a primary", what, c.Why())
			}
		}
	}
}

// TestARegionOfAHigherPriorityTakesOver when it has kept up for as long as the charter says, and by nothing but that.
func TestARegionOfAHigherPriorityTakesOver(t *testing.T) {
	s, wall := reigning("a"), time.Unix(10_000, 0)
	charter := &s.Ballot.Charter
	charter.Failback, charter.Voter("b").Priority = 10*time.Second, charter.Voter("a").Priority+1
	behind, back := map[string]string{}, NewBack("a")
	v := BackView{State: s, Leads: true, Behind: func(region string) string { return behind[region] }}
	step := func(at time.Duration, to, why string) {
		t.Helper()
		v.Wall = wall.Add(at)
		got := back.Step(at, v)
		if got != to || !strings.Contains(back.Why(), why) || why == "" && back.Why() != "" {
			t.Errorf("after %v: to %q, says %q; want %q, %q", at, got, back.Why(), to, why)
		}
	}
	step(time.Second, "", "takes over by a switchover at 1970-01-01T02:46:51Z if it keeps up")
	step(9*time.Second, "", "1970-01-01T02:46:51Z")
	behind["b"] = "it lags"
	step(10*time.Second, "", "b, of priority 2, does not take over: it lags")
	delete(behind, "b")
	step(12*time.Second, "", "1970-01-01T02:47:02Z")
	charter.Paused = "an upgrade"
	step(22*time.Second, "", "b does not take over: automatic failover is paused: an upgrade")
	charter.Paused = ""
	step(23*time.Second, "", "1970-01-01T02:47:13Z")
	v.Leads = false
	step(33*time.Second, "", "")
	v.Leads = true
	step(34*time.Second, "", "1970-01-01T02:47:24Z")
	charter.Flap = &timeline.Flap{Moves: 1, Within: 50 * time.Second}
	v.Moves = []timeline.Move{{Epoch: 1, At: wall}}
	step(36*time.Second, "", "b, of priority 2, does not take over: the primary moved by itself once within 50s")
	step(45*time.Second, "", "b, of priority 2, does not take over: the primary moved by itself once within 50s")
	step(50*time.Second, "b", "takes over now")
	step(60*time.Second, "", "takes over now") // while that is under way
	back.Ended(61*time.Second, "it refused")
	step(62*time.Second, "", "1970-01-01T02:47:52Z")
	charter.Voter("b").Priority = charter.Voter("a").Priority
	step(80*time.Second, "", "")
	charter.Failback, charter.Voter("b").Priority = 0, 9
	step(90*time.Second, "", "")
}

// TestARegionThatIsKeptDelayedHasNoPrecedence: it does not take over, however far it is. Where its vote is missing, it
// is told what to do.
func TestARegionThatIsKeptDelayedHasNoPrecedence(t *testing.T) {
	s := reigning("b")
	const order = "a holds more (a is kept delayed and becomes primary by order alone, with all that it holds: mimir " +
		"failover --to a --force)"
	for _, test := range []struct {
		late, granted bool
		why           string
	}{
		{false, true, "a region that is further has the precedence"},
		{true, true, ""},
		{true, false, order + "; witness/w does not answer: gone"},
		{false, false, "a holds more; witness/w does not answer: gone"},
	} {
		c, v := NewCandidate("b"), CandidateView{Term: 1, State: s, Quiet: 10 * time.Second, Supports: Ruler{1, "a"}}
		asked := c.Step(12*time.Second, v, nil)
		further := Answer{Granted: test.granted, Cursor: s.Cursor, Reigns: s.Reigns, Late: test.late}
		if further.Cursor.Position += 10; !test.granted {
			further.Why = &timeline.Objection{Reason: timeline.ReasonHistory, Text: "a holds more"}
		}
		c.Step(12*time.Second, v, Sounded{Call: asked[0].Call, Voter: names[w], Silence: "gone"})
		c.Step(12*time.Second, v, Sounded{Call: asked[0].Call, Voter: "a", Answer: further})
		stands := c.Step(12*time.Second, v, Sounded{Call: asked[0].Call, Voter: "b", Answer: Answer{Granted: true}})
		if c.Why() != test.why || (len(stands) == 1) != (test.why == "") {
			t.Errorf("%+v: asks %+v, says %q", test, stands, c.Why())
		}
	}
}
