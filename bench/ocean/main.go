package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/mimir-kv/mimir/bench"
	"github.com/mimir-kv/mimir/bench/ocean/link"
)

// command is this one's folder.
const command = "bench/ocean"

// settings are the flags.
type settings struct {
	bench.Output
	mimir, etcd, etcdctl   string
	line                   link.Conditions
	roundTrip              time.Duration
	megabits               int
	nodes, rounds, backlog int
	lasts, limit           time.Duration
	only, with             string
}

// exitUnavailable is the status where there can be no line.
const exitUnavailable = 3

func main() {
	link.Serve()
	s := settings{Output: bench.Output{Command: command}}
	flag.StringVar(&s.mimir, "mimir", "", "a mimir `binary`; empty: it is built from this tree")
	flag.StringVar(&s.etcd, "etcd", "", "an etcd `binary`; empty: it is built from compat's go.mod")
	flag.StringVar(&s.etcdctl, "etcdctl", "", "an etcdctl `binary`; empty: likewise")
	flag.StringVar(&s.JSON, "json", "", "a `file` for the result; empty: it is printed")
	flag.StringVar(&s.Doc, "doc", "", "a `document` that gets the table in its place")
	flag.DurationVar(&s.roundTrip, "rtt", 80*time.Millisecond, "round trip of the line")
	flag.IntVar(&s.megabits, "rate", 200, "its rate in each direction, in Mbit/s")
	flag.Float64Var(&s.line.Loss, "loss", 0.001, "the part of all packets that is lost")
	flag.IntVar(&s.nodes, "nodes", defaultNodes(), "nodes of each region; one where there are fewer than 8 processors")
	flag.IntVar(&s.rounds, "rounds", 3, "rounds of everything")
	flag.IntVar(&s.backlog, "backlog", 256, "what a region catches up on, in MB")
	flag.DurationVar(&s.lasts, "lasting", 5*time.Second, "how long a measurement takes, where it has no other end")
	flag.DurationVar(&s.limit, "limit", 20*time.Minute, "within which the run ends")
	flag.StringVar(&s.only, "only", "", "parts, separated by commas: "+strings.Join(names(), ", "))
	flag.StringVar(&s.with, "with", "", "further `flags` of mimir serve, separated by spaces")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := s.run(ctx); {
	case errors.Is(err, link.ErrUnavailable):
		fmt.Fprintln(os.Stderr, "bench/ocean:", err)
		os.Exit(exitUnavailable)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench/ocean:", err)
		os.Exit(1)
	}
}

func defaultNodes() int {
	if runtime.NumCPU() < 8 {
		return 1
	}
	return 3
}

func (s *settings) run(ctx context.Context) (err error) {
	if s.rounds < 1 || s.nodes < 1 || s.nodes > 250 || s.megabits < 0 || s.roundTrip < 0 || s.line.Loss < 0 ||
		s.line.Loss >= 1 {
		return errors.New("want at least one round, 1 to 250 nodes, a rate and an rtt not below zero, " +
			"and a loss below 1")
	}
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	s.line.Delay, s.line.Rate = s.roundTrip/2, int64(s.megabits)*1_000_000
	s.line.Queue = max(384_000, int(s.line.Rate/8*int64(s.roundTrip)/int64(time.Second)))
	chosen, err := choose(s.only)
	if err != nil {
		return err
	}
	o, err := open(s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	if err := s.build(ctx, o.dir); err != nil {
		return err
	}
	if err := o.begin(ctx); err != nil {
		return err
	}
	r := Result{Command: s.again(), Date: time.Now().UTC().Format(time.DateOnly), Machine: bench.ThisMachine(),
		Line: s.line, Nodes: s.nodes, Rounds: s.rounds, Backlog: s.backlog}
	r.Whole, err = o.measure(ctx, chosen)
	r.Rows, r.Spin, r.TCP = o.taken.rows(), bench.SpreadOf(o.spins), o.tcpBy
	counted, gone := o.line.Stats()
	r.LateP99 = counted.LateP99
	if err == nil && !r.Whole {
		err = fmt.Errorf("the run ended before its last round: %w", context.Cause(ctx))
	}
	return errors.Join(err, gone, s.Write(&r, table(&r))) // what was measured until something failed stays
}

// build makes the programs that were not given.
func (s *settings) build(ctx context.Context, dir string) error {
	for _, b := range []struct {
		at             *string
		name, dir, pkg string
	}{
		{&s.mimir, "mimir", ".", "./cmd/mimir"},
		{&s.etcd, "etcd", "compat", "go.etcd.io/etcd/server/v3"},
		{&s.etcdctl, "etcdctl", "compat", "go.etcd.io/etcd/etcdctl/v3"},
	} {
		if *b.at != "" {
			continue
		}
		at := filepath.Join(dir, b.name)
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
	text := fmt.Sprintf("go run ./bench/ocean -rtt %v -rate %d -loss %v -nodes %d -rounds %d -backlog %d -lasting %v",
		s.roundTrip, s.megabits, s.line.Loss, s.nodes, s.rounds, s.backlog, s.lasts)
	if s.only != "" {
		text += " -only " + s.only
	}
	if s.with != "" {
		text += fmt.Sprintf(" -with %q", s.with)
	}
	return text
}
