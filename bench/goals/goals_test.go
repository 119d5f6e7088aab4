package goals

import (
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/profile"
)

// at is a point without noise.
func at(v float64) Point { return Point{Value: bench.Spread{Median: v, Least: v, Most: v}, Spin: spin} }

var spin = bench.Spread{Median: 50e6, Least: 40e6, Most: 60e6}

// side does so many requests a second, with times in milliseconds.
func side(perSecond, p50, p99, longest, processor float64) *Side {
	ms := func(v float64) time.Duration { return time.Duration(v * float64(time.Millisecond)) }
	return &Side{PerSecond: at(perSecond).Value, P50: ms(p50), P99: ms(p99), Longest: ms(longest),
		ProcessorRequest: ms(processor), Spin: spin}
}

// verdicts are those of a goal, in order.
func verdicts(g Goal) string {
	var all []string
	for _, f := range g.Figures {
		short := map[Verdict]string{Met: "met", Missed: "missed", Stated: "stated", NotMeasured: "-"}
		all = append(all, short[f.Verdict])
	}
	return strings.Join(all, " ")
}

// TestVerdicts of each goal, by what was measured.
func TestVerdicts(t *testing.T) {
	put100 := func(mimir *Side) Puts {
		return Puts{Loads: []Load{{put, 100, mimir, side(50, 1, 10, 20, 0.3), side(200, 0, 0, 0, 0)}}}
	}
	put1 := func(p50, sync float64) Puts {
		return Puts{Loads: []Load{{put, 1, side(1, p50, 0, 0, 0), nil, side(1, 0.1, 0, 0, 0)}},
			Sync: bench.Spread{Median: sync * 1e6}}
	}
	gets := func(rate float64) []Load {
		return []Load{{"get, serializable", 100, side(rate, 0, 0, 0, 0), side(10, 0, 0, 0, 0), side(40, 0, 0, 0, 0)}}
	}
	paging := func(costs ...Point) Paging {
		return Paging{Sizes: []int{1000, 10_000, 1_000_000}[:len(costs)], Kinds: []Listing{{"page", costs}}}
	}
	phase := func(processor, p99 float64) Phase { return Phase{at(processor), at(p99)} }
	second := func(follows, catches Phase) Second {
		return Second{Alone: phase(100, 10), Following: follows, CatchingUp: catches}
	}
	for _, c := range []struct {
		name string
		goal Goal
		want string
	}{
		{"lists that cost the same", JudgePaging(paging(at(1), at(3), at(2.9))), "met"},
		{"a list that costs more", JudgePaging(paging(at(1), at(1), at(3.1))), "missed"},
		{"the middle size costs most", JudgePaging(paging(at(1), at(4), at(1))), "missed"},
		{"a list that is refused", JudgePaging(paging(at(1), Point{Failed: "too large"})), "missed"},
		{"one size", JudgePaging(paging(at(1))), "-"},
		{"a size that was not measured", JudgePaging(paging(at(1), Point{})), "-"},

		{"no memory was looked at", JudgeMemory(Memory{BudgetMegabytes: 10, Phases: []Phased{{Name: "x"}}}), "- -"},
		{"within the budget, and beside etcd", JudgeMemory(Memory{BudgetMegabytes: 10, Mimir: at(15), Etcd: at(10),
			Phases: []Phased{{"x", at(5), at(10)}, {"y", at(5), at(10.1)}, {"z", Point{Failed: "gone"}, Point{}}},
		}), "met missed missed met"},
		{"more than etcd", JudgeMemory(Memory{BudgetMegabytes: 10, Mimir: at(16), Etcd: at(10)}), "missed"},

		{"no puts", JudgePuts(Puts{}), "- - - - - - - - -"},
		{"a put at the bound", JudgePuts(put1(0.50, 0.25)), "met - - - - - - - -"},
		{"a put beyond it", JudgePuts(put1(0.51, 0.25)), "missed - - - - - - - -"},
		{"a disk that was not measured", JudgePuts(put1(0.5, 0)), "- - - - - - - - -"},
		{"puts at all bounds", JudgePuts(put100(side(120, 0, 5, 1000, 0.1))), "- met met met met - - - -"},
		{"puts beyond all", JudgePuts(put100(side(119, 0, 5.1, 1001, 0.11))), "- missed missed missed missed - - - -"},

		{"gets", JudgeGets(gets(28)), "- - - - met met"},
		{"gets of less than echo", JudgeGets(gets(27)), "- - - - met missed"},
		{"gets of less than twice etcd", JudgeGets(gets(19)), "- - - - missed missed"},

		{"no watchers", JudgeWatches(Watches{}), "- - - - -"},
		{"watchers", JudgeWatches(Watches{Events: 9, Delay: at(10), Bytes: at(4000), Join: at(2), JoinFew: at(1),
			Rate: 100, Reached: at(95)}),
			"met met met stated met"},
		{"watchers that miss",
			JudgeWatches(Watches{Events: 9, Lost: 1, Delay: at(10.1), Join: at(2.1), JoinFew: at(1),
				Rate: 100, Reached: at(94)}),
			"missed missed missed - missed"},
		{"an event that came twice", JudgeWatches(Watches{Events: 9, Twice: 1, Delay: at(1)}), "missed met - - -"},

		{"no leases", JudgeLeases(Leases{}), "- - - - -"},
		{"leases", JudgeLeases(Leases{Pause: at(900), Behind: at(0.5),
			Mimir: LeaseSide{at(95), at(5), 0}, Etcd: LeaseSide{at(100), at(5), 3}}),
			"met met met stated stated"},
		{"leases that lag", JudgeLeases(Leases{Mimir: LeaseSide{at(94), at(6), 1}, Etcd: LeaseSide{at(100), at(5), 0}}),
			"missed missed missed - -"},

		{"no second region", JudgeSecond(Second{Alone: phase(100, 10)}), "- - - -"},
		{"a cheap second region", JudgeSecond(second(phase(110, 11), phase(105, 9))), "met met met met"},
		{"a dear one", JudgeSecond(second(phase(111, 11), phase(100, 12))), "missed met met missed"},

		{"no restart", JudgeRestart(Restart{}), "- - - -"},
		{"restarts", JudgeRestart(Restart{Stopped: at(2000), Killed: at(9000), Checkpoint: at(50),
			Made: 1, With: at(11), Without: at(10)}), "met stated met met"},
		{"slow restarts", JudgeRestart(Restart{Stopped: at(2001), Checkpoint: at(51),
			Made: 1, With: at(12), Without: at(10)}), "missed - missed missed"},
		{"no checkpoint was made", JudgeRestart(Restart{With: at(12), Without: at(10)}), "- - - -"},
	} {
		if got := verdicts(c.goal); got != c.want {
			t.Errorf("%s: %s; want %s", c.name, got, c.want)
		}
		for _, f := range c.goal.Figures {
			if f.Load == "" || (f.Verdict == Met || f.Verdict == Missed && !strings.Contains(f.Of, "efused") &&
				!strings.Contains(f.Of, "failed:")) && f.Spin.Median == 0 {
				t.Errorf("%s: %s: no load, or no noise of the machine: %+v", c.name, f.Name, f)
			}
		}
	}
}

// TestSection says what is met, missed and not measured, and why what is missed is.
func TestSection(t *testing.T) {
	if got := Section(nil); got != "" {
		t.Errorf("of no goals: %q", got)
	}
	loads := []Load{{put, 100, side(90, 1, 4, 30, 0.3), side(50, 1, 10, 20, 0.3), side(200, 1, 1, 1, 1)}}
	puts := JudgePuts(Puts{Loads: loads,
		Sync: bench.Spread{Median: 1}})
	puts.Because("the time was up | it was short")
	puts.Profiles = []Profile{{Load: "put, 100 clients", Whole: 2 * time.Second,
		Shares: []profile.Share{{Group: "gRPC", Part: 0.5}, {Group: "raft", Part: 0.01}}}}
	restart := JudgeRestart(Restart{Keys: 1_000_000, Stopped: at(2500), Killed: at(3000), Checkpoint: at(0.5)})
	restart.Profiles = []Profile{{Load: "restart", Why: "it does not serve"}}
	lists := JudgePaging(Paging{Sizes: []int{1, 2}, Kinds: []Listing{{"page", []Point{at(1), {Failed: "too\nlarge"}}}}})
	got := Section([]Goal{lists, puts, restart})
	for _, want := range []string{
		"Of the figures that were wanted 3 are met, 4 missed, and 6 were not measured in this run; 1 are stated",
		"| 1 | page | – (refused at 2 keys: too large) | at most 3 times " +
			"| 0 % | 0 % | **missed** |",
		"| 3 | put, 1 client: median beyond echo and fdatasync | – | at most 0.15 ms | – | – | not measured in " +
			"this run: the time was up / it was short |",
		"| 3 | put, 100 clients: requests a second, of echo | 0.45 times (90/s of 200/s) | at least 0.60 times " +
			"| 0 % | 40 % | **missed** |",
		"| 3 | put, 100 clients: p99, of etcd's | 0.40 times (4 ms of 10 ms) | at most 0.50 times | 0 % | 40 % | met |",
		"| **9. Restart and checkpoint** | 1M keys, one node |",
		"| 9 | checkpoint by hard links | 0.50 ms (0.50 to 0.50) | at most 50 ms | 0 % | 40 % | met |",
		"| 9 | ready after kill -9 under load, with the log applied again | 3000 ms (3000 to 3000) | that it is " +
			"known | 0 % | 40 % | stated |",
		"| 1 | page | no profile was taken |",
		"| 3 | put, 100 clients | gRPC 50 %; of 2s |",
		"| 9 | restart | no profile: it does not serve |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "raft") {
		t.Errorf("the smallest shares are named:\n%s", got)
	}
}
