package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/goals"
)

var output = bench.Output{Command: command}

// TestTheDocumentIsMadeOfTheResult that stands beside it.
func TestTheDocumentIsMadeOfTheResult(t *testing.T) {
	p, err := os.ReadFile("../../docs/benchmarks.json")
	if err != nil {
		t.Fatal(err)
	}
	var r Result
	if err := json.Unmarshal(p, &r); err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("../../docs/benchmarks.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, made := range map[string]string{command: table(&r), goalsCommand: goals.Section(r.Goals)} {
		want, err := (&bench.Output{Command: name}).Written(string(document), made)
		if err != nil {
			t.Fatal(err)
		}
		if want != string(document) {
			t.Errorf("docs/benchmarks.md has something else by %s than docs/benchmarks.json makes:\n%s", name, made)
		}
	}
	for _, c := range r.Cases {
		for _, f := range c.Sides {
			if f.Spin.Median == 0 {
				t.Errorf("%s at %d clients of %s: no noise of the machine beside it", c.Name, c.Clients, f.Side)
			}
		}
	}
	for _, g := range r.Goals {
		for _, f := range g.Figures {
			if f.Verdict != goals.NotMeasured && f.Value != 0 && f.Spin.Median == 0 {
				t.Errorf("goal %d: %s: no noise of the machine beside it", g.Number, f.Name)
			}
		}
	}
}

// TestTable says what it was made of, what failed, and that the machine was not quiet.
func TestTable(t *testing.T) {
	m := func(rate float64, errors uint64, spin time.Duration) sample {
		return sample{&bench.Measurement{PerSecond: rate, Done: 1000, P50: time.Millisecond, P99: 2 * time.Millisecond,
			Errors: errors}, spin, 20 * time.Millisecond}
	}
	r := Result{
		Command: "x", Date: "2026-01-01", Keys: 5, Rounds: 2, Lasting: time.Second,
		Spin: bench.Spread{Median: 50e6, Least: 40e6, Most: 90e6},
		Cases: []Case{{Name: "put", Clients: 3, Sides: []Figure{
			figureOf("mimir", []sample{m(90, 0, 50e6), m(110, 2, 40e6)}), figureOf("etcd", []sample{m(50, 0, 50e6)}),
			figureOf("echo", []sample{m(200, 0, 50e6)}),
		}}, {Name: "watch", Clients: 1, Sides: []Figure{figureOf("mimir", []sample{m(1, 0, 40e6)})}}},
	}
	got := table(&r)
	for _, want := range []string{
		"| put | 3 | 100/s, 1.00 ms (2 errors) | 20 % | 50/s, 1.00 ms | 0 % | 2.00 | 0.50 | 2.00 ms, 2.00 ms | " +
			"20 µs, 20 µs | 20 % |",
		"| watch | 1 | 1/s, 1.00 ms | 0 % | – | – | – | – | 2.00 ms, – | 20 µs, – | 0 % |",
		"it was not quiet", "ended before its last round",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if _, err := output.Written("nothing", table(&r)); !errors.Is(err, bench.ErrNoTable) {
		t.Error(err)
	}
	document := "a\n<!-- made by bench/all: begin -->\nold\n<!-- made by bench/all: end -->\nb\n"
	once, err := output.Written(document, table(&r))
	if again, _ := output.Written(once, table(&r)); err != nil || again != once || !strings.HasPrefix(once, "a\n") ||
		!strings.HasSuffix(once, "b\n") || strings.Contains(once, "old") {
		t.Errorf("%v: %s", err, once)
	}
}

// TestARunEndsWithinItsLimit, by how long each measurement is.
func TestARunEndsWithinItsLimit(t *testing.T) {
	lasts := lasting(10*time.Minute, cases, 3, 3)
	if n := time.Duration(len(cases) * 3 * 3); lasts < shortest || n*(lasts+warmup+bench.Calibration) > 8*time.Minute {
		t.Errorf("%v each", lasts)
	}
	if lasts := lasting(time.Minute, cases, 9, 3); lasts > shortest {
		t.Errorf("%v each of too many", lasts)
	}
}

func TestProcessorTimeOfAStat(t *testing.T) {
	d, err := ticks([]byte("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0"))
	if err != nil || d != 2*time.Second {
		t.Errorf("%v, %v", d, err)
	}
	if _, err := ticks([]byte("7 (a) S 1 2")); err == nil {
		t.Error("of a short one")
	}
	if d, ok := processorTime([]int{os.Getpid()}); ok && d < 0 {
		t.Errorf("of this process: %v", d)
	}
}

// TestEveryCaseCanBeMeasured on the echo server, but for those that it does not know.
func TestEveryCaseCanBeMeasured(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- echoOn(ctx, l) }()
	defer func() {
		cancel()
		<-served
	}()
	echo := &side{Side: bench.Side{Name: "echo", Endpoints: []string{l.Addr().String()}}, pids: []int{os.Getpid()}}
	few := make([]one, 0, len(cases))
	for _, c := range cases {
		c.Clients, c.Connections = min(c.Clients, 4), min(c.Connections, 2)
		few = append(few, c)
	}
	for lasts := 20 * time.Millisecond; ; lasts *= 4 { // on a busy machine nothing ends within a short time
		r := &run{sides: []*side{echo}, keys: 500, rounds: 1, lasts: lasts, say: io.Discard, dir: t.TempDir()}
		whole, err := r.measure(t.Context(), few)
		r.close()
		if err != nil || !whole {
			t.Fatalf("%t, %v", whole, err)
		}
		unmeasured := ""
		for i, c := range r.result(few).Cases {
			switch f := c.figure("echo"); {
			case few[i].Unechoed:
			case f == nil:
				unmeasured = c.Name
			case f.Errors > 0:
				t.Errorf("%s: %+v", c.Name, f)
			}
		}
		if unmeasured == "" {
			return
		}
		if lasts > time.Second {
			t.Fatalf("%s: nothing was done in %v", unmeasured, lasts)
		}
	}
}
