package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/goals"
)

// TestChooseGoals takes numbers of goals that there are, and no others.
func TestChooseGoals(t *testing.T) {
	for _, c := range []struct {
		which string
		want  []int
	}{
		{"all", []int{1, 2, 3, 4, 6, 7, 8, 9}}, {"none", nil}, {"3,9", []int{3, 9}},
	} {
		got, err := chooseGoals(c.which)
		if numbers := slices.Sorted(maps.Keys(got)); err != nil || !slices.Equal(numbers, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.which, numbers, err, c.want)
		}
	}
	for _, which := range []string{"5", "10", "", "1,", "put"} {
		if got, err := chooseGoals(which); err == nil {
			t.Errorf("%q: %v", which, got)
		}
	}
}

// TestTheCommandIsSaidAgain with the flags of goals that were given.
func TestTheCommandIsSaidAgain(t *testing.T) {
	f := flag.NewFlagSet("", flag.ContinueOnError)
	s := settings{keys: 5, rounds: 2, limit: time.Minute}
	s.scale.flags(f)
	if err := f.Parse([]string{"-goals", "1,9", "-goals-keys", "20000,5000"}); err != nil {
		t.Fatal(err)
	}
	s.scale.said = said(f)
	const want = "go run ./bench/all -keys 5 -rounds 2 -limit 1m0s -goals 1,9 -goals-keys 20000,5000"
	if got := s.again(); got != want {
		t.Errorf("%q; want %q", got, want)
	}
	if sizes, err := s.scale.sizes(); err != nil || !slices.Equal(sizes, []int{5000, 20_000}) {
		t.Errorf("%v, %v", sizes, err)
	}
	s.scale.pageKeys = "5000,many"
	if sizes, err := s.scale.sizes(); err == nil {
		t.Errorf("of %s: %v", s.scale.pageKeys, sizes)
	}
}

// TestAGoalThatFailsKeepsNoOtherFromBeingMeasured, and says why it was not.
func TestAGoalThatFailsKeepsNoOtherFromBeingMeasured(t *testing.T) {
	was := goalsOfTheirOwn
	defer func() { goalsOfTheirOwn = was }()
	broken := errors.New("broken")
	measure := func(number int, fails error) func(*env, context.Context) (goals.Goal, error) {
		return func(*env, context.Context) (goals.Goal, error) {
			g := goals.JudgeRestart(goals.Restart{})
			g.Number = number
			return g, fails
		}
	}
	goalsOfTheirOwn = goalsOfTheirOwn[:0:0]
	for number, err := range map[int]error{1: broken, 2: nil, 6: broken} {
		one := was[0]
		one.number, one.measure = number, measure(number, err)
		goalsOfTheirOwn = append(goalsOfTheirOwn, one)
	}
	s := &settings{scale: scale{limit: time.Minute}}
	e := &env{settings: s, say: io.Discard, chosen: map[int]bool{1: true, 2: true}}
	all := e.measureGoals(t.Context())
	if len(all) != 2 {
		t.Fatalf("%d goals of the two that were chosen", len(all))
	}
	for _, g := range all {
		want := map[int]string{1: "broken", 2: ""}[g.Number]
		if why := g.Figures[0].Why; why != want {
			t.Errorf("goal %d was not measured: %q; want %q", g.Number, why, want)
		}
	}
}

// TestLoadsAreNamedAlike where goals are judged and where their loads are run once more.
func TestLoadsAreNamedAlike(t *testing.T) {
	r := &run{cases: cases, sides: []*side{{Side: bench.Side{Name: "mimir"}}}}
	for _, g := range []goals.Goal{goals.JudgePuts(goals.Puts{}), goals.JudgeGets(nil)} {
		for _, f := range g.Figures {
			if r.again(f.Load) == nil {
				t.Errorf("goal %d: no case is %q", g.Number, f.Load)
			}
		}
	}
	s := goals.JudgeSecond(goals.Second{})
	for _, f := range s.Figures {
		if f.Load != following && f.Load != catchingUp {
			t.Errorf("no phase is %q", f.Load)
		}
	}
	names := map[string]bool{}
	for _, l := range listings() {
		if names[l.name] {
			t.Errorf("two kinds of list are %q", l.name)
		}
		names[l.name] = true
	}
}

// TestEventsAreCountedOnce for each watch, by their revisions.
func TestEventsAreCountedOnce(t *testing.T) {
	value := binary.BigEndian.AppendUint64(nil, uint64(time.Second))
	s := &watchStream{last: map[int64]int64{}}
	for _, e := range []struct{ watch, revision int64 }{{1, 5}, {2, 5}, {1, 6}, {1, 6}, {1, 4}, {1, 7}} {
		s.see(e.watch, e.revision, value, 3*time.Second)
	}
	if s.twice != 2 || s.events.Load() != 6 || s.delay.Quantile(0.5).Round(time.Second/4) != 2*time.Second {
		t.Errorf("%d twice of %d, after %v", s.twice, s.events.Load(), s.delay.Quantile(0.5))
	}
	w := &crowd{watches: 25, ranges: 10, puts: make([]atomic.Int64, 10)}
	w.puts[0].Add(2)
	w.puts[9].Add(1)
	if due := w.due(); due != 2*3+2 {
		t.Errorf("%d events are due, of two puts to three watchers and one to two", due)
	}
}

func TestStatusOfAProcess(t *testing.T) {
	const status = "Name:\tVmRSS: 5 kB\nVmHWM:\t     200 kB\nVmRSS:\t     100 kB\n"
	for name, want := range map[string]int64{memoryNow: 100 << 10, memoryPeak: 200 << 10} {
		if got, err := inStatus(status, name); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", name, got, err, want)
		}
	}
	if _, err := inStatus("Name:\tx\n", memoryNow); err == nil {
		t.Error("of a status without memory")
	}
	if n, ok := residentBytes([]int{os.Getpid()}); ok && n < mebibyte {
		t.Errorf("this process has %d bytes", n)
	}
}

var (
	smoke      = flag.Bool("smoke", false, "measure goals with real servers, as small as can be, in TestSmoke: minutes")
	smokeMimir = flag.String("smoke.mimir", "", "a mimir `binary`; empty: it is built")
	smokeEtcd  = flag.String("smoke.etcd", "", "an etcd `binary`; empty: it is built")
	smokeGoals = flag.String("smoke.goals", "all", "the `goals`")
	smokeOnly  = flag.String("smoke.only", "put", "the `cases`")
)

// TestSmoke measures goals as small as can be: what each figure is says nothing, but each is there.
func TestSmoke(t *testing.T) {
	if !*smoke {
		t.Skip("takes minutes, and builds mimir and etcd: -smoke")
	}
	t.Chdir("../..")
	var said bytes.Buffer
	f := flag.NewFlagSet("", flag.ContinueOnError)
	dir := t.TempDir()
	s := &settings{Output: bench.Output{Command: command, JSON: dir + "/result.json"}, mimir: *smokeMimir,
		etcd: *smokeEtcd, work: dir, keys: 1000, rounds: 1, limit: 20 * time.Minute, only: *smokeOnly}
	s.scale.flags(f)
	err := f.Parse([]string{"-goals", *smokeGoals, "-goals-limit", "20m",
		"-goals-lasts", "100ms", "-goals-profiled", "1s",
		"-goals-keys", "5000,10000", "-goals-backlog", "4", "-goals-second-rate", "200", "-goals-watchers", "200",
		"-goals-watch-rate", "100", "-goals-lease-rate", "130",
		"-goals-lease-objects", "1000", "-goals-lease-lasts", "10s",
		"-goals-budget", "64", "-goals-state", "1"})
	if err != nil {
		t.Fatal(err)
	}
	e := &env{settings: s, say: io.MultiWriter(&said, os.Stderr)}
	if e.chosen, err = chooseGoals(s.scale.which); err != nil {
		t.Fatal(err)
	}
	if err := s.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	result, err := e.operations(t.Context(), t.Context())
	if err != nil {
		t.Fatal(err)
	}
	result.Goals = append(result.Goals, e.measureGoals(t.Context())...)
	if err := s.write(result); err != nil {
		t.Fatal(err)
	}
	for _, g := range result.Goals {
		for _, f := range g.Figures {
			if f.Verdict == goals.NotMeasured {
				t.Logf("goal %d: %s: %s", g.Number, f.Name, f.Why)
				if f.Why != notMeasured {
					t.Fail()
				}
			}
		}
	}
}

func TestTimeOfThreads(t *testing.T) {
	if d, err := onProcessor("2000000 7 5\n"); err != nil || d != 2*time.Millisecond {
		t.Errorf("%v, %v", d, err)
	}
	if _, err := onProcessor(""); err == nil {
		t.Error("of an empty one")
	}
	bench.Spin()
	if d, ok := threadsTime(os.Getpid()); ok && d <= 0 {
		t.Errorf("of this process: %v", d)
	}
}

// TestMain is the echo server where a test started this program as that.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "-echo" {
		if err := serveEcho(context.Background()); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}
