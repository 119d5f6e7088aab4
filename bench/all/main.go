package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mimir-kv/mimir/bench"
)

// command is this one's folder.
const command = "bench/all"

// settings are the flags.
type settings struct {
	bench.Output
	etcd, mimir, work string
	keys, rounds      int
	limit             time.Duration
	only              string
}

func main() {
	s := settings{Output: bench.Output{Command: command}}
	flag.StringVar(&s.etcd, "etcd", "", "an etcd `binary`; empty: it is built from compat's go.mod")
	flag.StringVar(&s.mimir, "mimir", "", "a mimir `binary`; empty: it is built from this tree")
	flag.StringVar(&s.work, "work", "", "a `directory` on the disk to measure; empty: one that is removed afterwards")
	flag.StringVar(&s.JSON, "json", "", "a `file` for the result; empty: it is printed")
	flag.StringVar(&s.Doc, "doc", "", "a `document` that gets the table in its place")
	flag.IntVar(&s.keys, "keys", 100_000, "keys on each side")
	flag.IntVar(&s.rounds, "rounds", 3, "rounds of everything")
	flag.DurationVar(&s.limit, "limit", 10*time.Minute, "within which the run ends")
	flag.StringVar(&s.only, "only", "", "cases whose names hold this")
	echo := flag.Bool("echo", false, "be the echo server")
	flag.Parse()
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
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	if s.work == "" {
		if s.work, err = os.MkdirTemp("", "bench-all-"); err != nil {
			return err
		}
		defer os.RemoveAll(s.work)
	}
	if err := s.build(ctx); err != nil {
		return err
	}
	chosen := cases[:0:0]
	for _, c := range cases {
		if strings.Contains(c.Name, s.only) {
			chosen = append(chosen, c)
		}
	}
	began := &servers{dir: s.work}
	defer began.end()
	r := &run{keys: s.keys, rounds: s.rounds, say: os.Stderr}
	if r.sides, err = began.all(ctx, s); err != nil {
		return err
	}
	if r.lasts = lasting(s.limit, chosen, s.rounds, len(r.sides)); r.lasts < shortest {
		return fmt.Errorf("%d cases in %d rounds within %v: %v for each; want at least %v", len(chosen), s.rounds,
			s.limit, r.lasts, shortest)
	}
	whole, err := r.measure(ctx, chosen)
	if err != nil {
		return err
	}
	result := r.result(chosen)
	result.Whole, result.Date, result.Command = whole, time.Now().UTC().Format(time.DateOnly), s.again()
	return s.Write(&result, table(&result))
}

// all starts the servers of every side.
func (s *servers) all(ctx context.Context, of *settings) ([]*side, error) {
	ours, err := s.mimir(ctx, of.mimir)
	if err != nil {
		return nil, err
	}
	theirs, err := s.etcd(ctx, of.etcd)
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
	return text
}
