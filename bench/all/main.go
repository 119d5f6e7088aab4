package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/goals"
)

// command is this one's folder, and goalsCommand the name under which it has another place in a document.
const (
	command      = "bench/all"
	goalsCommand = command + " goals"
)

// settings are the flags.
type settings struct {
	bench.Output
	etcd, mimir, work string
	keys, rounds      int
	limit             time.Duration
	only              string
	scale             scale
}

func main() {
	s := settings{Output: bench.Output{Command: command}}
	flag.StringVar(&s.etcd, "etcd", "", "an etcd `binary`; empty: it is built from compat's go.mod")
	flag.StringVar(&s.mimir, "mimir", "", "a mimir `binary`; empty: it is built from this tree")
	flag.StringVar(&s.work, "work", "", "a `directory` on the disk to measure; empty: one that is removed afterwards")
	flag.StringVar(&s.JSON, "json", "", "a `file` for the result; empty: it is printed")
	flag.StringVar(&s.Doc, "doc", "", "a `document` that gets the tables in their places")
	flag.IntVar(&s.keys, "keys", 100_000, "keys on each side")
	flag.IntVar(&s.rounds, "rounds", 3, "rounds of everything")
	flag.DurationVar(&s.limit, "limit", 10*time.Minute, "within which the operations end, building included")
	flag.StringVar(&s.only, "only", "", "cases whose names hold this; none: no case")
	s.scale.flags(flag.CommandLine)
	echo := flag.Bool("echo", false, "be the echo server")
	flag.Parse()
	s.scale.said = said(flag.CommandLine)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	work := s.run
	if *echo {
		work = serveEcho
	}
	if err := work(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench/all:", err)
		os.Exit(1)
	}
}

func (s *settings) run(ctx context.Context) (err error) {
	chosen, err := chooseGoals(s.scale.which)
	if err != nil {
		return err
	}
	if s.work == "" {
		if s.work, err = os.MkdirTemp("", "bench-all-"); err != nil {
			return err
		}
		defer os.RemoveAll(s.work)
	}
	limited, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	if err := s.build(limited); err != nil {
		return err
	}
	e := &env{settings: s, say: os.Stderr, chosen: chosen}
	result, err := e.operations(ctx, limited)
	if err != nil {
		return err
	}
	result.Goals = append(result.Goals, e.measureGoals(ctx)...)
	slices.SortStableFunc(result.Goals, func(a, b goals.Goal) int { return a.Number - b.Number })
	result.Date, result.Command = time.Now().UTC().Format(time.DateOnly), s.again()
	return s.write(result)
}

// operations measures the cases, all within limited, and then what goals ask of them, within ctx.
func (e *env) operations(ctx, limited context.Context) (*Result, error) {
	s := e.settings
	var chosen []one
	for _, c := range cases {
		if strings.Contains(c.Name, s.only) {
			chosen = append(chosen, c)
		}
	}
	r := &run{keys: s.keys, rounds: s.rounds, say: e.say, dir: s.work}
	if len(chosen) == 0 {
		result := r.result(nil)
		result.Whole, result.Goals = true, e.judgeLoads(ctx, r, &result)
		return &result, nil
	}
	began := &servers{dir: s.work}
	defer began.end()
	var err error
	if r.sides, err = began.all(limited, s); err != nil {
		return nil, err
	}
	if r.lasts = lasting(s.limit, chosen, s.rounds, len(r.sides)); r.lasts < shortest {
		return nil, fmt.Errorf("%d cases in %d rounds within %v: %v for each; want at least %v", len(chosen), s.rounds,
			s.limit, r.lasts, shortest)
	}
	defer r.close()
	whole, err := r.measure(limited, chosen)
	if err != nil {
		return nil, err
	}
	result := r.result(chosen)
	result.Whole = whole
	e.resident = residentOf(r)
	e.held = append(e.held, heap(ctx, goals.Resident, r.sides[0].profiled...))
	result.Goals = e.judgeLoads(ctx, r, &result)
	return &result, nil
}

// write puts the result where it belongs.
func (s *settings) write(result *Result) error {
	if err := s.Write(result, table(result)); err != nil {
		return err
	}
	section := goals.Section(result.Goals)
	fmt.Fprint(os.Stderr, section)
	if s.Doc == "" {
		return nil
	}
	was, err := os.ReadFile(s.Doc)
	if err != nil {
		return err
	}
	text, err := (&bench.Output{Command: goalsCommand}).Written(string(was), section)
	if err != nil {
		return err
	}
	return os.WriteFile(s.Doc, []byte(text), 0o644)
}

// all starts the servers of every side.
func (s *servers) all(ctx context.Context, of *settings) ([]*side, error) {
	ours, err := s.mimir(ctx, of.mimir)
	if err != nil {
		return nil, err
	}
	theirs, err := s.etcd(of.etcd, "e", 3)
	if err != nil {
		return nil, err
	}
	bound, err := s.echo()
	if err != nil {
		return nil, err
	}
	return []*side{ours, theirs, bound}, nil
}

// build makes the programs that were not given.
func (s *settings) build(ctx context.Context) error {
	for _, b := range []struct {
		at             *string
		name, dir, pkg string
	}{
		{&s.mimir, "mimir", ".", "./cmd/mimir"},
		{&s.etcd, "etcd", "compat", "go.etcd.io/etcd/server/v3"},
	} {
		if *b.at != "" {
			continue
		}
		at, err := filepath.Abs(filepath.Join(s.work, b.name))
		if err != nil {
			return err
		}
		c := exec.CommandContext(ctx, "go", "build", "-o", at, b.pkg)
		c.Dir, c.Stderr = b.dir, os.Stderr
		c.Env = append(os.Environ(), "CGO_ENABLED=0") // as both are released
		if err := c.Run(); err != nil {
			return fmt.Errorf("build %s: %w", b.name, err)
		}
		*b.at = at
	}
	return nil
}

// again is how to make the same again: without where things lie on this machine.
func (s *settings) again() string {
	text := fmt.Sprintf("go run ./bench/all -keys %d -rounds %d -limit %v", s.keys, s.rounds, s.limit)
	if s.only != "" {
		text += fmt.Sprintf(" -only %q", s.only)
	}
	return text + s.scale.said
}
